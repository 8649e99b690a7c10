// Alternative Routing-ID Interpretation extended capability (PCIe 6.0, 7.8.8): functions beyond 7 in one device.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::ari {

inline constexpr std::uint16_t kId = extended_capability_id::kAlternativeRoutingId;
inline constexpr std::uint16_t kBytes = 8;

struct Capability : base::Register<Capability, 0x04, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr Bits<15, 8> next_function{};
  static constexpr Bit<1> acs_function_groups{};
  static constexpr Bit<0> mfvc_function_groups{};
};
struct Control : base::Register<Control, 0x06, std::uint16_t> {
  static constexpr Bits<6, 4> function_group{};
  static constexpr Bit<1> acs_function_groups{};
  static constexpr Bit<0> mfvc_function_groups{};
};

}  // namespace barter::pci::ari
