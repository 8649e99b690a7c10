// The vendors' own capabilities: in the conventional list (PCIe 6.0, 7.9.4), in the extended one (7.9.5), and the
// Designated one that any specification may use, as CXL does (7.9.6).
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci {

namespace vendor_specific {
inline constexpr std::uint16_t kId = capability_id::kVendorSpecific;
struct Length : base::Register<Length, 0x02, std::uint8_t, base::RegisterAccess::read_only> {};
}  // namespace vendor_specific

namespace vendor_specific_extended {
inline constexpr std::uint16_t kId = extended_capability_id::kVendorSpecific;
struct Header : base::Register<Header, 0x04, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 20> length_bytes{};
  static constexpr Bits<19, 16> revision{};
  static constexpr Bits<15, 0> id{};
};
}  // namespace vendor_specific_extended

namespace designated_vendor_specific {
inline constexpr std::uint16_t kId = extended_capability_id::kDesignatedVendorSpecific;
struct Header1 : base::Register<Header1, 0x04, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 20> length_bytes{};
  static constexpr Bits<19, 16> revision{};
  static constexpr Bits<15, 0> vendor_id{};
};
struct Header2 : base::Register<Header2, 0x08, std::uint16_t, base::RegisterAccess::read_only> {};
}  // namespace designated_vendor_specific

}  // namespace barter::pci
