// Advanced Error Reporting extended capability (PCIe 6.0, 7.8.4).
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::aer {

inline constexpr std::uint16_t kId = extended_capability_id::kAdvancedErrorReporting;
inline constexpr std::uint16_t kBytes = 0x2c;      // without TLP prefix log and root registers
inline constexpr std::uint16_t kRootBytes = 0x38;  // root ports and event collectors

// 7.8.4.2; the mask and severity registers have the same bits.
struct UncorrectableStatus
    : base::Register<UncorrectableStatus, 0x04, std::uint32_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<21> acs_violation{};
  static constexpr Bit<20> unsupported_request{};
  static constexpr Bit<18> malformed_tlp{};
  static constexpr Bit<16> unexpected_completion{};
  static constexpr Bit<15> completer_abort{};
  static constexpr Bit<14> completion_timeout{};
  static constexpr Bit<12> poisoned_tlp{};
  static constexpr Bit<5> surprise_down{};
};
struct UncorrectableMask : base::Register<UncorrectableMask, 0x08, std::uint32_t> {};
struct UncorrectableSeverity : base::Register<UncorrectableSeverity, 0x0c, std::uint32_t> {};
struct CorrectableStatus
    : base::Register<CorrectableStatus, 0x10, std::uint32_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<13> advisory_non_fatal{};
};
struct CorrectableMask : base::Register<CorrectableMask, 0x14, std::uint32_t> {};
struct CapabilitiesAndControl : base::Register<CapabilitiesAndControl, 0x18, std::uint32_t> {
  static constexpr Bits<4, 0> first_error{};
};
// The first of four dwords.
struct HeaderLog : base::Register<HeaderLog, 0x1c, std::uint32_t, base::RegisterAccess::read_only> {};

}  // namespace barter::pci::aer
