// The software machine behind the door: a fabric, the devices in it, and the drivers that drive them.
#pragma once
#include <memory>

#include "barter/machine.hpp"
#include "barter/result.hpp"
#include "machine/state.h"
#include "topology/description.h"

namespace barter::machine {

[[nodiscard]] Result<std::shared_ptr<State>> open_software(const topology::Description& description,
                                                           const MachineOptions& options);

}  // namespace barter::machine
