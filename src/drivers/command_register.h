// The first registers of config space as every driver needs them: the device is turned on when it is brought up, its DMA is
// turned off as a last resort, and a device that has left or was reset is told by it.
#pragma once
#include "barter/result.hpp"
#include "pci/function.h"

namespace barter::drivers {

// Lets the function answer at its BARs and make requests of its own.
[[nodiscard]] Result<void> turn_on(pci::Function& function);

// Clears Bus Master Enable and reads it back: when it returns, no request of the function reaches anything. A function that
// is gone makes none.
[[nodiscard]] Result<void> take_bus_mastering(pci::Function& function);

// Does the function still answer, with its memory on as turn_on() left it? Else it has left, or was reset: its link went down.
[[nodiscard]] bool is_there(pci::Function& function);

}  // namespace barter::drivers
