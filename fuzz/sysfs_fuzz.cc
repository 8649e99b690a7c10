// A sysfs tree of one function whose files hold the fuzzer's bytes: config space first, then, each after a zero byte, the
// attributes in the order of kFiles.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <unistd.h>

#include "topology/load.h"

namespace {
namespace fs = std::filesystem;

constexpr std::array<const char*, 12> kFiles = {
    "bus/pci/devices/0000:01:00.0/resource",
    "bus/pci/devices/0000:01:00.0/class",
    "bus/pci/devices/0000:01:00.0/numa_node",
    "bus/pci/devices/0000:01:00.0/nvme/nvme0/cmb",
    "bus/pci/devices/0000:01:00.0/current_link_speed",
    "bus/pci/devices/0000:01:00.0/current_link_width",
    "bus/pci/devices/0000:01:00.0/physfn/uevent",
    "bus/pci/devices/0000:01:00.0/secondary_bus_number",
    "bus/pci/devices/0000:01:00.0/subordinate_bus_number",
    "kernel/iommu_groups/1/type",
    "proc/cpuinfo",
    "class/dmi/id/sys_vendor",
};

// The tree, in a folder that goes when the fuzzer does.
class Tree {
 public:
  Tree() : root_(fs::temp_directory_path() / ("barter-fuzz-sysfs-" + std::to_string(getpid()))) {
    for (const char* file : kFiles) fs::create_directories((root_ / file).parent_path());
  }
  ~Tree() {
    std::error_code error;
    fs::remove_all(root_, error);
  }
  // Files are slow, and from one input to the next most of them are the same.
  void write(const char* file, std::string_view text) {
    const auto [place, is_new] = written_.try_emplace(file, text);
    if (!is_new && place->second == text) return;
    place->second = text;
    std::ofstream(root_ / file, std::ios::binary | std::ios::trunc) << text;
  }
  [[nodiscard]] const fs::path& root() const { return root_; }

 private:
  fs::path root_;
  std::map<std::string, std::string, std::less<>> written_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Tree tree;
  const std::string all(data, data + size);
  std::string_view text = all;
  const std::string_view config = text.substr(0, 256);
  text.remove_prefix(config.size());
  tree.write("bus/pci/devices/0000:01:00.0/config", config);
  for (const char* file : kFiles) {
    const std::string_view part = text.substr(0, text.find('\0'));
    tree.write(file, part);
    text.remove_prefix(std::min(part.size() + 1, text.size()));
  }
  const auto parts = barter::topology::load_sysfs(tree.root());
  if (parts && parts->functions.size() != 1) std::abort();
  if (!parts && parts.error().subject.empty()) std::abort();
  return 0;
}
