// What a sysfs tree says of the machine around its functions.
#pragma once
#include <filesystem>
#include <vector>

#include "barter/result.hpp"
#include "topology/load_sysfs_function.h"

namespace barter::topology::sysfs {

// Not known: the copy has no kernel/iommu_groups.
[[nodiscard]] Result<IommuGroups> load_iommu_groups(const std::filesystem::path& root, bool is_live);
// From the groups' types: identity, DMA, DMA-FQ.
[[nodiscard]] Result<Known<IommuMode>> load_iommu_mode(const Tree& tree);

// The processor and whether there is a hypervisor below, from cpuinfo (for /sys: /proc/cpuinfo; for a copy DIR:
// DIR/proc/cpuinfo or DIR/../proc/cpuinfo), and else from the firmware's names.
struct Processor {
  Known<CpuInfo> cpu;
  Known<bool> is_virtual_machine;
};
[[nodiscard]] Result<Processor> load_processor(const Tree& tree);

// The host bridges: the folders pciDDDD:BB that functions lie in, and those in devices/.
[[nodiscard]] Result<std::vector<HostBridgeInfo>> load_host_bridges(const Tree& tree,
                                                                    const std::vector<FunctionInfo>& functions);

}  // namespace barter::topology::sysfs
