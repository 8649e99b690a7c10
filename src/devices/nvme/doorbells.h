// The doorbells: the only state that the host's threads and the controller's step share on the way of every command.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

namespace barter::devices::nvme {

// What can be wrong with a doorbell write, as the Asynchronous Event Information for error status numbers it (base 2.0,
// 5.2.1).
enum class DoorbellVerdict : std::uint8_t { invalid_register = 0, invalid_value = 1, valid = 0xff };

// One doorbell. The host stores `value` with release, after the entries that it is about, and the step loads it with
// acquire, before it reads them (docs/memory-order.md, rule 1). The step stores its own pointer before the completion entry that
// tells the host about it, so a host that obeys the rules is never taken for one that doesn't.
struct alignas(64) Doorbell {
  std::atomic<std::uint32_t> value = 0;       // a tail for submission queues, a head for completion queues
  std::atomic<std::uint32_t> entries = 0;     // 0: there is no such queue
  std::atomic<std::uint32_t> controller = 0;  // the other pointer: a head for submission, a tail for completion queues

  // The step's side.
  void open(std::uint32_t queue_entries) {
    value.store(0, std::memory_order_relaxed);
    controller.store(0, std::memory_order_relaxed);
    entries.store(queue_entries, std::memory_order_release);
  }
  void close() { entries.store(0, std::memory_order_release); }
};

class Doorbells {
 public:
  explicit Doorbells(std::uint32_t queues) : doorbells_(std::size_t{queues} * 2) {}

  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(doorbells_.size()); }
  [[nodiscard]] Doorbell& tail_of(std::uint16_t submission_queue) {
    return doorbells_[std::size_t{submission_queue} * 2];
  }
  [[nodiscard]] Doorbell& head_of(std::uint16_t completion_queue) {
    return doorbells_[std::size_t{completion_queue} * 2 + 1];
  }

  // The host writes the `index`th doorbell. An invalid value changes nothing.
  [[nodiscard]] DoorbellVerdict write(std::uint32_t index, std::uint32_t value) {
    Doorbell& doorbell = doorbells_[index];
    const std::uint32_t entries = doorbell.entries.load(std::memory_order_acquire);
    if (entries == 0) return DoorbellVerdict::invalid_register;
    const std::uint32_t old = doorbell.value.load(std::memory_order_relaxed);
    if (value >= entries || value == old) return DoorbellVerdict::invalid_value;
    const std::uint32_t moved = distance(old, value, entries);
    const std::uint32_t other = doorbell.controller.load(std::memory_order_acquire);
    const bool is_tail = index % 2 == 0;
    // A tail may not catch up with the head; a head may not pass the tail.
    const std::uint32_t room = is_tail ? entries - 1 - distance(other, old, entries) : distance(old, other, entries);
    if (moved > room) return DoorbellVerdict::invalid_value;
    doorbell.value.store(value, std::memory_order_release);
    return DoorbellVerdict::valid;
  }

  static constexpr std::uint32_t distance(std::uint32_t from, std::uint32_t to, std::uint32_t entries) {
    return to >= from ? to - from : to + entries - from;
  }

 private:
  std::vector<Doorbell> doorbells_;
};

}  // namespace barter::devices::nvme
