// What the driver knows of the NIC: docs/devices/nic.md, transcribed for this side. Registers are in section 2, what lies in rings
// and lists in section 3.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/register.h"
#include "drivers/ring_device/registers.h"
#include "pci/function.h"

namespace barter::drivers::nic {

using base::RegisterAccess;
using ring_device::read;
using ring_device::write;

// Section 1, and where section 2 has what is common to devices with rings. What a result may be depends on the command: the
// channel checks it.
inline constexpr ring_device::DeviceKind kDeviceKind{
    .name = "NIC",
    .class_name = "a NIC",
    .class_code = 0x02'80'00,
    .register_bytes = 16 << 10,
    .identity = 'B' | 'X' << 8 | 'N' << 16 | 'C' << 24,
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
    .last_status = 12,
    .tells_cause = true,
};
inline constexpr std::uint32_t kMostPairs = 16;
inline constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62;  // of a message, and of a region

struct PairCounts : base::Register<PairCounts, 0x08, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<7, 0> pairs{};
  static constexpr Bits<15, 8> longest_ring_log2{};
};
struct ListLimits : base::Register<ListLimits, 0x0c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0> segments{};
  static constexpr Bits<23, 16> address_bits{};
  static constexpr Bits<31, 24> boundary_log2{};  // 0: there is no boundary
};
struct LargestMessage : base::Register<LargestMessage, 0x10, std::uint64_t, RegisterAccess::read_only> {};
struct WireRegister : base::Register<WireRegister, 0x24, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> up{};
  [[nodiscard]] constexpr bool is_gone() const { return raw == 0xffffffff; }
};
struct KeyCount : base::Register<KeyCount, 0x28, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0> keys{};
};
struct WithdrawRegister : base::Register<WithdrawRegister, 0x2c, std::uint32_t> {};
struct RemoteRegister : base::Register<RemoteRegister, 0x30, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> busy{};
  static constexpr Bits<31, 1> times{};
};

// Pair q sends by channel 2q and receives by the next.
[[nodiscard]] constexpr std::uint32_t send_channel(std::uint32_t pair) { return 2 * pair; }
[[nodiscard]] constexpr std::uint32_t receive_channel(std::uint32_t pair) { return 2 * pair + 1; }
// Of a channel, as an offset from its own place.
struct MovedRegister : base::Register<MovedRegister, 0x28, std::uint64_t, RegisterAccess::read_only> {};

// Section 3.
inline constexpr std::size_t kSegmentBytes = 16;
inline constexpr std::uint64_t kMostSegmentBytes = 0xffff'ffff;  // in a list
struct ListWord : base::Register<ListWord, 4, std::uint32_t> {
  static constexpr Bits<15, 0> segments{};
  static constexpr Bit<16> remote_reads{};
  static constexpr Bit<17> remote_writes{};
};
struct CommandFields {
  std::uint32_t word = 0;
  std::uint32_t list = 0;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t key = 0;
  std::uint32_t zero = 0;
  std::uint64_t remote_offset = 0;
  std::uint64_t more_zeros[3] = {0, 0, 0};
};
static_assert(sizeof(CommandFields) == ring_device::kDescriptorBytes);
struct SegmentFields {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(SegmentFields) == kSegmentBytes);

// A key, as register has it for a result.
struct KeyBits : base::Register<KeyBits, 0, std::uint64_t> {
  static constexpr Bits<15, 0> index{};
  static constexpr Bits<31, 16> use{};
  static constexpr Bits<63, 32> zero{};
};

}  // namespace barter::drivers::nic
