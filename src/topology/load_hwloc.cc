#include "topology/load_hwloc.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <hwloc.h>

#include "topology/load.h"
#include "topology/load_hwloc_xml.h"

namespace barter::topology {
namespace {

std::unexpected<Error> refuse(ErrorCode code, std::string_view source, std::string why, std::string cure = {}) {
  return fail({.code = code,
               .doing = "reading the hwloc topology",
               .subject = std::string(source),
               .where = {},
               .why = std::move(why),
               .cure = std::move(cure)});
}

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Hwloc = std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, DestroyTopology>;

// Not named where C and C++ agree on its name.
using PciAttributes = decltype(hwloc_obj_attr_u::pcidev);

// What hwloc leaves out is unknown, each for the same reason.
const Unknown& not_recorded() {
  static const Unknown reason{"hwloc does not record it"};
  return reason;
}

// "nvme0n1" is a namespace of nvme0.
std::string controller_of(std::string_view block_device) {
  const std::size_t digits = std::string_view("nvme").size();
  const std::size_t end = block_device.find_first_not_of("0123456789", digits);
  if (!block_device.starts_with("nvme") || end == digits || end == std::string_view::npos || block_device[end] != 'n')
    return std::string(block_device);
  return std::string(block_device.substr(0, end));
}

// Of the names that the operating system has for a function, the one that people use: a drive's, then a network
// interface's, an RDMA device's, an accelerator's. OpenCL and X displays number what they see, so theirs come last.
int rank_of(hwloc_obj_t device) {
  constexpr int kLast = 5;
  const std::string_view name = device->name;
  if (name.starts_with("opencl") || name.starts_with(":")) return kLast;
  switch (device->attr->osdev.type) {
    case HWLOC_OBJ_OSDEV_BLOCK:
      return 0;
    case HWLOC_OBJ_OSDEV_NETWORK:
      return 1;
    case HWLOC_OBJ_OSDEV_OPENFABRICS:
      return 2;
    case HWLOC_OBJ_OSDEV_GPU:
    case HWLOC_OBJ_OSDEV_COPROC:
      return 3;
    default:
      return 4;
  }
}

// Turns the objects of one loaded topology into parts.
class HwlocReader {
 public:
  HwlocReader(hwloc_topology_t topology, std::string_view source) : topology_(topology), source_(source) {}

  Result<TopologyParts> read() {
    parts_.source = source_;
    parts_.lists_every_function = false;  // hwloc keeps what it finds of interest, and what leads there
    parts_.iommu = not_recorded();
    read_cpu();
    read_virtual_machine();
    for (hwloc_obj_t at = nullptr; (at = hwloc_get_next_bridge(topology_, at)) != nullptr;)
      if (auto added = add_bridge(at); !added) return std::unexpected(std::move(added.error()));
    for (hwloc_obj_t at = nullptr; (at = hwloc_get_next_pcidev(topology_, at)) != nullptr;)
      if (auto added = add_function(at, at->attr->pcidev); !added) return std::unexpected(std::move(added.error()));
    if (parts_.functions.empty())
      return refuse(ErrorCode::malformed, source_, "it has no PCI functions",
                    "capture it with: lstopo --whole-io FILE.xml");
    return std::move(parts_);
  }

 private:
  static const char* info_of(hwloc_obj_t object, const char* name) {
    const char* value = hwloc_obj_get_info_by_name(object, name);
    return value == nullptr ? "" : value;
  }

  void read_cpu() {
    parts_.cpu = Unknown{"the hwloc topology does not name the CPU"};
    hwloc_obj_t package = hwloc_get_obj_by_type(topology_, HWLOC_OBJ_PACKAGE, 0);
    for (hwloc_obj_t object : {package, hwloc_get_root_obj(topology_)}) {
      if (object == nullptr) continue;
      const std::string_view vendor = info_of(object, "CPUVendor");
      const std::string_view family_text = info_of(object, "CPUFamilyNumber");
      std::uint32_t family = 0;
      const auto [rest, error] = std::from_chars(family_text.data(), family_text.data() + family_text.size(), family);
      if (vendor.empty() || error != std::errc{}) continue;
      parts_.cpu = CpuInfo{.vendor = std::string(vendor), .family = family};
      return;
    }
  }

  // What hypervisors put where the maker of a mainboard puts its name.
  void read_virtual_machine() {
    constexpr std::array<std::string_view, 7> kHypervisors{
        "QEMU", "KVM", "VMware", "VirtualBox", "Virtual Machine", "HVM domU", "Google Compute Engine"};
    parts_.is_virtual_machine = Unknown{"the hwloc topology does not tell"};
    hwloc_obj_t machine = hwloc_get_root_obj(topology_);
    for (const char* name : {"DMIProductName", "DMISysVendor"}) {
      const std::string_view value = info_of(machine, name);
      for (const std::string_view hypervisor : kHypervisors)
        if (value.find(hypervisor) != std::string_view::npos) parts_.is_virtual_machine = true;
    }
  }

  // The node that the object's memory is near to, if it is one.
  static Known<std::int32_t> numa_node(hwloc_obj_t object) {
    while (object != nullptr && (object->nodeset == nullptr || hwloc_bitmap_iszero(object->nodeset) != 0))
      object = object->parent;
    if (object == nullptr || hwloc_bitmap_weight(object->nodeset) != 1)
      return Unknown{"the hwloc topology does not put it near one NUMA node"};
    return static_cast<std::int32_t>(hwloc_bitmap_first(object->nodeset));
  }

  static bool is_host_bridge(hwloc_obj_t object) {
    return object->type == HWLOC_OBJ_BRIDGE && object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_HOST;
  }
  static bool is_pci_bridge(hwloc_obj_t object) {
    return object->type == HWLOC_OBJ_BRIDGE && object->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI;
  }

  Result<void> add_bridge(hwloc_obj_t object) {
    const auto& bridge = object->attr->bridge;
    if (bridge.downstream_type != HWLOC_OBJ_BRIDGE_PCI) return {};
    const auto& below = bridge.downstream.pci;
    if (is_pci_bridge(object)) {
      const BusRange buses{below.secondary_bus, below.subordinate_bus};
      return add_function(object, bridge.upstream.pci, buses);
    }
    // hwloc makes a host bridge for each root bus that has something on it.
    if (host_bridges_.insert({below.domain, below.secondary_bus}).second)
      parts_.host_bridges.push_back({.domain = below.domain,
                                     .root_bus = below.secondary_bus,
                                     .numa_node = numa_node(object),
                                     .turns_reads = not_recorded(),
                                     .turns_writes = not_recorded()});
    return {};
  }

  Result<void> add_function(hwloc_obj_t object, const PciAttributes& pci, std::optional<BusRange> buses = {}) {
    if (pci.dev > 0x1f || pci.func > 7)
      return refuse(ErrorCode::malformed, source_, fmt::format("device {:x}.{:x} can't be", pci.dev, pci.func));
    if (parts_.functions.size() == kMaxHwlocFunctions)
      return refuse(ErrorCode::malformed, source_, fmt::format("it has more than {} functions", kMaxHwlocFunctions));
    FunctionInfo function{.bdf = {.domain = pci.domain, .bus = pci.bus, .device = pci.dev, .function = pci.func}};
    hwloc_obj_t above = object->parent;
    if (above == nullptr || !(is_host_bridge(above) || is_pci_bridge(above)))
      return refuse(ErrorCode::malformed, source_,
                    fmt::format("{} is below no bridge: it was captured without them", function.bdf.to_string()),
                    "capture it with: lstopo --whole-io FILE.xml");
    if (is_pci_bridge(above)) {
      const auto& parent = above->attr->bridge.upstream.pci;
      function.parent = Bdf{.domain = parent.domain, .bus = parent.bus, .device = parent.dev, .function = parent.func};
    }
    function.bridge = buses;
    describe(function, object, pci);
    // A type 1 function on a root bus that has a link can be nothing else. Deeper down, it could be a port of a
    // switch as well as a bridge to conventional PCI.
    if (buses && is_host_bridge(above) && pci.linkspeed > 0)
      function.port_type = PortType::root_port;
    else
      function.port_type = not_recorded();
    parts_.functions.push_back(std::move(function));
    return {};
  }

  void describe(FunctionInfo& function, hwloc_obj_t object, const PciAttributes& pci) {
    constexpr std::uint16_t kNonVolatileMemory = 0x0108;
    function.vendor_id = pci.vendor_id;
    function.device_id = pci.device_id;
    function.vendor_name = info_of(object, "PCIVendor");
    function.device_name = info_of(object, "PCIDevice");
    function.name = name_of(object);
    // hwloc 2 has no programming interface. That is 0 for nearly all classes; of drives it tells NVMe from others.
    function.class_code = std::uint32_t{pci.class_id} << 8;
    if (pci.class_id == kNonVolatileMemory) {
      if (function.name.starts_with("nvme"))
        function.class_code = std::uint32_t{kNonVolatileMemory} << 8 | 2u;
      else
        function.class_code = Unknown{"hwloc does not record the programming interface"};
    }
    function.bars_read = false;
    // The product of speed and width: 15.75 GB/s may be 8 GT/s x16 or 16 GT/s x8.
    function.link_now = pci.linkspeed > 0
                            ? Unknown{fmt::format("hwloc records its bandwidth ({:.2f} GB/s), not speed and width",
                                                  static_cast<double>(pci.linkspeed))}
                            : Unknown{"hwloc recorded no link"};
    function.link_max = not_recorded();
    function.max_payload_bytes = not_recorded();
    function.max_payload_supported_bytes = not_recorded();
    function.max_read_request_bytes = not_recorded();
    function.relaxed_ordering = not_recorded();
    function.ats_enabled = not_recorded();
    function.acs = Unknown{"hwloc does not record ACS"};
    function.numa_node = numa_node(object);
    function.iommu_group = not_recorded();
    function.controller_memory = not_recorded();
  }

  static std::string name_of(hwloc_obj_t object) {
    std::optional<std::pair<int, std::string_view>> best;
    for (hwloc_obj_t child = object->io_first_child; child != nullptr; child = child->next_sibling) {
      if (child->type != HWLOC_OBJ_OS_DEVICE || child->name == nullptr) continue;
      const std::pair candidate(rank_of(child), std::string_view(child->name));
      if (!best || candidate < *best) best = candidate;
    }
    return best ? controller_of(best->second) : std::string();
  }

  hwloc_topology_t topology_;
  std::string_view source_;
  TopologyParts parts_;
  std::set<std::pair<std::uint32_t, std::uint8_t>> host_bridges_;
};

}  // namespace

Result<TopologyParts> load_hwloc_text(std::string_view xml, std::string_view source) {
  if (xml.size() > kMaxHwlocBytes)
    return refuse(ErrorCode::malformed, source, fmt::format("it is larger than {} MiB", kMaxHwlocBytes >> 20));
  const auto clean = clean_hwloc_xml(xml, source);
  if (!clean) return std::unexpected(clean.error());
  constexpr const char* kCure = "capture it with: lstopo --whole-io FILE.xml";
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return refuse(ErrorCode::exhausted, source, "libhwloc can't start");
  const Hwloc topology(raw);
  // libhwloc counts the zero byte at the end.
  if (clean->size() >= std::numeric_limits<int>::max() ||
      hwloc_topology_set_xmlbuffer(raw, clean->c_str(), static_cast<int>(clean->size() + 1)) != 0)
    return refuse(ErrorCode::malformed, source, "libhwloc finds no topology in it", kCure);
  if (hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_ALL) != 0 || hwloc_topology_load(raw) != 0)
    return refuse(ErrorCode::malformed, source, "libhwloc can't read its objects", kCure);
  return HwlocReader(raw, source).read();
}

Result<TopologyParts> load_hwloc(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  const std::string source = "hwloc:" + file.string();
  if (!std::filesystem::exists(status)) return refuse(ErrorCode::not_found, file.string(), "there is no such file");
  if (!std::filesystem::is_regular_file(status))
    return refuse(ErrorCode::invalid_argument, file.string(), "it is not a file");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return refuse(ErrorCode::io_failed, file.string(), "it can't be opened", "look at its permissions");
  std::string text(kMaxHwlocBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return load_hwloc_text(text, source);
}

}  // namespace barter::topology
