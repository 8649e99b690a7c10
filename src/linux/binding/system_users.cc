#include "linux/binding/system_users.h"

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "linux/descriptor.h"
#include "linux/sysfs/block_device.h"
#include "linux/sysfs/mount_table.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

// nvme0c1n2, a path of controller 1 to namespace 2 of subsystem 0, is used as nvme0n2.
std::string used_name(const std::string& name) {
  const auto digits = [&](std::size_t from) {
    std::size_t at = from;
    while (at < name.size() && std::isdigit(static_cast<unsigned char>(name[at])) != 0) ++at;
    return at;
  };
  if (!name.starts_with("nvme")) return name;
  const std::size_t subsystem_end = digits(4);
  if (subsystem_end >= name.size() || name[subsystem_end] != 'c') return name;
  const std::size_t path_end = digits(subsystem_end + 1);
  return path_end < name.size() && name[path_end] == 'n' ? name.substr(0, subsystem_end) + name.substr(path_end) : name;
}

// Opening with O_EXCL is how file systems, swap and device mappers claim a block device: the kernel says whether one has.
std::optional<std::string> claimed(const std::string& name) {
  const Descriptor opened(open(("/dev/" + name).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (opened.is_open() || errno != EBUSY) return std::nullopt;
  return fmt::format("{} is mounted, swap, or part of another block device", name);
}

std::optional<std::string> held_by_a_program(std::uint32_t group) {
  const Descriptor opened(open(fmt::format("/dev/vfio/{}", group).c_str(), O_RDWR | O_CLOEXEC));
  if (opened.is_open() || errno != EBUSY) return std::nullopt;
  return fmt::format("a program drives its IOMMU group {} through VFIO", group);
}

}  // namespace

std::vector<std::string> block_devices_of(const PciSysfs& sysfs, Bdf function) {
  std::vector<std::string> found;
  std::error_code error;
  const fs::path device = fs::canonical(sysfs.folder(function), error);
  if (error) return found;
  const std::string below = device.string() + "/";
  for (fs::directory_iterator at(sysfs.root() / "class/block", error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const fs::path real = fs::canonical(at->path(), gone);
    if (!gone && real.string().starts_with(below)) found.push_back(used_name(at->path().filename().string()));
  }
  std::ranges::sort(found);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

Result<std::vector<std::string>> system_users_of(const PciSysfs& sysfs, Bdf function) {
  std::vector<std::string> users;
  for (const std::string& name : block_devices_of(sysfs, function)) {
    const auto device = read_block_device(sysfs.root(), name);
    if (device && device->is_partition()) continue;  // its disk tells
    if (device) {
      auto known = users_of(sysfs.root(), "/proc", *device);
      if (!known) return known;
      for (const std::string& user : *known) users.push_back(fmt::format("{}: {}", name, user));
      if (!known->empty()) continue;
    }
    // What can't be seen from here, in another mount namespace for one, the kernel still knows of.
    if (auto user = claimed(name)) users.push_back(std::move(*user));
  }
  std::error_code error;
  for (fs::directory_iterator at(sysfs.folder(function) / "net", error), end; !error && at != end;
       at.increment(error)) {
    std::string state;
    std::ifstream(at->path() / "operstate") >> state;
    if (state == "up") users.push_back(fmt::format("the network interface {} is up", at->path().filename().string()));
  }
  if (sysfs.driver(function) == "vfio-pci")
    if (const auto group = sysfs.iommu_group(function))
      if (auto user = held_by_a_program(*group)) users.push_back(std::move(*user));
  return users;
}

}  // namespace barter::linux_os
