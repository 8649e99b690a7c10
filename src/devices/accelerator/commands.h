// Descriptors: docs/devices/accelerator.md, section 3.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::accelerator {

using ring_device::DescriptorDword0;

enum class Opcode : std::uint8_t {
  nop = 0x00,
  copy = 0x01,
  fill = 0x02,
  add = 0x10,
  sum = 0x11,
  histogram = 0x12,
  filter = 0x13,
  checksum = 0x14,
};

enum class Space : std::uint8_t { local = 0, bus = 1, virtual_ = 2, none = 3 };

enum class CommandStatus : std::uint8_t {
  done = 0,
  invalid_opcode = 1,
  invalid_field = 2,
  out_of_memory = 3,  // a local address outside the memory
  page_fault = 4,
  bus_error = 5,
  link_down = 6,
  not_granted = 7,  // by the accelerator behind a link
};
// What is no end of a command, but a page request, has as its status.
inline constexpr std::uint8_t kWantsReadable = 8;
inline constexpr std::uint8_t kWantsWritable = 9;

struct DescriptorSpaces : base::Register<DescriptorSpaces, 4, std::uint32_t> {
  static constexpr Bits<5, 4, Space> destination{};
  static constexpr Bits<3, 2, Space> second{};
  static constexpr Bits<1, 0, Space> source{};
  static constexpr std::uint32_t kReserved = 0xffffffc0;
};

struct Descriptor {
  DescriptorDword0 dword0;
  DescriptorSpaces spaces;
  std::uint64_t source = 0;
  std::uint64_t second = 0;
  std::uint64_t destination = 0;
  std::uint64_t count = 0;
  std::uint64_t parameter = 0;
  std::uint64_t reserved[2] = {};
};
static_assert(sizeof(Descriptor) == 64);

}  // namespace barter::devices::accelerator
