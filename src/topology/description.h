// A machine as a TOML file describes it (docs/machine-format.md): what is plugged in where. The software fabric builds
// the machine from this; its bus numbers, windows and BAR addresses come from enumeration and are not written here.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology {

struct LinkDescription {
  LinkState max{16000, 4};
  std::optional<LinkState> now;  // as trained, when that is less than max
};

// The ACS capability of a port: its capability and control registers; none: the port has no such capability.
struct AcsDescription {
  std::uint16_t capability = 0;
  std::uint16_t control = 0;
  std::vector<std::uint32_t> egress_control_vector;
};

struct RootComplexDescription {
  std::string name;
  std::uint32_t domain = 0;
  std::uint8_t root_bus = 0;
  std::int32_t numa_node = 0;
  std::uint16_t host_bridge_vendor = 0x8086;  // function 00.0 of the root bus
  std::uint16_t host_bridge_device = 0;
  bool turns_reads = false;  // does it turn peer requests around?
  bool turns_writes = false;
};

// A port that devices and switches are plugged into: a root port, or the downstream port of a switch.
struct PortDescription {
  std::string name;
  LinkDescription link;
  std::optional<AcsDescription> acs;
  std::uint16_t vendor_id = 0;
  std::uint16_t device_id = 0;
};

struct RootPortDescription {
  PortDescription port;
  std::string root_complex;
};

struct SwitchDescription {
  std::string name;
  std::string below;  // the port it is plugged into
  PortDescription upstream;
  std::vector<PortDescription> downstream;  // named NAME.0, NAME.1, ... unless the file names them
};

struct NamespaceDescription {
  std::uint64_t size_bytes = 0;  // 0, only with a file: as big as the file
  std::uint32_t block_bytes = 512;
  std::string
      file;  // empty: backed by memory, which starts as zeros; relative to the description's folder in the text,
             // and to the current one here
};

struct DriveDescription {
  std::uint64_t cmb_bytes = 0;  // 0: no controller memory buffer
  std::vector<NamespaceDescription> namespaces;
  std::uint16_t max_queues = 16;
  std::uint16_t max_queue_entries = 1024;
  std::uint8_t doorbell_stride_log2 = 0;  // CAP.DSTRD
  bool sgl = true;                        // does it take scatter-gather lists?
};

struct AcceleratorDescription {
  std::uint64_t memory_bytes = 0;
  std::uint64_t window_bytes = 0;  // 0: all of the memory, rounded up to a power of two
  std::uint8_t copy_channels = 2;
  std::uint8_t compute_channels = 2;
  std::uint8_t links = 0;  // ports for links to other accelerators
};

struct BarDescription {
  std::uint8_t index = 0;
  std::uint64_t size_bytes = 0;
  bool is_64bit = true;
  bool is_prefetchable = true;
};

struct DmaEngineDescription {
  std::uint8_t channels = 4;
  std::uint16_t segments = 256;  // of the longest list that it takes
};

struct NicDescription {
  std::uint8_t pairs = 4;            // queue pairs
  std::uint16_t segments = 256;      // of the longest list that it takes
  std::uint8_t address_bits = 64;    // that its requests can carry
  std::uint64_t boundary_bytes = 0;  // that no segment of a list may cross; 0: there is none
  std::uint16_t keys = 256;          // regions that it keeps registered at a time
};

// An endpoint function. With `drive`, `accelerator`, `dma_engine` or `nic` it has a model that works; without a model it is topology only:
// it enumerates and has BARs, and a request to it is answered as Unsupported Request.
struct FunctionDescription {
  std::string name;
  std::string below;          // the port or, for a root complex integrated endpoint, the root complex
  std::uint8_t function = 0;  // 1 to 7: a further function of the device in that slot
  std::uint16_t vendor_id = 0;
  std::uint16_t device_id = 0;
  std::uint32_t class_code = 0;
  LinkDescription link;
  std::optional<AcsDescription> acs;
  bool ats = false;                  // has it Address Translation Services? On where the IOMMU translates
  std::vector<BarDescription> bars;  // of functions without a model
  std::optional<DriveDescription> drive;
  std::optional<AcceleratorDescription> accelerator;
  std::optional<DmaEngineDescription> dma_engine;
  std::optional<NicDescription> nic;
};

// A link between two accelerators, beside PCIe.
struct DeviceLinkDescription {
  struct End {
    std::string accelerator;
    std::uint8_t port = 0;
  };
  End first;
  End second;
  std::uint64_t megabytes_per_second = 0;  // 0: not said
};

// A wire between two NICs.
struct WireDescription {
  std::string first;
  std::string second;
};

struct Description {
  std::string name;
  std::string source;  // the file, for messages
  std::optional<CpuInfo> cpu;
  IommuMode iommu = IommuMode::off;
  std::vector<RootComplexDescription> root_complexes;
  std::vector<RootPortDescription> root_ports;
  std::vector<SwitchDescription> switches;
  std::vector<FunctionDescription> functions;
  std::vector<DeviceLinkDescription> device_links;
  std::vector<WireDescription> wires;
};

// `source` names the text in messages: every error tells the line. Duplicates, cycles and ports that nothing provides
// are refused here, so that whoever gets a Description can rely on it being a tree.
[[nodiscard]] Result<Description> parse_description(std::string_view toml, std::string_view source);

}  // namespace barter::topology
