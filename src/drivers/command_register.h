// The Command register as every driver needs it: on when the device is brought up, and its DMA off as a last resort.
#pragma once
#include "barter/result.hpp"
#include "pci/function.h"

namespace barter::drivers {

// Lets the function answer at its BARs and make requests of its own.
[[nodiscard]] Result<void> turn_on(pci::Function& function);

// Clears Bus Master Enable and reads it back: when it returns, no request of the function reaches anything. A function that
// is gone makes none.
[[nodiscard]] Result<void> take_bus_mastering(pci::Function& function);

}  // namespace barter::drivers
