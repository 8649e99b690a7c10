// What is plugged in where, and who can reach whom.
//
// A Topology is made of facts that were read once, from a running system or from a file, and never changes: copy it and
// share it between threads freely. Questions about it do no I/O.
//
//   const barter::Topology& topology = machine->topology();
//   for (const barter::FunctionInfo& function : topology.functions()) ...
//   barter::Verdict verdict = topology.verdict({.client = nic, .provider = gpu});
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <barter/address.hpp>
#include <barter/known.hpp>
#include <barter/result.hpp>
#include <barter/verdict.hpp>

namespace barter {

// Device/Port Type of the PCI Express capability (PCIe 6.0, 7.5.3.2), and what has no such capability.
enum class PortType : std::uint8_t {
  endpoint,
  legacy_endpoint,
  root_port,
  upstream_port,
  downstream_port,
  pcie_to_pci_bridge,
  pci_to_pcie_bridge,
  root_complex_endpoint,
  root_complex_event_collector,
  conventional,  // no PCI Express capability
};
[[nodiscard]] std::string_view name_of(PortType type);

struct BarInfo {
  enum class Kind : std::uint8_t { memory, io };
  std::uint8_t index = 0;
  Kind kind = Kind::memory;
  bool is_64bit = false;
  bool is_prefetchable = false;
  Known<BusAddress> address;        // where it lies now; unknown when unassigned
  Known<std::uint64_t> size_bytes;  // config space alone doesn't tell it
};

// One end's view of a link. Zero width: no link is up.
struct LinkState {
  std::uint32_t speed_mtps = 0;  // mega-transfers per second and lane: 16000 for 16 GT/s
  std::uint32_t width = 0;       // lanes
  friend bool operator==(const LinkState&, const LinkState&) = default;
};

// The ACS extended capability's registers (PCIe 6.0, 7.7.11), raw; src/pci/capabilities/acs.h names the bits.
struct AcsInfo {
  std::uint16_t capability = 0;
  std::uint16_t control = 0;
  std::uint16_t offset = 0;                                 // of the capability in config space; 0 when not known
  Known<std::vector<std::uint32_t>> egress_control_vector;  // empty when the function has none
};

// What an NVMe controller says of its memory buffer (NVMe 2.0, 3.1.3.11 and 3.1.3.12).
struct ControllerMemoryInfo {
  std::uint8_t bar = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  bool submission_queues = false;  // SQS
  bool completion_queues = false;  // CQS
  bool lists = false;              // LISTS: PRP and SGL lists
  bool read_data = false;          // RDS: data that the host reads
  bool write_data = false;         // WDS: data that the host writes
};

struct BusRange {
  std::uint8_t secondary = 0;
  std::uint8_t subordinate = 0;
};

struct FunctionInfo {
  Bdf bdf;
  std::string name;  // the machine's own name for it, if it has one: "nvme0", "eth0"
  Known<std::uint16_t> vendor_id;
  Known<std::uint16_t> device_id;
  Known<std::uint32_t> class_code;  // 24 bits: base class, sub-class, programming interface
  std::string vendor_name;          // for people; may be empty
  std::string device_name;
  Known<PortType> port_type;
  std::optional<BusRange> bridge;        // has a value if the function is a bridge with buses behind it
  std::optional<Bdf> parent;             // the bridge above, when the source tells; otherwise found by bus numbers
  std::optional<Bdf> physical_function;  // of a virtual function
  std::vector<BarInfo> bars;
  bool bars_read = true;  // false: the source does not tell of BARs, and there are none in `bars`
  Known<LinkState> link_now;
  Known<LinkState> link_max;
  std::uint8_t port_number = 0;  // Link Capabilities 31:24, the index into an egress control vector
  Known<std::uint32_t> max_payload_bytes;
  Known<std::uint32_t> max_payload_supported_bytes;
  Known<std::uint32_t> max_read_request_bytes;
  Known<bool> relaxed_ordering;
  Known<bool> ats_enabled;
  Known<std::optional<AcsInfo>> acs;  // known without a value: the function has no ACS
  Known<std::int32_t> numa_node;
  Known<std::optional<std::uint32_t>> iommu_group;  // known without a value: no IOMMU acts on the function
  Known<std::optional<ControllerMemoryInfo>> controller_memory;

  [[nodiscard]] bool is_bridge() const { return bridge.has_value(); }
  [[nodiscard]] bool has_memory_bar() const;
};

// One PCI host bridge: a root bus and what is known of the root complex behind it.
struct HostBridgeInfo {
  std::uint32_t domain = 0;
  std::uint8_t root_bus = 0;
  Known<std::int32_t> numa_node;
  // Does the root complex turn peer requests around? PCIe leaves it free (6.0, 1.3.1), and no register tells: known only
  // when the machine's description says so.
  Known<bool> turns_reads;
  Known<bool> turns_writes;
};

// A link between two functions beside PCIe, as the machine's description has it. Whether it is up is asked of the machine
// (Machine::interconnects).
struct DeviceLinkInfo {
  struct End {
    Bdf function;
    std::uint32_t port = 0;  // which of its link ports
  };
  End first;
  End second;
  std::uint64_t megabytes_per_second = 0;  // in each direction; 0: not known
};

struct CpuInfo {
  std::string vendor;        // "GenuineIntel", "AuthenticAMD", as CPUID spells it
  std::uint32_t family = 0;  // display family: 6, 23, 25
};

// Does an IOMMU stand between the devices and memory?
enum class IommuMode : std::uint8_t { off, passthrough, translate };
[[nodiscard]] std::string_view name_of(IommuMode mode);

// What a loader gathers. Topology::build checks it and makes sense of it.
struct TopologyParts {
  std::string source;  // for messages and for people: "lspci:server.txt"
  std::vector<FunctionInfo> functions;
  std::vector<HostBridgeInfo> host_bridges;  // those the source tells of; the others follow from the functions
  std::vector<DeviceLinkInfo> device_links;  // beside PCIe; only descriptions tell of them
  Known<CpuInfo> cpu;
  Known<IommuMode> iommu;
  Known<bool> is_virtual_machine;  // a guest's topology is what its hypervisor invented
  // False if the source leaves functions out, as hwloc does: then the first function that it shows on a root bus need not
  // be the first one there, which is the one that Linux looks at.
  bool lists_every_function = true;
};

// The routes of one ordered pair on PCIe, without facts. One byte, so that a matrix of them stays small.
struct PairRoutes {
  std::uint8_t raw = 0;
  [[nodiscard]] constexpr Route by_linux() const { return static_cast<Route>(raw & 3); }
  [[nodiscard]] constexpr Route by_wire_read() const { return static_cast<Route>(raw >> 2 & 3); }
  [[nodiscard]] constexpr Route by_wire_write() const { return static_cast<Route>(raw >> 4 & 3); }
  friend constexpr bool operator==(PairRoutes, PairRoutes) = default;
};

// Every ordered pair of a topology's functions, by index into functions().
//
// Functions that nothing tells apart (the virtual functions of a device, say) share a slot, and what is kept is a matrix of
// slots: a thousand functions of one device cost no more than two. Distances fit 16 bits, because a path has at most 2 x
// 256 functions.
struct VerdictMatrix {
  struct Pair {
    std::size_t client = 0;
    std::size_t provider = 0;
  };
  [[nodiscard]] PairRoutes routes(Pair pair) const { return slot_routes[at(pair)]; }
  [[nodiscard]] std::uint16_t distance(Pair pair) const { return slot_distances[at(pair)]; }

  std::size_t count = 0;               // functions
  std::vector<std::uint32_t> slot_of;  // of each function
  std::vector<std::uint32_t> twin_of;  // of each slot: what stands for another function of the same slot; mostly itself
  std::vector<PairRoutes> slot_routes;  // [slot of the provider * slots + slot of the client]
  std::vector<std::uint16_t> slot_distances;

 private:
  [[nodiscard]] std::size_t at(Pair pair) const {
    const std::uint32_t provider = slot_of[pair.provider];
    const std::uint32_t client = slot_of[pair.client];
    const bool others = provider == client && pair.provider != pair.client;
    return std::size_t{provider} * twin_of.size() + (others ? twin_of[client] : client);
  }
};

class Topology {
 public:
  // Refuses duplicates, bridges that contain themselves, and functions under a bridge that isn't there.
  [[nodiscard]] static Result<Topology> build(TopologyParts parts);

  [[nodiscard]] const std::string& source() const;
  [[nodiscard]] std::span<const FunctionInfo> functions() const;  // in order of BDF
  [[nodiscard]] std::span<const HostBridgeInfo> host_bridges() const;
  [[nodiscard]] std::span<const DeviceLinkInfo> device_links() const;
  [[nodiscard]] const Known<CpuInfo>& cpu() const;
  [[nodiscard]] const Known<IommuMode>& iommu() const;
  [[nodiscard]] const Known<bool>& is_virtual_machine() const;

  [[nodiscard]] const FunctionInfo* find(Bdf bdf) const;                  // null if there is none
  [[nodiscard]] const FunctionInfo* find(std::string_view name) const;    // by the machine's name for it
  [[nodiscard]] Result<Bdf> resolve(std::string_view name_or_bdf) const;  // what a person typed
  [[nodiscard]] std::optional<Bdf> parent(Bdf bdf) const;                 // the bridge above; none on a root bus
  [[nodiscard]] std::vector<Bdf> children(Bdf bridge) const;

  // Both must be in this topology; anything else is a verdict of `unknown` that says so.
  [[nodiscard]] Verdict verdict(VerdictQuery query) const;
  // The same routes and distances for every pair at once, without facts.
  [[nodiscard]] VerdictMatrix verdicts() const;

  // The same topology with another CPU, for asking "what if" and for captures that don't name theirs.
  [[nodiscard]] Topology with_cpu(CpuInfo cpu) const;

 private:
  struct Graph;
  explicit Topology(std::shared_ptr<const Graph> graph);
  std::shared_ptr<const Graph> graph_;
};

}  // namespace barter
