// A channel: what a command may be, and how it and its lists are written. Its rings are those of every device with rings.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "drivers/dma_engine/device.h"
#include "drivers/ring_device/ring.h"

namespace barter::drivers::dma_engine {

inline constexpr std::uint32_t kMaxSegmentsInList = 4096;

struct ChannelLists {
  std::uint32_t segments = 0;  // of the longest list
  pci::DmaBuffer memory;       // two lists for each slot of the ring, source first
};

class ChannelImpl final : public Channel {
 public:
  ChannelImpl(Device& device, ring_device::RingParts parts, ChannelLists lists)
      : device_(device), lists_(std::move(lists)), ring_(std::move(parts)) {}
  // The engine runs the channel, or the error says why not.
  [[nodiscard]] Result<void> start() { return ring_.start(); }

  [[nodiscard]] std::uint32_t number() const override { return ring_.number(); }
  [[nodiscard]] std::uint32_t capacity() const override { return ring_.capacity(); }
  [[nodiscard]] std::uint32_t max_segments() const override { return lists_.segments; }
  [[nodiscard]] std::uint32_t in_flight() const override { return ring_.in_flight(); }
  [[nodiscard]] Result<void> submit(const Command& command) override;
  void ring() override { ring_.ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results) override;
  [[nodiscard]] bool take_interrupt() override { return ring_.take_interrupt(); }
  [[nodiscard]] std::uint64_t moved_bytes() override;

 private:
  struct Side {
    std::uint64_t address = 0;
    std::uint32_t segments = 0;  // 0: one piece
  };
  // How many bytes the command moves.
  [[nodiscard]] Result<std::uint64_t> check(const Command& command) const;
  [[nodiscard]] Result<std::uint64_t> add_up(std::span<const DmaSegment> segments) const;
  // Writes the list of one side of a slot, if it needs one.
  [[nodiscard]] Side lay_out(std::span<const DmaSegment> segments, std::size_t list);

  Device& device_;
  ChannelLists lists_;  // the engine reads them until the ring is gone
  ring_device::Ring ring_;
};

}  // namespace barter::drivers::dma_engine
