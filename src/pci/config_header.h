// The configuration header that every function starts with: the common part, the endpoint's layout (type 0) and the
// bridge's (type 1). PCIe 6.0, 7.5.1.
#pragma once
#include <cstdint>

#include "base/register.h"

namespace barter::pci {

// 7.5.1.1, common to both layouts.
struct VendorId : base::Register<VendorId, 0x00, std::uint16_t, base::RegisterAccess::read_only> {
  // What a read of a function that isn't there gives, and what a virtual function has here (9.3.4.1.1).
  static constexpr std::uint16_t kNone = 0xffff;
};
struct DeviceId : base::Register<DeviceId, 0x02, std::uint16_t, base::RegisterAccess::read_only> {};
struct Command : base::Register<Command, 0x04, std::uint16_t> {
  static constexpr Bit<10> interrupt_disable{};
  static constexpr Bit<8> serr_enable{};
  static constexpr Bit<6> parity_error_response{};
  static constexpr Bit<2> bus_master{};
  static constexpr Bit<1> memory_space{};
  static constexpr Bit<0> io_space{};
};
struct Status : base::Register<Status, 0x06, std::uint16_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<15> detected_parity_error{};
  static constexpr Bit<14> signaled_system_error{};
  static constexpr Bit<13> received_master_abort{};
  static constexpr Bit<12> received_target_abort{};
  static constexpr Bit<11> signaled_target_abort{};
  static constexpr Bit<8> master_data_parity_error{};
  static constexpr Bit<4> capabilities_list{};
  static constexpr Bit<3> interrupt{};
};
struct ClassRevision : base::Register<ClassRevision, 0x08, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 8> class_code{};
  static constexpr Bits<7, 0> revision{};
};
struct CacheLineSize : base::Register<CacheLineSize, 0x0c, std::uint8_t> {};
struct HeaderType : base::Register<HeaderType, 0x0e, std::uint8_t, base::RegisterAccess::read_only> {
  static constexpr std::uint8_t kEndpoint = 0;
  static constexpr std::uint8_t kBridge = 1;
  static constexpr std::uint8_t kCardBus =
      2;  // PC Card Standard; obsolete, but its bus numbers are where a bridge's are
  static constexpr Bit<7> multi_function{};
  static constexpr Bits<6, 0> layout{};
};
// The first Base Address Register; number n lies 4 * n bytes further. bar.h makes sense of them.
struct BaseAddress : base::Register<BaseAddress, 0x10, std::uint32_t> {
  static constexpr std::uint32_t kStrideBytes = 4;
  static constexpr std::uint8_t kEndpointCount = 6;
  static constexpr std::uint8_t kBridgeCount = 2;
  static constexpr std::uint8_t kType32 = 0;
  static constexpr std::uint8_t kTypeBelow1M = 1;  // PCI 2.1; obsolete
  static constexpr std::uint8_t kType64 = 2;
  static constexpr Bits<31, 4> memory_address{};
  static constexpr Bits<31, 2> io_address{};
  static constexpr Bit<3> prefetchable{};
  static constexpr Bits<2, 1, std::uint8_t> memory_type{};
  static constexpr Bit<0> is_io{};
};
struct CapabilitiesPointer : base::Register<CapabilitiesPointer, 0x34, std::uint8_t, base::RegisterAccess::read_only> {
  static constexpr Bits<7, 2> dword{};  // the bottom two bits are reserved; software masks them
};
struct InterruptLine : base::Register<InterruptLine, 0x3c, std::uint8_t> {};
struct InterruptPin : base::Register<InterruptPin, 0x3d, std::uint8_t, base::RegisterAccess::read_only> {};

// 7.5.1.2, only in the endpoint's layout.
struct SubsystemVendorId : base::Register<SubsystemVendorId, 0x2c, std::uint16_t, base::RegisterAccess::read_only> {};
struct SubsystemId : base::Register<SubsystemId, 0x2e, std::uint16_t, base::RegisterAccess::read_only> {};
struct ExpansionRom : base::Register<ExpansionRom, 0x30, std::uint32_t> {
  static constexpr Bits<31, 11> address{};
  static constexpr Bit<0> enable{};
};

// 7.5.1.3, only in the bridge's layout. bridge_window.h makes sense of the bases and limits.
namespace bridge {

struct PrimaryBus : base::Register<PrimaryBus, 0x18, std::uint8_t> {};
struct SecondaryBus : base::Register<SecondaryBus, 0x19, std::uint8_t> {};
struct SubordinateBus : base::Register<SubordinateBus, 0x1a, std::uint8_t> {};
struct IoBase : base::Register<IoBase, 0x1c, std::uint8_t> {
  static constexpr Bits<7, 4> address_15_12{};
  static constexpr Bits<3, 0> width{};  // 1: 32 bits wide
};
struct IoLimit : base::Register<IoLimit, 0x1d, std::uint8_t> {
  static constexpr Bits<7, 4> address_15_12{};
  static constexpr Bits<3, 0> width{};
};
struct SecondaryStatus
    : base::Register<SecondaryStatus, 0x1e, std::uint16_t, base::RegisterAccess::write_one_to_clear> {};
struct MemoryBase : base::Register<MemoryBase, 0x20, std::uint16_t> {
  static constexpr Bits<15, 4> address_31_20{};
};
struct MemoryLimit : base::Register<MemoryLimit, 0x22, std::uint16_t> {
  static constexpr Bits<15, 4> address_31_20{};
};
struct PrefetchableBase : base::Register<PrefetchableBase, 0x24, std::uint16_t> {
  static constexpr Bits<15, 4> address_31_20{};
  static constexpr Bits<3, 0> width{};  // 1: 64 bits wide
};
struct PrefetchableLimit : base::Register<PrefetchableLimit, 0x26, std::uint16_t> {
  static constexpr Bits<15, 4> address_31_20{};
  static constexpr Bits<3, 0> width{};
};
struct PrefetchableBaseUpper : base::Register<PrefetchableBaseUpper, 0x28, std::uint32_t> {};
struct PrefetchableLimitUpper : base::Register<PrefetchableLimitUpper, 0x2c, std::uint32_t> {};
struct IoBaseUpper : base::Register<IoBaseUpper, 0x30, std::uint16_t> {};
struct IoLimitUpper : base::Register<IoLimitUpper, 0x32, std::uint16_t> {};
struct ExpansionRom : base::Register<ExpansionRom, 0x38, std::uint32_t> {
  static constexpr Bits<31, 11> address{};
  static constexpr Bit<0> enable{};
};
struct BridgeControl : base::Register<BridgeControl, 0x3e, std::uint16_t> {
  static constexpr Bit<6> secondary_bus_reset{};
  static constexpr Bit<3> vga_enable{};
  static constexpr Bit<1> serr_enable{};
  static constexpr Bit<0> parity_error_response{};
};

}  // namespace bridge
}  // namespace barter::pci
