// The tree behind a Topology: functions in order of BDF, and by index who is above and below whom. The rules
// (linux_rule.cc, wire_rule.cc, matrix.cc) work on this and on nothing else.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology {

// An index into Tree::functions and Tree::nodes.
using Index = std::uint32_t;
inline constexpr Index kNone = std::numeric_limits<Index>::max();

// Whether something is so, as far as could be read.
enum class Tri : std::uint8_t { no, yes, unknown };

struct Node {
  Index parent = kNone;     // the bridge above as Linux walks: of a virtual function, that above its physical one
  std::uint32_t host = 0;   // index into Tree::host_bridges
  std::uint16_t depth = 0;  // functions from here to the root bus, both included: 1 on a root bus
};

struct Tree {
  std::string source;
  std::vector<FunctionInfo> functions;       // in order of BDF, no two the same
  std::vector<HostBridgeInfo> host_bridges;  // in order of domain and root bus, no two the same
  std::vector<DeviceLinkInfo> device_links;
  Known<CpuInfo> cpu;
  Known<IommuMode> iommu;
  Known<bool> is_virtual_machine;
  bool lists_every_function = true;

  std::vector<Node> nodes;                 // one for each function
  std::vector<Index> children;             // all functions, grouped by their parent
  std::vector<std::uint32_t> child_start;  // the children of i: children[child_start[i] .. child_start[i + 1])
  std::vector<Index> on_root_bus;          // functions without a parent, in order of BDF
  std::vector<Index> first_on_root_bus;    // for each host bridge: its first function on the root bus, or kNone

  [[nodiscard]] Index find(Bdf bdf) const;  // kNone if there is none
  [[nodiscard]] std::span<const Index> children_of(Index bridge) const;
};

// Checks the parts and finds out who is below whom. An explicit parent wins; else the bridge whose secondary bus the
// function is on; else the deepest bridge whose range of buses covers it; else it is on a root bus.
[[nodiscard]] Result<Tree> grow(TopologyParts parts);

// Where the ways of two functions part. Both sides are given as seen from the lowest common function: its child on that
// side, or kNone where the client or provider is itself that function. Without one, the ways part in the root complex,
// and the sides are the functions on the root bus.
struct Meeting {
  Index common = kNone;
  Index client_side = kNone;
  Index provider_side = kNone;
};
[[nodiscard]] Meeting meet(const Tree& tree, Index client, Index provider);

// From the client to the provider by way of the lowest common function, or of the root complex where there is none.
[[nodiscard]] std::vector<Index> shortest_path(const Tree& tree, Index client, Index provider);

}  // namespace barter::topology
