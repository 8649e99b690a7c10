// What a user can do to turn the answer of the linux rule, and what it costs: commands to type where there are any.
#pragma once
#include <span>
#include <vector>

#include "barter/topology.hpp"
#include "topology/graph.h"

namespace barter::topology {

// The answer to be turned, and what it came from.
struct LinuxCase {
  Index client = kNone;
  Index provider = kNone;
  Route route = Route::unknown;
  Tri redirected = Tri::no;  // yes without a common upstream bridge, too
  Tri allowed = Tri::unknown;
  std::vector<Index> redirecting;  // functions whose ACS redirects; empty without a common upstream bridge
};

// None for a route that is as good as it gets (bus_address).
[[nodiscard]] std::vector<Remedy> find_remedies(const Tree& tree, const LinuxCase& answer);

// Ways to clear ACS redirection in these functions, whose ACS must be known and there: one command for each of them, then
// what serves for all.
[[nodiscard]] std::vector<Remedy> clear_redirection(std::span<const FunctionInfo* const> functions);

}  // namespace barter::topology
