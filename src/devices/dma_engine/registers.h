// The DMA engine's registers: docs/devices/dma_engine.md, sections 1 and 2, in its order. The driver has a transcription of its
// own, and tests/oracle a third one.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::dma_engine {

using base::RegisterAccess;

inline constexpr std::uint32_t kOtherSystemPeripheral = 0x088000;  // class code
inline constexpr std::uint64_t kRegisterBarBytes = 0x4000;
inline constexpr std::uint64_t kMsixTable = 0x2000;
inline constexpr std::uint64_t kMsixPending = 0x3000;
inline constexpr std::uint32_t kMaxChannels = 16;

// What is common to devices with rings.
inline constexpr ring_device::Layout kLayout{
    .identity = 0x4d445842,  // "BXDM"
    .version = 0x00010000,
    .control = 0x018,
    .status = 0x01c,
    .scratch = 0x020,
    .channels = 0x1000,
    .channel_stride = 0x40,
    .ring_base = 0x00,
    .completion_base = 0x08,
    .ring_log2 = 0x10,
    .channel_control = 0x14,
    .channel_status = 0x18,
    .tail = 0x1c,
    .taken = 0x20,
    .counter = 0x28,  // MOVED
    .has_reset = true,
    .tells_cause = true,
    .ring_alignment = 64,
    .alignment_words = "64",
    .taken_name = "TAKEN",
};

struct Channels : base::Register<Channels, 0x008, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 8, std::uint8_t> ring_log2{};
  static constexpr Bits<7, 0, std::uint8_t> count{};
};
struct Segments : base::Register<Segments, 0x00c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0, std::uint16_t> most{};
};
struct Transfer : base::Register<Transfer, 0x010, std::uint64_t, RegisterAccess::read_only> {};

}  // namespace barter::devices::dma_engine
