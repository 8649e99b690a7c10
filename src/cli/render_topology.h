// A machine as people see it: the tree of what is plugged in where, and the matrix of who can reach whom.
#pragma once
#include <string>

#include "barter/topology.hpp"
#include "cli/output.h"
#include "cli/render.h"

namespace barter::cli {

void write_topology(std::string_view machine, const Topology& topology, const Style& style, const Sink& sink);
// The matrix alone.
void write_matrix(const Topology& topology, const Style& style, const Sink& sink);

// "nvme0", or the address if the machine has no name for it.
[[nodiscard]] std::string label_of(const FunctionInfo& function);

}  // namespace barter::cli
