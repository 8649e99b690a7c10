// Descriptors and segments: docs/devices/dma_engine.md, section 3.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::dma_engine {

using ring_device::DescriptorDword0;

enum class Opcode : std::uint8_t { nop = 0x00, move = 0x01, fill = 0x02 };

enum class MoveStatus : std::uint8_t {
  done = 0,
  invalid_opcode = 1,
  invalid_field = 2,
  list_unreadable = 3,
  invalid_list = 4,
  source_error = 5,
  destination_error = 6,
};

struct DescriptorDword1 : base::Register<DescriptorDword1, 4, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> destination_segments{};
  static constexpr Bits<15, 0, std::uint16_t> source_segments{};
};

struct Descriptor {
  DescriptorDword0 dword0;
  DescriptorDword1 dword1;
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
  std::uint64_t bytes = 0;
  std::uint64_t reserved[4] = {};
};
static_assert(sizeof(Descriptor) == 64);

inline constexpr std::uint64_t kListAlignment = 16;
struct Segment {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(Segment) == 16);

}  // namespace barter::devices::dma_engine
