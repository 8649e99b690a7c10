#include "devices/nvme/data_path.h"

#include <algorithm>
#include <cstring>

namespace barter::devices::nvme {
namespace {

using fabric::Completion;

// Data may be cut into pieces of this size on average before its list is refused.
constexpr std::uint64_t kSmallestPiece = 512;

}  // namespace

DataPath::DataPath(const Bus& bus, const BufferAbilities& abilities, DataPathLimits limits)
    : bus_(bus),
      abilities_(abilities),
      limits_(limits),
      list_(limits.max_transfer_bytes / kSmallestPiece + 16),
      prps_(std::make_unique<PrpReader>()),
      sgls_(std::make_unique<SglReader>()),
      bounce_(std::make_unique<std::byte[]>(kBounceBytes)),
      medium_(std::make_unique<std::byte[]>(kBounceBytes)) {}

Status DataPath::prepare(const SubmissionEntry& entry, const Request& request) {
  if (request.bytes > limits_.max_transfer_bytes) return status::kInvalidField;
  list_.start(abilities_, request.direction, request.command_is_in_buffer);
  const std::uint64_t low = entry.get<PointerLow>().raw;
  const std::uint64_t high = entry.get<PointerHigh>().raw;
  const std::uint8_t pointer = entry.get<CommandDword0>().get(CommandDword0::pointer);
  if (pointer == kPointerIsPrp) return prps_->read(bus_, {low, high}, request.bytes, page_bytes_, list_);
  if (pointer == kPointerIsReserved || !limits_.takes_sgl) return status::kInvalidField;
  const SglDescriptor first{low, static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
  return sgls_->read(bus_, first, request.bytes, list_);
}

Status DataPath::read_medium(const Source& from) {
  const std::span<std::byte> memory = from.backing.memory();
  Source at = from;
  for (const DataSegment& segment : list_.segments()) {
    std::uint64_t address = segment.address;
    std::uint64_t left = segment.bytes;
    if (segment.is_discarded) {
      at.offset += left;
      left = 0;
    }
    while (left != 0) {
      const auto run = bus_.run(address, left, Access::write);
      std::uint64_t bytes = run.memory.size();
      if (bytes == 0) {
        if (run.status != Completion::successful) return status::kDataTransferError;
        bytes = std::min<std::uint64_t>(left, kBounceBytes);
        if (const Status moved = bounce_read(at, address, bytes); !moved.is_success()) return moved;
      } else if (!memory.empty()) [[likely]] {
        std::memcpy(run.memory.data(), memory.data() + at.offset, bytes);
      } else if (auto got = at.backing.read(at.offset, run.memory); !got) {
        return at.namespaces.failed(std::move(got.error()), status::kUnrecoveredReadError);
      }
      at.offset += bytes;
      address += bytes;
      left -= bytes;
    }
  }
  return status::kSuccess;
}

Status DataPath::write_medium(const Source& to) {
  const std::span<std::byte> memory = to.backing.memory();
  Source at = to;
  for (const DataSegment& segment : list_.segments()) {
    std::uint64_t address = segment.address;
    std::uint64_t left = segment.bytes;
    while (left != 0) {
      const auto run = bus_.run(address, left, Access::read);
      std::uint64_t bytes = run.memory.size();
      if (bytes == 0) {
        if (run.status != Completion::successful) return status::kDataTransferError;
        bytes = std::min<std::uint64_t>(left, kBounceBytes);
        if (const Status moved = bounce_write(at, address, bytes); !moved.is_success()) return moved;
      } else if (!memory.empty()) [[likely]] {
        std::memcpy(memory.data() + at.offset, run.memory.data(), bytes);
      } else if (auto put = at.backing.write(at.offset, run.memory); !put) {
        return at.namespaces.failed(std::move(put.error()), status::kWriteFault);
      }
      at.offset += bytes;
      address += bytes;
      left -= bytes;
    }
  }
  return status::kSuccess;
}

Status DataPath::bounce_read(const Source& from, std::uint64_t address, std::uint64_t bytes) {
  const std::span<std::byte> buffer(bounce_.get(), bytes);
  if (auto got = from.backing.read(from.offset, buffer); !got) {
    return from.namespaces.failed(std::move(got.error()), status::kUnrecoveredReadError);
  }
  return bus_.write(address, buffer) == Completion::successful ? status::kSuccess : status::kDataTransferError;
}

Status DataPath::bounce_write(const Source& to, std::uint64_t address, std::uint64_t bytes) {
  const std::span<std::byte> buffer(bounce_.get(), bytes);
  if (bus_.read(address, buffer) != Completion::successful) return status::kDataTransferError;
  if (auto put = to.backing.write(to.offset, buffer); !put) {
    return to.namespaces.failed(std::move(put.error()), status::kWriteFault);
  }
  return status::kSuccess;
}

Status DataPath::compare_medium(const Source& with) {
  std::uint64_t offset = with.offset;
  for (const DataSegment& segment : list_.segments()) {
    for (std::uint64_t done = 0; done < segment.bytes;) {
      const std::size_t bytes = std::min<std::uint64_t>(segment.bytes - done, kBounceBytes);
      const std::span<std::byte> theirs(bounce_.get(), bytes);
      const std::span<std::byte> ours(medium_.get(), bytes);
      if (bus_.read(segment.address + done, theirs) != Completion::successful) return status::kDataTransferError;
      if (auto got = with.backing.read(offset, ours); !got) {
        return with.namespaces.failed(std::move(got.error()), status::kUnrecoveredReadError);
      }
      if (std::memcmp(theirs.data(), ours.data(), bytes) != 0) return status::kCompareFailure;
      done += bytes;
      offset += bytes;
    }
  }
  return status::kSuccess;
}

Status DataPath::send(std::span<const std::byte> page) {
  std::memset(bounce_.get(), 0, kBounceBytes);
  for (const DataSegment& segment : list_.segments()) {
    for (std::uint64_t done = 0; done < segment.bytes;) {
      std::size_t bytes = std::min<std::uint64_t>(segment.bytes - done, kBounceBytes);
      if (!page.empty()) bytes = std::min(bytes, page.size());
      const std::span<const std::byte> part = page.empty() ? std::span(bounce_.get(), bytes) : page.first(bytes);
      if (bus_.write(segment.address + done, part) != Completion::successful) return status::kDataTransferError;
      if (!page.empty()) page = page.subspan(bytes);
      done += bytes;
    }
  }
  return status::kSuccess;
}

Status DataPath::receive(std::span<std::byte> page) {
  for (const DataSegment& segment : list_.segments()) {
    const std::size_t bytes = std::min<std::uint64_t>(segment.bytes, page.size());
    if (bus_.read(segment.address, page.first(bytes)) != Completion::successful) return status::kDataTransferError;
    page = page.subspan(bytes);
  }
  return status::kSuccess;
}

}  // namespace barter::devices::nvme
