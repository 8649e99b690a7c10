// This computer behind the door: its topology from sysfs, its drives as the kernel or our own driver drives them, its files.
//
// Names of drives: nvme0n1 and other block devices, partitions (nvme0n1p2), a controller (nvme0: its first namespace), the
// address of a function (0000:03:00.0), a path (/dev/..., a file). A function that is bound to vfio-pci is driven by the same
// driver as drives of software machines.
#pragma once
#include <memory>

#include "barter/machine.hpp"
#include "barter/result.hpp"
#include "linux/files/file_place.h"
#include "machine/state.h"

namespace barter::machine {

// The roots are there for tests; topology is read from `roots.sys`.
[[nodiscard]] Result<std::shared_ptr<State>> open_host(const MachineOptions& options,
                                                       const linux_os::SystemRoots& roots = {});

}  // namespace barter::machine
