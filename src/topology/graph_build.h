// The steps by which grow() makes a Tree out of a loader's parts, in their order. Each relies on those before it.
#pragma once
#include "barter/result.hpp"
#include "topology/graph.h"

namespace barter::topology {

// Puts functions and host bridges in order; refuses two of one name and impossible bus numbers.
[[nodiscard]] Result<void> sort_and_check_names(Tree& tree);
// Fills Node::parent.
[[nodiscard]] Result<void> find_parents(Tree& tree);
// Fills Node::depth; refuses functions that are below themselves.
[[nodiscard]] Result<void> measure_depths(Tree& tree);
void list_children(Tree& tree);
// Fills Node::host and the host bridges that the source doesn't tell of.
void find_host_bridges(Tree& tree);

}  // namespace barter::topology
