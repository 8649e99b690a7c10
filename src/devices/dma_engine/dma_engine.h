// The model of the DMA engine: docs/devices/dma_engine.md as a fabric::Device, strict, and sharing nothing with the driver.
//
//   auto device = dma_engine::create_dma_engine({.channels = 4});
//   fabric.plug("dma0", std::move(*device));
//
// What the host does wrong ends as the specification says and is recorded as a violation besides. Threads: as fabric::Device
// says.
#pragma once
#include <cstdint>
#include <memory>

#include "barter/result.hpp"
#include "fabric/device.h"

namespace barter::devices::dma_engine {

struct DmaEngineSetup {
  std::uint16_t vendor_id = 0x1b36;
  std::uint16_t device_id = 0xba01;
  std::uint8_t channels = 4;                              // 1 to 16
  std::uint8_t ring_log2 = 10;                            // of the longest ring, 1 to 15
  std::uint16_t segments = 256;                           // of the longest list
  std::uint64_t transfer_bytes = std::uint64_t{1} << 30;  // of the largest descriptor
  // What a channel moves before it is another one's turn; little of it, and a descriptor is seen half done. 0:
  // ring_device::kMaxBytesPerStep.
  std::uint64_t bytes_per_step = 0;
};

// Refuses setups that the specification rules out.
[[nodiscard]] Result<std::unique_ptr<fabric::Device>> create_dma_engine(const DmaEngineSetup& setup);

}  // namespace barter::devices::dma_engine
