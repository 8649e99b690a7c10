// What the driver knows of the DMA engine: docs/devices/dma_engine.md, transcribed for this side. Registers are in section 2, what
// lies in rings and lists in section 3.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "pci/function.h"

namespace barter::drivers::dma_engine {

using base::RegisterAccess;

// Section 1.
inline constexpr unsigned kRegisterBar = 0;
inline constexpr std::uint64_t kRegisterBytes = 16 << 10;
inline constexpr std::uint32_t kClassCode = 0x08'80'00;

struct IdentityRegister : base::Register<IdentityRegister, 0x00, std::uint32_t, RegisterAccess::read_only> {};
inline constexpr std::uint32_t kIdentity = 'B' | 'X' << 8 | 'D' << 16 | 'M' << 24;
struct VersionRegister : base::Register<VersionRegister, 0x04, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 16> major{};
  static constexpr Bits<15, 0> minor{};
};
struct ChannelCounts : base::Register<ChannelCounts, 0x08, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<7, 0> channels{};
  static constexpr Bits<15, 8> longest_ring_log2{};
};
struct LongestList : base::Register<LongestList, 0x0c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0> segments{};
};
struct LargestTransfer : base::Register<LargestTransfer, 0x10, std::uint64_t, RegisterAccess::read_only> {};
struct ControlRegister : base::Register<ControlRegister, 0x18, std::uint32_t> {
  static constexpr Bit<0> enable{};
  static constexpr Bit<1> reset{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct StatusRegister : base::Register<StatusRegister, 0x1c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> ready{};
  static constexpr Bit<1> fatal{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};

// Those of a channel, as offsets from its own place.
[[nodiscard]] constexpr BarOffset channel_place(std::uint32_t channel) {
  return {0x1000 + std::uint64_t{channel} * 0x40};
}
inline constexpr std::uint32_t kMostChannels = 16;
struct RingBaseRegister : base::Register<RingBaseRegister, 0x00, std::uint64_t> {};
struct CompletionBaseRegister : base::Register<CompletionBaseRegister, 0x08, std::uint64_t> {};
struct RingSizeRegister : base::Register<RingSizeRegister, 0x10, std::uint32_t> {};
struct RunRegister : base::Register<RunRegister, 0x14, std::uint32_t> {
  static constexpr Bit<0> run{};
};
struct ChannelStatusRegister : base::Register<ChannelStatusRegister, 0x18, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> running{};
  static constexpr Bit<1> error{};
  static constexpr Bits<15, 8> cause{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct TailDoorbell : base::Register<TailDoorbell, 0x1c, std::uint32_t> {};
struct TakenDoorbell : base::Register<TakenDoorbell, 0x20, std::uint32_t> {};
struct MovedRegister : base::Register<MovedRegister, 0x28, std::uint64_t, RegisterAccess::read_only> {};

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

// Section 3.
inline constexpr std::size_t kDescriptorBytes = 64;
inline constexpr std::size_t kSegmentBytes = 16;
inline constexpr std::size_t kCompletionBytes = 16;
inline constexpr std::uint32_t kLastStatus = 6;
struct CommandWord : base::Register<CommandWord, 0, std::uint32_t> {
  static constexpr Bits<7, 0> opcode{};
  static constexpr Bit<8> interrupt{};
  static constexpr Bits<31, 16> id{};
};
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
static_assert(sizeof(CommandFields) == kDescriptorBytes);
struct SegmentFields {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(SegmentFields) == kSegmentBytes);

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

}  // namespace barter::drivers::dma_engine
