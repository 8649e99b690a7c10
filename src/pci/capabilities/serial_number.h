// Device Serial Number extended capability (PCIe 6.0, 7.9.3): 64 bits, low dword first.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::serial_number {

inline constexpr std::uint16_t kId = extended_capability_id::kDeviceSerialNumber;
inline constexpr std::uint16_t kBytes = 12;

struct Lower : base::Register<Lower, 0x04, std::uint32_t, base::RegisterAccess::read_only> {};
struct Upper : base::Register<Upper, 0x08, std::uint32_t, base::RegisterAccess::read_only> {};

}  // namespace barter::pci::serial_number
