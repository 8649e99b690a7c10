// Power Management capability (PCIe 6.0, 7.5.2). Offsets are from the start of the capability.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::power_management {

inline constexpr std::uint16_t kId = capability_id::kPowerManagement;
inline constexpr std::uint16_t kBytes = 8;

// 7.5.2.1
struct Capabilities : base::Register<Capabilities, 0x02, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr std::uint8_t kVersion = 3;
  static constexpr Bits<15, 11> pme_support{};
  static constexpr Bit<10> d2{};
  static constexpr Bit<9> d1{};
  static constexpr Bits<8, 6> auxiliary_current{};
  static constexpr Bit<5> device_specific_initialization{};
  static constexpr Bit<3> pme_clock{};
  static constexpr Bits<2, 0> version{};
};
// 7.5.2.2
struct ControlStatus : base::Register<ControlStatus, 0x04, std::uint16_t> {
  static constexpr Bit<15> pme_status{};
  static constexpr Bits<14, 13> data_scale{};
  static constexpr Bits<12, 9> data_select{};
  static constexpr Bit<8> pme_enable{};
  static constexpr Bit<3> no_soft_reset{};
  static constexpr Bits<1, 0> power_state{};  // 0: D0, 3: D3hot
};

}  // namespace barter::pci::power_management
