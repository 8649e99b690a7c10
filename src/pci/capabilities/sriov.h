// Single Root I/O Virtualization extended capability (PCIe 6.0, 9.3.3): where a physical function's virtual functions are.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::sriov {

inline constexpr std::uint16_t kId = extended_capability_id::kSingleRootIoVirtualization;
inline constexpr std::uint16_t kBytes = 0x40;

// 9.3.3.2
struct Capabilities : base::Register<Capabilities, 0x04, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 21> migration_interrupt_message_number{};
  static constexpr Bit<0> migration{};
};
// 9.3.3.3
struct Control : base::Register<Control, 0x08, std::uint16_t> {
  static constexpr Bit<4> ari_capable_hierarchy{};
  static constexpr Bit<3> memory_space{};
  static constexpr Bit<0> enable{};
};
struct Status : base::Register<Status, 0x0a, std::uint16_t, base::RegisterAccess::write_one_to_clear> {};
// 9.3.3.5 to 9.3.3.7
struct InitialVfs : base::Register<InitialVfs, 0x0c, std::uint16_t, base::RegisterAccess::read_only> {};
struct TotalVfs : base::Register<TotalVfs, 0x0e, std::uint16_t, base::RegisterAccess::read_only> {};
struct NumVfs : base::Register<NumVfs, 0x10, std::uint16_t> {};
struct FunctionDependencyLink
    : base::Register<FunctionDependencyLink, 0x12, std::uint8_t, base::RegisterAccess::read_only> {};
// 9.3.3.9 and 9.3.3.10: virtual function n (from 1) has Requester ID = PF's + offset + (n - 1) * stride, in 16 bits.
struct FirstVfOffset : base::Register<FirstVfOffset, 0x14, std::uint16_t, base::RegisterAccess::read_only> {};
struct VfStride : base::Register<VfStride, 0x16, std::uint16_t, base::RegisterAccess::read_only> {};
struct VfDeviceId : base::Register<VfDeviceId, 0x1a, std::uint16_t, base::RegisterAccess::read_only> {};
struct SupportedPageSizes : base::Register<SupportedPageSizes, 0x1c, std::uint32_t, base::RegisterAccess::read_only> {};
struct SystemPageSize : base::Register<SystemPageSize, 0x20, std::uint32_t> {};
// 9.3.3.14: the first VF BAR; number n lies 4 * n bytes further.
struct VfBaseAddress : base::Register<VfBaseAddress, 0x24, std::uint32_t> {};

}  // namespace barter::pci::sriov
