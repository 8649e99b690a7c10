#include "devices/nvme/io_commands.h"

#include <array>
#include <span>
#include <utility>

namespace barter::devices::nvme {

Status IoCommands::execute(const SubmissionEntry& entry, bool command_is_in_buffer) {
  const CommandDword0 head = entry.get<CommandDword0>();
  // Fused operations are not announced (Identify's FUSES).
  if (head.get(CommandDword0::fused) != 0) return status::kInvalidField;
  Status result;
  switch (static_cast<IoOpcode>(head.get(CommandDword0::opcode))) {
    case IoOpcode::read:
      result = read(entry, command_is_in_buffer);
      break;
    case IoOpcode::write:
      result = write(entry, command_is_in_buffer);
      break;
    case IoOpcode::flush:
      result = flush(entry);
      break;
    case IoOpcode::compare:
      result = compare(entry, command_is_in_buffer);
      break;
    case IoOpcode::write_zeroes:
      result = write_zeroes(entry);
      break;
    case IoOpcode::dataset_management:
      result = dataset_management(entry, command_is_in_buffer);
      break;
    default:
      return status::kInvalidOpcode;
  }
  if (result == status::kWriteFault || result == status::kUnrecoveredReadError) ++counters_.medium_errors;
  return result;
}

void IoCommands::expect(const SubmissionEntry& entry) {
  constexpr std::size_t kLineBytes = 64;
  constexpr std::size_t kLines = 8;  // measured; the processor's own prefetching goes on from there
  if (entry.get<CommandDword0>().get(CommandDword0::opcode) != static_cast<std::uint8_t>(IoOpcode::read)) return;
  const Namespace* space = namespaces_.find(entry.get<NamespaceId>().raw);
  const std::uint64_t first = entry.get<FirstBlock>().raw;
  if (space == nullptr || first >= space->blocks) return;
  const std::span<const std::byte> memory = space->backing->memory();
  const std::uint64_t offset = first << space->block_log2;
  if (memory.size() < offset + kLines * kLineBytes) return;
  for (std::size_t line = 0; line < kLines; ++line) __builtin_prefetch(memory.data() + offset + line * kLineBytes);
}

Status IoCommands::find_blocks(const SubmissionEntry& entry, Blocks& blocks) {
  Namespace* space = namespaces_.find(entry.get<NamespaceId>().raw);
  if (space == nullptr) return status::kInvalidNamespace;
  const std::uint64_t first = entry.get<FirstBlock>().raw;
  const std::uint64_t count = std::uint64_t{entry.get<BlocksDword12>().get(BlocksDword12::blocks_0based)} + 1;
  blocks = {space, 0, count << space->block_log2};
  if (!space->contains(first, count)) return status::kLbaOutOfRange;
  blocks.offset = first << space->block_log2;
  return status::kSuccess;
}

// NVM command set 1.0, 3.2.4.
Status IoCommands::read(const SubmissionEntry& entry, bool command_is_in_buffer) {
  Blocks blocks;
  if (const Status found = find_blocks(entry, blocks); !found.is_success()) return found;
  const Status ready = data_.prepare(entry, {blocks.bytes, Direction::to_host, command_is_in_buffer});
  if (!ready.is_success()) return ready;
  const Status moved = data_.read_medium({namespaces_, *blocks.space->backing, blocks.offset});
  if (!moved.is_success()) return moved;
  ++counters_.read_commands;
  counters_.bytes_read += blocks.bytes;
  moved_bytes_ += blocks.bytes;
  return status::kSuccess;
}

// NVM command set 1.0, 3.2.6.
Status IoCommands::write(const SubmissionEntry& entry, bool command_is_in_buffer) {
  Blocks blocks;
  if (const Status found = find_blocks(entry, blocks); !found.is_success()) return found;
  if (entry.get<BlocksDword12>().get(BlocksDword12::directive) != 0) return status::kInvalidField;
  if (blocks.space->is_read_only) return status::kWriteProtected;
  const Status ready = data_.prepare(entry, {blocks.bytes, Direction::from_host, command_is_in_buffer});
  if (!ready.is_success()) return ready;
  const Status moved = data_.write_medium({namespaces_, *blocks.space->backing, blocks.offset});
  if (!moved.is_success()) return moved;
  ++counters_.write_commands;
  counters_.bytes_written += blocks.bytes;
  moved_bytes_ += blocks.bytes;
  return make_durable(entry, *blocks.space);
}

// NVM command set 1.0, 3.2.1. The SMART log counts it as a read.
Status IoCommands::compare(const SubmissionEntry& entry, bool command_is_in_buffer) {
  Blocks blocks;
  if (const Status found = find_blocks(entry, blocks); !found.is_success()) return found;
  const Status ready = data_.prepare(entry, {blocks.bytes, Direction::from_host, command_is_in_buffer});
  if (!ready.is_success()) return ready;
  ++counters_.read_commands;
  counters_.bytes_read += blocks.bytes;
  moved_bytes_ += blocks.bytes;
  return data_.compare_medium({namespaces_, *blocks.space->backing, blocks.offset});
}

// NVM command set 1.0, 3.2.8. No data moves, so MDTS does not bound it.
Status IoCommands::write_zeroes(const SubmissionEntry& entry) {
  Blocks blocks;
  if (const Status found = find_blocks(entry, blocks); !found.is_success()) return found;
  if (blocks.space->is_read_only) return status::kWriteProtected;
  if (auto zeroed = blocks.space->backing->zero(blocks.offset, blocks.bytes); !zeroed) {
    return namespaces_.failed(std::move(zeroed.error()), status::kWriteFault);
  }
  ++counters_.write_commands;
  return make_durable(entry, *blocks.space);
}

// NVM command set 1.0, 3.2.3. All ranges are checked before the first one is touched.
Status IoCommands::dataset_management(const SubmissionEntry& entry, bool command_is_in_buffer) {
  Namespace* space = namespaces_.find(entry.get<NamespaceId>().raw);
  if (space == nullptr) return status::kInvalidNamespace;
  std::array<DatasetRange, 256> ranges;
  const std::size_t count = std::size_t{entry.get<RangesDword10>().get(RangesDword10::ranges_0based)} + 1;
  const std::span<DatasetRange> given(ranges.data(), count);
  const Status ready = data_.prepare(entry, {given.size_bytes(), Direction::from_host, command_is_in_buffer});
  if (!ready.is_success()) return ready;
  if (const Status got = data_.receive(std::as_writable_bytes(given)); !got.is_success()) return got;
  // The other attributes are hints, which this medium has no use for.
  if (!entry.get<RangesDword11>().get(RangesDword11::deallocate)) return status::kSuccess;
  if (space->is_read_only) return status::kWriteProtected;
  for (const DatasetRange& range : given) {
    if (!space->contains(range.first_block, range.blocks)) return status::kLbaOutOfRange;
  }
  for (const DatasetRange& range : given) {
    if (range.blocks == 0) continue;
    const std::uint64_t bytes = std::uint64_t{range.blocks} << space->block_log2;
    if (auto zeroed = space->backing->zero(range.first_block << space->block_log2, bytes); !zeroed) {
      return namespaces_.failed(std::move(zeroed.error()), status::kWriteFault);
    }
  }
  return status::kSuccess;
}

// Base 2.0, 7.1 (Flush). Identify's VWC announces that all namespaces can be flushed at once.
Status IoCommands::flush(const SubmissionEntry& entry) {
  const std::uint32_t id = entry.get<NamespaceId>().raw;
  if (id != kAllNamespaces && namespaces_.find(id) == nullptr) return status::kInvalidNamespace;
  return namespaces_.flush(id);
}

Status IoCommands::make_durable(const SubmissionEntry& entry, const Namespace& space) {
  if (has_write_cache_ && !entry.get<BlocksDword12>().get(BlocksDword12::force_unit_access)) return status::kSuccess;
  return namespaces_.flush(space.id);
}

}  // namespace barter::devices::nvme
