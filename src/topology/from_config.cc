#include "topology/from_config.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "pci/bar.h"
#include "pci/capabilities/acs.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/capabilities/sriov.h"
#include "pci/capability_walk.h"
#include "pci/class_code.h"
#include "pci/config_header.h"

namespace barter::topology {
namespace {

using pci::CapabilityEntry;
using pci::CapabilityList;
using pci::ConfigSpace;
using pci::Defect;

Unknown beyond(const ConfigSpace& config) {
  const std::size_t known = config.known_bytes();
  if (known == ConfigSpace::kHeaderBytes) return {"only the first 64 bytes of config space could be read; run as root"};
  if (known >= ConfigSpace::kExtendedBytes) return {"the extended config space reads as all ones: it can't be reached"};
  return {fmt::format("only the first {} bytes of config space could be read", known)};
}

// Finds a capability, or says why it can't be known whether there is one.
struct Search {
  const CapabilityEntry* entry = nullptr;
  bool is_decided = false;  // false: the bytes end before the list does
};

Search search(const CapabilityList& list, std::uint16_t id) {
  const CapabilityEntry* entry = list.find(id);
  return {entry, entry != nullptr || list.end == CapabilityList::End::complete};
}

Known<PortType> port_type_of(pci::express::Capabilities capabilities) {
  using Registers = pci::express::Capabilities;
  switch (capabilities.get(Registers::port_type)) {
    case Registers::kEndpoint:
      return PortType::endpoint;
    case Registers::kLegacyEndpoint:
      return PortType::legacy_endpoint;
    case Registers::kRootPort:
      return PortType::root_port;
    case Registers::kUpstreamPort:
      return PortType::upstream_port;
    case Registers::kDownstreamPort:
      return PortType::downstream_port;
    case Registers::kPcieToPciBridge:
      return PortType::pcie_to_pci_bridge;
    case Registers::kPciToPcieBridge:
      return PortType::pci_to_pcie_bridge;
    case Registers::kRootComplexEndpoint:
      return PortType::root_complex_endpoint;
    case Registers::kRootComplexEventCollector:
      return PortType::root_complex_event_collector;
    default:
      return Unknown{fmt::format("the Express capability names the reserved port type {}",
                                 capabilities.get(Registers::port_type))};
  }
}

bool has_link(const Known<PortType>& type) {
  return !type || (*type != PortType::root_complex_endpoint && *type != PortType::root_complex_event_collector);
}

Known<std::uint32_t> packet_size(std::uint32_t encoded, std::string_view reg) {
  const std::uint32_t bytes = pci::express::packet_bytes(encoded);
  if (bytes == 0) return Unknown{fmt::format("{} holds the reserved encoding {}", reg, encoded)};
  return bytes;
}

Known<LinkState> link_state(std::uint32_t encoded_speed, std::uint32_t width, std::string_view reg) {
  const std::uint32_t speed = pci::express::speed_mtps(encoded_speed);
  if (speed == 0) return Unknown{fmt::format("{} holds the reserved link speed {}", reg, encoded_speed)};
  if (!std::has_single_bit(width) && width != 12)
    return Unknown{fmt::format("{} holds the reserved link width {}", reg, width)};
  return LinkState{speed, width};
}

Known<LinkState> link_now_of(pci::express::LinkCapabilities capabilities, pci::express::LinkStatus status) {
  using pci::express::LinkCapabilities;
  using pci::express::LinkStatus;
  const bool tells_activity = capabilities.get(LinkCapabilities::link_active_reporting);
  if (tells_activity && !status.get(LinkStatus::link_active)) return LinkState{};
  if (status.get(LinkStatus::negotiated_link_width) == 0) return LinkState{};
  return link_state(status.get(LinkStatus::current_link_speed), status.get(LinkStatus::negotiated_link_width),
                    "LnkSta");
}

void set_express_unknown(FunctionInfo& function, const Unknown& why) {
  function.link_now = why;
  function.link_max = why;
  function.max_payload_bytes = why;
  function.max_payload_supported_bytes = why;
  function.max_read_request_bytes = why;
  function.relaxed_ordering = why;
}

void set_from_elsewhere(FunctionInfo& function) {
  function.numa_node = Unknown{"config space doesn't tell the NUMA node"};
  function.iommu_group = Unknown{"config space doesn't tell the IOMMU group"};
}

// One function's facts in the making.
class Reading {
 public:
  Reading(Bdf bdf, const ConfigSpace& config) : config_(config) { function_.bdf = bdf; }

  std::expected<FunctionInfo, Defect> run() {
    if (config_.known_bytes() < ConfigSpace::kHeaderBytes)
      return std::unexpected(
          Defect{static_cast<std::uint16_t>(config_.known_bytes()),
                 fmt::format("config space ends after {} bytes; its header alone has 64", config_.known_bytes())});
    if (is_all_ones())
      return function_without_config(function_.bdf,
                                     {"the function doesn't answer: its config space reads as all ones"});
    if (auto defect = take_header()) return std::unexpected(*std::move(defect));
    if (auto defect = take_capabilities()) return std::unexpected(*std::move(defect));
    if (auto defect = take_extended_capabilities()) return std::unexpected(*std::move(defect));
    return std::move(function_);
  }

 private:
  using MaybeDefect = std::optional<Defect>;

  template <class R>
  R header_register() const {  // run() has seen to it that the header is there
    return *config_.load<R>();
  }

  bool is_all_ones() const {
    const auto header = config_.bytes().first(ConfigSpace::kHeaderBytes);
    return std::all_of(header.begin(), header.end(), [](std::uint8_t byte) { return byte == 0xff; });
  }

  MaybeDefect take_header() {
    const std::uint16_t vendor = header_register<pci::VendorId>().raw;
    if (vendor == pci::VendorId::kNone) {
      const Unknown why{"a virtual function has its vendor and device numbers in its physical function"};
      function_.vendor_id = why;
      function_.device_id = why;
    } else {
      function_.vendor_id = vendor;
      function_.device_id = header_register<pci::DeviceId>().raw;
    }
    const auto class_code = header_register<pci::ClassRevision>().get(pci::ClassRevision::class_code);
    function_.class_code = class_code;
    set_from_elsewhere(function_);
    if (class_code == pci::kClassNvme)
      function_.controller_memory = Unknown{"an NVMe controller's registers are not in its config space"};
    else
      function_.controller_memory = std::optional<ControllerMemoryInfo>{};
    if (auto defect = take_bus_range()) return defect;
    return take_bars();
  }

  MaybeDefect take_bus_range() {
    const auto layout = header_register<pci::HeaderType>().get(pci::HeaderType::layout);
    if (layout != pci::HeaderType::kBridge && layout != pci::HeaderType::kCardBus) return std::nullopt;
    const BusRange range{header_register<pci::bridge::SecondaryBus>().raw,
                         header_register<pci::bridge::SubordinateBus>().raw};
    if (range.secondary == 0) return std::nullopt;  // nobody has given it buses yet
    if (range.subordinate < range.secondary)
      return Defect{
          pci::bridge::SubordinateBus::kOffset,
          fmt::format("the bridge's last bus, {:02x}, is below its first, {:02x}", range.subordinate, range.secondary)};
    function_.bridge = range;
    return std::nullopt;
  }

  MaybeDefect take_bars() {
    const auto bars = pci::decode_bars(config_);
    if (!bars) return bars.error();
    const auto command = header_register<pci::Command>();
    for (const pci::Bar& bar : *bars) {
      BarInfo info{.index = bar.index,
                   .kind = bar.is_io ? BarInfo::Kind::io : BarInfo::Kind::memory,
                   .is_64bit = bar.is_64bit,
                   .is_prefetchable = bar.is_prefetchable};
      const bool is_enabled = bar.is_io ? command.get(pci::Command::io_space) : command.get(pci::Command::memory_space);
      if (bar.address == 0)
        info.address = Unknown{"no address is assigned"};
      else if (!is_enabled)
        info.address = Unknown{fmt::format("the Command register has turned it off; it holds 0x{:x}", bar.address)};
      else
        info.address = BusAddress{bar.address};
      info.size_bytes = Unknown{"config space doesn't tell the sizes of BARs"};
      function_.bars.push_back(std::move(info));
    }
    return std::nullopt;
  }

  MaybeDefect take_capabilities() {
    const CapabilityList list = pci::walk_capabilities(config_);
    if (list.defect) return list.defect;
    const Search express = search(list, pci::express::kId);
    if (express.entry != nullptr) return take_express(express.entry->offset);
    if (express.is_decided) {
      function_.port_type = PortType::conventional;
      set_express_unknown(function_, {"a conventional PCI function has no such register"});
    } else {
      function_.port_type = beyond(config_);
      set_express_unknown(function_, beyond(config_));
    }
    return std::nullopt;
  }

  template <class R>
  std::optional<R> load(std::uint16_t at) const {
    return config_.load<R>(at);
  }

  MaybeDefect take_express(std::uint16_t at) {
    using namespace pci::express;
    const auto capabilities = load<Capabilities>(at);
    if (!capabilities) {
      function_.port_type = beyond(config_);
      set_express_unknown(function_, beyond(config_));
      return std::nullopt;
    }
    function_.port_type = port_type_of(*capabilities);
    const bool linked = has_link(function_.port_type);
    const std::uint16_t needed = linked ? kLinkBytes : kDeviceBytes;
    if (at + needed > static_cast<int>(ConfigSpace::kConventionalBytes))
      return Defect{at, fmt::format("the Express capability needs {} bytes and starts {} before the end of its space",
                                    needed, static_cast<int>(ConfigSpace::kConventionalBytes) - at)};
    take_packet_sizes(at);
    if (linked) {
      take_link(at, capabilities->get(Capabilities::version));
    } else {
      const Unknown why{"a function integrated into the root complex has no link"};
      function_.link_now = why;
      function_.link_max = why;
    }
    return std::nullopt;
  }

  void take_packet_sizes(std::uint16_t at) {
    using namespace pci::express;
    const auto capabilities = load<DeviceCapabilities>(at);
    const auto control = load<DeviceControl>(at);
    if (!capabilities || !control) {
      set_express_unknown(function_, beyond(config_));
      return;
    }
    function_.max_payload_supported_bytes =
        packet_size(capabilities->get(DeviceCapabilities::max_payload_log2_minus7), "DevCap.MaxPayload");
    function_.max_payload_bytes =
        packet_size(control->get(DeviceControl::max_payload_log2_minus7), "DevCtl.MaxPayload");
    function_.max_read_request_bytes =
        packet_size(control->get(DeviceControl::max_read_request_log2_minus7), "DevCtl.MaxReadReq");
    function_.relaxed_ordering = control->get(DeviceControl::relaxed_ordering);
  }

  void take_link(std::uint16_t at, unsigned version) {
    using namespace pci::express;
    const auto capabilities = load<LinkCapabilities>(at);
    const auto status = load<LinkStatus>(at);
    if (!capabilities || !status) {
      function_.link_now = beyond(config_);
      function_.link_max = beyond(config_);
      return;
    }
    function_.port_number = capabilities->get(LinkCapabilities::port_number);
    function_.link_now = link_now_of(*capabilities, *status);
    // Max Link Speed is the number of a bit in the Supported Link Speeds Vector, which only version 2 has, and only for
    // links faster than 5 GT/s (7.5.3.18). Where the two contradict each other, the fastest that the vector names counts.
    std::uint32_t encoded = capabilities->get(LinkCapabilities::max_link_speed);
    const auto capabilities2 = version >= 2 ? load<LinkCapabilities2>(at) : std::nullopt;
    const std::uint32_t speeds = capabilities2 ? capabilities2->get(LinkCapabilities2::supported_link_speeds) : 0;
    if (speeds != 0 && (encoded == 0 || (speeds >> (encoded - 1) & 1) == 0))
      encoded = static_cast<std::uint32_t>(std::bit_width(speeds));
    function_.link_max = link_state(encoded, capabilities->get(LinkCapabilities::max_link_width), "LnkCap");
  }

  MaybeDefect take_extended_capabilities() {
    const bool is_conventional = function_.port_type && *function_.port_type == PortType::conventional;
    if (is_conventional && config_.known_bytes() <= ConfigSpace::kConventionalBytes) {
      function_.acs = std::optional<AcsInfo>{};
      function_.ats_enabled = false;
      return std::nullopt;
    }
    const CapabilityList list = pci::walk_extended_capabilities(config_);
    if (list.defect) return list.defect;
    if (auto defect = take_ats(search(list, pci::ats::kId))) return defect;
    return take_acs(search(list, pci::acs::kId));
  }

  MaybeDefect take_ats(Search found) {
    if (found.entry == nullptr) {
      if (found.is_decided)
        function_.ats_enabled = false;
      else
        function_.ats_enabled = beyond(config_);
      return std::nullopt;
    }
    if (found.entry->offset + pci::ats::kBytes > static_cast<int>(ConfigSpace::kExtendedBytes))
      return Defect{found.entry->offset, "the ATS capability runs over the end of config space"};
    if (const auto control = load<pci::ats::Control>(found.entry->offset))
      function_.ats_enabled = control->get(pci::ats::Control::enable);
    else
      function_.ats_enabled = beyond(config_);
    return std::nullopt;
  }

  MaybeDefect take_acs(Search found) {
    if (found.entry == nullptr) {
      if (found.is_decided)
        function_.acs = std::optional<AcsInfo>{};
      else
        function_.acs = beyond(config_);
      return std::nullopt;
    }
    const std::uint16_t at = found.entry->offset;
    if (at + pci::acs::kFixedBytes > static_cast<int>(ConfigSpace::kExtendedBytes))
      return Defect{at, "the ACS capability runs over the end of config space"};
    const auto capability = load<pci::acs::Capability>(at);
    const auto control = load<pci::acs::Control>(at);
    if (!capability || !control) {
      function_.acs = beyond(config_);
      return std::nullopt;
    }
    const unsigned dwords = capability->egress_vector_dwords();
    if (at + pci::acs::kFixedBytes + 4 * dwords > ConfigSpace::kExtendedBytes)
      return Defect{at, fmt::format("the ACS egress control vector of {} bits runs over the end of config space",
                                    capability->egress_vector_bits())};
    AcsInfo acs{.capability = capability->raw, .control = control->raw, .offset = at};
    std::vector<std::uint32_t> vector;
    for (unsigned index = 0; index < dwords; ++index) {
      const auto dword = load<pci::acs::EgressControlVector>(static_cast<std::uint16_t>(at + 4 * index));
      if (!dword) break;
      vector.push_back(dword->raw);
    }
    if (vector.size() == dwords)
      acs.egress_control_vector = std::move(vector);
    else
      acs.egress_control_vector = beyond(config_);
    function_.acs = std::optional<AcsInfo>{std::move(acs)};
    return std::nullopt;
  }

  const ConfigSpace& config_;
  FunctionInfo function_;
};

}  // namespace

std::expected<FunctionInfo, Defect> describe_function(Bdf bdf, const ConfigSpace& config) {
  return Reading(bdf, config).run();
}

Error config_error(Bdf bdf, const Defect& defect, std::string_view source) {
  return {.code = ErrorCode::malformed,
          .doing = "reading the config space of",
          .subject = fmt::format("{} in {}", bdf.to_string(), source),
          .where = fmt::format("offset 0x{:02x}", defect.offset),
          .why = defect.why,
          .cure = {}};
}

Result<FunctionInfo> function_from_config(Bdf bdf, const ConfigSpace& config, std::string_view source) {
  auto function = describe_function(bdf, config);
  if (!function) return fail(config_error(bdf, function.error(), source));
  return *std::move(function);
}

FunctionInfo function_without_config(Bdf bdf, const Unknown& why) {
  FunctionInfo function{.bdf = bdf};
  function.vendor_id = why;
  function.device_id = why;
  function.class_code = why;
  function.port_type = why;
  set_express_unknown(function, why);
  function.acs = why;
  function.ats_enabled = why;
  function.controller_memory = why;
  set_from_elsewhere(function);
  return function;
}

std::vector<Bdf> virtual_functions_of(Bdf physical_function, const pci::ConfigSpace& config) {
  using namespace pci::sriov;
  std::vector<Bdf> functions;
  const CapabilityList list = pci::walk_extended_capabilities(config);
  const CapabilityEntry* entry = list.find(kId);
  if (entry == nullptr) return functions;
  const auto control = config.load<Control>(entry->offset);
  const auto count = config.load<NumVfs>(entry->offset);
  const auto offset = config.load<FirstVfOffset>(entry->offset);
  const auto stride = config.load<VfStride>(entry->offset);
  if (!control || !count || !offset || !stride || !control->get(Control::enable)) return functions;
  if (offset->raw == 0 || (stride->raw == 0 && count->raw > 1)) return functions;
  std::uint32_t id = std::uint32_t{physical_function.requester_id()} + offset->raw;
  for (unsigned index = 0; index < count->raw && id <= 0xffff; ++index, id += stride->raw)
    functions.push_back(Bdf::from_requester_id(physical_function.domain, static_cast<std::uint16_t>(id)));
  return functions;
}

void complete_virtual_function(FunctionInfo& virtual_function, const FunctionInfo& physical_function) {
  virtual_function.physical_function = physical_function.bdf;
  if (!virtual_function.vendor_id) virtual_function.vendor_id = physical_function.vendor_id;
  virtual_function.link_now = physical_function.link_now;
  virtual_function.link_max = physical_function.link_max;
  virtual_function.max_payload_bytes = physical_function.max_payload_bytes;
  virtual_function.max_payload_supported_bytes = physical_function.max_payload_supported_bytes;
  virtual_function.max_read_request_bytes = physical_function.max_read_request_bytes;
  virtual_function.relaxed_ordering = physical_function.relaxed_ordering;
}

}  // namespace barter::topology
