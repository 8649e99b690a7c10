// A machine as people see it: the tree of what is plugged in where, and the matrix of who can reach whom.
#pragma once
#include <string>

#include "barter/topology.hpp"
#include "cli/render.h"

namespace barter::cli {

[[nodiscard]] std::string topology_text(std::string_view machine, const Topology& topology, const Style& style);
// The matrix alone.
[[nodiscard]] std::string matrix_text(const Topology& topology, const Style& style);

// "nvme0", or the address if the machine has no name for it.
[[nodiscard]] std::string label_of(const FunctionInfo& function);

}  // namespace barter::cli
