// Bringing a controller up, step by step as NVMe base 2.0, section 3.5.1 lists them, and taking it down (section
// 3.6.1).
#pragma once
#include "barter/result.hpp"
#include "drivers/nvme/admin_queue.h"
#include "drivers/nvme/device.h"

namespace barter::drivers::nvme {

// Is this an NVMe function that is there? Turns on memory space and bus mastering, and maps BAR 0.
[[nodiscard]] Result<void> open_function(Device& device);
// Reads CAP and VS, checks that they can be, and fills in what follows from them.
[[nodiscard]] Result<void> read_capabilities(Device& device);
// CC.EN to 0, from whatever state the controller is in, until CSTS.RDY is 0.
[[nodiscard]] Result<void> disable(Device& device);
// Points the controller at the admin queue and sets CC.EN to 1, until CSTS.RDY is 1.
[[nodiscard]] Result<void> enable(Device& device, const AdminQueue& admin);
// CC.SHN, until CSTS.SHST says that shutdown processing is complete. The I/O queues are deleted already.
[[nodiscard]] Result<void> announce_shutdown(Device& device, Duration timeout);
// Makes sure, one way or another, that the controller does no more DMA: disables it, or takes Bus Master Enable away.
void stop_dma(Device& device);

}  // namespace barter::drivers::nvme
