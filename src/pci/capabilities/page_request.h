// Page Request Interface extended capability (PCIe 6.0, 10.5.2).
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::page_request {

inline constexpr std::uint16_t kId = extended_capability_id::kPageRequestInterface;
inline constexpr std::uint16_t kBytes = 16;

// 10.5.2.2
struct Control : base::Register<Control, 0x04, std::uint16_t> {
  static constexpr Bit<1> reset{};
  static constexpr Bit<0> enable{};
};
// 10.5.2.3
struct Status : base::Register<Status, 0x06, std::uint16_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<15> pasid_required{};
  static constexpr Bit<8> stopped{};
  static constexpr Bit<1> unexpected_group_index{};
  static constexpr Bit<0> response_failure{};
};
// 10.5.2.4 and 10.5.2.5
struct OutstandingCapacity : base::Register<OutstandingCapacity, 0x08, std::uint32_t, base::RegisterAccess::read_only> {
};
struct OutstandingAllocation : base::Register<OutstandingAllocation, 0x0c, std::uint32_t> {};

}  // namespace barter::pci::page_request
