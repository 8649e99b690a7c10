// Descriptors, segments and completions: docs/devices/dma_engine.md, section 3.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/register.h"

namespace barter::devices::dma_engine {

static_assert(std::endian::native == std::endian::little, "descriptors are used as they lie in memory");

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

struct DescriptorDword0 : base::Register<DescriptorDword0, 0, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> id{};
  static constexpr Bit<8> interrupt{};
  static constexpr Bits<7, 0, std::uint8_t> opcode{};
  static constexpr std::uint32_t kReserved = 0x0000fe00;
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

struct CompletionDword2 : base::Register<CompletionDword2, 8, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> channel{};
  static constexpr Bits<15, 0, std::uint16_t> head{};
};
struct CompletionDword3 : base::Register<CompletionDword3, 12, std::uint32_t> {
  static constexpr Bit<31> phase{};
  static constexpr Bits<23, 16, std::uint8_t> status{};
  static constexpr Bits<15, 0, std::uint16_t> id{};
};
struct CompletionEntry {
  std::uint64_t moved_bytes = 0;
  CompletionDword2 dword2;
  CompletionDword3 dword3;
};
static_assert(sizeof(CompletionEntry) == 16);

}  // namespace barter::devices::dma_engine
