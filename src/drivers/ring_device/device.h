// A device with rings, as all parts of its driver share it: the function, its registers, and how trouble is told. A driver's own
// Device derives from it, and is brought up in this order: open_function, check_identity and what else the device says of itself,
// then enable. From open_function on, stop_dma is what ends it.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "barter/result.hpp"
#include "base/clock.h"
#include "drivers/ring_device/options.h"
#include "drivers/ring_device/registers.h"
#include "pci/function.h"

namespace barter::drivers::ring_device {

struct Device {
  Device(const DeviceKind& its_kind, std::unique_ptr<pci::Function> its_function, const Options& its_options);

  const DeviceKind& kind;
  std::unique_ptr<pci::Function> function;
  std::unique_ptr<pci::Mmio> registers;  // BAR 0; goes before the function
  Options options;
  std::string name;                        // for messages: the BDF
  std::array<bool, kMostChannels> used{};  // channels that run, or did not stop

  [[nodiscard]] base::Clock& clock() const { return function->clock(); }
  [[nodiscard]] Error error(ErrorCode code, std::string_view doing, std::string why, std::string cure = {}) const;
  // That of bringing it up.
  [[nodiscard]] Error bring_up_error(ErrorCode code, std::string why, std::string cure = {}) const;
  // What it says of itself can't be.
  [[nodiscard]] Error lie(std::string why) const { return bring_up_error(ErrorCode::device_failed, std::move(why)); }
  // It has not done what it should have by now: is it gone, has it failed, or is it only late?
  [[nodiscard]] Error silence(std::string_view doing, std::string facts) const;
  [[nodiscard]] StatusBits status() const { return StatusBits::from(registers->load32({kind.status})); }
  // Enabled, and neither failed nor gone, which reads as both.
  [[nodiscard]] bool is_ready() const {
    const StatusBits now = status();
    return now.get(StatusBits::ready) && !now.get(StatusBits::fatal);
  }
  template <class Done>
  [[nodiscard]] bool wait(Done&& done) const {
    return base::wait_until(clock(), clock().now() + options.ready_timeout, done);
  }
};

// bring_up.cc: each step checks what the device says.
[[nodiscard]] Result<void> open_function(Device& device);
[[nodiscard]] Result<void> check_identity(Device& device);
// What it says of its longest ring, in entries.
[[nodiscard]] Result<std::uint32_t> longest_ring(const Device& device, unsigned claimed_log2);
[[nodiscard]] Result<void> check_presence(const Device& device);
// Of a device whose CONTROL has RESET: nothing is left of an earlier user.
[[nodiscard]] Result<void> reset(Device& device);
[[nodiscard]] Result<void> disable(Device& device);
[[nodiscard]] Result<void> enable(Device& device);
// No DMA of it after this: disabled, or, if it doesn't answer, without Bus Master Enable.
void stop_dma(Device& device);

}  // namespace barter::drivers::ring_device
