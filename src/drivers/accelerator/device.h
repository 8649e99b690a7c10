// What all parts of the driver share, besides what every device with rings has.
#pragma once
#include <cstdint>
#include <memory>

#include "barter/result.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/registers.h"
#include "drivers/ring_device/device.h"

namespace barter::drivers::accelerator {

struct Device : ring_device::Device {
  using ring_device::Device::Device;
  std::unique_ptr<pci::Mmio> memory;  // BAR 2; goes before the function, which is the base's
  AcceleratorFacts facts;
  std::uint64_t window_base = 0;
  std::uint64_t control_offset = 0;  // where in the memory the driver's own 64 KiB lie
};

// bring_up.cc: each step checks what the device says.
[[nodiscard]] Result<void> open_function(Device& device);
[[nodiscard]] Result<void> read_facts(Device& device);
// Disables it, and enables it with nothing that an earlier user has left.
[[nodiscard]] Result<void> start_afresh(Device& device);

}  // namespace barter::drivers::accelerator
