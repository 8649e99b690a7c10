// The NIC's registers: docs/devices/nic.md, sections 1 and 2, in its order. The driver has a transcription of its own, and
// tests/oracle a third one.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::nic {

using base::RegisterAccess;

inline constexpr std::uint32_t kOtherNetworkController = 0x028000;  // class code
inline constexpr std::uint64_t kRegisterBarBytes = 0x4000;
inline constexpr std::uint64_t kMsixTable = 0x2000;
inline constexpr std::uint64_t kMsixPending = 0x3000;
inline constexpr std::uint8_t kMaxPairs = 16;
inline constexpr std::uint64_t kMaxMessageBytes = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kMaxRegionBytes = std::uint64_t{1} << 62;

// What is common to devices with rings.
inline constexpr ring_device::Layout kLayout{
    .identity = 0x434e5842,  // "BXNC"
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

struct Pairs : base::Register<Pairs, 0x008, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 8, std::uint8_t> ring_log2{};
  static constexpr Bits<7, 0, std::uint8_t> count{};
};
struct Lists : base::Register<Lists, 0x00c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 24, std::uint8_t> boundary_log2{};
  static constexpr Bits<23, 16, std::uint8_t> address_bits{};
  static constexpr Bits<15, 0, std::uint16_t> segments{};
};
struct Message : base::Register<Message, 0x010, std::uint64_t, RegisterAccess::read_only> {};
struct WireStatus : base::Register<WireStatus, 0x024, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> up{};
};
struct KeyCount : base::Register<KeyCount, 0x028, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0, std::uint16_t> count{};
};
struct Withdraw : base::Register<Withdraw, 0x02c, std::uint32_t> {};  // reads as 0
struct Remote : base::Register<Remote, 0x030, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 1> times{};
  static constexpr Bit<0> busy{};
};

}  // namespace barter::devices::nic
