// Which host bridges Linux trusts to turn peer-to-peer requests around (drivers/pci/p2pdma.c, cpu_supports_p2pdma and
// host_bridge_whitelist): a list of tested ones, and a rule about the CPU.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "barter/topology.hpp"
#include "topology/graph.h"

namespace barter::topology {

struct AllowedHostBridge {
  std::uint16_t vendor_id;
  std::uint16_t device_id;  // kAnyDevice: all of the vendor's
  bool same_only;           // REQ_SAME_HOST_BRIDGE: both functions must be below the same one
  bool only_after_7_1;      // not in Linux 7.1; in the PCI subsystem's tree for the versions after it
  const char* what;
};
inline constexpr std::uint16_t kAnyDevice = 0xffff;

[[nodiscard]] std::span<const AllowedHostBridge> allowed_host_bridges();

// What the list may say of one host bridge, given what is known of the function that Linux looks at: more than one bit is
// set where a fact is missing.
struct ListAnswer {
  bool may_be_absent = false;
  bool may_be_allowed = false;       // for any pair
  bool may_be_allowed_same = false;  // for pairs below this host bridge
  std::vector<Fact> facts;           // filled on request only
};
[[nodiscard]] ListAnswer ask_list(const Tree& tree, std::uint32_t host, bool with_facts);

// May the two functions below these host bridges reach each other through them, says Linux?
[[nodiscard]] Tri list_allows(const ListAnswer& client, const ListAnswer& provider, bool same_host);
// AMD from Zen on (family 17h), by cpu0's CPUID; Hygon is another vendor.
[[nodiscard]] Tri cpu_allows(const Known<CpuInfo>& cpu);
// Is it an AMD from before Zen, of which the kernel's source says that it routes writes only?
[[nodiscard]] bool is_amd_before_zen(const Known<CpuInfo>& cpu);

// Both rules together: allowed by the CPU or by the list.
[[nodiscard]] Tri host_bridges_allow(const Known<CpuInfo>& cpu, const ListAnswer& client, const ListAnswer& provider,
                                     bool same_host);
[[nodiscard]] Tri host_bridges_allow(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host);
// The same, telling why.
struct HostBridgeVerdict {
  Tri allowed = Tri::unknown;
  std::vector<Fact> facts;
};
[[nodiscard]] HostBridgeVerdict explain_host_bridges(const Tree& tree, std::uint32_t client_host,
                                                     std::uint32_t provider_host);

[[nodiscard]] std::string host_bridge_name(const HostBridgeInfo& host);  // "host bridge 0000:00"

}  // namespace barter::topology
