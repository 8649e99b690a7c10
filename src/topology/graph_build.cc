#include "topology/graph_build.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace barter::topology {
namespace {

// Deeper than buses can nest in one domain is deeper than any tree; explicit parents may say so all the same.
constexpr std::size_t kMaxDepth = 256;

std::unexpected<Error> refuse(const Tree& tree, Bdf where, std::string why, std::string cure = "") {
  return fail({.code = ErrorCode::malformed,
               .doing = "building the topology of",
               .subject = tree.source,
               .where = "function " + where.to_string(),
               .why = std::move(why),
               .cure = std::move(cure)});
}

// A bridge that firmware has not configured has no buses yet: bus 0 is never behind a bridge.
bool has_buses(const FunctionInfo& function) { return function.bridge && function.bridge->secondary != 0; }

std::string buses_of(const FunctionInfo& bridge) {
  return fmt::format("{:02x}-{:02x}", bridge.bridge->secondary, bridge.bridge->subordinate);
}

Result<void> check_bridge(const Tree& tree, const FunctionInfo& bridge) {
  if (bridge.bridge->subordinate < bridge.bridge->secondary)
    return refuse(tree, bridge.bdf, fmt::format("its buses {} run backwards", buses_of(bridge)));
  if (bridge.bridge->secondary <= bridge.bdf.bus && bridge.bdf.bus <= bridge.bridge->subordinate)
    return refuse(tree, bridge.bdf,
                  fmt::format("it is a bridge to buses {}, and its own bus is among them", buses_of(bridge)));
  return {};
}

// The bridges of one domain with buses behind them, wider ranges first, and who owns each bus.
class BusOwners {
 public:
  static Result<BusOwners> create(const Tree& tree, Index first, Index end);
  // The bridge to the bus: exact secondary if there is one, else the narrowest range that covers it.
  [[nodiscard]] Index owner(std::uint8_t bus) const { return owners_[bus]; }

 private:
  BusOwners() { owners_.fill(kNone); }
  std::array<Index, 256> owners_;
};

Result<BusOwners> BusOwners::create(const Tree& tree, Index first, Index end) {
  std::vector<Index> bridges;
  for (Index i = first; i < end; ++i) {
    const FunctionInfo& function = tree.functions[i];
    if (!has_buses(function)) continue;
    if (auto checked = check_bridge(tree, function); !checked) return fail(checked.error());
    bridges.push_back(i);
  }
  std::sort(bridges.begin(), bridges.end(), [&tree](Index a, Index b) {
    const BusRange left = *tree.functions[a].bridge;
    const BusRange right = *tree.functions[b].bridge;
    return std::tuple(left.secondary, -left.subordinate, a) < std::tuple(right.secondary, -right.subordinate, b);
  });
  BusOwners buses;
  std::vector<Index> open;  // ranges that cover the one at hand, each inside the one before it
  for (Index bridge : bridges) {
    const FunctionInfo& inner = tree.functions[bridge];
    while (!open.empty() && tree.functions[open.back()].bridge->subordinate < inner.bridge->secondary) open.pop_back();
    if (!open.empty()) {
      const FunctionInfo& outer = tree.functions[open.back()];
      const bool below = inner.bdf.bus >= outer.bridge->secondary && inner.bdf.bus <= outer.bridge->subordinate &&
                         inner.bridge->subordinate <= outer.bridge->subordinate &&
                         inner.bridge->secondary != outer.bridge->secondary;
      if (!below)
        return refuse(tree, inner.bdf,
                      fmt::format("its buses {} overlap the buses {} of bridge {}, and it is not below that bridge",
                                  buses_of(inner), buses_of(outer), outer.bdf.to_string()));
    }
    open.push_back(bridge);
    for (unsigned bus = inner.bridge->secondary; bus <= inner.bridge->subordinate; ++bus) buses.owners_[bus] = bridge;
  }
  return buses;
}

Result<Index> explicit_parent(const Tree& tree, const FunctionInfo& function) {
  const Index parent = tree.find(*function.parent);
  if (parent == kNone)
    return refuse(
        tree, function.bdf,
        fmt::format("it is said to be below bridge {}, and there is no such function", function.parent->to_string()));
  if (!tree.functions[parent].is_bridge())
    return refuse(tree, function.bdf,
                  fmt::format("it is said to be below {}, which is not a bridge", function.parent->to_string()));
  return parent;
}

std::pair<std::uint32_t, std::uint8_t> place_of(const HostBridgeInfo& host) { return {host.domain, host.root_bus}; }

// Where the host bridge of this root bus is in the list, or would be put.
std::vector<HostBridgeInfo>::iterator find_host(Tree& tree, Bdf bdf) {
  return std::lower_bound(tree.host_bridges.begin(), tree.host_bridges.end(), std::pair(bdf.domain, bdf.bus),
                          [](const HostBridgeInfo& host, const auto& wanted) { return place_of(host) < wanted; });
}

bool is_root_bus(Tree& tree, Bdf bdf) {
  const auto at = find_host(tree, bdf);
  return at != tree.host_bridges.end() && place_of(*at) == std::pair(bdf.domain, bdf.bus);
}

Result<void> find_parents_in_domain(Tree& tree, Index first, Index end) {
  auto buses = BusOwners::create(tree, first, end);
  if (!buses) return fail(buses.error());
  for (Index i = first; i < end; ++i) {
    const FunctionInfo& function = tree.functions[i];
    if (function.parent) {
      auto parent = explicit_parent(tree, function);
      if (!parent) return fail(parent.error());
      tree.nodes[i].parent = *parent;
    } else {
      tree.nodes[i].parent = is_root_bus(tree, function.bdf) ? kNone : buses->owner(function.bdf.bus);
    }
  }
  return {};
}

// Linux goes on from a virtual function as if from its physical one, on whatever bus the virtual one is numbered
// (pci_upstream_bridge begins with pci_physfn).
void move_virtual_functions(Tree& tree) {
  for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
    const FunctionInfo& function = tree.functions[i];
    if (!function.physical_function || function.parent) continue;
    const Index physical = tree.find(*function.physical_function);
    if (physical != kNone && !tree.functions[physical].physical_function)
      tree.nodes[i].parent = tree.nodes[physical].parent;
  }
}

}  // namespace

Result<void> sort_and_check_names(Tree& tree) {
  std::sort(tree.functions.begin(), tree.functions.end(),
            [](const FunctionInfo& a, const FunctionInfo& b) { return a.bdf < b.bdf; });
  for (std::size_t i = 1; i < tree.functions.size(); ++i)
    if (tree.functions[i].bdf == tree.functions[i - 1].bdf)
      return refuse(tree, tree.functions[i].bdf, "there are two functions of this number",
                    "if two dumps were joined, give each its own domain");
  for (const FunctionInfo& function : tree.functions)
    if (function.bdf.device > 31 || function.bdf.function > 7)
      return refuse(tree, function.bdf, "no PCI function has such a number");
  std::sort(tree.host_bridges.begin(), tree.host_bridges.end(),
            [](const HostBridgeInfo& a, const HostBridgeInfo& b) { return place_of(a) < place_of(b); });
  for (std::size_t i = 1; i < tree.host_bridges.size(); ++i)
    if (place_of(tree.host_bridges[i]) == place_of(tree.host_bridges[i - 1]))
      return refuse(tree, {.domain = tree.host_bridges[i].domain, .bus = tree.host_bridges[i].root_bus},
                    "two host bridges have this root bus");
  tree.nodes.assign(tree.functions.size(), Node{});
  return {};
}

Result<void> find_parents(Tree& tree) {
  const auto count = static_cast<Index>(tree.functions.size());
  for (Index first = 0; first < count;) {
    Index end = first;
    while (end < count && tree.functions[end].bdf.domain == tree.functions[first].bdf.domain) ++end;
    if (auto found = find_parents_in_domain(tree, first, end); !found) return fail(found.error());
    first = end;
  }
  move_virtual_functions(tree);
  return {};
}

Result<void> measure_depths(Tree& tree) {
  std::vector<Index> way;
  for (Index start = 0; start < tree.nodes.size(); ++start) {
    way.clear();
    Index at = start;
    while (at != kNone && tree.nodes[at].depth == 0) {
      if (way.size() == kMaxDepth)
        return refuse(
            tree, tree.functions[start].bdf,
            fmt::format("going up from it never ends within {} bridges: the bridges above it form a loop", kMaxDepth));
      way.push_back(at);
      at = tree.nodes[at].parent;
    }
    std::size_t depth = at == kNone ? 0 : tree.nodes[at].depth;
    for (std::size_t i = way.size(); i-- > 0;) {
      if (++depth > kMaxDepth)
        return refuse(tree, tree.functions[way[i]].bdf, fmt::format("it is below more than {} bridges", kMaxDepth - 1));
      tree.nodes[way[i]].depth = static_cast<std::uint16_t>(depth);
    }
  }
  return {};
}

void list_children(Tree& tree) {
  const std::size_t count = tree.nodes.size();
  tree.child_start.assign(count + 1, 0);
  for (const Node& node : tree.nodes)
    if (node.parent != kNone) ++tree.child_start[node.parent + 1];
  for (std::size_t i = 0; i < count; ++i) tree.child_start[i + 1] += tree.child_start[i];
  tree.children.assign(tree.child_start[count], kNone);
  std::vector<std::uint32_t> next(tree.child_start.begin(), tree.child_start.end() - 1);
  for (Index i = 0; i < count; ++i) {
    const Index parent = tree.nodes[i].parent;
    if (parent == kNone)
      tree.on_root_bus.push_back(i);
    else
      tree.children[next[parent]++] = i;
  }
}

void find_host_bridges(Tree& tree) {
  // A virtual function of a function on a root bus may be numbered on another bus; its host bridge is the other's.
  const auto root_bdf = [&tree](Index i) {
    const FunctionInfo& function = tree.functions[i];
    if (!function.physical_function || tree.find(*function.physical_function) == kNone) return function.bdf;
    return *function.physical_function;
  };
  for (Index i : tree.on_root_bus) {
    const Bdf bdf = root_bdf(i);
    if (!is_root_bus(tree, bdf))
      tree.host_bridges.insert(find_host(tree, bdf), HostBridgeInfo{.domain = bdf.domain, .root_bus = bdf.bus});
  }
  tree.first_on_root_bus.assign(tree.host_bridges.size(), kNone);
  for (Index i : tree.on_root_bus) {
    const auto host = static_cast<std::uint32_t>(find_host(tree, root_bdf(i)) - tree.host_bridges.begin());
    tree.nodes[i].host = host;
    if (tree.first_on_root_bus[host] == kNone && !tree.functions[i].physical_function) tree.first_on_root_bus[host] = i;
  }
  for (Index i = 0; i < tree.nodes.size(); ++i) {
    Index at = i;
    while (tree.nodes[at].parent != kNone) at = tree.nodes[at].parent;
    tree.nodes[i].host = tree.nodes[at].host;
  }
}

}  // namespace barter::topology
