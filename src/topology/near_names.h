// What a person may have meant by a name that isn't there.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "barter/address.hpp"
#include "topology/graph.h"

namespace barter::topology {

// At most five names or numbers of functions, nearest first. `bdf`: the same text read as a number, or null.
[[nodiscard]] std::vector<std::string> near_names(const Tree& tree, std::string_view wanted, const Bdf* bdf);

}  // namespace barter::topology
