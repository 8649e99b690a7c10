// What the driver knows of the accelerator: docs/devices/accelerator.md, transcribed for this side. Registers are in
// section 2, what lies in rings in section 3, page table entries in section 4, links in section 5.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "pci/function.h"

namespace barter::drivers::accelerator {

using base::RegisterAccess;

// Section 1.
inline constexpr unsigned kRegisterBar = 0;
inline constexpr unsigned kMemoryBar = 2;
inline constexpr std::uint64_t kRegisterBytes = 64 << 10;
inline constexpr std::uint64_t kUnitBytes = 64 << 10;

struct IdentityRegister : base::Register<IdentityRegister, 0x00, std::uint32_t, RegisterAccess::read_only> {};
inline constexpr std::uint32_t kIdentity = 'B' | 'X' << 8 | 'A' << 16 | 'C' << 24;
struct VersionRegister : base::Register<VersionRegister, 0x04, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 16> major{};
  static constexpr Bits<15, 0> minor{};
};
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
struct ControlRegister : base::Register<ControlRegister, 0x20, std::uint32_t> {
  static constexpr Bit<0> enable{};
};
struct StatusRegister : base::Register<StatusRegister, 0x24, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> ready{};
  static constexpr Bit<1> fatal{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct WindowBaseRegister : base::Register<WindowBaseRegister, 0x28, std::uint64_t> {};
struct TableRootRegister : base::Register<TableRootRegister, 0x30, std::uint64_t> {};
struct InvalidateRegister : base::Register<InvalidateRegister, 0x44, std::uint32_t> {
  static constexpr Bit<0> asked{};
};

struct UnitRegister : base::Register<UnitRegister, 0x50, std::uint64_t, RegisterAccess::read_only> {};

// Those of a channel, as offsets from its own place.
[[nodiscard]] constexpr BarOffset channel_place(std::uint32_t channel) {
  return {0x1000 + std::uint64_t{channel} * 0x80};
}
inline constexpr std::uint32_t kMostChannels = 32;
struct RingBaseRegister : base::Register<RingBaseRegister, 0x00, std::uint64_t> {};
struct CompletionBaseRegister : base::Register<CompletionBaseRegister, 0x08, std::uint64_t> {};
struct ProgressRegister : base::Register<ProgressRegister, 0x10, std::uint64_t> {
  static constexpr Bit<0> on{};
};
struct RingSizeRegister : base::Register<RingSizeRegister, 0x18, std::uint32_t> {};
struct RunRegister : base::Register<RunRegister, 0x1c, std::uint32_t> {
  static constexpr Bit<0> run{};
};
struct ChannelStatusRegister : base::Register<ChannelStatusRegister, 0x20, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> running{};
  static constexpr Bit<1> error{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct TailDoorbell : base::Register<TailDoorbell, 0x24, std::uint32_t> {};
struct CompletionDoorbell : base::Register<CompletionDoorbell, 0x28, std::uint32_t> {};

template <class R>
[[nodiscard]] R read(pci::Mmio& registers, BarOffset place = {0}) {
  const BarOffset at{place.value + R::kOffset};
  if constexpr (sizeof(typename R::Word) == 8)
    return R::from(registers.load64(at));
  else
    return R::from(registers.load32(at));
}
template <class R>
void write(pci::Mmio& registers, R value, BarOffset place = {0}) {
  static_assert(R::kAccess != RegisterAccess::read_only);
  const BarOffset at{place.value + R::kOffset};
  if constexpr (sizeof(typename R::Word) == 8)
    registers.store64(at, value.raw);
  else
    registers.store32(at, value.raw);
}

// Section 3: sixteen dwords.
inline constexpr std::size_t kDescriptorBytes = 64;
inline constexpr std::size_t kCompletionBytes = 16;
struct CommandWord : base::Register<CommandWord, 0, std::uint32_t> {
  static constexpr Bits<7, 0> opcode{};
  static constexpr Bit<8> interrupt{};
  static constexpr Bits<31, 16> id{};
};
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
static_assert(sizeof(CommandFields) == kDescriptorBytes);

struct CompletionPlace : base::Register<CompletionPlace, 8, std::uint32_t> {
  static constexpr Bits<15, 0> head{};
  static constexpr Bits<31, 16> channel{};
};
struct CompletionWord : base::Register<CompletionWord, 12, std::uint32_t> {
  static constexpr Bits<15, 0> id{};
  static constexpr Bits<23, 16> status{};
  static constexpr Bits<30, 24> zero{};
  static constexpr Bit<31> phase{};
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
