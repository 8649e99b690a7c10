// What all parts of the driver share, besides what every device with rings has.
#pragma once
#include "barter/result.hpp"
#include "drivers/nic/nic.h"
#include "drivers/nic/registers.h"
#include "drivers/ring_device/device.h"

namespace barter::drivers::nic {

struct Device : ring_device::Device {
  using ring_device::Device::Device;
  NicFacts facts;
};

// bring_up.cc: checks what the NIC says.
[[nodiscard]] Result<void> read_facts(Device& device);

}  // namespace barter::drivers::nic
