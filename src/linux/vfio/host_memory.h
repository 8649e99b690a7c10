// Host memory for the DMA of functions behind VFIO: pinned, zeroed, and mapped into the container of one group or more.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "barter/result.hpp"
#include "linux/vfio/group.h"
#include "linux/vfio/host.h"
#include "pci/function.h"

namespace barter::linux_os::vfio {

[[nodiscard]] Result<pci::DmaBuffer> allocate_host_memory(const std::shared_ptr<Host>& host,
                                                          const std::shared_ptr<Group>& group, std::uint64_t bytes,
                                                          const std::string& name);

// Memory that is there already, whoever has allocated it, for this group too.
[[nodiscard]] Result<pci::DmaBuffer> share_host_memory(const std::shared_ptr<Host>& host,
                                                       const std::shared_ptr<Group>& group,
                                                       const pci::DmaBuffer& other);

}  // namespace barter::linux_os::vfio
