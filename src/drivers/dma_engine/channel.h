// A channel's rings and lists, as the host keeps them. submit(), ring() and poll() touch preallocated memory only.
//
// A command lives in a slot from submit() to its completion; the slot owns the place of its two lists. Its id names the slot
// (bits 11:0) and which use of the slot it is (15:12), so a completion that comes twice, or for a command that was never sent,
// is recognised and not followed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drivers/dma_engine/device.h"

namespace barter::drivers::dma_engine {

inline constexpr std::uint32_t kMaxRingEntries = 4096;
inline constexpr std::uint32_t kMaxSegmentsInList = 4096;

// What a channel needs besides the device. The owner outlives it.
class ChannelOwner {
 public:
  virtual ~ChannelOwner() = default;
  // Stops the channel, or the engine. When it returns, the engine doesn't touch the rings any more.
  virtual void retire(std::uint32_t channel) = 0;
};

struct ChannelParts {
  Device& device;
  ChannelOwner& owner;
  std::uint32_t number = 0;
  std::uint32_t entries = 0;
  std::uint32_t segments = 0;  // of the longest list
  pci::DmaBuffer descriptors;
  pci::DmaBuffer completions;
  pci::DmaBuffer lists;  // two for each slot, source first
};

class ChannelImpl final : public Channel {
 public:
  // The engine runs the channel, or the error says why not; then nothing of it is left.
  [[nodiscard]] static Result<std::unique_ptr<ChannelImpl>> create(ChannelParts parts);
  ~ChannelImpl() override;

  [[nodiscard]] std::uint32_t number() const override { return parts_.number; }
  [[nodiscard]] std::uint32_t capacity() const override { return static_cast<std::uint32_t>(slots_.size()); }
  [[nodiscard]] std::uint32_t max_segments() const override { return parts_.segments; }
  [[nodiscard]] std::uint32_t in_flight() const override { return capacity() - free_count_; }
  [[nodiscard]] Result<void> submit(const Command& command) override;
  void ring() override;
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results) override;
  [[nodiscard]] bool take_interrupt() override;
  [[nodiscard]] std::uint64_t moved_bytes() override;

 private:
  struct Slot {
    std::uint64_t tag = 0;
    std::uint64_t bytes = 0;
    std::uint16_t next_id = 0;
    bool is_open = false;
  };
  struct Side {
    std::uint64_t address = 0;
    std::uint32_t segments = 0;  // 0: one piece
  };
  explicit ChannelImpl(ChannelParts parts);
  [[nodiscard]] Result<void> start();
  // How many bytes the command moves.
  [[nodiscard]] Result<std::uint64_t> check(const Command& command) const;
  [[nodiscard]] Result<std::uint64_t> add_up(std::span<const DmaSegment> segments) const;
  // Writes the list of one side of a slot, if it needs one.
  [[nodiscard]] Side lay_out(std::span<const DmaSegment> segments, std::size_t list);
  [[nodiscard]] bool take(CommandResult& result);
  [[nodiscard]] bool accept(std::uint32_t place, std::uint32_t word, std::uint64_t moved, CommandResult& result);
  void look_at_the_clock();
  void break_with(Error error);

  ChannelParts parts_;
  BarOffset place_;
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> free_;  // a stack; the first free_count_ are free
  std::uint32_t free_count_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t rung_tail_ = 0;
  std::uint32_t completion_head_ = 0;
  bool phase_ = true;  // the memory is zero at first, and the first pass writes ones
  unsigned polls_until_clock_;
  base::TimePoint quiet_since_{};  // the origin: not looked yet
  std::uint64_t moved_when_quiet_ = 0;
  std::optional<Error> broken_;
};

}  // namespace barter::drivers::dma_engine
