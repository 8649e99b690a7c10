// What each capability starts with, and the numbers that say which one it is.
#pragma once
#include <cstdint>

#include "base/register.h"

namespace barter::pci {

// PCIe 6.0, 7.5.3.1 and PCI 3.0, 6.7: one in the list that starts at the Capabilities Pointer, from 0x40 to 0xff.
struct CapabilityHeader : base::Register<CapabilityHeader, 0x00, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr Bits<15, 8> next{};  // 0: the last one; the bottom two bits are reserved
  static constexpr Bits<7, 0> id{};
};

// PCIe 6.0, 7.6.3: one in the list that starts at 0x100.
struct ExtendedCapabilityHeader
    : base::Register<ExtendedCapabilityHeader, 0x00, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr std::uint16_t kFirstOffset = 0x100;
  static constexpr Bits<31, 20> next{};
  static constexpr Bits<19, 16> version{};
  static constexpr Bits<15, 0> id{};
};

// PCI Code and ID Assignment Specification 1.11, section 2.
namespace capability_id {
inline constexpr std::uint16_t kNull = 0x00;
inline constexpr std::uint16_t kPowerManagement = 0x01;
inline constexpr std::uint16_t kMsi = 0x05;
inline constexpr std::uint16_t kVendorSpecific = 0x09;
inline constexpr std::uint16_t kExpress = 0x10;
inline constexpr std::uint16_t kMsix = 0x11;
inline constexpr std::uint16_t kNotThere = 0xff;  // what a function that doesn't answer reads as
}  // namespace capability_id

// The same, section 3.
namespace extended_capability_id {
inline constexpr std::uint16_t kNull = 0x00;
inline constexpr std::uint16_t kAdvancedErrorReporting = 0x01;
inline constexpr std::uint16_t kDeviceSerialNumber = 0x03;
inline constexpr std::uint16_t kVendorSpecific = 0x0b;
inline constexpr std::uint16_t kAccessControlServices = 0x0d;
inline constexpr std::uint16_t kAlternativeRoutingId = 0x0e;
inline constexpr std::uint16_t kAddressTranslationServices = 0x0f;
inline constexpr std::uint16_t kSingleRootIoVirtualization = 0x10;
inline constexpr std::uint16_t kPageRequestInterface = 0x13;
inline constexpr std::uint16_t kResizableBar = 0x15;
inline constexpr std::uint16_t kProcessAddressSpaceId = 0x1b;
inline constexpr std::uint16_t kDesignatedVendorSpecific = 0x23;
}  // namespace extended_capability_id

}  // namespace barter::pci
