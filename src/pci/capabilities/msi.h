// Message Signaled Interrupts capability (PCIe 6.0, 7.7.1). Its layout depends on Message Control: the data and mask
// registers lie 4 bytes further when the address has 64 bits.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::msi {

inline constexpr std::uint16_t kId = capability_id::kMsi;

// 7.7.1.2
struct MessageControl : base::Register<MessageControl, 0x02, std::uint16_t> {
  static constexpr Bit<8> per_vector_masking{};
  static constexpr Bit<7> address_64bit{};
  static constexpr Bits<6, 4> multiple_message_enable_log2{};
  static constexpr Bits<3, 1> multiple_message_capable_log2{};
  static constexpr Bit<0> enable{};
};
struct MessageAddress : base::Register<MessageAddress, 0x04, std::uint32_t> {};
struct MessageUpperAddress : base::Register<MessageUpperAddress, 0x08, std::uint32_t> {};
struct MessageData32 : base::Register<MessageData32, 0x08, std::uint16_t> {};
struct MessageData64 : base::Register<MessageData64, 0x0c, std::uint16_t> {};
struct MaskBits32 : base::Register<MaskBits32, 0x0c, std::uint32_t> {};
struct MaskBits64 : base::Register<MaskBits64, 0x10, std::uint32_t> {};
struct PendingBits32 : base::Register<PendingBits32, 0x10, std::uint32_t, base::RegisterAccess::read_only> {};
struct PendingBits64 : base::Register<PendingBits64, 0x14, std::uint32_t, base::RegisterAccess::read_only> {};

}  // namespace barter::pci::msi
