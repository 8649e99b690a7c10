#include "drivers/ring_device/ring.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"

namespace barter::drivers::ring_device {
namespace {

constexpr std::uint16_t kSlotMask = 0x0fff;
constexpr std::uint16_t kUse = 0x1000;

}  // namespace

Result<RingParts> prepare_ring(Device& device, const RingWish& wish) {
  const auto first = device.used.begin() + wish.first_channel;
  const auto end = first + wish.channels;
  const auto free = std::find(first, end, false);
  if (free == end)
    return fail(device.error(ErrorCode::exhausted, fmt::format("creating a channel of the {}", device.kind.name),
                             fmt::format("all {} channels{} are in use", wish.channels, wish.which)));
  const std::uint32_t wanted = std::bit_ceil(std::clamp(wish.entries, 2u, kMaxRingEntries));
  const std::uint32_t entries = std::min({wanted, wish.max_entries, kMaxRingEntries});
  auto descriptors = device.function->allocate_dma(entries * kDescriptorBytes, pci::DmaUse::control);
  if (!descriptors) return fail(std::move(descriptors.error()));
  auto completions = device.function->allocate_dma(entries * kCompletionBytes, pci::DmaUse::control);
  if (!completions) return fail(std::move(completions.error()));
  return RingParts{.device = device,
                   .number = static_cast<std::uint32_t>(free - device.used.begin()),
                   .entries = entries,
                   .descriptors = std::move(*descriptors),
                   .completions = std::move(*completions)};
}

Ring::Ring(RingParts parts)
    : parts_(std::move(parts)),
      place_(parts_.device.kind.place(parts_.number)),
      slots_(parts_.entries - 1),
      free_(slots_.size()),
      free_count_(static_cast<std::uint32_t>(slots_.size())) {
  parts_.device.used[parts_.number] = true;
  for (std::uint32_t index = 0; index < free_count_; ++index) {
    free_[index] = static_cast<std::uint16_t>(free_count_ - 1 - index);
    slots_[index].next_id = static_cast<std::uint16_t>(index);
  }
}

Ring::~Ring() {
  Device& device = parts_.device;
  device.registers->store32({place_.value + device.kind.channel.run}, 0);
  const bool stopped = device.wait([&] {
    const auto now = status();
    return now.is_gone() || now.raw == 0;
  });
  if (!stopped) stop_dma(device);
  device.used[parts_.number] = !stopped;  // a channel that does not stop is not used again
}

ChannelStatusBits Ring::status() const {
  const Device& device = parts_.device;
  return ChannelStatusBits::from(device.registers->load32({place_.value + device.kind.channel.status}));
}

std::string Ring::words(std::string_view doing) const {
  return fmt::format("{} the {}", doing, parts_.device.kind.name);
}

Result<void> Ring::start() {
  pci::Mmio& registers = *parts_.device.registers;
  const ChannelRegisters& at = parts_.device.kind.channel;
  registers.store64({place_.value + at.ring_base}, parts_.descriptors.address().value);
  registers.store64({place_.value + at.completion_base}, parts_.completions.address().value);
  registers.store32({place_.value + at.ring_log2}, static_cast<std::uint32_t>(std::countr_zero(parts_.entries)));
  registers.store32({place_.value + at.run}, RunBits{}.with(RunBits::run, true).raw);
  ChannelStatusBits now;
  const bool in_time = parts_.device.wait([&] {
    now = status();
    return now.raw != 0;
  });
  if (in_time && !now.is_gone() && now.get(ChannelStatusBits::running) && !now.get(ChannelStatusBits::error)) return {};
  return fail(parts_.device.silence(words("starting a channel of"),
                                    fmt::format("channel {} has status {:#x}", parts_.number, now.raw)));
}

Error Ring::no_room() const {
  if (broken_) return *broken_;
  return parts_.device.error(ErrorCode::exhausted, words("submitting a command to"),
                             fmt::format("all {} commands of channel {} are in flight", capacity(), parts_.number),
                             "poll for completions first");
}

// The descriptors, and what they name, are there for whoever sees the doorbell (docs/memory-order.md, rule 1).
void Ring::ring() {
  if (tail_ == rung_tail_ || broken_) return;
  parts_.device.registers->store32({place_.value + parts_.device.kind.channel.tail}, tail_);
  rung_tail_ = tail_;
}

void Ring::give_back() {
  parts_.device.registers->store32({place_.value + parts_.device.kind.channel.taken}, completion_head_);
  quiet_since_ = {};
}

bool Ring::accept(std::byte* entry, std::uint32_t word, Answer& answer) {
  const std::uint64_t low = load_dword(entry, std::memory_order_relaxed);
  const std::uint64_t high = load_dword(entry + 4, std::memory_order_relaxed);
  const std::uint32_t place = load_dword(entry + CompletionPlace::kOffset, std::memory_order_relaxed);
  const std::uint64_t result = high << 32 | low;
  const DeviceKind& kind = parts_.device.kind;
  const auto where = CompletionPlace::from(place);
  const auto what = CompletionWord::from(word);
  const auto id = static_cast<std::uint16_t>(what.get(CompletionWord::id));
  const auto status = what.get(CompletionWord::status);
  const std::size_t index = id & kSlotMask;
  const bool is_known = index < slots_.size() && slots_[index].is_open && slots_[index].next_id == id;
  const bool is_request = parts_.takes_requests && kind.is_request(status);
  const bool is_true =
      is_known && where.get(CompletionPlace::channel) == parts_.number &&
      where.get(CompletionPlace::head) < parts_.entries && what.get(CompletionWord::zero) == 0 &&
      (is_request || status <= kind.last_status) &&
      (!kind.counts_bytes || (status == 0 ? result == slots_[index].bytes : result <= slots_[index].bytes));
  if (!is_true) {
    break_with(parts_.device.error(
        ErrorCode::device_failed, words("waiting for completions of"),
        is_known ? fmt::format("channel {} completed with {:#010x} {:#010x}{}, which can't be", parts_.number, place,
                               word, kind.counts_bytes ? fmt::format(" and {} bytes moved", result) : "")
                 : fmt::format("channel {} completed command {:#06x}, which is not in flight", parts_.number, id),
        "reset it"));
    return false;
  }
  Slot& slot = slots_[index];
  answer = {.tag = slot.tag, .result = result, .status = static_cast<std::uint8_t>(status), .slot = index};
  if (is_request) {
    asking_ = id;
  } else {
    slot.is_open = false;
    slot.next_id = static_cast<std::uint16_t>(id + kUse);
    free_[free_count_++] = static_cast<std::uint16_t>(index);
  }
  if (++completion_head_ == parts_.entries) {
    completion_head_ = 0;
    phase_ = !phase_;
  }
  return true;
}

void Ring::disbelieve(const Answer& answer) {
  break_with(
      parts_.device.error(ErrorCode::device_failed, words("waiting for completions of"),
                          fmt::format("channel {} completed a command with status {} and result {:#x}, which can't be",
                                      parts_.number, answer.status, answer.result),
                          "reset it"));
}

// A long command is not an overdue one: as long as bytes are worked through, it is waited for.
void Ring::look_at_the_clock(std::uint64_t worked_bytes) {
  const Device& device = parts_.device;
  const base::TimePoint now = device.clock().now();
  if (quiet_since_ == base::TimePoint{} || worked_bytes != worked_when_quiet_) {
    quiet_since_ = now;
    worked_when_quiet_ = worked_bytes;
    // What is gone reads as all ones, which is not progress.
    if (worked_bytes != ~std::uint64_t{0}) return;
  }
  const ChannelStatusBits state = status();
  if (!state.is_gone() && state.get(ChannelStatusBits::error)) {
    const std::string cause =
        device.kind.tells_cause ? fmt::format(", cause {}", state.get(ChannelStatusBits::cause)) : "";
    break_with(device.error(ErrorCode::device_failed, words("waiting for completions of"),
                            fmt::format("channel {} has stopped with an error{}", parts_.number, cause), "reset it"));
  } else if (state.is_gone() || now - quiet_since_ >= device.options.command_timeout) {
    if (parts_.is_patient && state.get(ChannelStatusBits::running) && !state.is_gone() && device.is_ready()) {
      quiet_since_ = now;
      return;
    }
    break_with(device.silence(
        words("waiting for completions of"),
        fmt::format("channel {} has {} commands in flight and status {:#x}", parts_.number, in_flight(), state.raw)));
  }
}

bool Ring::take_interrupt() {
  return parts_.device.options.use_interrupts && parts_.device.function->take_interrupt(parts_.number);
}

void Ring::break_with(Error error) {
  if (broken_) return;
  base::log::warn("the {} failed: {}", parts_.device.kind.name, error.message());
  broken_ = std::move(error);
}

}  // namespace barter::drivers::ring_device
