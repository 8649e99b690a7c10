#include "linux/binding/pci_sysfs.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

constexpr std::streamsize kMaxAttributeBytes = 4096;  // a page, as in the kernel

// Where a link of sysfs points to, by the last part of its name.
std::optional<std::string> link_name(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  if (error || target.filename().empty()) return std::nullopt;
  return target.filename().string();
}

// Drivers that leave DMA to whoever uses the function: the kernel lets them into a group that user space owns.
// (pci-stub is one of Linux's own: it holds a function and does nothing with it.)
bool leaves_dma_alone(std::string_view driver) {
  return driver == "vfio-pci" || driver == "pcieport" || driver == "pci-stub" || driver.starts_with("vfio-pci-") ||
         driver.ends_with("-vfio-pci");
}

}  // namespace

fs::path PciSysfs::folder(Bdf function) const { return root_ / "bus/pci/devices" / function.to_string(); }

bool PciSysfs::exists(Bdf function) const {
  std::error_code error;
  return fs::exists(folder(function), error);
}

std::optional<std::string> PciSysfs::attribute(Bdf function, std::string_view name) const {
  std::ifstream stream(folder(function) / name, std::ios::binary);
  if (!stream) return std::nullopt;
  std::string text(static_cast<std::size_t>(kMaxAttributeBytes), '\0');
  stream.read(text.data(), kMaxAttributeBytes);
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::optional<std::string> PciSysfs::driver(Bdf function) const { return link_name(folder(function) / "driver"); }

bool PciSysfs::is_bridge(Bdf function) const { return attribute(function, "class").value_or("").starts_with("0x0604"); }

std::optional<std::uint32_t> PciSysfs::iommu_group(Bdf function) const {
  const auto name = link_name(folder(function) / "iommu_group");
  if (!name) return std::nullopt;
  std::uint32_t number = 0;
  const auto [end, failed] = std::from_chars(name->data(), name->data() + name->size(), number);
  if (failed != std::errc{} || end != name->data() + name->size()) return std::nullopt;
  return number;
}

std::vector<Bdf> PciSysfs::functions_in(const fs::path& folder) const {
  std::vector<Bdf> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (auto bdf = Bdf::parse(at->path().filename().string())) found.push_back(*bdf);
  std::ranges::sort(found);
  return found;
}

std::vector<Bdf> PciSysfs::group_members(std::uint32_t group) const {
  return functions_in(root_ / "kernel/iommu_groups" / std::to_string(group) / "devices");
}

std::vector<Bdf> PciSysfs::group_obstacles(Bdf function) const {
  std::vector<Bdf> obstacles;
  const auto group = iommu_group(function);
  if (!group) return obstacles;
  for (const Bdf member : group_members(*group)) {
    const auto held_by = driver(member);
    if (member != function && held_by && !leaves_dma_alone(*held_by)) obstacles.push_back(member);
  }
  return obstacles;
}

std::vector<AddressRange> PciSysfs::memory_on_the_bus() const {
  constexpr std::uint64_t kMemoryResource = 0x200;  // IORESOURCE_MEM: the third column holds the kernel's flags
  std::vector<AddressRange> ranges;
  for (const Bdf function : functions_in(root_ / "bus/pci/devices")) {
    std::istringstream lines(attribute(function, "resource").value_or(""));
    AddressRange range;
    std::uint64_t flags = 0;
    while (lines >> std::hex >> range.first >> range.last >> flags)
      if ((flags & kMemoryResource) != 0 && range.last >= range.first && range.last != 0) ranges.push_back(range);
  }
  return ranges;
}

std::string describe_functions(const PciSysfs& sysfs, const std::vector<Bdf>& functions) {
  std::string text;
  for (const Bdf function : functions)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", function.to_string(),
                        sysfs.driver(function).value_or("no driver"));
  return text;
}

}  // namespace barter::linux_os
