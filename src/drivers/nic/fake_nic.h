// For tests: a NIC that answers everything and moves nothing, and can lie. Written from the specification with numbers of its own.
#pragma once
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "drivers/ring_device/fake_ring_device.h"

namespace barter::drivers::nic::testing {

using ring_device::testing::FakeCompletion;

class FakeNic final : public ring_device::testing::FakeRingDevice {
 public:
  FakeNic()
      : FakeRingDevice({.control = 0x18,
                        .status = 0x1c,
                        .channels = 0x1000,
                        .channel_bytes = 0x40,
                        .ring_log2 = 0x10,
                        .run = 0x14,
                        .channel_status = 0x18,
                        .tail = 0x1c,
                        .taken = 0x20,
                        .result_from = 16}) {
    identity = 0xba021b36;
    class_revision = 0x02800001;
    bar_bytes = 0x4000;
  }
  bool never_resets = false;
  std::uint32_t wire = 1;
  std::uint32_t remote = 0;              // with BUSY, until the next step, unless that never ends
  bool is_busy_for_ever = false;         // with the same piece
  bool is_busy_again_at_once = false;    // with the next piece, whenever one is over
  std::vector<std::uint32_t> withdrawn;  // keys
  std::vector<std::byte> last_descriptor;

  void store(std::uint64_t at, unsigned width, std::uint64_t value) override {
    FakeRingDevice::store(at, width, value);
    if (at == 0x2c) withdrawn.push_back(static_cast<std::uint32_t>(value));
  }
  void step() override {
    if ((registers_[0x18] & 2) != 0 && !never_resets) registers_.clear();
    if ((remote & 1) != 0 && !is_busy_for_ever) remote = is_busy_again_at_once ? remote + 2 : remote & ~1u;
    FakeRingDevice::step();
  }

 private:
  static constexpr std::uint32_t kKey = 0x00070003;  // index 3, for the eighth time
  std::uint64_t truth(std::uint64_t at) override {
    switch (at) {
      case 0x00:
        return 0x434e5842;
      case 0x04:
        return 0x00010000;
      case 0x08:
        return 0x00000802;
      case 0x0c:
        return 0x10300010;
      case 0x10:
        return 1 << 20;
      case 0x24:
        return wire;
      case 0x28:
        return 8;
      case 0x30:
        return remote;
      default:
        return registers_[at];
    }
  }
  std::uint64_t result_of(std::span<const std::byte> descriptor) override {
    last_descriptor.assign(descriptor.begin(), descriptor.end());
    return descriptor[0] == std::byte{0x04} ? kKey : FakeRingDevice::result_of(descriptor);
  }
};

}  // namespace barter::drivers::nic::testing
