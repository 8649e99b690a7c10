// Which way a copy goes: the device memory that serves both drives best, or the reason why there is none.
#pragma once
#include <optional>
#include <string>

#include "barter/copy.hpp"
#include "barter/result.hpp"
#include "machine/state.h"
#include "peer/fallback.h"

namespace barter::transfer {

struct Plan {
  machine::DriveUnit* provider = nullptr;        // null: by way of host memory
  std::optional<peer::FallbackReason> fallback;  // then: why; none if the caller wished it so
  std::string why_host;
};

// Under P2p::required an error with the deciding facts and remedies, when no provider serves.
[[nodiscard]] Result<Plan> make_plan(machine::State& machine, const machine::DriveUnit& source,
                                     const machine::DriveUnit& destination, const CopyOptions& options);

}  // namespace barter::transfer
