// One function of a sysfs tree.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology::sysfs {

// Which function is in which IOMMU group.
struct IommuGroups {
  std::unordered_map<Bdf, std::uint32_t> of;
  std::string why_unknown;  // empty if they are known
};

// What is the same for all functions of a tree.
struct Tree {
  std::filesystem::path root;
  bool is_live = false;  // this computer's own /sys, where one broken device must not hide the others
  IommuGroups iommu_groups;
};

// `folder` is what bus/pci/devices has under the function's name.
[[nodiscard]] Result<FunctionInfo> load_function(const Tree& tree, Bdf bdf, const std::filesystem::path& folder);

}  // namespace barter::topology::sysfs
