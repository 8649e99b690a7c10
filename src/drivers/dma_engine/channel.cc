#include "drivers/dma_engine/channel.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"

namespace barter::drivers::dma_engine {
namespace {

constexpr std::uint16_t kSlotMask = 0x0fff;
constexpr std::uint16_t kUse = 0x1000;
// poll() looks at the clock once in so many calls: a look costs as much as several empty polls.
constexpr unsigned kPollsPerClockLook = 64;
constexpr std::uint64_t kMostSegmentBytes = std::numeric_limits<std::uint32_t>::max();
constexpr std::string_view kSubmitting = "submitting a command to the DMA engine";
constexpr std::string_view kPolling = "waiting for completions of the DMA engine";

std::uint32_t load_dword(std::byte* at, std::memory_order order) {
  return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at)).load(order);
}

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

ChannelImpl::ChannelImpl(ChannelParts parts)
    : parts_(std::move(parts)),
      place_(channel_place(parts_.number)),
      slots_(parts_.entries - 1),
      free_(slots_.size()),
      free_count_(static_cast<std::uint32_t>(slots_.size())),
      polls_until_clock_(kPollsPerClockLook) {
  for (std::uint16_t index = 0; index < slots_.size(); ++index) {
    free_[index] = static_cast<std::uint16_t>(slots_.size() - 1 - index);
    slots_[index].next_id = index;
  }
}

Result<std::unique_ptr<ChannelImpl>> ChannelImpl::create(ChannelParts parts) {
  std::unique_ptr<ChannelImpl> channel(new ChannelImpl(std::move(parts)));
  if (auto started = channel->start(); !started) return fail(std::move(started.error()));
  return channel;
}

ChannelImpl::~ChannelImpl() { parts_.owner.retire(parts_.number); }

Result<void> ChannelImpl::start() {
  pci::Mmio& registers = *parts_.device.registers;
  write(registers, RingBaseRegister::from(parts_.descriptors.address().value), place_);
  write(registers, CompletionBaseRegister::from(parts_.completions.address().value), place_);
  write(registers, RingSizeRegister::from(static_cast<std::uint32_t>(std::countr_zero(parts_.entries))), place_);
  write(registers, RunRegister{}.with(RunRegister::run, true), place_);
  ChannelStatusRegister status;
  const bool in_time = parts_.device.wait([&] {
    status = read<ChannelStatusRegister>(registers, place_);
    return status.raw != 0;
  });
  if (in_time && !status.is_gone() && status.get(ChannelStatusRegister::running) &&
      !status.get(ChannelStatusRegister::error))
    return {};
  return fail(parts_.device.silence("starting a channel of the DMA engine",
                                    fmt::format("channel {} has status {:#x}", parts_.number, status.raw)));
}

Result<std::uint64_t> ChannelImpl::add_up(std::span<const DmaSegment> segments) const {
  const auto refuse = [&](ErrorCode code, std::string why, std::string cure = {}) {
    return fail(parts_.device.error(code, kSubmitting, std::move(why), std::move(cure)));
  };
  if (segments.size() > parts_.segments)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("a list of {} segments is too long: {} are taken", segments.size(), parts_.segments),
                  "move it in several commands");
  std::uint64_t bytes = 0;
  for (const DmaSegment& segment : segments) {
    if (segment.bytes == 0 || segment.bytes - 1 > ~segment.address.value)
      return refuse(ErrorCode::invalid_argument, fmt::format("a segment of {} bytes at {:#x} is not possible",
                                                             segment.bytes, segment.address.value));
    if (segment.bytes > parts_.device.facts.max_transfer_bytes - bytes ||
        (segments.size() > 1 && segment.bytes > kMostSegmentBytes))
      return refuse(
          ErrorCode::out_of_range,
          fmt::format("more than the {} bytes that one command moves", parts_.device.facts.max_transfer_bytes),
          "move it in several commands");
    bytes += segment.bytes;
  }
  return bytes;
}

Result<std::uint64_t> ChannelImpl::check(const Command& command) const {
  const Device& device = parts_.device;
  if (free_count_ == 0)
    return fail(device.error(ErrorCode::exhausted, kSubmitting,
                             fmt::format("all {} commands of channel {} are in flight", capacity(), parts_.number),
                             "poll for completions first"));
  const auto from = add_up(command.from);
  if (!from) return from;
  const auto to = add_up(command.to);
  if (!to) return to;
  const auto refuse = [&](std::string why) {
    return fail(device.error(ErrorCode::invalid_argument, kSubmitting, std::move(why)));
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
  const std::size_t at = list * parts_.segments * kSegmentBytes;
  std::byte* into = parts_.lists.bytes().data() + at;
  for (const DmaSegment& segment : segments) {
    const SegmentFields fields{.address = segment.address.value, .bytes = static_cast<std::uint32_t>(segment.bytes)};
    std::memcpy(into, &fields, sizeof fields);
    into += sizeof fields;
  }
  return {.address = parts_.lists.address().value + at, .segments = static_cast<std::uint32_t>(segments.size())};
}

Result<void> ChannelImpl::submit(const Command& command) {
  if (broken_) return fail(*broken_);
  const auto bytes = check(command);
  if (!bytes) return fail(bytes.error());
  const std::uint16_t index = free_[--free_count_];
  Slot& slot = slots_[index];
  slot.tag = command.tag;
  slot.bytes = *bytes;
  slot.is_open = true;
  const Side from = lay_out(command.from, std::size_t{2} * index);
  const Side to = lay_out(command.to, std::size_t{2} * index + 1);
  const CommandFields fields{
      .word = CommandWord{}
                  .with(CommandWord::opcode, static_cast<std::uint32_t>(command.opcode))
                  .with(CommandWord::interrupt, command.interrupt)
                  .with(CommandWord::id, slot.next_id)
                  .raw,
      .lists = ListsWord{}
                   .with(ListsWord::source_segments, from.segments)
                   .with(ListsWord::destination_segments, to.segments)
                   .raw,
      .source = command.opcode == Opcode::fill ? command.pattern : from.address,
      .destination = to.address,
      .bytes = *bytes,
  };
  std::memcpy(parts_.descriptors.bytes().data() + tail_ * kDescriptorBytes, &fields, sizeof fields);
  tail_ = (tail_ + 1) % parts_.entries;
  return {};
}

// The descriptors and lists are there for whoever sees the doorbell (docs/memory-order.md, rule 1).
void ChannelImpl::ring() {
  if (tail_ == rung_tail_ || broken_) return;
  write(*parts_.device.registers, TailDoorbell::from(tail_), place_);
  rung_tail_ = tail_;
}

Result<std::size_t> ChannelImpl::poll(std::span<CommandResult> results) {
  if (broken_) return fail(*broken_);
  std::size_t taken = 0;
  while (taken < results.size() && take(results[taken])) ++taken;
  if (taken != 0) {
    write(*parts_.device.registers, TakenDoorbell::from(completion_head_), place_);
    quiet_since_ = {};
  }
  if (--polls_until_clock_ == 0) look_at_the_clock();
  // What was taken before the trouble is delivered first; the next call tells the trouble.
  if (broken_ && taken == 0) return fail(*broken_);
  return taken;
}

// The last dword is read first and with acquire: what the engine wrote before it, the rest of the entry and the data, is seen
// after it (docs/memory-order.md, rules 3 and 4).
bool ChannelImpl::take(CommandResult& result) {
  std::byte* const at = parts_.completions.bytes().data() + completion_head_ * kCompletionBytes;
  const std::uint32_t word = load_dword(at + 12, std::memory_order_acquire);
  if (CompletionWord::from(word).get(CompletionWord::phase) != phase_) return false;
  const std::uint64_t low = load_dword(at, std::memory_order_relaxed);
  const std::uint64_t high = load_dword(at + 4, std::memory_order_relaxed);
  const std::uint32_t place = load_dword(at + 8, std::memory_order_relaxed);
  if (!accept(place, word, high << 32 | low, result)) return false;
  if (++completion_head_ == parts_.entries) {
    completion_head_ = 0;
    phase_ = !phase_;
  }
  return true;
}

bool ChannelImpl::accept(std::uint32_t place, std::uint32_t word, std::uint64_t moved, CommandResult& result) {
  const auto where = CompletionPlace::from(place);
  const auto what = CompletionWord::from(word);
  const auto id = static_cast<std::uint16_t>(what.get(CompletionWord::id));
  const auto status = what.get(CompletionWord::status);
  const std::size_t index = id & kSlotMask;
  const bool is_known = index < slots_.size() && slots_[index].is_open && slots_[index].next_id == id;
  const bool is_true = is_known && where.get(CompletionPlace::channel) == parts_.number &&
                       where.get(CompletionPlace::head) < parts_.entries && what.get(CompletionWord::zero) == 0 &&
                       status <= kLastStatus && moved <= slots_[index].bytes &&
                       (status != 0 || moved == slots_[index].bytes);
  if (!is_true) {
    break_with(parts_.device.error(
        ErrorCode::device_failed, kPolling,
        is_known ? fmt::format("channel {} completed with {:#010x} {:#010x} and {} bytes moved, which can't be",
                               parts_.number, place, word, moved)
                 : fmt::format("channel {} completed command {:#06x}, which is not in flight", parts_.number, id),
        "reset it"));
    return false;
  }
  Slot& slot = slots_[index];
  result = {.tag = slot.tag, .moved_bytes = moved, .status = static_cast<std::uint8_t>(status)};
  slot.is_open = false;
  slot.next_id = static_cast<std::uint16_t>(id + kUse);
  free_[free_count_++] = static_cast<std::uint16_t>(index);
  return true;
}

// A long command is not an overdue one: as long as bytes move, it is waited for.
void ChannelImpl::look_at_the_clock() {
  polls_until_clock_ = kPollsPerClockLook;
  if (in_flight() == 0) {
    quiet_since_ = {};
    return;
  }
  const base::TimePoint now = parts_.device.clock().now();
  const std::uint64_t moved = moved_bytes();
  if (quiet_since_ == base::TimePoint{} || moved != moved_when_quiet_) {
    quiet_since_ = now;
    moved_when_quiet_ = moved;
    // What is gone reads as all ones, which is not progress.
    if (moved != ~std::uint64_t{0}) return;
  }
  const auto status = read<ChannelStatusRegister>(*parts_.device.registers, place_);
  if (!status.is_gone() && status.get(ChannelStatusRegister::error)) {
    break_with(parts_.device.error(ErrorCode::device_failed, kPolling,
                                   fmt::format("channel {} has stopped with an error, cause {}", parts_.number,
                                               status.get(ChannelStatusRegister::cause)),
                                   "reset it"));
  } else if (status.is_gone() || now - quiet_since_ >= parts_.device.options.command_timeout) {
    break_with(parts_.device.silence(kPolling, fmt::format("channel {} has {} commands in flight and status {:#x}",
                                                           parts_.number, in_flight(), status.raw)));
  }
}

bool ChannelImpl::take_interrupt() {
  return parts_.device.options.use_interrupts && parts_.device.function->take_interrupt(parts_.number);
}

std::uint64_t ChannelImpl::moved_bytes() { return read<MovedRegister>(*parts_.device.registers, place_).raw; }

void ChannelImpl::break_with(Error error) {
  if (broken_) return;
  base::log::warn("the DMA engine failed: {}", error.message());
  broken_ = std::move(error);
}

}  // namespace barter::drivers::dma_engine
