// Descriptors, segments and keys: docs/devices/nic.md, section 3.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::nic {

using ring_device::DescriptorDword0;

enum class Opcode : std::uint8_t {
  nop = 0x00,
  send = 0x01,
  write = 0x02,
  read = 0x03,
  register_ = 0x04,
  receive = 0x10,
};

enum class CommandStatus : std::uint8_t {
  done = 0,
  invalid_opcode = 1,
  invalid_field = 2,
  list_unreadable = 3,
  invalid_list = 4,
  read_error = 5,
  write_error = 6,
  wire_down = 7,
  no_receive = 8,
  too_long = 9,
  other_end_error = 10,
  not_permitted = 11,
  keys_in_use = 12,
};

struct DescriptorDword1 : base::Register<DescriptorDword1, 4, std::uint32_t> {
  static constexpr Bits<31, 18> reserved{};
  static constexpr Bit<17> may_write{};
  static constexpr Bit<16> may_read{};
  static constexpr Bits<15, 0, std::uint16_t> segments{};
};

struct Descriptor {
  DescriptorDword0 dword0;
  DescriptorDword1 dword1;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t key = 0;
  std::uint32_t reserved_behind_key = 0;
  std::uint64_t offset = 0;
  std::uint64_t reserved[3] = {};
};
static_assert(sizeof(Descriptor) == 64);

inline constexpr std::uint64_t kListAlignment = 16;
// As it lies in a list. Its bytes have 32 bits there, and 32 reserved ones follow; memory that is one piece is kept as one of these,
// and may be longer.
struct Segment {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};
static_assert(sizeof(Segment) == 16);
inline constexpr unsigned kSegmentBits = 32;  // of its bytes

struct Key : base::Register<Key, 0, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> number{};
  static constexpr Bits<15, 0, std::uint16_t> index{};
};

}  // namespace barter::devices::nic
