// A captured system whose files hold the fuzzer's bytes: the attributes in the order of kFiles, each up to a zero byte, and
// then, to the end, the kernel's packed configuration, which may have zeros in it.
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

#include "barter/system.hpp"
#include "doctor/read_kernel_options.h"

namespace {
namespace fs = std::filesystem;

constexpr std::array<const char*, 9> kFiles = {
    "proc/sys/kernel/osrelease",
    "proc/cmdline",
    "proc/kallsyms",
    "boot/config-6.1",
    "sys/module/nvme/parameters/use_cmb_sqes",
    "sys/devices/system/node/node0/distance",
    "sys/bus/pci/devices/0000:01:00.0/p2pmem/size",
    "sys/bus/pci/devices/0000:01:00.0/p2pmem/available",
    "sys/bus/pci/devices/0000:01:00.0/p2pmem/published",
};

// The tree, in a folder that goes when the fuzzer does.
class Tree {
 public:
  Tree() : root_(fs::temp_directory_path() / ("barter-fuzz-system-" + std::to_string(getpid()))) {
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
  for (const char* file : kFiles) {
    const std::string_view part = text.substr(0, text.find('\0'));
    tree.write(file, part);
    text.remove_prefix(std::min(part.size() + 1, text.size()));
  }
  const auto facts = barter::read_system(tree.root());
  if (!facts && facts.error().subject.empty()) std::abort();
  if (facts && facts->functions.size() != 1) std::abort();
  const auto config = barter::doctor::unpack(text, "config.gz");
  if (config && config->size() > barter::doctor::kMaxConfigBytes) std::abort();
  if (config) (void)barter::doctor::option_in(*config, "CONFIG_PCI_P2PDMA");
  return 0;
}
