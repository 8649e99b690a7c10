#include "drivers/nic/channel.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace barter::drivers::nic {
namespace {

constexpr std::string_view kSubmitting = "submitting a command to the NIC";

// Not the NIC's mistake and not a mistaken command, but one that is too much for this NIC.
bool is_too_much(peer::SegmentProblem problem) {
  using enum peer::SegmentProblem;
  return problem == too_many || problem == too_large || problem == too_high || problem == too_long;
}

}  // namespace

std::string describe_status(std::uint8_t status) {
  constexpr const char* kWords[] = {"done",
                                    "invalid opcode",
                                    "invalid field in the command",
                                    "the list of segments can't be read",
                                    "a list of segments that can't be",
                                    "the bus did not carry out a read of this end's memory",
                                    "the bus did not carry out a write of this end's memory",
                                    "the wire is down, or went down",
                                    "the other end has no receive for the message",
                                    "the message is longer than the receive for it",
                                    "the bus did not carry out a read or a write at the other end",
                                    "the other end does not permit this: no such key, not within its region, or not so",
                                    "all keys are in use"};
  if (status < std::size(kWords)) return fmt::format("{} (status {})", kWords[status], status);
  return fmt::format("status {}, which no specification has", status);
}

peer::SegmentLimits limits_of(const NicFacts& facts) {
  // Whole pages, so that what is behind a cut begins with one.
  return {.max_segment_bytes = kMostSegmentBytes / 4096 * 4096,
          .max_segments = std::min(facts.max_segments, kMaxSegmentsInList),
          .boundary_bytes = facts.boundary_bytes,
          .address_bits = facts.address_bits};
}

ChannelImpl::ChannelImpl(Device& device, Kind kind, ring_device::RingParts parts, ChannelLists lists)
    : device_(device),
      kind_(kind),
      lists_(std::move(lists)),
      limits_(limits_of(device.facts)),
      sent_(parts.entries - 1),
      ring_(std::move(parts)) {
  limits_.max_segments = lists_.segments;
}

bool ChannelImpl::takes(Opcode opcode) const {
  switch (opcode) {
    case Opcode::nop:
      return true;
    case Opcode::send:
    case Opcode::write:
    case Opcode::read:
    case Opcode::expose:
      return kind_ == Kind::sends;
    case Opcode::receive:
      return kind_ == Kind::receives;
  }
  return false;
}

Result<std::uint64_t> ChannelImpl::add_up(std::span<const DmaSegment> memory) const {
  peer::SegmentLimits limits = limits_;
  // Memory that is one piece has no list, and so as many bytes as it likes.
  limits.max_segment_bytes = memory.size() == 1 ? kMostBytes : kMostSegmentBytes;
  if (const auto fits = peer::check(memory, limits); !fits)
    return fail(
        device_.error(is_too_much(fits.error()) ? ErrorCode::out_of_range : ErrorCode::invalid_argument, kSubmitting,
                      fmt::format("the memory is not such that the NIC takes it: {}", peer::explain(fits.error())),
                      "cut it as segment_limits() says, or move it in several commands"));
  for (const DmaSegment& segment : memory)
    if (segment.kind != SegmentKind::iova && segment.kind != SegmentKind::bus_address)
      return fail(device_.error(ErrorCode::invalid_argument, kSubmitting,
                                fmt::format("{:#x} is no address on its bus", segment.address.value)));
  return *peer::size_of(memory);
}

Result<std::uint64_t> ChannelImpl::check(const Command& command) const {
  const auto refuse = [&](ErrorCode code, std::string why, std::string cure = {}) {
    return fail(device_.error(code, kSubmitting, std::move(why), std::move(cure)));
  };
  if (!takes(command.opcode))
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("a channel that {} has no opcode {:#04x}", kind_ == Kind::sends ? "sends" : "receives",
                              static_cast<unsigned>(command.opcode)));
  if (command.opcode == Opcode::nop) {
    if (!command.memory.empty()) return refuse(ErrorCode::invalid_argument, "nop moves nothing");
    return 0;
  }
  if (command.memory.empty()) return refuse(ErrorCode::invalid_argument, "there is no memory");
  const auto bytes = add_up(command.memory);
  if (!bytes) return bytes;
  const bool exposes = command.opcode == Opcode::expose;
  if (const std::uint64_t most = exposes ? kMostBytes : device_.facts.max_message_bytes; *bytes > most)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("{} bytes are more than the {} that one command may have", *bytes, most),
                  "divide them among several commands");
  if (const auto access = static_cast<unsigned>(command.remote_access); exposes && (access == 0 || access > 3))
    return refuse(ErrorCode::invalid_argument, fmt::format("there is no access {}", access));
  return bytes;
}

ChannelImpl::Memory ChannelImpl::lay_out(std::span<const DmaSegment> memory, std::size_t slot) {
  if (memory.empty()) return {};
  if (memory.size() == 1) return {.address = memory[0].address.value, .segments = 0};
  const std::size_t at = slot * lists_.segments * kSegmentBytes;
  std::byte* into = lists_.memory.bytes().data() + at;
  for (const DmaSegment& segment : memory) {
    const SegmentFields fields{.address = segment.address.value, .bytes = static_cast<std::uint32_t>(segment.bytes)};
    std::memcpy(into, &fields, sizeof fields);
    into += sizeof fields;
  }
  return {.address = lists_.memory.address().value + at, .segments = static_cast<std::uint32_t>(memory.size())};
}

Result<void> ChannelImpl::submit(const Command& command) {
  if (!ring_.has_room()) return fail(ring_.no_room());
  const auto bytes = check(command);
  if (!bytes) return fail(bytes.error());
  const bool is_remote = command.opcode == Opcode::write || command.opcode == Opcode::read;
  const unsigned access = command.opcode == Opcode::expose ? static_cast<unsigned>(command.remote_access) : 0;
  const auto [slot, word] = ring_.open(command.tag);
  sent_[slot] = {.opcode = command.opcode, .bytes = *bytes};
  const Memory memory = lay_out(command.memory, slot);
  ring_.push(CommandFields{
      .word = word.with(ring_device::CommandWord::opcode, static_cast<std::uint32_t>(command.opcode))
                  .with(ring_device::CommandWord::interrupt, command.interrupt)
                  .raw,
      .list = ListWord{}
                  .with(ListWord::segments, memory.segments)
                  .with(ListWord::remote_reads, (access & static_cast<unsigned>(Access::read)) != 0)
                  .with(ListWord::remote_writes, (access & static_cast<unsigned>(Access::write)) != 0)
                  .raw,
      .address = memory.address,
      .bytes = *bytes,
      .key = is_remote ? command.key.value : 0,
      .remote_offset = is_remote ? command.remote_offset : 0,
  });
  return {};
}

// What the page says of a result, for each opcode.
bool ChannelImpl::is_possible(const ring_device::Ring::Answer& answer) const {
  const Sent& sent = sent_[answer.slot];
  const bool is_done = answer.status == 0;
  if (sent.opcode == Opcode::expose) {
    const auto key = KeyBits::from(answer.result);
    return is_done ? key.get(KeyBits::zero) == 0 && key.get(KeyBits::index) < device_.facts.keys : answer.result == 0;
  }
  if (sent.opcode == Opcode::receive) {
    // The bytes of the message, and there is none of no bytes.
    if (is_done) return answer.result != 0 && answer.result <= sent.bytes;
    if (answer.status == kMessageTooLong) return answer.result > sent.bytes && answer.result <= kMostBytes;
  }
  return is_done ? answer.result == sent.bytes : answer.result <= sent.bytes;
}

Result<std::size_t> ChannelImpl::poll(std::span<CommandResult> results) {
  return ring_.poll(
      results, [&] { return moved_bytes(); },
      [&](const ring_device::Ring::Answer& answer) { return is_possible(answer); });
}

std::uint64_t ChannelImpl::moved_bytes() { return read<MovedRegister>(*device_.registers, ring_.place()).raw; }

}  // namespace barter::drivers::nic
