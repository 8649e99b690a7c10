// For tests: a DMA engine that answers everything and moves nothing, and can lie. Written from the specification with numbers
// of its own.
#pragma once
#include <cstdint>

#include "drivers/ring_device/fake_ring_device.h"

namespace barter::drivers::dma_engine::testing {

using ring_device::testing::FakeCompletion;  // its result: how many bytes were moved

class FakeDmaEngine final : public ring_device::testing::FakeRingDevice {
 public:
  FakeDmaEngine()
      : FakeRingDevice({.control = 0x18,
                        .status = 0x1c,
                        .channels = 0x1000,
                        .channel_bytes = 0x40,
                        .ring_log2 = 0x10,
                        .run = 0x14,
                        .channel_status = 0x18,
                        .tail = 0x1c,
                        .taken = 0x20,
                        .result_from = 24}) {
    identity = 0xba011b36;
    class_revision = 0x08800001;
    bar_bytes = 0x4000;
  }
  bool never_resets = false;

  void step() override {
    if ((registers_[0x18] & 2) != 0 && !never_resets) registers_.clear();
    FakeRingDevice::step();
  }

 private:
  std::uint64_t truth(std::uint64_t at) override {
    switch (at) {
      case 0x00:
        return 0x4d445842;
      case 0x04:
        return 0x00010000;
      case 0x08:
        return 0x00000802;
      case 0x0c:
        return 16;
      case 0x10:
        return 1 << 20;
      default:
        return registers_[at];
    }
  }
};

}  // namespace barter::drivers::dma_engine::testing
