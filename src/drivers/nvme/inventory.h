// What the drive says it is: the Identify commands of bring-up (NVMe base 2.0, section 3.5.1, steps 7 and 8) and the
// number of queues (step 9).
#pragma once
#include <vector>

#include "barter/result.hpp"
#include "drivers/nvme/admin_queue.h"
#include "drivers/nvme/commands/identify.h"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/device.h"

namespace barter::drivers::nvme {

// A drive with more namespaces than this is used with its first ones, and a remark.
inline constexpr std::size_t kMaxNamespaces = 4096;
// Of one command. It is what one page of PRP entries describes with pages of 4 KiB, and MDTS may ask for less.
inline constexpr std::uint64_t kMaxTransferBytes = std::uint64_t{2} << 20;
// Slots of a queue pair are numbered in 12 bits of the command id (queue_pair.h).
inline constexpr std::uint32_t kMaxQueueEntries = 4096;

struct Inventory {
  ControllerIdentity identity;
  ControllerFacts facts;
  std::vector<NamespaceFacts> namespaces;
};
[[nodiscard]] Result<Inventory> take_inventory(Device& device, AdminQueue& admin);

}  // namespace barter::drivers::nvme
