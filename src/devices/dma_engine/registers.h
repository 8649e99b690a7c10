// The DMA engine's registers: docs/devices/dma_engine.md, sections 1 and 2, in its order. The driver has a transcription of its
// own, and tests/oracle a third one.
#pragma once
#include <cstdint>

#include "base/register.h"

namespace barter::devices::dma_engine {

using base::RegisterAccess;

inline constexpr std::uint32_t kOtherSystemPeripheral = 0x088000;  // class code
inline constexpr std::uint8_t kRegisterBar = 0;
inline constexpr std::uint64_t kRegisterBarBytes = 0x4000;
inline constexpr std::uint64_t kMsixTable = 0x2000;
inline constexpr std::uint64_t kMsixPending = 0x3000;
inline constexpr std::uint32_t kMaxChannels = 16;
inline constexpr std::uint8_t kMaxRingLog2 = 15;
inline constexpr std::uint64_t kRingAlignment = 64;

struct Identity : base::Register<Identity, 0x000, std::uint32_t, RegisterAccess::read_only> {
  static constexpr std::uint32_t kBxdm = 0x4d445842;
};
struct Version : base::Register<Version, 0x004, std::uint32_t, RegisterAccess::read_only> {
  static constexpr std::uint32_t k1_0 = 0x00010000;
};
struct Channels : base::Register<Channels, 0x008, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 8, std::uint8_t> ring_log2{};
  static constexpr Bits<7, 0, std::uint8_t> count{};
};
struct Segments : base::Register<Segments, 0x00c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 0, std::uint16_t> most{};
};
struct Transfer : base::Register<Transfer, 0x010, std::uint64_t, RegisterAccess::read_only> {};
struct Control : base::Register<Control, 0x018, std::uint32_t> {
  static constexpr Bit<1> reset{};
  static constexpr Bit<0> enable{};
  static constexpr std::uint32_t kReserved = 0xfffffffc;
};
struct Status : base::Register<Status, 0x01c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<1> fatal{};
  static constexpr Bit<0> ready{};
};
struct Scratch : base::Register<Scratch, 0x020, std::uint32_t> {};

// Channel n's registers begin at kChannels + n * kChannelStride; offsets are from there.
inline constexpr std::uint32_t kChannels = 0x1000;
inline constexpr std::uint32_t kChannelStride = 0x40;

struct RingBase : base::Register<RingBase, 0x00, std::uint64_t> {};
struct CompletionBase : base::Register<CompletionBase, 0x08, std::uint64_t> {};
struct RingLog2 : base::Register<RingLog2, 0x10, std::uint32_t> {};
struct ChannelControl : base::Register<ChannelControl, 0x14, std::uint32_t> {
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
struct ChannelStatus : base::Register<ChannelStatus, 0x18, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<15, 8, Cause> cause{};
  static constexpr Bit<1> error{};
  static constexpr Bit<0> running{};
};
struct Tail : base::Register<Tail, 0x1c, std::uint32_t> {};
struct Taken : base::Register<Taken, 0x20, std::uint32_t> {};
struct Moved : base::Register<Moved, 0x28, std::uint64_t, RegisterAccess::read_only> {};

}  // namespace barter::devices::dma_engine
