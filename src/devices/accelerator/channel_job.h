// What a channel of the accelerator adds to the commands that it works through: its progress counter, page faults and page
// requests.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "devices/accelerator/job.h"
#include "devices/accelerator/register_file.h"
#include "devices/ring_device/channel.h"

namespace barter::devices::accelerator {

// What ring_device::Channel asks of it.
class ChannelJob final : public Job {
 public:
  using Descriptor = accelerator::Descriptor;
  using Status = CommandStatus;
  // Copy channels come first. Registers and memory outlive it.
  ChannelJob(std::uint32_t number, RegisterFile& registers, MemoryAccess& memory);

  void attach(fabric::Requester& requester) { memory_.attach(requester); }
  [[nodiscard]] std::string start(const ring_device::ChannelSettings& settings);
  [[nodiscard]] CommandStatus begin(const Descriptor& descriptor);
  void publish(std::uint64_t worked_bytes);
  [[nodiscard]] ring_device::JobEnd end(CommandStatus status);
  [[nodiscard]] bool is_stalled() const { return false; }
  void forget() {}
  [[nodiscard]] std::uint32_t completions() const { return requests_are_on_ ? 2 : 1; }
  [[nodiscard]] std::optional<ring_device::Ring::End> request(CommandStatus status);
  [[nodiscard]] ring_device::Reply reply(std::uint16_t id);

 private:
  const std::uint32_t number_;
  RegisterFile& registers_;
  MemoryAccess& memory_;
  Progress progress_;
  bool requests_are_on_ = false;
  PageFault fault_;  // of the current command; the other channels have theirs
};

}  // namespace barter::devices::accelerator
