// The Controller Memory Buffer (NVMe base 2.0, section 8.5).
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "drivers/nvme/device.h"

namespace barter::drivers::nvme {

struct MemoryBuffer {
  ControllerMemoryInfo info;
  std::unique_ptr<pci::Mmio> bar;  // a mapping of its own, even where it is BAR 0
  BusAddress address;
  std::span<std::byte> bytes;  // empty if the CPU can't have it
};

// Turns the CMB on, if there is one: its registers, then its place in the controller's address space, which is made the
// same as on the bus. Nothing, if the controller has none; an error, if what it says of it can't be.
[[nodiscard]] Result<std::optional<MemoryBuffer>> enable_memory_buffer(Device& device);

}  // namespace barter::drivers::nvme
