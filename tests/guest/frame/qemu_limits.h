// What a machine description can say and QEMU has no device for.
#pragma once
#include "barter/result.hpp"
#include "topology/description.h"

namespace barter::guest {

// An error names the first part that QEMU can't be given, and what to write instead.
[[nodiscard]] Result<void> check_for_qemu(const topology::Description& machine);

}  // namespace barter::guest
