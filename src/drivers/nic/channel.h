// A channel: what a command may be, how it and its list are written, and what its result may be. Its rings are those of every
// device with rings.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "drivers/nic/device.h"
#include "drivers/ring_device/ring.h"
#include "peer/segments.h"

namespace barter::drivers::nic {

inline constexpr std::uint32_t kMaxSegmentsInList = 4096;

// What the memory of a command may be for this NIC, its number of segments included.
[[nodiscard]] peer::SegmentLimits limits_of(const NicFacts& facts);

// The two of a pair.
enum class Kind : std::uint8_t { sends, receives };

struct ChannelLists {
  std::uint32_t segments = 0;  // of the longest list
  pci::DmaBuffer memory;       // one for each slot of the ring
};

class ChannelImpl final : public Channel {
 public:
  ChannelImpl(Device& device, Kind kind, ring_device::RingParts parts, ChannelLists lists);
  // The NIC runs the channel, or the error says why not.
  [[nodiscard]] Result<void> start() { return ring_.start(); }

  [[nodiscard]] std::uint32_t capacity() const override { return ring_.capacity(); }
  [[nodiscard]] std::uint32_t max_segments() const override { return lists_.segments; }
  [[nodiscard]] std::uint32_t in_flight() const override { return ring_.in_flight(); }
  [[nodiscard]] Result<void> submit(const Command& command) override;
  void ring() override { ring_.ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results) override;
  [[nodiscard]] bool take_interrupt() override { return ring_.take_interrupt(); }
  [[nodiscard]] std::uint64_t moved_bytes() override;

 private:
  // What was asked, to hold the answer against.
  struct Sent {
    Opcode opcode = Opcode::nop;
    std::uint64_t bytes = 0;
  };
  struct Memory {
    std::uint64_t address = 0;
    std::uint32_t segments = 0;  // 0: one piece
  };
  [[nodiscard]] bool takes(Opcode opcode) const;
  // How many bytes its memory has.
  [[nodiscard]] Result<std::uint64_t> check(const Command& command) const;
  [[nodiscard]] Result<std::uint64_t> add_up(std::span<const DmaSegment> memory) const;
  // Writes the list of a slot, if it needs one.
  [[nodiscard]] Memory lay_out(std::span<const DmaSegment> memory, std::size_t slot);
  [[nodiscard]] bool is_possible(const ring_device::Ring::Answer& answer) const;

  Device& device_;
  const Kind kind_;
  ChannelLists lists_;  // the NIC reads them until the ring is gone
  peer::SegmentLimits limits_;
  std::vector<Sent> sent_;  // for each slot of the ring
  ring_device::Ring ring_;
};

}  // namespace barter::drivers::nic
