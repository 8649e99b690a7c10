// Who uses a PCI function of the running system, as far as can be seen from user space.
#pragma once
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "linux/binding/pci_sysfs.h"

namespace barter::linux_os {

// In words; empty: nobody. Block devices that are mounted, swap or part of another one; network interfaces that are up; a
// program that drives the function through VFIO.
[[nodiscard]] Result<std::vector<std::string>> system_users_of(const PciSysfs& sysfs, Bdf function);

// The block devices that a function's driver has made, partitions included: "nvme0n1", "nvme0n1p2". Of a multipath drive, the
// device that is used and not its hidden path.
[[nodiscard]] std::vector<std::string> block_devices_of(const PciSysfs& sysfs, Bdf function);

}  // namespace barter::linux_os
