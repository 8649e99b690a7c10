#include "topology/load_lspci_text_function.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include <fmt/format.h>

#include "topology/acs_names.h"
#include "topology/load_lspci_text_scan.h"

namespace barter::topology {
namespace {

using scan::flag_after;
using scan::leading_number;
using scan::number_after;
using scan::text_after;

constexpr std::uint16_t kFirstExtendedOffset = 0x100;
constexpr std::uint32_t kNvmeClass = 0x010802;

// The registers of the Express capability that say something of interest, as lspci begins their lines.
constexpr std::array<std::string_view, 4> kExpressRegisters{"DevCap", "DevCtl", "LnkCap", "LnkSta"};

// "64K" as lspci writes the size of a region: a number and its unit in powers of 1024.
std::optional<std::uint64_t> region_size(std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  const auto count = leading_number<std::uint64_t>(text, 10);
  const std::size_t mark = text.find_first_not_of("0123456789");
  if (!count || *count == 0 || mark == std::string_view::npos) return std::nullopt;
  if (text[mark] == ']') return count;
  const std::size_t unit = kUnits.find(text[mark]);
  if (unit == std::string_view::npos) return std::nullopt;
  const auto shift = static_cast<unsigned>(10 * (unit + 1));
  if (*count > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *count << shift;
}

// "Speed 2.5GT/s (ok), Width x4 (ok)"
Known<LinkState> link_state(std::string_view text) {
  const auto width = number_after<std::uint32_t>(text, "Width x");
  const auto speed = text_after(text, "Speed ");
  if (!width || !speed) return Unknown{"lspci printed no speed and width"};
  const auto whole = leading_number<std::uint32_t>(*speed, 10);
  if (!whole || *whole > 1000) {
    if (*width == 0) return LinkState{};  // no link: its speed says nothing
    return Unknown{"lspci printed an unknown link speed"};
  }
  const std::size_t dot = speed->find_first_not_of("0123456789");
  const bool half = dot != std::string_view::npos && speed->substr(dot).starts_with(".5");
  return LinkState{*whole * 1000 + (half ? 500 : 0), *width};
}

// PCIe 6.0, 7.5.3.3 and 7.5.3.4: 128 to 4096 bytes.
Known<std::uint32_t> payload_bytes(std::string_view text, std::string_view label) {
  const auto bytes = number_after<std::uint32_t>(text, label);
  if (!bytes || *bytes < 128 || *bytes > 4096 || !std::has_single_bit(*bytes))
    return Unknown{fmt::format("lspci printed no sensible {}", label)};
  return *bytes;
}

std::uint16_t access_control_bits(std::string_view text) {
  std::uint16_t bits = 0;
  for (const AcsBitName& name : kAcsBitNames)
    if (flag_after(text, name.lspci).value_or(false)) bits = static_cast<std::uint16_t>(bits | name.bit);
  return bits;
}

std::optional<PortType> port_type(std::string_view text) {
  struct Name {
    std::string_view text;
    PortType type;
  };
  static constexpr std::array<Name, 10> kNames{
      {{"Endpoint", PortType::endpoint},
       {"Legacy Endpoint", PortType::legacy_endpoint},
       {"Root Port", PortType::root_port},
       {"Upstream Port", PortType::upstream_port},
       {"Downstream Port", PortType::downstream_port},
       {"PCI-Express to PCI/PCI-X Bridge", PortType::pcie_to_pci_bridge},
       {"PCI/PCI-X to PCI-Express Bridge", PortType::pci_to_pcie_bridge},
       {"PCI/PCI-X Bridge", PortType::pcie_to_pci_bridge},  // pciutils up to 3.1
       {"Root Complex Integrated Endpoint", PortType::root_complex_endpoint},
       {"Root Complex Event Collector", PortType::root_complex_event_collector}}};
  for (const Name& name : kNames)
    if (text.starts_with(name.text)) return name.type;
  return std::nullopt;
}

// pciutils before 3.0.1 know that it is there, but not its registers, and those before 3.0 not even its name.
bool is_access_control(std::string_view text) {
  return text.starts_with("Access Control") || text.starts_with("Unknown (13)") || text.starts_with("#0d");
}

}  // namespace

std::optional<std::string> LspciFunction::add(std::size_t level, std::string_view text) {
  has_details_ = true;
  if (level <= 1) return add_header_line(text);
  switch (section_) {
    case Section::express:
      add_express_line(text);
      break;
    case Section::access_control:
      add_access_control_line(text);
      break;
    case Section::virtualization:
      add_virtualization_line(text);
      break;
    case Section::translation_services:
      if (text.starts_with("ATSCtl:"))
        if (const auto enabled = flag_after(text, "Enable")) info_.ats_enabled = *enabled;
      break;
    case Section::header:
    case Section::other:
      break;
  }
  return std::nullopt;
}

std::optional<std::string> LspciFunction::add_header_line(std::string_view text) {
  section_ = Section::header;
  if (text.starts_with("Capabilities: ")) {
    begin_capability(text.substr(14));
  } else if (text.starts_with("Region ") || text.starts_with("Memory at ") || text.starts_with("I/O ports at ")) {
    return add_region(text);
  } else if (text.starts_with("Bus: ")) {
    return add_buses(text);
  } else if (text.starts_with("Status: ")) {
    status_seen_ = true;
  } else if (text.starts_with("NUMA node: ")) {
    if (const auto node = number_after<std::int32_t>(text, "NUMA node: ")) info_.numa_node = *node;
  } else if (text.starts_with("IOMMU group: ")) {
    if (const auto group = number_after<std::uint32_t>(text, "IOMMU group: ")) info_.iommu_group = group;
  } else if (text.starts_with("Subsystem: ")) {
    // What QEMU gives the functions of its machines.
    if (text.ends_with("[1af4:1100]") || text.find("QEMU Virtual Machine") != std::string_view::npos)
      of_virtual_machine_ = true;
  } else if (text.starts_with("!!! Unknown header type 7f")) {
    gone_ = true;
  }
  return std::nullopt;
}

// "Region 0: Memory at 33ff0000000 (64-bit, prefetchable) [disabled] [size=8M]". lspci -v leaves "Region 0: " out: then
// the numbers are counted, which is wrong by as many as there are BARs that the device does not use.
std::optional<std::string> LspciFunction::add_region(std::string_view text) {
  BarInfo bar;
  if (text.starts_with("Region ")) {
    const auto index = number_after<std::uint8_t>(text, "Region ");
    if (!index || *index > 5) return "the region has no number from 0 to 5";
    bar.index = *index;
  } else if (!info_.bars.empty()) {
    const BarInfo& last = info_.bars.back();
    bar.index = static_cast<std::uint8_t>(last.index + (last.is_64bit ? 2 : 1));
    if (bar.index > 5) return "there are more regions than BARs";
  }
  for (const BarInfo& other : info_.bars)
    if (other.index == bar.index) return fmt::format("region {} is there twice", bar.index);

  auto address = text_after(text, "Memory at ");
  if (!address) {
    address = text_after(text, "I/O ports at ");
    if (!address) return std::nullopt;  // some other kind of line; lspci has many
    bar.kind = BarInfo::Kind::io;
  }
  const auto value = leading_number<std::uint64_t>(*address, 16);
  if (value)
    bar.address = BusAddress{*value};
  else
    bar.address =
        Unknown{fmt::format("lspci printed {}", address->substr(0, std::min(address->find(' '), std::size_t{32})))};
  bar.is_64bit = text.find("(64-bit") != std::string_view::npos;
  bar.is_prefetchable = bar.kind == BarInfo::Kind::memory && text.find(", prefetchable)") != std::string_view::npos;
  const auto size_text = text_after(text, "[size=");
  const auto size = size_text ? region_size(*size_text) : std::nullopt;
  if (size)
    bar.size_bytes = *size;
  else
    bar.size_bytes = Unknown{"lspci printed no size"};
  if (text.find("[disabled]") == std::string_view::npos && text.find("[virtual]") == std::string_view::npos)
    claimed_bars_.push_back(bar);
  info_.bars.push_back(std::move(bar));
  return std::nullopt;
}

std::optional<std::string> LspciFunction::add_buses(std::string_view text) {
  const auto secondary = number_after<std::uint8_t>(text, "secondary=", 16);
  const auto subordinate = number_after<std::uint8_t>(text, "subordinate=", 16);
  if (!secondary || !subordinate) return "the bridge's bus numbers are missing";
  if (info_.bridge) return "the bridge's bus numbers are there twice";
  info_.bridge = BusRange{*secondary, *subordinate};
  return std::nullopt;
}

// "[110 v1] Access Control Services"
void LspciFunction::begin_capability(std::string_view text) {
  section_ = Section::other;
  if (text.starts_with("<access denied>")) {
    access_denied_ = true;
    return;
  }
  capabilities_seen_ = true;
  const auto offset = number_after<std::uint16_t>(text, "[", 16).value_or(0);
  if (offset >= kFirstExtendedOffset) extended_seen_ = true;
  const std::size_t end = text.find("] ");
  if (end == std::string_view::npos) return;
  text.remove_prefix(end + 2);
  if (text.starts_with("<chain ")) {
    chain_broken_ = true;
  } else if (text.starts_with("Express ") && offset < kFirstExtendedOffset) {
    begin_express(text.substr(8));
  } else if (offset >= kFirstExtendedOffset && is_access_control(text)) {
    section_ = Section::access_control;
    access_control_seen_ = true;
    access_control_offset_ = offset;
  } else if (text.starts_with("Address Translation Service")) {
    section_ = Section::translation_services;
    translation_services_seen_ = true;
  } else if (text.starts_with("Single Root I/O Virtualization")) {
    section_ = Section::virtualization;
  }
}

// "(v2) Root Port (Slot+), MSI 00"
void LspciFunction::begin_express(std::string_view text) {
  section_ = Section::express;
  express_seen_ = true;
  register_ = {};
  if (text.starts_with('(')) text.remove_prefix(std::min(text.find(' '), text.size() - 1) + 1);
  if (const auto type = port_type(text))
    info_.port_type = *type;
  else
    info_.port_type = Unknown{fmt::format("lspci printed a port type that is not known: {}", text.substr(0, 40))};
}

void LspciFunction::add_express_line(std::string_view text) {
  // A register goes on in lines that are indented further and begin with a bit's name instead.
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && text.find(' ') > colon) {
    const std::string_view name = text.substr(0, colon);
    const auto* known = std::find(kExpressRegisters.begin(), kExpressRegisters.end(), name);
    register_ = known == kExpressRegisters.end() ? std::string_view("other") : *known;
  }
  if (register_ == "DevCap" && text.find("MaxPayload ") != std::string_view::npos) {
    info_.max_payload_supported_bytes = payload_bytes(text, "MaxPayload ");
  } else if (register_ == "DevCtl") {
    if (text.find("MaxPayload ") != std::string_view::npos)
      info_.max_payload_bytes = payload_bytes(text, "MaxPayload ");
    if (text.find("MaxReadReq ") != std::string_view::npos)
      info_.max_read_request_bytes = payload_bytes(text, "MaxReadReq ");
    if (const auto relaxed = flag_after(text, "RlxdOrd")) info_.relaxed_ordering = *relaxed;
  } else if (register_ == "LnkCap" && text.find("Width x") != std::string_view::npos) {
    info_.link_max = link_state(text);
    info_.port_number = number_after<std::uint8_t>(text, "Port #").value_or(0);
  } else if (register_ == "LnkSta" && text.find("Width x") != std::string_view::npos) {
    info_.link_now = link_state(text);
  }
}

void LspciFunction::add_access_control_line(std::string_view text) {
  if (text.starts_with("ACSCap:")) access_control_capability_ = access_control_bits(text);
  if (text.starts_with("ACSCtl:")) access_control_control_ = access_control_bits(text);
}

void LspciFunction::add_virtualization_line(std::string_view text) {
  if (text.starts_with("IOVCtl:")) virtualization_enabled_ = flag_after(text, "Enable").value_or(false);
  if (const auto count = number_after<std::uint16_t>(text, "Number of VFs: ")) {
    virtual_functions_ = VirtualFunctions{.count = virtualization_enabled_ ? *count : std::uint16_t{0}};
  } else if (virtual_functions_ && text.starts_with("VF offset: ")) {
    virtual_functions_->first_offset = number_after<std::uint16_t>(text, "VF offset: ").value_or(0);
    virtual_functions_->stride = number_after<std::uint16_t>(text, "stride: ").value_or(0);
  }
}

// Config space as lspci -x prints it is where the numbers of vendor, device and class come from when the text only
// has names.
void LspciFunction::add_hex(std::string_view line) {
  constexpr std::string_view kFirstLine = "00: ";
  std::array<std::uint8_t, 12> bytes{};
  if (!line.starts_with(kFirstLine)) return;
  line.remove_prefix(kFirstLine.size());
  for (std::uint8_t& byte : bytes) {
    const auto value = leading_number<std::uint8_t>(line.substr(0, 2), 16);
    if (!value) return;
    byte = *value;
    line.remove_prefix(std::min(line.size(), std::size_t{3}));
  }
  if (!info_.vendor_id) info_.vendor_id = static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
  if (!info_.device_id) info_.device_id = static_cast<std::uint16_t>(bytes[2] | bytes[3] << 8);
  if (!info_.class_code)
    info_.class_code = std::uint32_t{bytes[11]} << 16 | std::uint32_t{bytes[10]} << 8 | std::uint32_t{bytes[9]};
}

bool LspciFunction::is_bridge_without_buses() const {
  constexpr std::uint32_t kPciBridge = 0x0604;
  return info_.class_code && *info_.class_code >> 8 == kPciBridge && !info_.bridge && !gone_;
}

std::string LspciFunction::why_not_read() const {
  if (gone_) return "config space reads as all ones: the device does not answer";
  if (access_denied_) return "lspci ran without root: run it as root";
  if (chain_broken_) return "the function's list of capabilities is broken";
  if (!capabilities_seen_) return "lspci printed no capabilities: run it with -vvv";
  return "lspci did not print it";
}

void LspciFunction::settle_access_control(const LspciDumpFacts& dump) {
  if (access_control_seen_) {
    if (!access_control_capability_ || !access_control_control_) {
      info_.acs = Unknown{"lspci printed the ACS capability without its registers: run it with -vvv"};
      return;
    }
    AcsInfo acs{.capability = *access_control_capability_,
                .control = *access_control_control_,
                .offset = access_control_offset_,
                .egress_control_vector = std::vector<std::uint32_t>()};
    if ((acs.capability & kAcsEgressControl) != 0)
      acs.egress_control_vector = Unknown{"lspci does not print the egress control vector"};
    info_.acs = std::optional(std::move(acs));
  } else if (gone_ || access_denied_ || chain_broken_ || (!capabilities_seen_ && !capabilities_none_)) {
    info_.acs = Unknown{why_not_read()};
  } else if (!express_seen_ || extended_seen_ || dump.extended_space_seen) {
    // Only a PCI Express function has extended config space, and this one's was read to its end.
    info_.acs = std::optional<AcsInfo>();
  } else {
    info_.acs =
        Unknown{"no function of this dump shows an extended capability, so that space may not have been readable"};
  }
}

FunctionInfo LspciFunction::finish(const LspciDumpFacts& dump) && {
  // lspci says so where it may not look, so a list that it does not print is empty. -v prints no Status line: then the
  // capabilities may have been left out as well.
  capabilities_none_ = status_seen_ && !capabilities_seen_ && !access_denied_;
  settle_access_control(dump);
  const bool read_to_the_end = capabilities_none_ || (capabilities_seen_ && !chain_broken_ && !access_denied_);
  if (!express_seen_ && read_to_the_end && !gone_) info_.port_type = PortType::conventional;
  const auto explain = [why = express_seen_ || !read_to_the_end
                                  ? why_not_read()
                                  : "the function has no PCI Express capability"](auto& fact) {
    if (!fact && fact.why_unknown() == Unknown{}.why) fact = Unknown{why};
  };
  explain(info_.port_type);
  explain(info_.link_now);
  explain(info_.link_max);
  explain(info_.max_payload_bytes);
  explain(info_.max_payload_supported_bytes);
  explain(info_.max_read_request_bytes);
  explain(info_.relaxed_ordering);
  if (!translation_services_seen_ && info_.acs) info_.ats_enabled = false;  // the list was read to its end
  explain(info_.ats_enabled);
  if (!info_.numa_node) info_.numa_node = Unknown{"lspci printed no NUMA node"};
  if (!info_.iommu_group && dump.iommu_groups_seen) info_.iommu_group = std::optional<std::uint32_t>();
  if (!info_.iommu_group) info_.iommu_group = Unknown{"lspci printed no IOMMU groups"};
  if (info_.class_code && *info_.class_code != kNvmeClass)
    info_.controller_memory = std::optional<ControllerMemoryInfo>();
  else
    info_.controller_memory = Unknown{"lspci does not read device registers"};
  return std::move(info_);
}

}  // namespace barter::topology
