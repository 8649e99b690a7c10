// A channel: what a command may be, and how it is written. Its rings are those of every device with rings.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "drivers/accelerator/device.h"
#include "drivers/ring_device/ring.h"

namespace barter::drivers::accelerator {

class ChannelImpl final : public Channel {
 public:
  ChannelImpl(Device& device, Kind kind, ring_device::RingParts parts)
      : device_(device), kind_(kind), ring_(std::move(parts)) {}
  // The device runs the channel, or the error says why not.
  [[nodiscard]] Result<void> start();

  [[nodiscard]] std::uint32_t number() const override { return ring_.number(); }
  [[nodiscard]] std::uint32_t capacity() const override { return ring_.capacity(); }
  [[nodiscard]] std::uint32_t in_flight() const override { return ring_.in_flight(); }
  [[nodiscard]] Result<void> submit(const Command& command) override;
  void ring() override { ring_.ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results) override;
  [[nodiscard]] Result<void> answer(PageAnswer answer) override;
  [[nodiscard]] bool take_interrupt() override { return ring_.take_interrupt(); }
  [[nodiscard]] std::optional<std::uint64_t> progress() override;

 private:
  [[nodiscard]] Result<void> check(const Command& command) const;
  // Where in the memory the progress counter lies.
  [[nodiscard]] std::uint64_t counter() const { return device_.control_offset + std::uint64_t{8} * ring_.number(); }

  Device& device_;
  const Kind kind_;
  ring_device::Ring ring_;
};

}  // namespace barter::drivers::accelerator
