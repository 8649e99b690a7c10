#include "topology/graph.h"

#include <algorithm>
#include <utility>

#include "topology/graph_build.h"

namespace barter::topology {

Index Tree::find(Bdf bdf) const {
  const auto at =
      std::lower_bound(functions.begin(), functions.end(), bdf,
                       [](const FunctionInfo& function, const Bdf& wanted) { return function.bdf < wanted; });
  if (at == functions.end() || at->bdf != bdf) return kNone;
  return static_cast<Index>(at - functions.begin());
}

std::span<const Index> Tree::children_of(Index bridge) const {
  return std::span(children).subspan(child_start[bridge], child_start[bridge + 1] - child_start[bridge]);
}

Meeting meet(const Tree& tree, Index client, Index provider) {
  Index client_below = kNone;
  Index provider_below = kNone;
  const auto climb = [&tree](Index& at, Index& below) { below = std::exchange(at, tree.nodes[at].parent); };
  while (client != provider && client != kNone && provider != kNone) {
    const auto client_depth = tree.nodes[client].depth;
    const auto provider_depth = tree.nodes[provider].depth;
    if (client_depth >= provider_depth) climb(client, client_below);
    if (provider_depth >= client_depth) climb(provider, provider_below);
  }
  return {.common = client == provider ? client : kNone, .client_side = client_below, .provider_side = provider_below};
}

std::vector<Index> shortest_path(const Tree& tree, Index client, Index provider) {
  const Index common = meet(tree, client, provider).common;
  std::vector<Index> path;
  for (Index at = client; at != common; at = tree.nodes[at].parent) path.push_back(at);
  if (common != kNone) path.push_back(common);
  const auto turn = static_cast<std::ptrdiff_t>(path.size());
  for (Index at = provider; at != common; at = tree.nodes[at].parent) path.push_back(at);
  std::reverse(path.begin() + turn, path.end());
  return path;
}

Result<Tree> grow(TopologyParts parts) {
  Tree tree{.source = std::move(parts.source),
            .functions = std::move(parts.functions),
            .host_bridges = std::move(parts.host_bridges),
            .device_links = std::move(parts.device_links),
            .cpu = std::move(parts.cpu),
            .iommu = std::move(parts.iommu),
            .is_virtual_machine = std::move(parts.is_virtual_machine),
            .lists_every_function = parts.lists_every_function};
  if (auto sorted = sort_and_check_names(tree); !sorted) return fail(sorted.error());
  if (auto found = find_parents(tree); !found) return fail(found.error());
  if (auto measured = measure_depths(tree); !measured) return fail(measured.error());
  list_children(tree);
  find_host_bridges(tree);
  return tree;
}

}  // namespace barter::topology
