// What the driver knows of the DMA engine: docs/devices/dma_engine.md, transcribed for this side. Registers are in section 2, what
// lies in rings and lists in section 3.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "drivers/ring_device/registers.h"
#include "pci/function.h"

namespace barter::drivers::dma_engine {

using base::RegisterAccess;
using ring_device::read;
using ring_device::write;

// Section 1, and where section 2 has what is common to devices with rings.
inline constexpr ring_device::DeviceKind kDeviceKind{
    .name = "DMA engine",
    .class_name = "a DMA engine",
    .class_code = 0x08'80'00,
    .register_bytes = 16 << 10,
    .identity = 'B' | 'X' << 8 | 'D' << 16 | 'M' << 24,
    .control = 0x18,
    .status = 0x1c,
    .channels = 0x1000,
    .channel_bytes = 0x40,
    .channel = {.ring_base = 0x00,
                .completion_base = 0x08,
                .ring_log2 = 0x10,
                .run = 0x14,
                .status = 0x18,
                .tail = 0x1c,
                .taken = 0x20},
    .last_status = 6,
    .counts_bytes = true,
    .tells_cause = true,
};
inline constexpr std::uint32_t kMostChannels = 16;

struct ChannelCounts : base::Register<ChannelCounts, 0x08, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<7, 0> channels{};
  static constexpr Bits<15, 8> longest_ring_log2{};
};
struct LongestList : base::Register<LongestList, 0x0c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0> segments{};
};
struct LargestTransfer : base::Register<LargestTransfer, 0x10, std::uint64_t, RegisterAccess::read_only> {};
// Of a channel, as an offset from its own place.
struct MovedRegister : base::Register<MovedRegister, 0x28, std::uint64_t, RegisterAccess::read_only> {};

// Section 3.
inline constexpr std::size_t kSegmentBytes = 16;
struct ListsWord : base::Register<ListsWord, 4, std::uint32_t> {
  static constexpr Bits<15, 0> source_segments{};
  static constexpr Bits<31, 16> destination_segments{};
};
struct CommandFields {
  std::uint32_t word = 0;
  std::uint32_t lists = 0;
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
  std::uint64_t bytes = 0;
  std::uint64_t zero[4] = {0, 0, 0, 0};
};
struct SegmentFields {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(SegmentFields) == kSegmentBytes);

}  // namespace barter::drivers::dma_engine
