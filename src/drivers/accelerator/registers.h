// What the driver knows of the accelerator: docs/devices/accelerator.md, transcribed for this side. Registers are in
// section 2, what lies in rings in section 3, page table entries in section 4, links in section 5.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "drivers/ring_device/registers.h"
#include "pci/class_code.h"
#include "pci/function.h"

namespace barter::drivers::accelerator {

using base::RegisterAccess;
using ring_device::read;
using ring_device::write;

// Section 1, and where section 2 has what is common to devices with rings.
inline constexpr ring_device::DeviceKind kDeviceKind{
    .name = "accelerator",
    .class_name = "a processing accelerator",
    .class_code = pci::kClassProcessingAccelerator,
    .register_bytes = 64 << 10,
    .identity = 'B' | 'X' << 8 | 'A' << 16 | 'C' << 24,
    .control = 0x20,
    .status = 0x24,
    .channels = 0x1000,
    .channel_bytes = 0x80,
    .channel = {.ring_base = 0x00,
                .completion_base = 0x08,
                .ring_log2 = 0x18,
                .run = 0x1c,
                .status = 0x20,
                .tail = 0x24,
                .taken = 0x28},
    .last_status = 7,
    .last_request = 9,
};
inline constexpr std::uint32_t kMostChannels = 32;
inline constexpr unsigned kMemoryBar = 2;
inline constexpr std::uint64_t kUnitBytes = 64 << 10;

struct MemorySize : base::Register<MemorySize, 0x08, std::uint64_t, RegisterAccess::read_only> {};
struct WindowSize : base::Register<WindowSize, 0x10, std::uint64_t, RegisterAccess::read_only> {};
struct EngineCounts : base::Register<EngineCounts, 0x18, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<7, 0> copy_channels{};
  static constexpr Bits<15, 8> compute_channels{};
  static constexpr Bits<20, 16> longest_ring_log2{};
};
struct LinkPortCount : base::Register<LinkPortCount, 0x1c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<3, 0> ports{};
};
struct WindowBaseRegister : base::Register<WindowBaseRegister, 0x28, std::uint64_t> {};
struct TableRootRegister : base::Register<TableRootRegister, 0x30, std::uint64_t> {};
struct InvalidateRegister : base::Register<InvalidateRegister, 0x44, std::uint32_t> {
  static constexpr Bit<0> asked{};
};

struct UnitRegister : base::Register<UnitRegister, 0x50, std::uint64_t, RegisterAccess::read_only> {};

// Of a channel, as an offset from its own place.
struct ProgressRegister : base::Register<ProgressRegister, 0x10, std::uint64_t> {
  static constexpr Bit<0> on{};
};

struct RequestsRegister : base::Register<RequestsRegister, 0x2c, std::uint32_t> {
  static constexpr Bit<0> on{};
};
struct AnswerRegister : base::Register<AnswerRegister, 0x30, std::uint32_t> {
  static constexpr Bits<15, 0> id{};
  static constexpr Bit<16> retry{};
};
inline constexpr std::uint32_t kFirstWithRequests = 2;  // minor version

// Section 3: sixteen dwords.
struct SpacesWord : base::Register<SpacesWord, 4, std::uint32_t> {
  static constexpr Bits<1, 0> source{};
  static constexpr Bits<3, 2> second{};
  static constexpr Bits<5, 4> destination{};
};
struct CommandFields {
  std::uint32_t word = 0;
  std::uint32_t spaces = 0;
  std::uint64_t source = 0;
  std::uint64_t second = 0;
  std::uint64_t destination = 0;
  std::uint64_t count = 0;
  std::uint64_t parameter = 0;
  std::uint64_t zero[2] = {0, 0};
};

// Section 4.
struct PageEntry : base::Register<PageEntry, 0, std::uint64_t> {
  static constexpr Bit<0> valid{};
  static constexpr Bit<1> writable{};
  static constexpr Bit<2> on_bus{};
  static constexpr Bit<7> leaf{};
  static constexpr Bits<51, 12> page{};
};

// Section 5.
inline constexpr std::uint32_t kMostLinks = 8;
inline constexpr unsigned kLinkAddressShift = 48;
[[nodiscard]] constexpr BarOffset link_place(std::uint32_t port) { return {0x800 + std::uint64_t{port} * 0x40}; }
struct LinkStatusRegister : base::Register<LinkStatusRegister, 0x00, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> up{};
  static constexpr Bit<1> wired{};
};
struct LinkControlRegister : base::Register<LinkControlRegister, 0x04, std::uint32_t> {
  static constexpr Bit<0> enable{};
};
struct PeerUnitRegister : base::Register<PeerUnitRegister, 0x08, std::uint64_t, RegisterAccess::read_only> {};
struct PeerSize : base::Register<PeerSize, 0x10, std::uint64_t, RegisterAccess::read_only> {};
struct PeerPortRegister : base::Register<PeerPortRegister, 0x18, std::uint32_t, RegisterAccess::read_only> {};
struct LinkReadCounter : base::Register<LinkReadCounter, 0x20, std::uint64_t, RegisterAccess::read_only> {};
struct LinkWrittenCounter : base::Register<LinkWrittenCounter, 0x28, std::uint64_t, RegisterAccess::read_only> {};

[[nodiscard]] constexpr BarOffset grant_place(std::uint32_t port, std::uint32_t grant) {
  return {0x4000 + std::uint64_t{port} * 0x800 + std::uint64_t{grant} * 0x10};
}
struct GrantStartRegister : base::Register<GrantStartRegister, 0x0, std::uint64_t> {};
struct GrantSizeRegister : base::Register<GrantSizeRegister, 0x8, std::uint64_t> {
  static constexpr Bits<47, 0> bytes{};
  static constexpr Bit<62> read{};
  static constexpr Bit<63> write{};
};

}  // namespace barter::drivers::accelerator
