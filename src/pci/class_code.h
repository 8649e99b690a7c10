// Class codes (PCI Code and ID Assignment Specification 1.11, section 1): base class, sub-class, programming interface.
#pragma once
#include <cstdint>

namespace barter::pci {

inline constexpr std::uint32_t kClassNvme = 0x010802;
inline constexpr std::uint32_t kClassEthernet = 0x020000;
inline constexpr std::uint32_t kClassVga = 0x030000;
inline constexpr std::uint32_t kClass3dController = 0x030200;
inline constexpr std::uint32_t kClassHostBridge = 0x060000;
inline constexpr std::uint32_t kClassPciBridge = 0x060400;
inline constexpr std::uint32_t kClassProcessingAccelerator = 0x120000;

}  // namespace barter::pci
