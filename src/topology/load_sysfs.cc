#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "topology/bar_overlap.h"
#include "topology/from_config.h"
#include "topology/load.h"
#include "topology/load_sysfs_files.h"
#include "topology/load_sysfs_function.h"
#include "topology/load_sysfs_machine.h"

namespace barter::topology {
namespace {
namespace fs = std::filesystem;

Error tree_error(ErrorCode code, const fs::path& root, std::string why, std::string cure) {
  return {.code = code,
          .doing = "reading the sysfs tree",
          .subject = root.string(),
          .where = {},
          .why = std::move(why),
          .cure = std::move(cure)};
}

bool has_functions(const fs::path& root) {
  std::error_code error;
  return fs::is_directory(root / "bus" / "pci" / "devices", error);
}

// The folder that stands for /sys: the one named or, where that is a copy of more of a computer, the sys in it.
Result<fs::path> find_root(const fs::path& root) {
  std::error_code error;
  if (!fs::exists(root, error))
    return fail(tree_error(ErrorCode::not_found, root, "there is no such folder", "name the folder of the copy"));
  if (has_functions(root)) return root;
  if (has_functions(root / "sys")) return root / "sys";
  return fail(tree_error(ErrorCode::malformed, root, "it has no folder bus/pci/devices, so it is no sysfs tree",
                         "copy /sys/bus/pci/devices and /sys/devices"));
}

Result<std::vector<FunctionInfo>> load_functions(const sysfs::Tree& tree) {
  const fs::path folder = tree.root / "bus" / "pci" / "devices";
  const auto names = sysfs::list_folder(folder);
  if (!names) return fail(names.error());
  std::vector<FunctionInfo> functions;
  functions.reserve(names->size());
  for (const std::string& name : *names) {
    const auto bdf = Bdf::parse(name);
    if (!bdf || bdf->to_string() != name)
      return fail(sysfs::file_error(ErrorCode::malformed, folder / name, "this is not the name of a PCI function"));
    auto function = sysfs::load_function(tree, *bdf, folder / name);
    if (!function) {
      // A device of this computer may leave while we look at it.
      std::error_code error;
      if (tree.is_live && !fs::exists(folder / name, error)) continue;
      return fail(std::move(function.error()));
    }
    functions.push_back(*std::move(function));
  }
  return functions;
}

void connect_virtual_functions(std::vector<FunctionInfo>& functions) {
  std::unordered_map<Bdf, std::size_t> index;
  for (std::size_t at = 0; at < functions.size(); ++at) index.emplace(functions[at].bdf, at);
  for (FunctionInfo& function : functions) {
    if (!function.physical_function) continue;
    const auto found = index.find(*function.physical_function);
    if (found != index.end() && functions[found->second].bdf != function.bdf)
      complete_virtual_function(function, functions[found->second]);
  }
}

}  // namespace

Result<TopologyParts> load_sysfs(const fs::path& folder) {
  const auto found = find_root(folder);
  if (!found) return fail(found.error());
  const fs::path& root = *found;
  sysfs::Tree tree{.root = root, .is_live = root.lexically_normal() == "/sys" || root.lexically_normal() == "/sys/"};
  auto groups = sysfs::load_iommu_groups(root, tree.is_live);
  if (!groups) return fail(std::move(groups.error()));
  tree.iommu_groups = *std::move(groups);

  TopologyParts parts;
  parts.source = "sysfs:" + root.string();
  auto functions = load_functions(tree);
  if (!functions) return fail(std::move(functions.error()));
  parts.functions = *std::move(functions);
  connect_virtual_functions(parts.functions);
  if (!tree.is_live)
    if (auto apart = refuse_overlapping_bars(parts.functions, root.string()); !apart) return fail(apart.error());

  auto bridges = sysfs::load_host_bridges(tree, parts.functions);
  if (!bridges) return fail(std::move(bridges.error()));
  parts.host_bridges = *std::move(bridges);
  auto processor = sysfs::load_processor(tree);
  if (!processor) return fail(std::move(processor.error()));
  parts.cpu = std::move(processor->cpu);
  parts.is_virtual_machine = std::move(processor->is_virtual_machine);
  auto mode = sysfs::load_iommu_mode(tree);
  if (!mode) return fail(std::move(mode.error()));
  parts.iommu = *std::move(mode);
  return parts;
}

}  // namespace barter::topology
