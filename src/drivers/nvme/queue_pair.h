// An I/O queue pair. The hot path of the driver: submit(), ring() and poll() touch preallocated memory only.
//
// A command lives in a slot from submit() to its completion. The command id names the slot and which use of it this is:
//
//   bits 15     0, so that no id is FFFFh, which the specification keeps for "no command" (base 2.0, section 3.3.3.1)
//   bits 14:12  the slot's generation, which each use moves on
//   bits 11:0   the slot
//
// so a completion that comes twice, or for a command that was never sent, is recognised and not followed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "drivers/nvme/data_pointer.h"
#include "drivers/nvme/device.h"
#include "drivers/nvme/rings.h"

namespace barter::drivers::nvme {

class QueuePairImpl;

// What a queue pair needs of its controller besides the device. The controller outlives it.
class QueueOwner {
 public:
  virtual ~QueueOwner() = default;
  // Deletes both queues on the device, or stops the device. When it returns, the device doesn't touch them any more.
  virtual void retire(QueuePairImpl& queue) = 0;
};

struct QueueParts {
  Device& device;
  QueueOwner& owner;
  std::span<const NamespaceFacts> namespaces;  // of the controller
  DataPointerRules rules;
  // The CMB: a command has all of its data there or none, unless the controller says CMBLOC.CDMMMS (base 2.0, section
  // 3.1.3.11), which is not looked at.
  DmaSegment own_memory;
  std::uint64_t max_transfer_bytes = 0;
  std::uint16_t id = 0;
  std::uint16_t entries = 0;
  std::optional<std::uint16_t> interrupt_vector;
  ControlMemory completions;                // the ring
  ControlMemory submissions;                // the ring, if it is in host memory
  std::span<std::byte> submissions_in_cmb;  // otherwise
  ControlMemory lists;                      // kListBytes for each slot
};

class QueuePairImpl final : public QueuePair {
 public:
  explicit QueuePairImpl(QueueParts parts);
  ~QueuePairImpl() override;
  QueuePairImpl(const QueuePairImpl&) = delete;
  QueuePairImpl& operator=(const QueuePairImpl&) = delete;

  [[nodiscard]] std::uint16_t id() const override { return parts_.id; }
  [[nodiscard]] std::uint16_t capacity() const override { return slot_count_; }
  [[nodiscard]] std::uint16_t in_flight() const override {
    return static_cast<std::uint16_t>(slot_count_ - free_count_);
  }
  [[nodiscard]] peer::SegmentLimits segment_limits() const override {
    peer::SegmentLimits limits = data_limits(parts_.rules);
    limits.apart = parts_.own_memory;
    return limits;
  }
  [[nodiscard]] Result<void> submit(const Command& command) override;
  void ring() override;
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results) override;
  [[nodiscard]] bool take_interrupt() override;

  // From now on nothing is submitted, and poll() gives this error.
  void break_with(Error error);
  [[nodiscard]] std::span<std::byte> submissions_in_cmb() const { return parts_.submissions_in_cmb; }

 private:
  struct Slot {
    std::uint64_t tag = 0;
    base::TimePoint seen_at{};  // when a look at the clock first found the command in flight; the origin: not yet
    std::uint16_t next_id = 0;  // of the command that uses the slot next
    std::uint16_t open_id = kNoCommand;  // of the one that is in flight
    [[nodiscard]] bool is_in_flight() const { return open_id != kNoCommand; }
  };
  static constexpr std::uint16_t kNoCommand = 0xffff;

  [[nodiscard]] Result<void> submit_data(const Command& command);
  [[nodiscard]] Error refuse(const Command& command) const;
  void start(std::uint16_t slot, SubmissionEntry& entry, std::uint64_t tag);
  [[nodiscard]] bool accept(const CompletionEntry& completion, CommandResult& result);
  void look_at_the_clock();
  [[nodiscard]] std::string state() const;

  QueueParts parts_;
  SubmissionRing submissions_;
  CompletionRing completions_;
  std::uint16_t slot_count_;
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> free_;  // a stack; the first free_count_ are free
  std::uint16_t free_count_ = 0;
  bool is_broken_ = false;
  const NamespaceFacts* last_namespace_ = nullptr;
  unsigned polls_until_clock_;
  base::TimePoint next_look_{};
  std::uint16_t controller_head_ = 0;  // SQHD of the last completion: only for messages
  std::optional<Error> broken_;
};

}  // namespace barter::drivers::nvme
