// Every offset and mask of src/pci against the kernel's own transcription of the specifications, <linux/pci_regs.h>.
// Where that header has no name for a bit, the number is written here a second time, from the specification.
#include <linux/pci_regs.h>

#include <gtest/gtest.h>

#include "pci/capabilities/acs.h"
#include "pci/capabilities/aer.h"
#include "pci/capabilities/ari.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/capability_header.h"
#include "pci/capabilities/express.h"
#include "pci/capabilities/msi.h"
#include "pci/capabilities/msix.h"
#include "pci/capabilities/page_request.h"
#include "pci/capabilities/power_management.h"
#include "pci/capabilities/serial_number.h"
#include "pci/capabilities/sriov.h"
#include "pci/capabilities/vendor_specific.h"
#include "pci/class_code.h"
#include "pci/config_header.h"
#include "pci/config_space.h"

namespace barter::pci {
namespace {

// The mask of a field in its register.
template <class R, unsigned kHigh, unsigned kLow, class V>
constexpr std::uint64_t mask(base::Field<R, kHigh, kLow, V>) {
  return base::Field<R, kHigh, kLow, V>::template mask<typename R::Word>();
}
template <class R>
constexpr bool is_at(std::uint32_t offset, std::size_t bytes) {
  return R::kOffset == offset && sizeof(typename R::Word) == bytes;
}

static_assert(ConfigSpace::kHeaderBytes == PCI_STD_HEADER_SIZEOF);
static_assert(ConfigSpace::kConventionalBytes == PCI_CFG_SPACE_SIZE);
static_assert(ConfigSpace::kExtendedBytes == PCI_CFG_SPACE_EXP_SIZE);

// The common header.
static_assert(is_at<VendorId>(PCI_VENDOR_ID, 2));
static_assert(is_at<DeviceId>(PCI_DEVICE_ID, 2));
static_assert(is_at<Command>(PCI_COMMAND, 2));
static_assert(mask(Command::io_space) == PCI_COMMAND_IO);
static_assert(mask(Command::memory_space) == PCI_COMMAND_MEMORY);
static_assert(mask(Command::bus_master) == PCI_COMMAND_MASTER);
static_assert(mask(Command::parity_error_response) == PCI_COMMAND_PARITY);
static_assert(mask(Command::serr_enable) == PCI_COMMAND_SERR);
static_assert(mask(Command::interrupt_disable) == PCI_COMMAND_INTX_DISABLE);
static_assert(is_at<Status>(PCI_STATUS, 2));
static_assert(mask(Status::interrupt) == PCI_STATUS_INTERRUPT);
static_assert(mask(Status::capabilities_list) == PCI_STATUS_CAP_LIST);
static_assert(mask(Status::master_data_parity_error) == PCI_STATUS_PARITY);
static_assert(mask(Status::signaled_target_abort) == PCI_STATUS_SIG_TARGET_ABORT);
static_assert(mask(Status::received_target_abort) == PCI_STATUS_REC_TARGET_ABORT);
static_assert(mask(Status::received_master_abort) == PCI_STATUS_REC_MASTER_ABORT);
static_assert(mask(Status::signaled_system_error) == PCI_STATUS_SIG_SYSTEM_ERROR);
static_assert(mask(Status::detected_parity_error) == PCI_STATUS_DETECTED_PARITY);
static_assert(is_at<ClassRevision>(PCI_CLASS_REVISION, 4));
static_assert(mask(ClassRevision::class_code) == 0xffffff00 && mask(ClassRevision::revision) == 0xff);
static_assert(is_at<CacheLineSize>(PCI_CACHE_LINE_SIZE, 1));
static_assert(is_at<HeaderType>(PCI_HEADER_TYPE, 1));
static_assert(mask(HeaderType::layout) == PCI_HEADER_TYPE_MASK && mask(HeaderType::multi_function) == 0x80);
static_assert(HeaderType::kEndpoint == PCI_HEADER_TYPE_NORMAL);
static_assert(HeaderType::kBridge == PCI_HEADER_TYPE_BRIDGE);
static_assert(HeaderType::kCardBus == PCI_HEADER_TYPE_CARDBUS);
static_assert(is_at<BaseAddress>(PCI_BASE_ADDRESS_0, 4));
static_assert(BaseAddress::kStrideBytes == PCI_BASE_ADDRESS_1 - PCI_BASE_ADDRESS_0);
static_assert(BaseAddress::kEndpointCount == PCI_STD_NUM_BARS);
static_assert(mask(BaseAddress::is_io) == PCI_BASE_ADDRESS_SPACE_IO);
static_assert(mask(BaseAddress::memory_type) == PCI_BASE_ADDRESS_MEM_TYPE_MASK);
static_assert(mask(BaseAddress::prefetchable) == PCI_BASE_ADDRESS_MEM_PREFETCH);
static_assert(mask(BaseAddress::memory_address) == (PCI_BASE_ADDRESS_MEM_MASK & 0xffffffff));
static_assert(mask(BaseAddress::io_address) == (PCI_BASE_ADDRESS_IO_MASK & 0xffffffff));
static_assert(BaseAddress::kType32 << 1 == PCI_BASE_ADDRESS_MEM_TYPE_32);
static_assert(BaseAddress::kTypeBelow1M << 1 == PCI_BASE_ADDRESS_MEM_TYPE_1M);
static_assert(BaseAddress::kType64 << 1 == PCI_BASE_ADDRESS_MEM_TYPE_64);
static_assert(is_at<CapabilitiesPointer>(PCI_CAPABILITY_LIST, 1) && mask(CapabilitiesPointer::dword) == 0xfc);
static_assert(is_at<InterruptLine>(PCI_INTERRUPT_LINE, 1));
static_assert(is_at<InterruptPin>(PCI_INTERRUPT_PIN, 1));
static_assert(is_at<SubsystemVendorId>(PCI_SUBSYSTEM_VENDOR_ID, 2));
static_assert(is_at<SubsystemId>(PCI_SUBSYSTEM_ID, 2));
static_assert(is_at<ExpansionRom>(PCI_ROM_ADDRESS, 4));
static_assert(mask(ExpansionRom::enable) == PCI_ROM_ADDRESS_ENABLE);
static_assert(mask(ExpansionRom::address) == (PCI_ROM_ADDRESS_MASK & 0xffffffff));

// The bridge's header.
static_assert(is_at<bridge::PrimaryBus>(PCI_PRIMARY_BUS, 1));
static_assert(is_at<bridge::SecondaryBus>(PCI_SECONDARY_BUS, 1));
static_assert(is_at<bridge::SubordinateBus>(PCI_SUBORDINATE_BUS, 1));
static_assert(is_at<bridge::IoBase>(PCI_IO_BASE, 1) && is_at<bridge::IoLimit>(PCI_IO_LIMIT, 1));
static_assert(mask(bridge::IoBase::address_15_12) == (PCI_IO_RANGE_MASK & 0xff));
static_assert(mask(bridge::IoLimit::address_15_12) == (PCI_IO_RANGE_MASK & 0xff));
static_assert(mask(bridge::IoBase::width) == PCI_IO_RANGE_TYPE_MASK && PCI_IO_RANGE_TYPE_32 == 1);
static_assert(mask(bridge::IoLimit::width) == PCI_IO_RANGE_TYPE_MASK);
static_assert(is_at<bridge::SecondaryStatus>(PCI_SEC_STATUS, 2));
static_assert(is_at<bridge::MemoryBase>(PCI_MEMORY_BASE, 2) && is_at<bridge::MemoryLimit>(PCI_MEMORY_LIMIT, 2));
static_assert(mask(bridge::MemoryBase::address_31_20) == (PCI_MEMORY_RANGE_MASK & 0xffff));
static_assert(mask(bridge::MemoryLimit::address_31_20) == (PCI_MEMORY_RANGE_MASK & 0xffff));
static_assert(is_at<bridge::PrefetchableBase>(PCI_PREF_MEMORY_BASE, 2));
static_assert(is_at<bridge::PrefetchableLimit>(PCI_PREF_MEMORY_LIMIT, 2));
static_assert(mask(bridge::PrefetchableBase::address_31_20) == (PCI_PREF_RANGE_MASK & 0xffff));
static_assert(mask(bridge::PrefetchableLimit::address_31_20) == (PCI_PREF_RANGE_MASK & 0xffff));
static_assert(mask(bridge::PrefetchableBase::width) == PCI_PREF_RANGE_TYPE_MASK && PCI_PREF_RANGE_TYPE_64 == 1);
static_assert(mask(bridge::PrefetchableLimit::width) == PCI_PREF_RANGE_TYPE_MASK);
static_assert(is_at<bridge::PrefetchableBaseUpper>(PCI_PREF_BASE_UPPER32, 4));
static_assert(is_at<bridge::PrefetchableLimitUpper>(PCI_PREF_LIMIT_UPPER32, 4));
static_assert(is_at<bridge::IoBaseUpper>(PCI_IO_BASE_UPPER16, 2));
static_assert(is_at<bridge::IoLimitUpper>(PCI_IO_LIMIT_UPPER16, 2));
static_assert(is_at<bridge::ExpansionRom>(PCI_ROM_ADDRESS1, 4));
static_assert(mask(bridge::ExpansionRom::address) == mask(ExpansionRom::address));
static_assert(mask(bridge::ExpansionRom::enable) == mask(ExpansionRom::enable));
static_assert(is_at<bridge::BridgeControl>(PCI_BRIDGE_CONTROL, 2));
static_assert(mask(bridge::BridgeControl::parity_error_response) == PCI_BRIDGE_CTL_PARITY);
static_assert(mask(bridge::BridgeControl::serr_enable) == PCI_BRIDGE_CTL_SERR);
static_assert(mask(bridge::BridgeControl::vga_enable) == PCI_BRIDGE_CTL_VGA);
static_assert(mask(bridge::BridgeControl::secondary_bus_reset) == PCI_BRIDGE_CTL_BUS_RESET);

// What capabilities start with, and their numbers.
static_assert(mask(CapabilityHeader::next) == 0xff << 8 * PCI_CAP_LIST_NEXT && mask(CapabilityHeader::id) == 0xff);
static_assert(PCI_EXT_CAP_ID(mask(ExtendedCapabilityHeader::id)) == 0xffff);
static_assert(PCI_EXT_CAP_ID(~mask(ExtendedCapabilityHeader::id)) == 0);
static_assert(PCI_EXT_CAP_VER(mask(ExtendedCapabilityHeader::version)) == 0xf);
static_assert(PCI_EXT_CAP_NEXT(mask(ExtendedCapabilityHeader::next)) == 0xffc);
static_assert(ExtendedCapabilityHeader::kFirstOffset == PCI_CFG_SPACE_SIZE);
static_assert(power_management::kId == PCI_CAP_ID_PM && msi::kId == PCI_CAP_ID_MSI && msix::kId == PCI_CAP_ID_MSIX);
static_assert(express::kId == PCI_CAP_ID_EXP && vendor_specific::kId == PCI_CAP_ID_VNDR);
static_assert(aer::kId == PCI_EXT_CAP_ID_ERR && serial_number::kId == PCI_EXT_CAP_ID_DSN);
static_assert(vendor_specific_extended::kId == PCI_EXT_CAP_ID_VNDR && acs::kId == PCI_EXT_CAP_ID_ACS);
static_assert(ari::kId == PCI_EXT_CAP_ID_ARI && ats::kId == PCI_EXT_CAP_ID_ATS && sriov::kId == PCI_EXT_CAP_ID_SRIOV);
static_assert(page_request::kId == PCI_EXT_CAP_ID_PRI);
static_assert(extended_capability_id::kResizableBar == PCI_EXT_CAP_ID_REBAR);
static_assert(extended_capability_id::kProcessAddressSpaceId == PCI_EXT_CAP_ID_PASID);
static_assert(designated_vendor_specific::kId == PCI_EXT_CAP_ID_DVSEC);

// Power Management.
static_assert(is_at<power_management::Capabilities>(PCI_PM_PMC, 2) && power_management::kBytes == PCI_PM_SIZEOF);
static_assert(mask(power_management::Capabilities::version) == PCI_PM_CAP_VER_MASK);
static_assert(mask(power_management::Capabilities::pme_clock) == PCI_PM_CAP_PME_CLOCK);
static_assert(mask(power_management::Capabilities::device_specific_initialization) == PCI_PM_CAP_DSI);
static_assert(mask(power_management::Capabilities::auxiliary_current) == PCI_PM_CAP_AUX_POWER);
static_assert(mask(power_management::Capabilities::d1) == PCI_PM_CAP_D1);
static_assert(mask(power_management::Capabilities::d2) == PCI_PM_CAP_D2);
static_assert(mask(power_management::Capabilities::pme_support) == PCI_PM_CAP_PME_MASK);
static_assert(is_at<power_management::ControlStatus>(PCI_PM_CTRL, 2));
static_assert(mask(power_management::ControlStatus::power_state) == PCI_PM_CTRL_STATE_MASK);
static_assert(mask(power_management::ControlStatus::no_soft_reset) == PCI_PM_CTRL_NO_SOFT_RESET);
static_assert(mask(power_management::ControlStatus::pme_enable) == PCI_PM_CTRL_PME_ENABLE);
static_assert(mask(power_management::ControlStatus::data_select) == PCI_PM_CTRL_DATA_SEL_MASK);
static_assert(mask(power_management::ControlStatus::data_scale) == PCI_PM_CTRL_DATA_SCALE_MASK);
static_assert(mask(power_management::ControlStatus::pme_status) == PCI_PM_CTRL_PME_STATUS);

// MSI and MSI-X.
static_assert(is_at<msi::MessageControl>(PCI_MSI_FLAGS, 2));
static_assert(mask(msi::MessageControl::enable) == PCI_MSI_FLAGS_ENABLE);
static_assert(mask(msi::MessageControl::multiple_message_capable_log2) == PCI_MSI_FLAGS_QMASK);
static_assert(mask(msi::MessageControl::multiple_message_enable_log2) == PCI_MSI_FLAGS_QSIZE);
static_assert(mask(msi::MessageControl::address_64bit) == PCI_MSI_FLAGS_64BIT);
static_assert(mask(msi::MessageControl::per_vector_masking) == PCI_MSI_FLAGS_MASKBIT);
static_assert(is_at<msi::MessageAddress>(PCI_MSI_ADDRESS_LO, 4));
static_assert(is_at<msi::MessageUpperAddress>(PCI_MSI_ADDRESS_HI, 4));
static_assert(is_at<msi::MessageData32>(PCI_MSI_DATA_32, 2) && is_at<msi::MessageData64>(PCI_MSI_DATA_64, 2));
static_assert(is_at<msi::MaskBits32>(PCI_MSI_MASK_32, 4) && is_at<msi::MaskBits64>(PCI_MSI_MASK_64, 4));
static_assert(is_at<msi::PendingBits32>(PCI_MSI_PENDING_32, 4) && is_at<msi::PendingBits64>(PCI_MSI_PENDING_64, 4));
static_assert(is_at<msix::MessageControl>(PCI_MSIX_FLAGS, 2) && msix::kBytes == PCI_CAP_MSIX_SIZEOF);
static_assert(mask(msix::MessageControl::table_size_0based) == PCI_MSIX_FLAGS_QSIZE);
static_assert(mask(msix::MessageControl::function_mask) == PCI_MSIX_FLAGS_MASKALL);
static_assert(mask(msix::MessageControl::enable) == PCI_MSIX_FLAGS_ENABLE);
static_assert(is_at<msix::Table>(PCI_MSIX_TABLE, 4) && is_at<msix::PendingBitArray>(PCI_MSIX_PBA, 4));
static_assert(mask(msix::Table::bar) == PCI_MSIX_TABLE_BIR);
static_assert(mask(msix::Table::offset_qwords) == PCI_MSIX_TABLE_OFFSET);
static_assert(mask(msix::PendingBitArray::bar) == PCI_MSIX_PBA_BIR);
static_assert(mask(msix::PendingBitArray::offset_qwords) == PCI_MSIX_PBA_OFFSET);
static_assert(msix::Table::from(0x2003).offset_bytes() == 0x2000);
static_assert(msix::entry::kBytes == PCI_MSIX_ENTRY_SIZE);
static_assert(is_at<msix::entry::MessageAddress>(PCI_MSIX_ENTRY_LOWER_ADDR, 4));
static_assert(is_at<msix::entry::MessageUpperAddress>(PCI_MSIX_ENTRY_UPPER_ADDR, 4));
static_assert(is_at<msix::entry::MessageData>(PCI_MSIX_ENTRY_DATA, 4));
static_assert(is_at<msix::entry::VectorControl>(PCI_MSIX_ENTRY_VECTOR_CTRL, 4));
static_assert(mask(msix::entry::VectorControl::mask) == PCI_MSIX_ENTRY_CTRL_MASKBIT);

// Express: the device.
static_assert(is_at<express::Capabilities>(PCI_EXP_FLAGS, 2));
static_assert(mask(express::Capabilities::version) == PCI_EXP_FLAGS_VERS);
static_assert(mask(express::Capabilities::port_type) == PCI_EXP_FLAGS_TYPE);
static_assert(mask(express::Capabilities::slot_implemented) == PCI_EXP_FLAGS_SLOT);
static_assert(mask(express::Capabilities::interrupt_message_number) == PCI_EXP_FLAGS_IRQ);
static_assert(express::Capabilities::kEndpoint == PCI_EXP_TYPE_ENDPOINT);
static_assert(express::Capabilities::kLegacyEndpoint == PCI_EXP_TYPE_LEG_END);
static_assert(express::Capabilities::kRootPort == PCI_EXP_TYPE_ROOT_PORT);
static_assert(express::Capabilities::kUpstreamPort == PCI_EXP_TYPE_UPSTREAM);
static_assert(express::Capabilities::kDownstreamPort == PCI_EXP_TYPE_DOWNSTREAM);
static_assert(express::Capabilities::kPcieToPciBridge == PCI_EXP_TYPE_PCI_BRIDGE);
static_assert(express::Capabilities::kPciToPcieBridge == PCI_EXP_TYPE_PCIE_BRIDGE);
static_assert(express::Capabilities::kRootComplexEndpoint == PCI_EXP_TYPE_RC_END);
static_assert(express::Capabilities::kRootComplexEventCollector == PCI_EXP_TYPE_RC_EC);
static_assert(express::kDeviceBytes == PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1);
static_assert(express::kLinkBytes == PCI_CAP_EXP_ENDPOINT_SIZEOF_V1);
static_assert(express::kDevice2Bytes == PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2);
// The kernel's 0x32 for a version 2 endpoint leaves out Link Status 2, which ends at 0x34 (7.5.3.20).
static_assert(express::kLink2Bytes == PCI_EXP_LNKSTA2 + 2);
static_assert(express::kBytes == PCI_EXP_SLTSTA2 + 2);
static_assert(is_at<express::DeviceCapabilities>(PCI_EXP_DEVCAP, 4));
static_assert(mask(express::DeviceCapabilities::max_payload_log2_minus7) == PCI_EXP_DEVCAP_PAYLOAD);
static_assert(mask(express::DeviceCapabilities::phantom_functions) == PCI_EXP_DEVCAP_PHANTOM);
static_assert(mask(express::DeviceCapabilities::extended_tag) == PCI_EXP_DEVCAP_EXT_TAG);
static_assert(mask(express::DeviceCapabilities::l0s_acceptable_latency) == PCI_EXP_DEVCAP_L0S);
static_assert(mask(express::DeviceCapabilities::l1_acceptable_latency) == PCI_EXP_DEVCAP_L1);
static_assert(mask(express::DeviceCapabilities::role_based_error_reporting) == PCI_EXP_DEVCAP_RBER);
static_assert(mask(express::DeviceCapabilities::slot_power_limit_value) == PCI_EXP_DEVCAP_PWR_VAL);
static_assert(mask(express::DeviceCapabilities::slot_power_limit_scale) == PCI_EXP_DEVCAP_PWR_SCL);
static_assert(mask(express::DeviceCapabilities::function_level_reset) == PCI_EXP_DEVCAP_FLR);
static_assert(is_at<express::DeviceControl>(PCI_EXP_DEVCTL, 2));
static_assert(mask(express::DeviceControl::correctable_error_reporting) == PCI_EXP_DEVCTL_CERE);
static_assert(mask(express::DeviceControl::non_fatal_error_reporting) == PCI_EXP_DEVCTL_NFERE);
static_assert(mask(express::DeviceControl::fatal_error_reporting) == PCI_EXP_DEVCTL_FERE);
static_assert(mask(express::DeviceControl::unsupported_request_reporting) == PCI_EXP_DEVCTL_URRE);
static_assert(mask(express::DeviceControl::relaxed_ordering) == PCI_EXP_DEVCTL_RELAX_EN);
static_assert(mask(express::DeviceControl::max_payload_log2_minus7) == PCI_EXP_DEVCTL_PAYLOAD);
static_assert(mask(express::DeviceControl::extended_tag) == PCI_EXP_DEVCTL_EXT_TAG);
static_assert(mask(express::DeviceControl::no_snoop) == PCI_EXP_DEVCTL_NOSNOOP_EN);
static_assert(mask(express::DeviceControl::max_read_request_log2_minus7) == PCI_EXP_DEVCTL_READRQ);
static_assert(mask(express::DeviceControl::initiate_function_level_reset) == PCI_EXP_DEVCTL_BCR_FLR);
static_assert(is_at<express::DeviceStatus>(PCI_EXP_DEVSTA, 2));
static_assert(mask(express::DeviceStatus::correctable_error) == PCI_EXP_DEVSTA_CED);
static_assert(mask(express::DeviceStatus::non_fatal_error) == PCI_EXP_DEVSTA_NFED);
static_assert(mask(express::DeviceStatus::fatal_error) == PCI_EXP_DEVSTA_FED);
static_assert(mask(express::DeviceStatus::unsupported_request) == PCI_EXP_DEVSTA_URD);
static_assert(mask(express::DeviceStatus::auxiliary_power) == PCI_EXP_DEVSTA_AUXPD);
static_assert(mask(express::DeviceStatus::transactions_pending) == PCI_EXP_DEVSTA_TRPND);

// Express: the link, the slot, the root.
static_assert(is_at<express::LinkCapabilities>(PCI_EXP_LNKCAP, 4));
static_assert(mask(express::LinkCapabilities::max_link_speed) == PCI_EXP_LNKCAP_SLS);
static_assert(mask(express::LinkCapabilities::max_link_width) == PCI_EXP_LNKCAP_MLW);
static_assert(mask(express::LinkCapabilities::aspm_support) == PCI_EXP_LNKCAP_ASPMS);
static_assert(mask(express::LinkCapabilities::l0s_exit_latency) == PCI_EXP_LNKCAP_L0SEL);
static_assert(mask(express::LinkCapabilities::l1_exit_latency) == PCI_EXP_LNKCAP_L1EL);
static_assert(mask(express::LinkCapabilities::clock_power_management) == PCI_EXP_LNKCAP_CLKPM);
static_assert(mask(express::LinkCapabilities::surprise_down_reporting) == PCI_EXP_LNKCAP_SDERC);
static_assert(mask(express::LinkCapabilities::link_active_reporting) == PCI_EXP_LNKCAP_DLLLARC);
static_assert(mask(express::LinkCapabilities::port_number) == PCI_EXP_LNKCAP_PN);
static_assert(is_at<express::LinkControl>(PCI_EXP_LNKCTL, 2));
static_assert(mask(express::LinkControl::aspm_control) == PCI_EXP_LNKCTL_ASPMC);
static_assert(mask(express::LinkControl::read_completion_boundary_128) == PCI_EXP_LNKCTL_RCB);
static_assert(mask(express::LinkControl::link_disable) == PCI_EXP_LNKCTL_LD);
static_assert(mask(express::LinkControl::retrain_link) == PCI_EXP_LNKCTL_RL);
static_assert(mask(express::LinkControl::common_clock) == PCI_EXP_LNKCTL_CCC);
static_assert(is_at<express::LinkStatus>(PCI_EXP_LNKSTA, 2));
static_assert(mask(express::LinkStatus::current_link_speed) == PCI_EXP_LNKSTA_CLS);
static_assert(mask(express::LinkStatus::negotiated_link_width) == PCI_EXP_LNKSTA_NLW);
static_assert(mask(express::LinkStatus::link_training) == PCI_EXP_LNKSTA_LT);
static_assert(mask(express::LinkStatus::slot_clock) == PCI_EXP_LNKSTA_SLC);
static_assert(mask(express::LinkStatus::link_active) == PCI_EXP_LNKSTA_DLLLA);
static_assert(is_at<express::SlotCapabilities>(PCI_EXP_SLTCAP, 4));
static_assert(mask(express::SlotCapabilities::hot_plug_surprise) == PCI_EXP_SLTCAP_HPS);
static_assert(mask(express::SlotCapabilities::hot_plug_capable) == PCI_EXP_SLTCAP_HPC);
static_assert(mask(express::SlotCapabilities::physical_slot_number) == PCI_EXP_SLTCAP_PSN);
static_assert(is_at<express::SlotControl>(PCI_EXP_SLTCTL, 2) && is_at<express::SlotStatus>(PCI_EXP_SLTSTA, 2));
static_assert(mask(express::SlotStatus::presence_detect) == PCI_EXP_SLTSTA_PDS);
static_assert(is_at<express::RootControl>(PCI_EXP_RTCTL, 2) && is_at<express::RootCapabilities>(PCI_EXP_RTCAP, 2));
static_assert(is_at<express::RootStatus>(PCI_EXP_RTSTA, 4));
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_2_5GB) == 2500);
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_5_0GB) == 5000);
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_8_0GB) == 8000);
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_16_0GB) == 16000);
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_32_0GB) == 32000);
static_assert(express::speed_mtps(PCI_EXP_LNKCAP_SLS_64_0GB) == 64000);
static_assert(express::speed_mtps(0) == 0 && express::speed_mtps(7) == 0 && express::encode_speed(64000) == 6);
static_assert(express::packet_bytes(PCI_EXP_DEVCTL_PAYLOAD_128B >> 5) == 128);
static_assert(express::packet_bytes(PCI_EXP_DEVCTL_PAYLOAD_4096B >> 5) == 4096);
static_assert(express::packet_bytes(PCI_EXP_DEVCTL_READRQ_512B >> 12) == 512 && express::packet_bytes(6) == 0);

// Express: what came with version 2.
static_assert(is_at<express::DeviceCapabilities2>(PCI_EXP_DEVCAP2, 4));
static_assert(mask(express::DeviceCapabilities2::completion_timeout_disable) == PCI_EXP_DEVCAP2_COMP_TMOUT_DIS);
static_assert(mask(express::DeviceCapabilities2::ari_forwarding) == PCI_EXP_DEVCAP2_ARI);
static_assert(mask(express::DeviceCapabilities2::atomic_routing) == PCI_EXP_DEVCAP2_ATOMIC_ROUTE);
static_assert(mask(express::DeviceCapabilities2::atomic_completer_32bit) == PCI_EXP_DEVCAP2_ATOMIC_COMP32);
static_assert(mask(express::DeviceCapabilities2::atomic_completer_64bit) == PCI_EXP_DEVCAP2_ATOMIC_COMP64);
static_assert(mask(express::DeviceCapabilities2::atomic_completer_128bit) == PCI_EXP_DEVCAP2_ATOMIC_COMP128);
static_assert(mask(express::DeviceCapabilities2::latency_tolerance_reporting) == PCI_EXP_DEVCAP2_LTR);
static_assert(mask(express::DeviceCapabilities2::end_to_end_tlp_prefix) == PCI_EXP_DEVCAP2_EE_PREFIX);
static_assert(is_at<express::DeviceControl2>(PCI_EXP_DEVCTL2, 2));
static_assert(mask(express::DeviceControl2::completion_timeout_value) == PCI_EXP_DEVCTL2_COMP_TIMEOUT);
static_assert(mask(express::DeviceControl2::completion_timeout_disable) == PCI_EXP_DEVCTL2_COMP_TMOUT_DIS);
static_assert(mask(express::DeviceControl2::ari_forwarding) == PCI_EXP_DEVCTL2_ARI);
static_assert(mask(express::DeviceControl2::atomic_requester) == PCI_EXP_DEVCTL2_ATOMIC_REQ);
static_assert(mask(express::DeviceControl2::atomic_egress_blocking) == PCI_EXP_DEVCTL2_ATOMIC_EGRESS_BLOCK);
static_assert(mask(express::DeviceControl2::id_based_ordering_requests) == PCI_EXP_DEVCTL2_IDO_REQ_EN);
static_assert(mask(express::DeviceControl2::id_based_ordering_completions) == PCI_EXP_DEVCTL2_IDO_CMP_EN);
static_assert(mask(express::DeviceControl2::latency_tolerance_reporting) == PCI_EXP_DEVCTL2_LTR_EN);
static_assert(is_at<express::LinkCapabilities2>(PCI_EXP_LNKCAP2, 4));
static_assert((mask(express::LinkCapabilities2::supported_link_speeds) & PCI_EXP_LNKCAP2_SLS_2_5GB) != 0);
static_assert((mask(express::LinkCapabilities2::supported_link_speeds) & PCI_EXP_LNKCAP2_SLS_64_0GB) != 0);
static_assert(express::LinkCapabilities2::from(PCI_EXP_LNKCAP2_SLS_16_0GB)
                  .get(express::LinkCapabilities2::supported_link_speeds) == 1u << (PCI_EXP_LNKCAP_SLS_16_0GB - 1));
static_assert(mask(express::LinkCapabilities2::crosslink) == PCI_EXP_LNKCAP2_CROSSLINK);
static_assert(is_at<express::LinkControl2>(PCI_EXP_LNKCTL2, 2));
static_assert(mask(express::LinkControl2::target_link_speed) == PCI_EXP_LNKCTL2_TLS);
static_assert(is_at<express::LinkStatus2>(PCI_EXP_LNKSTA2, 2));
static_assert(is_at<express::SlotCapabilities2>(PCI_EXP_SLTCAP2, 4));

// Access Control Services: the kernel's masks stand for both registers.
static_assert(is_at<acs::Capability>(PCI_ACS_CAP, 2) && is_at<acs::Control>(PCI_ACS_CTRL, 2));
static_assert(is_at<acs::EgressControlVector>(PCI_ACS_EGRESS_CTL_V, 4));
static_assert(mask(acs::Capability::egress_control_vector_size) == 0xff << 8 * (PCI_ACS_EGRESS_BITS - PCI_ACS_CAP));
static_assert(mask(acs::Capability::source_validation) == PCI_ACS_SV && acs::kSourceValidation == PCI_ACS_SV);
static_assert(mask(acs::Capability::translation_blocking) == PCI_ACS_TB && acs::kTranslationBlocking == PCI_ACS_TB);
static_assert(mask(acs::Capability::request_redirect) == PCI_ACS_RR && acs::kRequestRedirect == PCI_ACS_RR);
static_assert(mask(acs::Capability::completion_redirect) == PCI_ACS_CR && acs::kCompletionRedirect == PCI_ACS_CR);
static_assert(mask(acs::Capability::upstream_forwarding) == PCI_ACS_UF && acs::kUpstreamForwarding == PCI_ACS_UF);
static_assert(mask(acs::Capability::egress_control) == PCI_ACS_EC && acs::kEgressControl == PCI_ACS_EC);
static_assert(mask(acs::Capability::direct_translated) == PCI_ACS_DT && acs::kDirectTranslated == PCI_ACS_DT);
static_assert(mask(acs::Control::source_validation) == PCI_ACS_SV &&
              mask(acs::Control::request_redirect) == PCI_ACS_RR);
static_assert(mask(acs::Control::translation_blocking) == PCI_ACS_TB);
static_assert(mask(acs::Control::completion_redirect) == PCI_ACS_CR);
static_assert(mask(acs::Control::upstream_forwarding) == PCI_ACS_UF &&
              mask(acs::Control::egress_control) == PCI_ACS_EC);
static_assert(mask(acs::Control::direct_translated) == PCI_ACS_DT);
static_assert(acs::kAllBits ==
              (PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_EC | PCI_ACS_DT));
static_assert(acs::Capability::from(PCI_ACS_EC).egress_vector_bits() == 256);
static_assert(acs::Capability::from(0x2100 | PCI_ACS_EC).egress_vector_dwords() == 2);
static_assert(acs::Capability::from(0x2100).egress_vector_dwords() == 0);

// ATS, page requests, ARI, SR-IOV, AER, serial number, the vendors' own.
static_assert(is_at<ats::Capability>(PCI_ATS_CAP, 2) && is_at<ats::Control>(PCI_ATS_CTRL, 2));
static_assert(ats::kBytes == PCI_EXT_CAP_ATS_SIZEOF);
static_assert(PCI_ATS_CAP_QDEP(mask(ats::Capability::invalidate_queue_depth)) == PCI_ATS_MAX_QDEP - 1);
static_assert(mask(ats::Capability::page_aligned_request) == PCI_ATS_CAP_PAGE_ALIGNED);
static_assert(mask(ats::Control::enable) == PCI_ATS_CTRL_ENABLE);
static_assert(PCI_ATS_CTRL_STU(mask(ats::Control::smallest_translation_unit_log2_minus12)) == 0x1f);
static_assert(is_at<page_request::Control>(PCI_PRI_CTRL, 2) && is_at<page_request::Status>(PCI_PRI_STATUS, 2));
static_assert(mask(page_request::Control::enable) == PCI_PRI_CTRL_ENABLE);
static_assert(mask(page_request::Control::reset) == PCI_PRI_CTRL_RESET);
static_assert(mask(page_request::Status::response_failure) == PCI_PRI_STATUS_RF);
static_assert(mask(page_request::Status::unexpected_group_index) == PCI_PRI_STATUS_UPRGI);
static_assert(mask(page_request::Status::stopped) == PCI_PRI_STATUS_STOPPED);
static_assert(mask(page_request::Status::pasid_required) == PCI_PRI_STATUS_PASID);
static_assert(is_at<page_request::OutstandingCapacity>(PCI_PRI_MAX_REQ, 4));
static_assert(is_at<page_request::OutstandingAllocation>(PCI_PRI_ALLOC_REQ, 4));
static_assert(page_request::kBytes == PCI_EXT_CAP_PRI_SIZEOF);
static_assert(is_at<ari::Capability>(PCI_ARI_CAP, 2) && is_at<ari::Control>(PCI_ARI_CTRL, 2));
static_assert(ari::kBytes == PCI_EXT_CAP_ARI_SIZEOF && mask(ari::Capability::mfvc_function_groups) == PCI_ARI_CAP_MFVC);
static_assert(mask(ari::Capability::acs_function_groups) == PCI_ARI_CAP_ACS);
static_assert(PCI_ARI_CAP_NFN(mask(ari::Capability::next_function)) == 0xff);
static_assert(mask(ari::Control::mfvc_function_groups) == PCI_ARI_CTRL_MFVC);
static_assert(mask(ari::Control::acs_function_groups) == PCI_ARI_CTRL_ACS);
static_assert(PCI_ARI_CTRL_FG(mask(ari::Control::function_group)) == 7);
static_assert(is_at<sriov::Capabilities>(PCI_SRIOV_CAP, 4) &&
              mask(sriov::Capabilities::migration) == PCI_SRIOV_CAP_VFM);
static_assert(PCI_SRIOV_CAP_INTR(mask(sriov::Capabilities::migration_interrupt_message_number)) == 0x7ff);
static_assert(is_at<sriov::Control>(PCI_SRIOV_CTRL, 2) && mask(sriov::Control::enable) == PCI_SRIOV_CTRL_VFE);
static_assert(mask(sriov::Control::memory_space) == PCI_SRIOV_CTRL_MSE);
static_assert(mask(sriov::Control::ari_capable_hierarchy) == PCI_SRIOV_CTRL_ARI);
static_assert(is_at<sriov::Status>(PCI_SRIOV_STATUS, 2) && is_at<sriov::InitialVfs>(PCI_SRIOV_INITIAL_VF, 2));
static_assert(is_at<sriov::TotalVfs>(PCI_SRIOV_TOTAL_VF, 2) && is_at<sriov::NumVfs>(PCI_SRIOV_NUM_VF, 2));
static_assert(is_at<sriov::FunctionDependencyLink>(PCI_SRIOV_FUNC_LINK, 1));
static_assert(is_at<sriov::FirstVfOffset>(PCI_SRIOV_VF_OFFSET, 2) && is_at<sriov::VfStride>(PCI_SRIOV_VF_STRIDE, 2));
static_assert(is_at<sriov::VfDeviceId>(PCI_SRIOV_VF_DID, 2) && is_at<sriov::VfBaseAddress>(PCI_SRIOV_BAR, 4));
static_assert(is_at<sriov::SupportedPageSizes>(PCI_SRIOV_SUP_PGSIZE, 4));
static_assert(is_at<sriov::SystemPageSize>(PCI_SRIOV_SYS_PGSIZE, 4) && sriov::kBytes == PCI_EXT_CAP_SRIOV_SIZEOF);
static_assert(is_at<aer::UncorrectableStatus>(PCI_ERR_UNCOR_STATUS, 4));
static_assert(mask(aer::UncorrectableStatus::surprise_down) == PCI_ERR_UNC_SURPDN);
static_assert(mask(aer::UncorrectableStatus::poisoned_tlp) == PCI_ERR_UNC_POISON_TLP);
static_assert(mask(aer::UncorrectableStatus::completion_timeout) == PCI_ERR_UNC_COMP_TIME);
static_assert(mask(aer::UncorrectableStatus::completer_abort) == PCI_ERR_UNC_COMP_ABORT);
static_assert(mask(aer::UncorrectableStatus::unexpected_completion) == PCI_ERR_UNC_UNX_COMP);
static_assert(mask(aer::UncorrectableStatus::malformed_tlp) == PCI_ERR_UNC_MALF_TLP);
static_assert(mask(aer::UncorrectableStatus::unsupported_request) == PCI_ERR_UNC_UNSUP);
static_assert(mask(aer::UncorrectableStatus::acs_violation) == PCI_ERR_UNC_ACSV);
static_assert(is_at<aer::UncorrectableMask>(PCI_ERR_UNCOR_MASK, 4));
static_assert(is_at<aer::UncorrectableSeverity>(PCI_ERR_UNCOR_SEVER, 4));
static_assert(is_at<aer::CorrectableStatus>(PCI_ERR_COR_STATUS, 4) && is_at<aer::CorrectableMask>(PCI_ERR_COR_MASK, 4));
static_assert(mask(aer::CorrectableStatus::advisory_non_fatal) == PCI_ERR_COR_ADV_NFAT);
static_assert(is_at<aer::CapabilitiesAndControl>(PCI_ERR_CAP, 4) && is_at<aer::HeaderLog>(PCI_ERR_HEADER_LOG, 4));
static_assert(PCI_ERR_CAP_FEP(mask(aer::CapabilitiesAndControl::first_error)) == 0x1f);
static_assert(aer::kBytes == PCI_ERR_ROOT_COMMAND && aer::kRootBytes == PCI_ERR_ROOT_ERR_SRC + 4);
static_assert(is_at<serial_number::Lower>(4, 4) && is_at<serial_number::Upper>(8, 4));
static_assert(serial_number::kBytes == PCI_EXT_CAP_DSN_SIZEOF);
static_assert(is_at<vendor_specific::Length>(PCI_CAP_FLAGS, 1));
static_assert(is_at<vendor_specific_extended::Header>(PCI_VNDR_HEADER, 4));
static_assert(PCI_VNDR_HEADER_ID(mask(vendor_specific_extended::Header::id)) == 0xffff);
static_assert(PCI_VNDR_HEADER_REV(mask(vendor_specific_extended::Header::revision)) == 0xf);
static_assert(PCI_VNDR_HEADER_LEN(mask(vendor_specific_extended::Header::length_bytes)) == 0xfff);
static_assert(is_at<designated_vendor_specific::Header1>(PCI_DVSEC_HEADER1, 4));
static_assert(is_at<designated_vendor_specific::Header2>(PCI_DVSEC_HEADER2, 2));
static_assert(PCI_DVSEC_HEADER1_VID(mask(designated_vendor_specific::Header1::vendor_id)) == 0xffff);
static_assert(PCI_DVSEC_HEADER1_REV(mask(designated_vendor_specific::Header1::revision)) == 0xf);
static_assert(PCI_DVSEC_HEADER1_LEN(mask(designated_vendor_specific::Header1::length_bytes)) == 0xfff);

// The checks above are the compiler's. This one says that they were there when it ran.
TEST(PciRegisters, AgreeWithTheKernelsHeader) { SUCCEED(); }

}  // namespace
}  // namespace barter::pci
