// Every ordered pair at once.
//
// A row of the matrix belongs to a provider. Functions below one bridge lie side by side in the tree's layout, so a row is
// laid out from the root complex down: first what holds for clients with no common upstream bridge, over it what holds
// below the provider's root port, over that what holds one bridge lower, and so on. Each of these pieces depends only on
// the bridge, on its child towards the provider, and on whether the provider's side redirects, so providers below the same
// child share it, and a row costs a few copies.
#pragma once
#include "barter/topology.hpp"
#include "topology/graph.h"

namespace barter::topology {

[[nodiscard]] VerdictMatrix compute_matrix(const Tree& tree);

}  // namespace barter::topology
