// For tests: an accelerator that answers everything and computes nothing, and can lie. Written from the specification with
// numbers of its own.
#pragma once
#include <cstdint>

#include "drivers/ring_device/fake_ring_device.h"

namespace barter::drivers::accelerator::testing {

using ring_device::testing::FakeCompletion;

class FakeAccelerator final : public ring_device::testing::FakeRingDevice {
 public:
  FakeAccelerator()
      : FakeRingDevice({.control = 0x20,
                        .status = 0x24,
                        .channels = 0x1000,
                        .channel_bytes = 0x80,
                        .ring_log2 = 0x18,
                        .run = 0x1c,
                        .channel_status = 0x20,
                        .tail = 0x24,
                        .taken = 0x28,
                        .result_from = 0}) {
    memory.resize(0x20000);
  }
  std::uint64_t memory_bytes = 0x40000;
  std::uint32_t engines = 0x00080101;
  bool never_invalidates = false;

  void store(std::uint64_t at, unsigned width, std::uint64_t value) override {
    FakeRingDevice::store(at, width, value);
    if (at == 0x44) registers_[at] = never_invalidates ? 1 : 0;
  }

 private:
  std::uint64_t truth(std::uint64_t at) override {
    switch (at) {
      case 0x00:
        return 0x43415842;
      case 0x04:
        return 0x00010000;
      case 0x08:
        return memory_bytes;
      case 0x10:
        return memory.size();
      case 0x18:
        return engines;
      default:
        return registers_[at];
    }
  }
};

}  // namespace barter::drivers::accelerator::testing
