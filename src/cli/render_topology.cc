#include "cli/render_topology.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/selection.h"

namespace barter::cli {
namespace {

// What people call a device of this class (PCI Code and ID Assignment, 1.1 to 1.20).
std::string_view name_of_class(std::uint32_t class_code) {
  struct Name {
    std::uint32_t code;
    std::string_view name;
  };
  static constexpr std::array<Name, 18> kNames{{{0x0101, "IDE controller"},
                                                {0x0104, "RAID controller"},
                                                {0x0106, "SATA controller"},
                                                {0x0107, "SAS controller"},
                                                {0x0108, "NVMe drive"},
                                                {0x0200, "Ethernet"},
                                                {0x0207, "InfiniBand"},
                                                {0x0300, "VGA"},
                                                {0x0302, "accelerator"},
                                                {0x0403, "audio"},
                                                {0x0600, "host bridge"},
                                                {0x0601, "ISA bridge"},
                                                {0x0604, "PCI bridge"},
                                                {0x0680, "other bridge"},
                                                {0x0780, "communication"},
                                                {0x0880, "system"},
                                                {0x0c03, "USB controller"},
                                                {0x1200, "accelerator"}}};
  for (const Name& known : kNames)
    if (known.code == class_code >> 8) return known.name;
  static constexpr std::array<std::string_view, 0x14> kBases{
      "device",    "storage",    "network",           "display",     "multimedia",
      "memory",    "bridge",     "communication",     "system",      "input",
      "dock",      "processor",  "serial bus",        "wireless",    "intelligent I/O",
      "satellite", "encryption", "signal processing", "accelerator", "instrument"};
  return class_code >> 16 < kBases.size() ? kBases[class_code >> 16] : "device";
}

std::string_view short_name_of(PortType type) {
  switch (type) {
    case PortType::root_port:
      return "root port";
    case PortType::upstream_port:
      return "switch, upstream";
    case PortType::downstream_port:
      return "switch, downstream";
    case PortType::pcie_to_pci_bridge:
      return "bridge to PCI";
    case PortType::pci_to_pcie_bridge:
      return "bridge to PCIe";
    case PortType::root_complex_event_collector:
      return "event collector";
    default:
      return {};
  }
}

std::string link_text(const LinkState& link) {
  if (link.width == 0) return "down";
  const std::uint32_t tenths = link.speed_mtps / 100;
  return tenths % 10 == 0 ? fmt::format("{} GT/s x{}", tenths / 10, link.width)
                          : fmt::format("{}.{} GT/s x{}", tenths / 10, tenths % 10, link.width);
}

std::string acs_text(std::uint16_t control) {
  static constexpr std::array<std::pair<std::uint16_t, std::string_view>, 7> kBits{
      {{0x01, "SV"}, {0x02, "TB"}, {0x04, "RR"}, {0x08, "CR"}, {0x10, "UF"}, {0x20, "EC"}, {0x40, "DT"}}};
  std::string text;
  for (const auto& [bit, name] : kBits)
    if ((control & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
  return text.empty() ? "off" : text;
}

std::string short_bdf(Bdf bdf) { return fmt::format("{:02x}:{:02x}.{:x}", bdf.bus, bdf.device, bdf.function); }

char letter_of(Route route) {
  switch (route) {
    case Route::bus_address:
      return 'B';
    case Route::through_host_bridge:
      return 'H';
    case Route::link:
      return 'L';
    case Route::not_supported:
      return '-';
    case Route::unknown:
      return '?';
  }
  return '?';
}

// Writes the tree, one root bus after the other, depth first.
class TreeText {
 public:
  TreeText(const Topology& topology, const Style& style)
      : topology_(topology),
        style_(style),
        table_({"function", "name", "what", "id", "link", "payload", "numa", "group", "ACS"}) {}

  std::string text() {
    find_columns_that_tell();
    for (const HostBridgeInfo& host : topology_.host_bridges()) add_host_bridge(host);
    return table_.text(style_) + legend();
  }

 private:
  using Cell = Table::Cell;

  // A column that is unknown all the way down says nothing line by line; its reason goes to the notes once.
  void find_columns_that_tell() {
    for (const FunctionInfo& function : topology_.functions()) {
      link_tells_ |= function.link_now.has_value() || function.link_max.has_value();
      payload_tells_ |= function.max_payload_bytes.has_value();
      numa_tells_ |= function.numa_node.has_value();
      group_tells_ |= function.iommu_group.has_value() && function.iommu_group->has_value();
      acs_tells_ |= function.acs.has_value();
    }
  }

  void add_host_bridge(const HostBridgeInfo& host) {
    const auto turns = [this](const Known<bool>& fact) {
      return !fact ? notes_.mark("whether it turns them around: " + fact.why_unknown())
                   : std::string(*fact ? "yes" : "no");
    };
    table_.add_line(
        fmt::format("{:04x}:{:02x} host bridge{}; turns peer requests around: reads {}, writes {}", host.domain,
                    host.root_bus, host.numa_node ? fmt::format(", NUMA node {}", *host.numa_node) : "",
                    turns(host.turns_reads), turns(host.turns_writes)),
        Colour::bold);
    std::vector<Bdf> on_root_bus;
    for (const FunctionInfo& function : topology_.functions())
      if (function.bdf.domain == host.domain && function.bdf.bus == host.root_bus && !topology_.parent(function.bdf))
        on_root_bus.push_back(function.bdf);
    add_children(on_root_bus, "");
  }

  // The depth of a topology is bounded by its 256 buses.
  void add_children(const std::vector<Bdf>& children, const std::string& indent) {
    for (std::size_t i = 0; i < children.size(); ++i) {
      const bool is_last = i + 1 == children.size();
      const FunctionInfo* function = topology_.find(children[i]);
      const std::vector<Bdf> below = topology_.children(children[i]);
      const std::string inner = indent + (is_last ? "   " : "│  ");
      add_function(*function, indent + (is_last ? "└─ " : "├─ "));
      add_memory(*function, inner + (below.empty() ? "     " : "│    "));
      add_children(below, inner);
    }
  }

  void add_function(const FunctionInfo& function, const std::string& branch) {
    table_.add({{branch + short_bdf(function.bdf)},
                {printable(function.name), Colour::bold},
                {what(function)},
                {ids(function), Colour::dim},
                link_tells_ ? link(function) : Cell{},
                payload_tells_ ? payload(function) : Cell{},
                numa_tells_ ? number(function.numa_node) : Cell{},
                group_tells_ ? group(function) : Cell{},
                acs_tells_ ? acs(function) : Cell{}});
  }

  std::string what(const FunctionInfo& function) {
    if (function.port_type && !short_name_of(*function.port_type).empty() && function.is_bridge())
      return std::string(short_name_of(*function.port_type));
    if (!function.class_code) return notes_.mark("class: " + function.class_code.why_unknown());
    std::string text(name_of_class(*function.class_code));
    if (function.physical_function) text += ", virtual function of " + short_bdf(*function.physical_function);
    return text;
  }

  static std::string ids(const FunctionInfo& function) {
    const auto digits = [](const Known<std::uint16_t>& id) {
      return id ? fmt::format("{:04x}", *id) : std::string("????");
    };
    return digits(function.vendor_id) + ":" + digits(function.device_id);
  }

  Cell link(const FunctionInfo& function) {
    if (!function.link_now && !function.link_max) {
      if (function.port_type &&
          (*function.port_type == PortType::conventional || *function.port_type == PortType::root_complex_endpoint))
        return {};  // has no link
      return {notes_.mark("link: " + function.link_now.why_unknown()), Colour::yellow};
    }
    if (!function.link_now) return {fmt::format("? of {}", link_text(*function.link_max)), Colour::yellow};
    if (!function.link_max || *function.link_now == *function.link_max) return {link_text(*function.link_now)};
    return {fmt::format("{} of {}", link_text(*function.link_now), link_text(*function.link_max)),
            function.link_now->width == 0 ? Colour::dim : Colour::yellow};
  }

  Cell payload(const FunctionInfo& function) {
    if (!function.max_payload_bytes && !function.max_read_request_bytes) return {};
    const auto digits = [](const Known<std::uint32_t>& bytes) {
      return bytes ? fmt::format("{}", *bytes) : std::string("?");
    };
    return {digits(function.max_payload_bytes) + "/" + digits(function.max_read_request_bytes)};
  }

  static Cell number(const Known<std::int32_t>& value) { return {value ? fmt::format("{}", *value) : std::string()}; }

  static Cell group(const FunctionInfo& function) {
    if (!function.iommu_group || !*function.iommu_group) return {};
    return {fmt::format("{}", **function.iommu_group)};
  }

  Cell acs(const FunctionInfo& function) {
    constexpr std::uint16_t kRedirection = 0x04 | 0x08 | 0x20;
    if (!function.acs) return {notes_.mark("ACS: " + function.acs.why_unknown()), Colour::yellow};
    if (!*function.acs) return {function.is_bridge() ? "none" : "", Colour::dim};
    const std::uint16_t control = (*function.acs)->control;
    return {acs_text(control), (control & kRedirection) != 0 ? Colour::red : Colour::none};
  }

  // A line below the function: its BARs and what is in them.
  void add_memory(const FunctionInfo& function, const std::string& indent) {
    std::string text;
    for (const BarInfo& bar : function.bars) {
      if (bar.kind != BarInfo::Kind::memory) continue;
      const std::string size =
          bar.size_bytes ? format_size(*bar.size_bytes) : notes_.mark("size of a BAR: " + bar.size_bytes.why_unknown());
      text += fmt::format("{}BAR {} {}{}{}", text.empty() ? "" : ", ", bar.index, size,
                          bar.is_prefetchable ? " prefetchable" : "", bar.address ? "" : " unassigned");
    }
    if (function.controller_memory && *function.controller_memory) {
      const ControllerMemoryInfo& memory = **function.controller_memory;
      text += fmt::format("; CMB {} in BAR {} for", format_size(memory.size_bytes), memory.bar);
      const std::pair<bool, const char*> abilities[] = {{memory.submission_queues, "SQS"},
                                                        {memory.completion_queues, "CQS"},
                                                        {memory.lists, "LISTS"},
                                                        {memory.read_data, "RDS"},
                                                        {memory.write_data, "WDS"}};
      bool any = false;
      for (const auto& [able, name] : abilities)
        if (able) text += fmt::format(" {}", name), any = true;
      if (!any) text += " nothing";
    }
    if (!text.empty()) table_.add_line(indent + text, Colour::dim);
  }

  std::string legend() {
    std::string text = "\n";
    if (link_tells_) text += "link: now, of its most\n";
    if (payload_tells_) text += "payload: MaxPayload/MaxReadReq in bytes\n";
    if (acs_tells_) text += "ACS: what is turned on (RR, CR and EC redirect); none: the port has no such capability\n";
    const auto untold = [&](bool tells, std::string_view column, const auto& fact_of) {
      if (tells || topology_.functions().empty()) return;
      const auto& fact = fact_of(topology_.functions().back());
      if (!fact) text += fmt::format("{} unknown: {}\n", column, printable(fact.why_unknown()));
    };
    untold(link_tells_, "link", [](const FunctionInfo& f) -> const auto& { return f.link_now; });
    untold(payload_tells_, "payload", [](const FunctionInfo& f) -> const auto& { return f.max_payload_bytes; });
    untold(numa_tells_, "NUMA nodes", [](const FunctionInfo& f) -> const auto& { return f.numa_node; });
    untold(group_tells_, "IOMMU groups", [](const FunctionInfo& f) -> const auto& { return f.iommu_group; });
    untold(acs_tells_, "ACS", [](const FunctionInfo& f) -> const auto& { return f.acs; });
    return text + device_links() + notes_.text();
  }

  std::string device_links() {
    std::string text;
    for (const DeviceLinkInfo& link : topology_.device_links()) {
      const auto end = [this](const DeviceLinkInfo::End& of) {
        const FunctionInfo* const function = topology_.find(of.function);
        return fmt::format("{} port {}", function == nullptr ? of.function.to_string() : printable(label_of(*function)),
                           of.port);
      };
      text += fmt::format(
          "beside PCIe: a link from {} to {}{}\n", end(link.first), end(link.second),
          link.megabytes_per_second == 0 ? std::string() : fmt::format(", {} MB/s", link.megabytes_per_second));
    }
    return text;
  }

  const Topology& topology_;
  const Style& style_;
  Table table_;
  Notes notes_;
  bool link_tells_ = false;
  bool payload_tells_ = false;
  bool numa_tells_ = false;
  bool group_tells_ = false;
  bool acs_tells_ = false;
};

std::string summary(std::string_view machine, const Topology& topology) {
  const std::string cpu = topology.cpu() ? fmt::format("{} family {}", topology.cpu()->vendor, topology.cpu()->family)
                                         : fmt::format("unknown ({})", topology.cpu().why_unknown());
  const std::string iommu = topology.iommu() ? std::string(name_of(*topology.iommu()))
                                             : fmt::format("unknown ({})", topology.iommu().why_unknown());
  return fmt::format("{}: {} functions{}\nCPU {}; IOMMU {}\n", printable(machine), topology.functions().size(),
                     topology.is_virtual_machine().value_or(false) ? ", of a virtual machine" : "", printable(cpu),
                     printable(iommu));
}

// Domain 0 goes without saying where there is no other.
std::string column_label(const Topology& topology, const FunctionInfo& function) {
  if (!function.name.empty() || topology.functions().back().bdf.domain != 0) return label_of(function);
  return short_bdf(function.bdf);
}

// So many of these columns that a row fits a wide terminal; one at least.
std::size_t columns_that_fit(const Topology& topology, const std::vector<const FunctionInfo*>& clients,
                             std::span<const FunctionInfo* const> providers) {
  constexpr std::size_t kWidth = 118;
  constexpr std::size_t kBetween = 2;
  constexpr std::size_t kCell = 4;
  std::size_t width = 0;
  for (const FunctionInfo* client : clients) width = std::max(width, width_of(column_label(topology, *client)));
  std::size_t count = 0;
  for (const FunctionInfo* provider : providers) {
    width += kBetween + std::max(kCell, width_of(column_label(topology, *provider)));
    if (width > kWidth && count != 0) break;
    ++count;
  }
  return count;
}

Table matrix_block(const Topology& topology, const VerdictMatrix& matrix,
                   const std::vector<const FunctionInfo*>& clients, std::span<const FunctionInfo* const> providers) {
  const FunctionInfo* first = topology.functions().data();
  std::vector<std::string> headings{""};
  for (const FunctionInfo* provider : providers) headings.push_back(column_label(topology, *provider));
  Table table(std::move(headings));
  for (const FunctionInfo* client : clients) {
    std::vector<Table::Cell> row{{column_label(topology, *client), Colour::bold}};
    for (const FunctionInfo* provider : providers) {
      if (provider == client) {
        row.push_back({"·", Colour::dim});
        continue;
      }
      const PairRoutes routes = matrix.routes(
          {.client = static_cast<std::size_t>(client - first), .provider = static_cast<std::size_t>(provider - first)});
      row.push_back({fmt::format("{} {}{}", letter_of(routes.by_linux()), letter_of(routes.by_wire_read()),
                                 letter_of(routes.by_wire_write())),
                     colour_of(routes.by_linux())});
    }
    table.add(std::move(row));
  }
  return table;
}

}  // namespace

std::string label_of(const FunctionInfo& function) {
  return function.name.empty() ? function.bdf.to_string() : printable(function.name);
}

void write_matrix(const Topology& topology, const Style& style, const Sink& sink) {
  std::vector<const FunctionInfo*> clients, providers;
  for (const FunctionInfo* function : endpoints(topology)) {
    if (may_be_client(*function)) clients.push_back(function);
    if (may_be_provider(*function)) providers.push_back(function);
  }
  if (providers.empty() || clients.size() < 2) return sink("No two devices of which one has memory for the other.\n");
  sink("DMA from (row) to the memory of (column): by Linux, then reads and writes on the wire\n");
  const VerdictMatrix matrix = topology.verdicts();
  for (std::size_t from = 0; from < providers.size();) {
    const std::size_t count = columns_that_fit(topology, clients, std::span(providers).subspan(from));
    sink(matrix_block(topology, matrix, clients, std::span(providers).subspan(from, count)).text(style) + "\n");
    from += count;
  }
  sink(
      "B turned around below the root complex (bus_address), H through the host bridge, - not supported, ? "
      "unknown;\n"
      "`barter why ROW COLUMN` tells the facts.\n");
}

void write_topology(std::string_view machine, const Topology& topology, const Style& style, const Sink& sink) {
  sink(summary(machine, topology) + "\n" + TreeText(topology, style).text() + "\n");
  write_matrix(topology, style, sink);
}

}  // namespace barter::cli
