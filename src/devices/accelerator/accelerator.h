// The accelerator model: docs/devices/accelerator.md as a fabric::Device, strict, and sharing nothing with the driver.
//
//   auto device = accelerator::create_accelerator({.memory_bytes = 16_GiB, .window_bytes = 256_MiB});
//   fabric.plug("gpu0", std::move(*device));
//
// Memory comes into being page by page as it is touched: 128 GiB cost nothing. What the host does wrong ends as the
// specification says and is recorded as a violation besides. Threads: as fabric::Device says.
#pragma once
#include <cstdint>
#include <memory>

#include "barter/result.hpp"
#include "fabric/device.h"

namespace barter::devices::accelerator {

struct AcceleratorSetup {
  std::uint16_t vendor_id = 0x1b36;
  std::uint16_t device_id = 0xba00;
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;  // a multiple of 64 KiB
  std::uint64_t window_bytes = 0;  // BAR 2: a power of two from 64 KiB; 0: all of the memory, rounded up to one
  std::uint8_t copy_channels = 2;
  std::uint8_t compute_channels = 2;  // together 1 to 32
  std::uint8_t ring_log2 = 12;        // of the longest ring
  std::uint8_t links = 0;             // ports, 0 to 8
  std::uint64_t unit = 0;             // tells it from all others; needed by whoever looks for the other end of a link
  // What a channel moves before it is another one's turn; little of it, and a command is seen half done. 0: ring_device::kMaxBytesPerStep.
  std::uint64_t bytes_per_step = 0;
};

// Refuses setups that the specification rules out.
[[nodiscard]] Result<std::unique_ptr<fabric::Device>> create_accelerator(const AcceleratorSetup& setup);

// One end of a link: a device that create_accelerator() has made, and which of its ports.
struct LinkEnd {
  fabric::Device& device;
  std::uint32_t port = 0;
};
// Joins two ports, before the machine that they are in is enumerated. An error if one of them is not there or is in use, or both are of one
// device.
[[nodiscard]] Result<void> connect(LinkEnd first, LinkEnd second);
// A fault on request: what is between the ends no longer works, or does again. Any thread.
void set_link(LinkEnd end, bool works);

}  // namespace barter::devices::accelerator
