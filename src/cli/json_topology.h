// Verdicts and topologies for programs. The shape of a verdict is stable; docs/json.md has it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "barter/topology.hpp"
#include "barter/verdict.hpp"
#include "cli/output.h"

namespace barter::cli {

// What there is beside PCIe for a pair, and what wins.
struct Beside {
  std::vector<InterconnectAnswer> interconnects;
  RouteChoice best;
};

// Text without a line break at its end, each line but the first indented by `indent` spaces.
[[nodiscard]] std::string verdict_json(const Verdict& verdict, const Beside& beside, int indent = 0);
// With a line break at its end. The routes of all pairs are written as they come: as text they would take hundreds of bytes each,
// where the library's matrix takes three.
void write_topology_json(std::string_view machine, const Topology& topology, const Sink& sink);

}  // namespace barter::cli
