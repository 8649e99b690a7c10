// PCI Express capability (PCIe 6.0, 7.5.3): what kind of port this is, its link, and what packets it may send.
#pragma once
#include <cstdint>
#include <iterator>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::express {

inline constexpr std::uint16_t kId = capability_id::kExpress;
inline constexpr std::uint16_t kBytes = 0x3c;         // version 2, every register
inline constexpr std::uint16_t kDeviceBytes = 0x0c;   // version 1 without a link ends here
inline constexpr std::uint16_t kLinkBytes = 0x14;     // version 1 with a link ends here
inline constexpr std::uint16_t kDevice2Bytes = 0x2c;  // version 2 without a link ends here
inline constexpr std::uint16_t kLink2Bytes = 0x34;    // version 2 with a link and without a slot ends here

// 7.5.3.2
struct Capabilities : base::Register<Capabilities, 0x02, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr std::uint8_t kEndpoint = 0x0;
  static constexpr std::uint8_t kLegacyEndpoint = 0x1;
  static constexpr std::uint8_t kRootPort = 0x4;
  static constexpr std::uint8_t kUpstreamPort = 0x5;
  static constexpr std::uint8_t kDownstreamPort = 0x6;
  static constexpr std::uint8_t kPcieToPciBridge = 0x7;
  static constexpr std::uint8_t kPciToPcieBridge = 0x8;
  static constexpr std::uint8_t kRootComplexEndpoint = 0x9;
  static constexpr std::uint8_t kRootComplexEventCollector = 0xa;
  static constexpr Bits<13, 9> interrupt_message_number{};
  static constexpr Bit<8> slot_implemented{};
  static constexpr Bits<7, 4, std::uint8_t> port_type{};
  static constexpr Bits<3, 0> version{};
};
// 7.5.3.3
struct DeviceCapabilities : base::Register<DeviceCapabilities, 0x04, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bit<28> function_level_reset{};
  static constexpr Bits<27, 26> slot_power_limit_scale{};
  static constexpr Bits<25, 18> slot_power_limit_value{};
  static constexpr Bit<15> role_based_error_reporting{};
  static constexpr Bits<11, 9> l1_acceptable_latency{};
  static constexpr Bits<8, 6> l0s_acceptable_latency{};
  static constexpr Bit<5> extended_tag{};
  static constexpr Bits<4, 3> phantom_functions{};
  static constexpr Bits<2, 0> max_payload_log2_minus7{};
};
// 7.5.3.4
struct DeviceControl : base::Register<DeviceControl, 0x08, std::uint16_t> {
  static constexpr Bit<15> initiate_function_level_reset{};
  static constexpr Bits<14, 12> max_read_request_log2_minus7{};
  static constexpr Bit<11> no_snoop{};
  static constexpr Bit<8> extended_tag{};
  static constexpr Bits<7, 5> max_payload_log2_minus7{};
  static constexpr Bit<4> relaxed_ordering{};
  static constexpr Bit<3> unsupported_request_reporting{};
  static constexpr Bit<2> fatal_error_reporting{};
  static constexpr Bit<1> non_fatal_error_reporting{};
  static constexpr Bit<0> correctable_error_reporting{};
};
// 7.5.3.5
struct DeviceStatus : base::Register<DeviceStatus, 0x0a, std::uint16_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<5> transactions_pending{};
  static constexpr Bit<4> auxiliary_power{};
  static constexpr Bit<3> unsupported_request{};
  static constexpr Bit<2> fatal_error{};
  static constexpr Bit<1> non_fatal_error{};
  static constexpr Bit<0> correctable_error{};
};
// 7.5.3.6
struct LinkCapabilities : base::Register<LinkCapabilities, 0x0c, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 24, std::uint8_t> port_number{};
  static constexpr Bit<20> link_active_reporting{};
  static constexpr Bit<19> surprise_down_reporting{};
  static constexpr Bit<18> clock_power_management{};
  static constexpr Bits<17, 15> l1_exit_latency{};
  static constexpr Bits<14, 12> l0s_exit_latency{};
  static constexpr Bits<11, 10> aspm_support{};
  static constexpr Bits<9, 4> max_link_width{};
  static constexpr Bits<3, 0> max_link_speed{};  // speed_mtps() decodes it
};
// 7.5.3.7
struct LinkControl : base::Register<LinkControl, 0x10, std::uint16_t> {
  static constexpr Bit<6> common_clock{};
  static constexpr Bit<5> retrain_link{};
  static constexpr Bit<4> link_disable{};
  static constexpr Bit<3> read_completion_boundary_128{};
  static constexpr Bits<1, 0> aspm_control{};
};
// 7.5.3.8
struct LinkStatus : base::Register<LinkStatus, 0x12, std::uint16_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<13> link_active{};
  static constexpr Bit<12> slot_clock{};
  static constexpr Bit<11> link_training{};
  static constexpr Bits<9, 4> negotiated_link_width{};
  static constexpr Bits<3, 0> current_link_speed{};  // speed_mtps() decodes it
};
// 7.5.3.9 to 7.5.3.11, ports with a slot.
struct SlotCapabilities : base::Register<SlotCapabilities, 0x14, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 19> physical_slot_number{};
  static constexpr Bit<6> hot_plug_capable{};
  static constexpr Bit<5> hot_plug_surprise{};
};
struct SlotControl : base::Register<SlotControl, 0x18, std::uint16_t> {};
struct SlotStatus : base::Register<SlotStatus, 0x1a, std::uint16_t, base::RegisterAccess::write_one_to_clear> {
  static constexpr Bit<6> presence_detect{};
};
// 7.5.3.12 to 7.5.3.14, root ports.
struct RootControl : base::Register<RootControl, 0x1c, std::uint16_t> {};
struct RootCapabilities : base::Register<RootCapabilities, 0x1e, std::uint16_t, base::RegisterAccess::read_only> {};
struct RootStatus : base::Register<RootStatus, 0x20, std::uint32_t, base::RegisterAccess::write_one_to_clear> {};

// 7.5.3.15, from here on version 2 only.
struct DeviceCapabilities2 : base::Register<DeviceCapabilities2, 0x24, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bit<21> end_to_end_tlp_prefix{};
  static constexpr Bit<11> latency_tolerance_reporting{};
  static constexpr Bit<9> atomic_completer_128bit{};
  static constexpr Bit<8> atomic_completer_64bit{};
  static constexpr Bit<7> atomic_completer_32bit{};
  static constexpr Bit<6> atomic_routing{};
  static constexpr Bit<5> ari_forwarding{};
  static constexpr Bit<4> completion_timeout_disable{};
};
// 7.5.3.16
struct DeviceControl2 : base::Register<DeviceControl2, 0x28, std::uint16_t> {
  static constexpr Bit<10> latency_tolerance_reporting{};
  static constexpr Bit<9> id_based_ordering_completions{};
  static constexpr Bit<8> id_based_ordering_requests{};
  static constexpr Bit<7> atomic_egress_blocking{};
  static constexpr Bit<6> atomic_requester{};
  static constexpr Bit<5> ari_forwarding{};
  static constexpr Bit<4> completion_timeout_disable{};
  static constexpr Bits<3, 0> completion_timeout_value{};
};
// 7.5.3.18
struct LinkCapabilities2 : base::Register<LinkCapabilities2, 0x2c, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bit<8> crosslink{};
  static constexpr Bits<7, 1> supported_link_speeds{};  // bit n here: the speed that is encoded as n + 1
};
// 7.5.3.19
struct LinkControl2 : base::Register<LinkControl2, 0x30, std::uint16_t> {
  static constexpr Bits<3, 0> target_link_speed{};
};
struct LinkStatus2 : base::Register<LinkStatus2, 0x32, std::uint16_t, base::RegisterAccess::write_one_to_clear> {};
struct SlotCapabilities2 : base::Register<SlotCapabilities2, 0x34, std::uint32_t, base::RegisterAccess::read_only> {};

// How Max Link Speed, Current Link Speed and Target Link Speed are encoded (7.5.3.6, 7.5.3.18): the number of a bit in
// the Supported Link Speeds Vector, and that bit's meaning. 0: a reserved encoding.
[[nodiscard]] constexpr std::uint32_t speed_mtps(std::uint32_t encoded) {
  constexpr std::uint32_t kSpeeds[] = {0, 2500, 5000, 8000, 16000, 32000, 64000};
  return encoded < std::size(kSpeeds) ? kSpeeds[encoded] : 0;
}
// The encoding of a speed; 0 if it has none.
[[nodiscard]] constexpr std::uint8_t encode_speed(std::uint32_t mtps) {
  for (std::uint8_t encoded = 1; encoded <= 6; ++encoded)
    if (speed_mtps(encoded) == mtps) return encoded;
  return 0;
}

// How Max_Payload_Size and Max_Read_Request_Size are encoded (7.5.3.3, 7.5.3.4). 0: a reserved encoding.
[[nodiscard]] constexpr std::uint32_t packet_bytes(std::uint32_t encoded) { return encoded <= 5 ? 128u << encoded : 0; }

}  // namespace barter::pci::express
