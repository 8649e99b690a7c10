// What devices with rings have in common: docs/devices/rings.md, transcribed for this side. Where a register lies says the DeviceKind,
// unless it is at one place in all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/register.h"
#include "pci/function.h"

namespace barter::drivers::ring_device {

using base::RegisterAccess;

inline constexpr unsigned kRegisterBar = 0;
inline constexpr std::uint32_t kMostChannels = 32;  // of the kind that has more

struct IdentityRegister : base::Register<IdentityRegister, 0x00, std::uint32_t, RegisterAccess::read_only> {};
struct VersionRegister : base::Register<VersionRegister, 0x04, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 16> major{};
  static constexpr Bits<15, 0> minor{};
};
// Those whose place differs: their bits.
struct ControlBits : base::Register<ControlBits, 0, std::uint32_t> {
  static constexpr Bit<0> enable{};
  static constexpr Bit<1> reset{};  // of the devices that have it
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct StatusBits : base::Register<StatusBits, 0, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> ready{};
  static constexpr Bit<1> fatal{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct RunBits : base::Register<RunBits, 0, std::uint32_t> {
  static constexpr Bit<0> run{};
};
struct ChannelStatusBits : base::Register<ChannelStatusBits, 0, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> running{};
  static constexpr Bit<1> error{};
  static constexpr Bits<15, 8> cause{};  // where DeviceKind::tells_cause
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};

// Offsets from the place of a channel.
struct ChannelRegisters {
  std::uint32_t ring_base = 0;
  std::uint32_t completion_base = 0;
  std::uint32_t ring_log2 = 0;
  std::uint32_t run = 0;
  std::uint32_t status = 0;
  std::uint32_t tail = 0;
  std::uint32_t taken = 0;  // the index of the first completion that the host has not taken
};

struct DeviceKind {
  std::string_view name;        // for messages, as is the next
  std::string_view class_name;  // whose class code it is
  std::uint32_t class_code = 0;
  std::uint64_t register_bytes = 0;  // of BAR 0
  std::uint32_t identity = 0;
  std::uint32_t control = 0;  // offset in BAR 0, as is the next
  std::uint32_t status = 0;
  std::uint32_t channels = 0;  // where those of channel 0 begin; and how far it is from one to the next
  std::uint32_t channel_bytes = 0;
  ChannelRegisters channel;
  std::uint32_t last_status = 0;  // of a completion
  // Statuses from last_status on to this one are no end of a command: it waits for an answer of the host.
  std::uint32_t last_request = 0;
  bool counts_bytes = false;  // the result in a completion is how many bytes were moved
  bool tells_cause = false;   // a channel's status says why it has stopped

  [[nodiscard]] constexpr bool is_request(std::uint32_t of) const { return of > last_status && of <= last_request; }
  [[nodiscard]] constexpr BarOffset place(std::uint32_t number) const {
    return {channels + std::uint64_t{number} * channel_bytes};
  }
};

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

// Section 3: the first word of a descriptor, and the last two of a completion, after its result.
inline constexpr std::size_t kDescriptorBytes = 64;
inline constexpr std::size_t kCompletionBytes = 16;
struct CommandWord : base::Register<CommandWord, 0, std::uint32_t> {
  static constexpr Bits<7, 0> opcode{};
  static constexpr Bit<8> interrupt{};
  static constexpr Bits<31, 16> id{};
};
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

}  // namespace barter::drivers::ring_device
