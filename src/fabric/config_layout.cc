#include "fabric/config_layout.h"

#include <algorithm>
#include <cassert>

#include "pci/capabilities/acs.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/capabilities/msix.h"
#include "pci/capabilities/power_management.h"
#include "pci/class_code.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

namespace express = pci::express;

constexpr std::uint16_t kPowerManagementAt = 0x40;
constexpr std::uint16_t kMsixAt = 0x50;
constexpr std::uint16_t kExpressAt = 0x60;
constexpr std::uint16_t kAcsAt = 0x100;
constexpr std::uint16_t kAtsAfterAcsAt = 0x140;  // behind the longest egress control vector
constexpr std::uint32_t kMaxPayload512 = 2;      // log2 of the bytes, minus 7
constexpr std::uint32_t kMaxReadRequest512 = 2;

void lay_out_identity(Registers& registers, const FunctionIdentity& identity, std::uint8_t header_layout,
                      bool multi_function) {
  registers.set(pci::VendorId::from(identity.vendor_id));
  registers.set(pci::DeviceId::from(identity.device_id));
  registers.set(pci::ClassRevision{}
                    .with(pci::ClassRevision::class_code, identity.class_code & 0xffffff)
                    .with(pci::ClassRevision::revision, identity.revision));
  registers.set(pci::HeaderType{}
                    .with(pci::HeaderType::layout, header_layout)
                    .with(pci::HeaderType::multi_function, multi_function));
  registers.set_writable(pci::Command{}
                             .with(pci::Command::memory_space, true)
                             .with(pci::Command::bus_master, true)
                             .with(pci::Command::parity_error_response, true)
                             .with(pci::Command::serr_enable, true)
                             .with(pci::Command::interrupt_disable, true));
  registers.set_writable(pci::CacheLineSize::from(0xff));
  registers.set_writable(pci::InterruptLine::from(0xff));
}

// Chains the capabilities of the first 256 bytes, in the order they are added.
class Chain {
 public:
  explicit Chain(Registers& registers) : registers_(registers) {}
  void add(std::uint16_t at, std::uint16_t id) {
    const auto next = static_cast<std::uint16_t>(at);
    if (last_ == 0) {
      registers_.set(pci::CapabilitiesPointer::from(static_cast<std::uint8_t>(next)));
      registers_.set(registers_.get<pci::Status>().with(pci::Status::capabilities_list, true));
    } else {
      registers_.set(registers_.get<pci::CapabilityHeader>(last_).with(pci::CapabilityHeader::next, next), last_);
    }
    registers_.set(pci::CapabilityHeader{}.with(pci::CapabilityHeader::id, id), at);
    last_ = at;
  }

 private:
  Registers& registers_;
  std::uint16_t last_ = 0;
};

void add_power_management(Node& node, Chain& chain) {
  namespace pm = pci::power_management;
  node.capabilities.power_management = kPowerManagementAt;
  chain.add(kPowerManagementAt, pm::kId);
  node.registers.set(pm::Capabilities{}.with(pm::Capabilities::version, pm::Capabilities::kVersion),
                     kPowerManagementAt);
  node.registers.set(pm::ControlStatus{}.with(pm::ControlStatus::no_soft_reset, true), kPowerManagementAt);
  node.registers.set_writable(pm::ControlStatus{}.with(pm::ControlStatus::power_state, 3), kPowerManagementAt);
}

void add_msix(Node& node, Chain& chain, const FunctionIdentity& identity) {
  namespace msix = pci::msix;
  node.capabilities.msix = kMsixAt;
  chain.add(kMsixAt, msix::kId);
  const auto last = static_cast<std::uint16_t>(std::min(identity.msix_vectors, 2048u) - 1);
  node.registers.set(msix::MessageControl{}.with(msix::MessageControl::table_size_0based, last), kMsixAt);
  node.registers.set_writable(
      msix::MessageControl{}.with(msix::MessageControl::enable, true).with(msix::MessageControl::function_mask, true),
      kMsixAt);
  const auto place = [](auto reg, std::uint8_t bar, BarOffset offset) {
    using R = decltype(reg);
    return R{}.with(R::bar, bar).with(R::offset_qwords, static_cast<std::uint32_t>(offset.value / 8));
  };
  node.registers.set(place(msix::Table{}, identity.msix_bar, identity.msix_table), kMsixAt);
  node.registers.set(place(msix::PendingBitArray{}, identity.msix_bar, identity.msix_pending), kMsixAt);
}

void add_link(Registers& registers, const topology::LinkDescription& link, std::uint8_t port_number,
              bool is_downstream) {
  const std::uint8_t fastest = std::max<std::uint8_t>(1, pci::express::encode_speed(link.max.speed_mtps));
  const LinkState now = link.now.value_or(link.max);
  registers.set(express::LinkCapabilities{}
                    .with(express::LinkCapabilities::port_number, port_number)
                    .with(express::LinkCapabilities::link_active_reporting, is_downstream)
                    .with(express::LinkCapabilities::surprise_down_reporting, is_downstream)
                    .with(express::LinkCapabilities::max_link_width, link.max.width & 0x3f)
                    .with(express::LinkCapabilities::max_link_speed, fastest),
                kExpressAt);
  registers.set(express::LinkStatus{}
                    .with(express::LinkStatus::link_active, is_downstream)
                    .with(express::LinkStatus::negotiated_link_width, static_cast<std::uint16_t>(now.width & 0x3f))
                    .with(express::LinkStatus::current_link_speed,
                          std::max<std::uint8_t>(1, pci::express::encode_speed(now.speed_mtps))),
                kExpressAt);
  registers.set_writable(
      express::LinkControl{}.with(express::LinkControl::common_clock, true).with(express::LinkControl::aspm_control, 3),
      kExpressAt);
  registers.set(
      express::LinkCapabilities2{}.with(express::LinkCapabilities2::supported_link_speeds, (1u << fastest) - 1),
      kExpressAt);
  registers.set(express::LinkControl2{}.with(express::LinkControl2::target_link_speed, fastest), kExpressAt);
}

void add_express(Node& node, Chain& chain, std::uint8_t type) {
  Registers& registers = node.registers;
  node.capabilities.express = kExpressAt;
  chain.add(kExpressAt, express::kId);
  const bool has_slot = node.has_link_below();
  const bool is_function =
      type == express::Capabilities::kEndpoint || type == express::Capabilities::kRootComplexEndpoint;
  registers.set(express::Capabilities{}
                    .with(express::Capabilities::version, 2)
                    .with(express::Capabilities::port_type, type)
                    .with(express::Capabilities::slot_implemented, has_slot),
                kExpressAt);
  registers.set(express::DeviceCapabilities{}
                    .with(express::DeviceCapabilities::max_payload_log2_minus7, kMaxPayload512)
                    .with(express::DeviceCapabilities::role_based_error_reporting, true)
                    .with(express::DeviceCapabilities::extended_tag, true)
                    .with(express::DeviceCapabilities::function_level_reset, is_function),
                kExpressAt);
  registers.set(express::DeviceControl{}
                    .with(express::DeviceControl::max_read_request_log2_minus7, kMaxReadRequest512)
                    .with(express::DeviceControl::relaxed_ordering, true),
                kExpressAt);
  // Everything but the FLR bit, which reads as zero; config_access.cc sees it being written.
  registers.set_writable(express::DeviceControl::from(0x7fff), kExpressAt);
  registers.set_write_one_to_clear(express::DeviceStatus::from(0x000f), kExpressAt);
  registers.set(express::DeviceCapabilities2{}.with(express::DeviceCapabilities2::completion_timeout_disable, true),
                kExpressAt);
  registers.set_writable(express::DeviceControl2{}.with(express::DeviceControl2::completion_timeout_disable, true),
                         kExpressAt);
  if (has_slot) {
    registers.set(express::SlotCapabilities{}
                      .with(express::SlotCapabilities::physical_slot_number, node.index & 0x1fff)
                      .with(express::SlotCapabilities::hot_plug_capable, true)
                      .with(express::SlotCapabilities::hot_plug_surprise, true),
                  kExpressAt);
    // Attention and Power Indicator Control, bits 7:6 and 9:8: off. Zero is reserved (PCIe 6.0, 7.5.3.10).
    registers.set(express::SlotControl::from(0x03c0), kExpressAt);
    registers.set(express::SlotStatus{}.with(express::SlotStatus::presence_detect, true), kExpressAt);
  }
}

void add_acs(Node& node, const std::optional<topology::AcsDescription>& acs) {
  if (!acs) return;
  Registers& registers = node.registers;
  node.capabilities.acs = kAcsAt;
  registers.set(pci::ExtendedCapabilityHeader{}
                    .with(pci::ExtendedCapabilityHeader::id, pci::acs::kId)
                    .with(pci::ExtendedCapabilityHeader::version, 1),
                kAcsAt);
  const auto capability = pci::acs::Capability::from(acs->capability);
  const auto enabled_bits = static_cast<std::uint16_t>(acs->capability & pci::acs::kAllBits);
  registers.set(capability, kAcsAt);
  registers.set(pci::acs::Control::from(static_cast<std::uint16_t>(acs->control & enabled_bits)), kAcsAt);
  registers.set_writable(pci::acs::Control::from(enabled_bits), kAcsAt);
  for (unsigned word = 0; word < capability.egress_vector_dwords(); ++word) {
    const std::uint32_t value = word < acs->egress_control_vector.size() ? acs->egress_control_vector[word] : 0;
    registers.set(pci::acs::EgressControlVector::from(value), kAcsAt + 4 * word);
    registers.set_writable(pci::acs::EgressControlVector::from(0xffffffff), kAcsAt + 4 * word);
  }
}

// Translation Requests are for whole pages, which Intel's IOMMUs insist on under Linux, and up to 32 Invalidate Requests
// may be on their way, which 0 says (PCIe 6.0, 10.5.1.2).
void add_ats(Node& node) {
  namespace ats = pci::ats;
  Registers& registers = node.registers;
  const std::uint16_t at = node.capabilities.acs == 0 ? pci::ExtendedCapabilityHeader::kFirstOffset : kAtsAfterAcsAt;
  node.capabilities.ats = at;
  if (node.capabilities.acs != 0)
    registers.set(registers.get<pci::ExtendedCapabilityHeader>(kAcsAt).with(pci::ExtendedCapabilityHeader::next, at),
                  kAcsAt);
  registers.set(pci::ExtendedCapabilityHeader{}
                    .with(pci::ExtendedCapabilityHeader::id, ats::kId)
                    .with(pci::ExtendedCapabilityHeader::version, 1),
                at);
  registers.set(ats::Capability{}.with(ats::Capability::page_aligned_request, true), at);
  registers.set_writable(
      ats::Control{}.with(ats::Control::enable, true).with(ats::Control::smallest_translation_unit_log2_minus12, 0x1f),
      at);
}

void lay_out_bridge_header(Registers& registers) {
  namespace bridge = pci::bridge;
  registers.set_writable(bridge::PrimaryBus::from(0xff));
  registers.set_writable(bridge::SecondaryBus::from(0xff));
  registers.set_writable(bridge::SubordinateBus::from(0xff));
  registers.set_writable(bridge::MemoryBase::from(0xfff0));
  registers.set_writable(bridge::MemoryLimit::from(0xfff0));
  registers.set_writable(bridge::PrefetchableBase::from(0xfff0));
  registers.set_writable(bridge::PrefetchableLimit::from(0xfff0));
  registers.set_writable(bridge::PrefetchableBaseUpper::from(0xffffffff));
  registers.set_writable(bridge::PrefetchableLimitUpper::from(0xffffffff));
  registers.set_writable(bridge::IoBase::from(0xf0));
  registers.set_writable(bridge::IoLimit::from(0xf0));
  registers.set_writable(bridge::BridgeControl{}
                             .with(bridge::BridgeControl::serr_enable, true)
                             .with(bridge::BridgeControl::parity_error_response, true));
  pci::store_io_window(registers.raw_values(), std::nullopt);
  pci::store_memory_window(registers.raw_values(), std::nullopt);
  pci::store_prefetchable_window(registers.raw_values(), std::nullopt);
}

void lay_out_bars(Node& node) {
  for (const BarRequest& bar : node.bars) {
    const pci::Bar empty{.index = bar.index,
                         .is_64bit = bar.is_64bit,
                         .is_prefetchable = bar.is_prefetchable,
                         .size_bytes = bar.size_bytes};
    const std::size_t at = std::size_t{bar.index} * pci::BaseAddress::kStrideBytes;
    const pci::BarRegisters values = pci::encode_bar(empty);
    const pci::BarRegisters sizing = pci::encode_bar_sizing(empty);
    node.registers.set(pci::BaseAddress::from(values.low), at);
    node.registers.set_writable(pci::BaseAddress::from(sizing.low & ~0xfu), at);
    if (bar.is_64bit) node.registers.set_writable(pci::BaseAddress::from(sizing.high), at + 4);
  }
}

}  // namespace

void lay_out_host_bridge(Node& node, const topology::RootComplexDescription& description) {
  lay_out_identity(node.registers,
                   {.vendor_id = description.host_bridge_vendor,
                    .device_id = description.host_bridge_device,
                    .class_code = pci::kClassHostBridge},
                   pci::HeaderType::kEndpoint, false);
  node.power_on_values = node.registers.values();
}

void lay_out_port(Node& node, const topology::PortDescription& description, PortLayout layout) {
  const FunctionIdentity identity{
      .vendor_id = description.vendor_id, .device_id = description.device_id, .class_code = pci::kClassPciBridge};
  lay_out_identity(node.registers, identity, pci::HeaderType::kBridge, false);
  lay_out_bridge_header(node.registers);
  node.port_number = layout.number;
  Chain chain(node.registers);
  add_power_management(node, chain);
  add_express(node, chain, layout.express_type);
  add_link(node.registers, description.link, layout.number, node.has_link_below());
  add_acs(node, description.acs);
  node.power_on_values = node.registers.values();
}

void lay_out_endpoint(Node& node, const topology::FunctionDescription& description, const FunctionIdentity& identity,
                      EndpointLayout layout) {
  node.registers = Registers();
  node.capabilities = {};
  node.bars = identity.bars;
  lay_out_identity(node.registers, identity, pci::HeaderType::kEndpoint, layout.multi_function);
  node.registers.set(pci::SubsystemVendorId::from(identity.subsystem_vendor_id));
  node.registers.set(pci::SubsystemId::from(identity.subsystem_id));
  lay_out_bars(node);
  Chain chain(node.registers);
  add_power_management(node, chain);
  if (identity.msix_vectors > 0) add_msix(node, chain, identity);
  add_express(node, chain,
              layout.integrated ? express::Capabilities::kRootComplexEndpoint : express::Capabilities::kEndpoint);
  if (!layout.integrated) add_link(node.registers, description.link, 0, false);
  add_acs(node, description.acs);
  if (description.ats) add_ats(node);
  node.msix.assign(std::min(identity.msix_vectors, 2048u), {});
  node.power_on_values = node.registers.values();
}

}  // namespace barter::fabric
