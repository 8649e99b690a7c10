// The accelerator's registers in BAR 0: docs/devices/accelerator.md, sections 1, 2 and 5, in its order. The driver has a
// transcription of its own, and tests/oracle a third one.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "devices/ring_device/registers.h"

namespace barter::devices::accelerator {

using base::RegisterAccess;

inline constexpr std::uint32_t kProcessingAccelerator = 0x120000;  // class code
inline constexpr std::uint8_t kWindowBar = 2;
inline constexpr std::uint64_t kRegisterBarBytes = 0x10000;
inline constexpr std::uint64_t kMsixTable = 0x8000;
inline constexpr std::uint64_t kMsixPending = 0xc000;
inline constexpr std::uint64_t kMemoryUnitBytes = 0x10000;  // the memory's size and the window's base are multiples
inline constexpr std::uint32_t kMaxChannels = 32;

// What is common to devices with rings.
inline constexpr ring_device::Layout kLayout{
    .identity = 0x43415842,  // "BXAC"
    .version = 0x00010002,
    .control = 0x020,
    .status = 0x024,
    .scratch = 0x048,
    .channels = 0x1000,
    .channel_stride = 0x80,
    .ring_base = 0x00,
    .completion_base = 0x08,
    .ring_log2 = 0x18,
    .channel_control = 0x1c,
    .channel_status = 0x20,
    .tail = 0x24,
    .taken = 0x28,
    .counter = 0x10,  // PROGRESS
    .counter_is_setting = true,
    .ring_alignment = 0x1000,
    .alignment_words = "4 KiB",
    .taken_name = "COMPLETION_HEAD",
};

struct MemoryBytes : base::Register<MemoryBytes, 0x008, std::uint64_t, RegisterAccess::read_only> {};
struct WindowBytes : base::Register<WindowBytes, 0x010, std::uint64_t, RegisterAccess::read_only> {};
struct Engines : base::Register<Engines, 0x018, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<20, 16, std::uint8_t> ring_log2{};
  static constexpr Bits<15, 8, std::uint8_t> compute{};
  static constexpr Bits<7, 0, std::uint8_t> copy{};
};
struct Links : base::Register<Links, 0x01c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<3, 0, std::uint8_t> ports{};
};
struct WindowBase : base::Register<WindowBase, 0x028, std::uint64_t> {};
struct TableRoot : base::Register<TableRoot, 0x030, std::uint64_t> {
  static constexpr Bits<51, 12> address_4k{};
  static constexpr Bit<2> on_bus{};
  static constexpr Bit<0> valid{};
  static constexpr std::uint64_t kReserved = 0xfff0'0000'0000'0ffa;
};
struct FaultAddress : base::Register<FaultAddress, 0x038, std::uint64_t, RegisterAccess::read_only> {};
struct Fault : base::Register<Fault, 0x040, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<31> happened{};
  static constexpr Bit<8> was_write{};
  static constexpr Bits<7, 0, std::uint8_t> channel{};
};
struct Invalidate : base::Register<Invalidate, 0x044, std::uint32_t> {
  static constexpr Bit<0> asked{};
  static constexpr std::uint32_t kReserved = 0xfffffffe;
};
struct Unit : base::Register<Unit, 0x050, std::uint64_t, RegisterAccess::read_only> {};

// What a channel's PROGRESS says.
struct Progress : base::Register<Progress, kLayout.counter, std::uint64_t> {
  static constexpr Bits<63, 3> address_8{};
  static constexpr Bit<0> on{};
  static constexpr std::uint64_t kReserved = 0x6;
};

// What else a channel has; offsets from where its registers begin.
struct Requests : base::Register<Requests, 0x2c, std::uint32_t> {
  static constexpr Bit<0> on{};
  static constexpr std::uint32_t kReserved = 0xfffffffe;
};
struct Answer : base::Register<Answer, 0x30, std::uint32_t> {
  static constexpr Bit<16> retry{};
  static constexpr Bits<15, 0, std::uint16_t> id{};
  static constexpr std::uint32_t kReserved = 0xfffe0000;
};

// Section 5. Link n's registers begin at kLinks + n * kLinkStride; offsets are from there.
inline constexpr std::uint32_t kMaxLinks = 8;
inline constexpr unsigned kLinkAddressShift = 48;  // of the number of the link, in a local address
inline constexpr std::uint64_t kLinks = 0x800;
inline constexpr std::uint64_t kLinkStride = 0x40;

struct LinkStatus : base::Register<LinkStatus, 0x00, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<1> wired{};
  static constexpr Bit<0> up{};
};
struct LinkControl : base::Register<LinkControl, 0x04, std::uint32_t> {
  static constexpr Bit<0> enable{};
  static constexpr std::uint32_t kReserved = 0xfffffffe;
};
struct PeerUnit : base::Register<PeerUnit, 0x08, std::uint64_t, RegisterAccess::read_only> {};
struct PeerBytes : base::Register<PeerBytes, 0x10, std::uint64_t, RegisterAccess::read_only> {};
struct PeerLink : base::Register<PeerLink, 0x18, std::uint32_t, RegisterAccess::read_only> {};
struct LinkReadBytes : base::Register<LinkReadBytes, 0x20, std::uint64_t, RegisterAccess::read_only> {};
struct LinkWrittenBytes : base::Register<LinkWrittenBytes, 0x28, std::uint64_t, RegisterAccess::read_only> {};

// Those of its grants begin at kGrants + n * kGrantsStride; each has kGrantStride bytes.
inline constexpr std::uint64_t kGrants = 0x4000;
inline constexpr std::uint64_t kGrantsStride = 0x800;
inline constexpr std::uint64_t kGrantStride = 0x10;
inline constexpr std::size_t kGrantsOfLink = 128;

struct GrantStart : base::Register<GrantStart, 0x0, std::uint64_t> {};
struct GrantSize : base::Register<GrantSize, 0x8, std::uint64_t> {
  static constexpr Bit<63> write{};
  static constexpr Bit<62> read{};
  static constexpr Bits<47, 0> bytes{};
  static constexpr std::uint64_t kReserved = 0x3fff'0000'0000'0000;
};

}  // namespace barter::devices::accelerator
