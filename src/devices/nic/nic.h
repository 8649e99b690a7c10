// The model of the NIC: docs/devices/nic.md as a fabric::Device, strict, and sharing nothing with the driver.
//
//   auto here = nic::create_nic({.pairs = 2});
//   auto there = nic::create_nic({});
//   nic::join(**here, **there);  // the wire
//   fabric.plug("nic0", std::move(*here));
//
// What the host does wrong ends as the specification says and is recorded as a violation besides. Threads: as fabric::Device
// says.
#pragma once
#include <cstdint>
#include <memory>

#include "barter/result.hpp"
#include "fabric/device.h"

namespace barter::devices::nic {

struct NicSetup {
  std::uint16_t vendor_id = 0x1b36;
  std::uint16_t device_id = 0xba02;
  std::uint8_t pairs = 4;                                // 1 to 16
  std::uint8_t ring_log2 = 10;                           // of the longest ring, 1 to 15
  std::uint16_t segments = 256;                          // of the longest list
  std::uint8_t address_bits = 64;                        // 32 to 64
  std::uint8_t boundary_log2 = 0;                        // 12 to 63; 0: segments may cross anything
  std::uint64_t message_bytes = std::uint64_t{1} << 30;  // of the longest message
  std::uint16_t keys = 256;                              // regions that can be registered at a time, at least 1
  // What a channel moves before it is another one's turn; little of it, and a command is seen half done. 0:
  // ring_device::kMaxBytesPerStep.
  std::uint64_t bytes_per_step = 0;
};

// Refuses setups that the specification rules out.
[[nodiscard]] Result<std::unique_ptr<fabric::Device>> create_nic(const NicSetup& setup);

// Joins the two ends of a wire, before the machines that they are in are enumerated. They need not be in one machine: either may go
// first. An error if one of them is no NIC or has a wire already, or both are one.
[[nodiscard]] Result<void> join(fabric::Device& first, fabric::Device& second);

}  // namespace barter::devices::nic
