// Which way a copy goes: the device memory that serves both drives best, or the reason why there is none.
#pragma once
#include <string>
#include <vector>

#include "barter/copy.hpp"
#include "barter/result.hpp"
#include "machine/state.h"

namespace barter::transfer {

struct Plan {
  machine::DriveUnit* provider = nullptr;  // null: by way of host memory
  std::string why_host;                    // empty if the caller wished it so
};

// Under P2p::required an error with the deciding facts and remedies, when no provider serves.
[[nodiscard]] Result<Plan> make_plan(machine::State& machine, const machine::DriveUnit& source,
                                     const machine::DriveUnit& destination, const CopyOptions& options);

}  // namespace barter::transfer
