// Which way a copy goes: the device memory that serves both drives, the best first, or the reason why there is none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "barter/copy.hpp"
#include "barter/result.hpp"
#include "machine/state.h"
#include "peer/fallback.h"

namespace barter::transfer {

struct Plan {
  std::vector<machine::DriveUnit*> providers;    // none: by way of host memory
  std::optional<peer::FallbackReason> fallback;  // then: why; none if the policy would have it so
  std::string why_host;
  std::vector<std::string> reasons;  // for the report: what was not taken although it is there
};

// `chunk_bytes`: what a device should have room for; those that have less come last. Under P2p::required an error with the deciding facts and remedies, when no provider serves.
[[nodiscard]] Result<Plan> make_plan(machine::State& machine, const machine::DriveUnit& source,
                                     const machine::DriveUnit& destination, const CopyOptions& options,
                                     std::uint64_t chunk_bytes);

}  // namespace barter::transfer
