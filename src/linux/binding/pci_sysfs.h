// What sysfs says of a PCI function's driver, its IOMMU group and the addresses it occupies. Reads only; driver_binding.h
// writes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/address.hpp"

namespace barter::linux_os {

// First and last address, both included.
struct AddressRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

class PciSysfs {
 public:
  explicit PciSysfs(std::filesystem::path root = "/sys") : root_(std::move(root)) {}

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path folder(Bdf function) const;
  [[nodiscard]] bool exists(Bdf function) const;
  // The name of the driver that holds it; nothing when it is free.
  [[nodiscard]] std::optional<std::string> driver(Bdf function) const;
  [[nodiscard]] bool is_bridge(Bdf function) const;
  // Nothing: no IOMMU translates for it.
  [[nodiscard]] std::optional<std::uint32_t> iommu_group(Bdf function) const;
  // The functions of that group, in order.
  [[nodiscard]] std::vector<Bdf> group_members(std::uint32_t group) const;
  // Those of the function's group that keep VFIO from giving out the group: in the hands of a driver that does DMA of its
  // own. Ports in the hands of pcieport don't, and neither do functions without a driver.
  [[nodiscard]] std::vector<Bdf> group_obstacles(Bdf function) const;
  // The memory that every function of the computer answers to, the windows of its bridges included.
  [[nodiscard]] std::vector<AddressRange> memory_on_the_bus() const;

  // One attribute, without the line's end; nothing if it can't be read.
  [[nodiscard]] std::optional<std::string> attribute(Bdf function, std::string_view name) const;

 private:
  [[nodiscard]] std::vector<Bdf> functions_in(const std::filesystem::path& folder) const;
  std::filesystem::path root_;
};

// "0000:03:00.0 (nvme), 0000:03:00.1 (no driver)".
[[nodiscard]] std::string describe_functions(const PciSysfs& sysfs, const std::vector<Bdf>& functions);

}  // namespace barter::linux_os
