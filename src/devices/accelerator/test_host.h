// A host for tests of the model, with the specification's numbers typed in once more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/accelerator/accelerator.h"
#include "devices/ring_device/test_host.h"

namespace barter::devices::accelerator {

struct TestCommand {
  std::uint32_t word = 0;
  std::uint32_t spaces = 0;
  std::uint64_t source = 0, second = 0, destination = 0, count = 0, parameter = 0;
  std::uint64_t reserved[2] = {};
};

class TestHost final : public ring_device::TestHost<TestCommand> {
 public:
  explicit TestHost(const AcceleratorSetup& setup)
      : ring_device::TestHost<TestCommand>(create_accelerator(setup).value(), {.control = 0x20,
                                                                               .status = 0x24,
                                                                               .channel_bytes = 0x80,
                                                                               .ring_log2 = 0x18,
                                                                               .run = 0x1c,
                                                                               .tail = 0x24,
                                                                               .taken = 0x28}) {}
  std::span<std::byte> window() { return device->windows().at(0).bytes; }
  // With the progress counter at `progress` (bit 0 on).
  void start(std::uint32_t channel, std::uint32_t ring_log2 = 3, std::uint64_t progress = 0) {
    set(0x1010 + channel * 0x80, progress, 8);
    ring_device::TestHost<TestCommand>::start(channel, ring_log2);
  }
};

}  // namespace barter::devices::accelerator
