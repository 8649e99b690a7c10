// Memory that two functions claim at once: no machine that works has it, so a dump that shows it is not to be trusted.
#pragma once
#include <span>
#include <string_view>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology {

// Refuses memory BARs of one domain that overlap, as far as addresses are known. Where a size is not known, only that two
// BARs start at the same place can be seen.
[[nodiscard]] Result<void> refuse_overlapping_bars(std::span<const FunctionInfo> functions, std::string_view source);

}  // namespace barter::topology
