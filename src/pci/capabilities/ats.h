// Address Translation Services extended capability (PCIe 6.0, 10.5.1).
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::ats {

inline constexpr std::uint16_t kId = extended_capability_id::kAddressTranslationServices;
inline constexpr std::uint16_t kBytes = 8;

// 10.5.1.2
struct Capability : base::Register<Capability, 0x04, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr Bit<5> page_aligned_request{};
  static constexpr Bits<4, 0> invalidate_queue_depth{};  // 0 means 32
};
// 10.5.1.3
struct Control : base::Register<Control, 0x06, std::uint16_t> {
  static constexpr Bit<15> enable{};
  static constexpr Bits<4, 0> smallest_translation_unit_log2_minus12{};
};

}  // namespace barter::pci::ats
