// The loader of hwloc's XML for text that is already in memory; load.h has the one for files.
#pragma once
#include <cstddef>
#include <string_view>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology {

inline constexpr std::size_t kMaxHwlocBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxHwlocFunctions = 65536;

[[nodiscard]] Result<TopologyParts> load_hwloc_text(std::string_view xml, std::string_view source);

}  // namespace barter::topology
