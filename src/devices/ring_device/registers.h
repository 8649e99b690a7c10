// What devices with rings have in common: docs/devices/rings.md. Where a register lies says the Layout. The drivers have a transcription
// of their own, and tests/oracle a third one.
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>

#include "base/register.h"

namespace barter::devices::ring_device {

using base::RegisterAccess;

static_assert(std::endian::native == std::endian::little, "descriptors are used as they lie in memory");

inline constexpr std::uint8_t kRegisterBar = 0;
inline constexpr std::uint8_t kMaxRingLog2 = 15;  // the head in a completion has 16 bits

// Registers, whose places differ: their bits.
struct Control : base::Register<Control, 0, std::uint32_t> {
  static constexpr Bit<1> reset{};  // where Layout::has_reset
  static constexpr Bit<0> enable{};
};
struct Status : base::Register<Status, 0, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<1> fatal{};
  static constexpr Bit<0> ready{};
};
struct ChannelControl : base::Register<ChannelControl, 0, std::uint32_t> {
  static constexpr Bit<0> run{};
  static constexpr std::uint32_t kReserved = 0xfffffffe;
};
enum class Cause : std::uint8_t {
  none = 0,
  setting = 1,
  ring_unreadable = 2,
  completion_unwritable = 3,
  index_past_ring = 4,
  run_before_ready = 5,
};
struct ChannelStatus : base::Register<ChannelStatus, 0, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 8, Cause> cause{};  // where Layout::tells_cause
  static constexpr Bit<1> error{};
  static constexpr Bit<0> running{};
};

struct Layout {
  std::uint32_t identity = 0;  // what IDENTITY, at 0, reads as; and VERSION, at 4
  std::uint32_t version = 0;
  std::uint32_t control = 0;  // offsets in BAR 0
  std::uint32_t status = 0;
  std::uint32_t scratch = 0;
  std::uint32_t channels = 0;  // where the registers of channel 0 begin; and how far it is from one to the next
  std::uint32_t channel_stride = 0;
  // Offsets from there.
  std::uint32_t ring_base = 0;
  std::uint32_t completion_base = 0;
  std::uint32_t ring_log2 = 0;
  std::uint32_t channel_control = 0;
  std::uint32_t channel_status = 0;
  std::uint32_t tail = 0;
  std::uint32_t taken = 0;  // of the first completion that the host has not taken
  std::uint32_t counter =
      0;  // of bytes: either where in memory the host wants it, or the number itself, which it only reads

  bool counter_is_setting = false;
  bool has_reset = false;
  bool tells_cause = false;
  std::uint64_t ring_alignment = 1;
  std::string_view alignment_words;  // for violations, as is the next
  std::string_view taken_name;
};

// Section 3: the first word of a descriptor, and a completion.
inline constexpr std::size_t kDescriptorBytes = 64;
struct DescriptorDword0 : base::Register<DescriptorDword0, 0, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> id{};
  static constexpr Bit<8> interrupt{};
  static constexpr Bits<7, 0, std::uint8_t> opcode{};
  static constexpr std::uint32_t kReserved = 0x0000fe00;
};
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
  std::uint64_t result = 0;
  CompletionDword2 dword2;
  CompletionDword3 dword3;
};
static_assert(sizeof(CompletionEntry) == 16);

}  // namespace barter::devices::ring_device
