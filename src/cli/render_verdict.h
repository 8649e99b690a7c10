// A verdict as people read it: the answer first, then the facts that decided it, then what would change it.
#pragma once
#include <string>

#include "barter/topology.hpp"
#include "barter/verdict.hpp"
#include "cli/json_topology.h"
#include "cli/render.h"

namespace barter::cli {

[[nodiscard]] std::string verdict_text(const Topology& topology, const Verdict& verdict, const Style& style);
// What joins the two beside PCIe, and which way wins. Empty where nothing but PCIe does.
[[nodiscard]] std::string beside_text(const Beside& beside, const Style& style);

}  // namespace barter::cli
