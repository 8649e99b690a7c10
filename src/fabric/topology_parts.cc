// The machine's facts for the analyser: what its config spaces say, and what only we know.
#include <cstddef>
#include <mutex>
#include <utility>

#include "fabric/system.h"
#include "topology/from_config.h"
#include "topology/iommu_groups.h"

namespace barter::fabric {

TopologyParts System::topology() {
  const std::lock_guard lock(mutex);
  TopologyParts parts{.source = description.source.empty() ? description.name : description.source,
                      .iommu = description.iommu,
                      .is_virtual_machine = false};
  if (description.cpu) parts.cpu = *description.cpu;
  for (const auto& root : root_complexes)
    parts.host_bridges.push_back({.domain = root->domain,
                                  .root_bus = root->root_bus,
                                  .numa_node = root->numa_node,
                                  .turns_reads = root->turns_reads,
                                  .turns_writes = root->turns_writes});
  for (const auto& node : nodes) {
    if (!node->bdf || !node->routable) continue;
    auto info = topology::function_from_config(*node->bdf, node->registers.values(), parts.source);
    if (!info) continue;  // software has written nonsense into its registers: it is no function any more
    info->name = node->name;
    info->numa_node = node->root_complex->numa_node;
    if (node->parent != nullptr) info->parent = node->parent->bdf;
    for (BarInfo& bar : info->bars)
      for (const BarRequest& request : node->bars)
        if (request.index == bar.index) bar.size_bytes = request.size_bytes;
    parts.functions.push_back(std::move(*info));
  }
  // No operating system has formed groups here: these are those that Linux would form out of the registers as they
  // are now.
  auto groups = topology::linux_iommu_groups(parts);
  for (std::size_t i = 0; i < groups.size(); ++i) parts.functions[i].iommu_group = std::move(groups[i]);
  return parts;
}

}  // namespace barter::fabric
