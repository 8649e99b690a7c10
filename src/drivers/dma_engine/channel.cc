#include "drivers/dma_engine/channel.h"

#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace barter::drivers::dma_engine {
namespace {

constexpr std::uint64_t kMostSegmentBytes = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view kSubmitting = "submitting a command to the DMA engine";

}  // namespace

std::string describe_status(std::uint8_t status) {
  constexpr const char* kWords[] = {"done",
                                    "invalid opcode",
                                    "invalid field in the command",
                                    "a list of segments can't be read",
                                    "a list of segments that can't be",
                                    "the bus did not carry out a read of the source",
                                    "the bus did not carry out a write of the destination"};
  if (status < std::size(kWords)) return fmt::format("{} (status {})", kWords[status], status);
  return fmt::format("status {}, which no specification has", status);
}

Result<std::uint64_t> ChannelImpl::add_up(std::span<const DmaSegment> segments) const {
  const auto refuse = [&](ErrorCode code, std::string why, std::string cure = {}) {
    return fail(device_.error(code, kSubmitting, std::move(why), std::move(cure)));
  };
  if (segments.size() > lists_.segments)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("a list of {} segments is too long: {} are taken", segments.size(), lists_.segments),
                  "move it in several commands");
  std::uint64_t bytes = 0;
  for (const DmaSegment& segment : segments) {
    if (segment.bytes == 0 || segment.bytes - 1 > ~segment.address.value)
      return refuse(ErrorCode::invalid_argument, fmt::format("a segment of {} bytes at {:#x} is not possible",
                                                             segment.bytes, segment.address.value));
    if (segment.bytes > device_.facts.max_transfer_bytes - bytes ||
        (segments.size() > 1 && segment.bytes > kMostSegmentBytes))
      return refuse(ErrorCode::out_of_range,
                    fmt::format("more than the {} bytes that one command moves", device_.facts.max_transfer_bytes),
                    "move it in several commands");
    bytes += segment.bytes;
  }
  return bytes;
}

Result<std::uint64_t> ChannelImpl::check(const Command& command) const {
  const auto from = add_up(command.from);
  if (!from) return from;
  const auto to = add_up(command.to);
  if (!to) return to;
  const auto refuse = [&](std::string why) {
    return fail(device_.error(ErrorCode::invalid_argument, kSubmitting, std::move(why)));
  };
  switch (command.opcode) {
    case Opcode::nop:
      if (*from != 0 || *to != 0) return refuse("nop moves nothing");
      return 0;
    case Opcode::fill:
      if (*from != 0) return refuse("fill has no source");
      break;
    case Opcode::move:
      if (*from != *to) return refuse(fmt::format("{} bytes do not go to {}", *from, *to));
      break;
    default:
      return refuse(fmt::format("there is no opcode {}", static_cast<unsigned>(command.opcode)));
  }
  if (*to == 0) return refuse("there is no destination");
  return to;
}

ChannelImpl::Side ChannelImpl::lay_out(std::span<const DmaSegment> segments, std::size_t list) {
  if (segments.empty()) return {};
  if (segments.size() == 1) return {.address = segments[0].address.value, .segments = 0};
  const std::size_t at = list * lists_.segments * kSegmentBytes;
  std::byte* into = lists_.memory.bytes().data() + at;
  for (const DmaSegment& segment : segments) {
    const SegmentFields fields{.address = segment.address.value, .bytes = static_cast<std::uint32_t>(segment.bytes)};
    std::memcpy(into, &fields, sizeof fields);
    into += sizeof fields;
  }
  return {.address = lists_.memory.address().value + at, .segments = static_cast<std::uint32_t>(segments.size())};
}

Result<void> ChannelImpl::submit(const Command& command) {
  if (!ring_.has_room()) return fail(ring_.no_room());
  const auto bytes = check(command);
  if (!bytes) return fail(bytes.error());
  const auto [slot, word] = ring_.open(command.tag, *bytes);
  const Side from = lay_out(command.from, 2 * slot);
  const Side to = lay_out(command.to, 2 * slot + 1);
  ring_.push(CommandFields{
      .word = word.with(ring_device::CommandWord::opcode, static_cast<std::uint32_t>(command.opcode))
                  .with(ring_device::CommandWord::interrupt, command.interrupt)
                  .raw,
      .lists = ListsWord{}
                   .with(ListsWord::source_segments, from.segments)
                   .with(ListsWord::destination_segments, to.segments)
                   .raw,
      .source = command.opcode == Opcode::fill ? command.pattern : from.address,
      .destination = to.address,
      .bytes = *bytes,
  });
  return {};
}

Result<std::size_t> ChannelImpl::poll(std::span<CommandResult> results) {
  return ring_.poll(results, [&] { return moved_bytes(); });
}

std::uint64_t ChannelImpl::moved_bytes() { return read<MovedRegister>(*device_.registers, ring_.place()).raw; }

}  // namespace barter::drivers::dma_engine
