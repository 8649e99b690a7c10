// What all parts of the driver share, besides what every device with rings has.
#pragma once
#include "barter/result.hpp"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/registers.h"
#include "drivers/ring_device/device.h"

namespace barter::drivers::dma_engine {

struct Device : ring_device::Device {
  using ring_device::Device::Device;
  EngineFacts facts;
};

// bring_up.cc: checks what the engine says.
[[nodiscard]] Result<void> read_facts(Device& device);

}  // namespace barter::drivers::dma_engine
