// From the name of a machine to what is known of it: a description to build, or facts to look at.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "barter/machine.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "topology/description.h"

namespace barter::machine {

// One of the two is there.
struct Source {
  std::string name;
  std::optional<topology::Description> description;
  std::optional<TopologyParts> parts;
  std::string why_nothing_moves;  // with `parts`
};

[[nodiscard]] Result<Source> find_source(std::string_view name);

// A machine to look at.
[[nodiscard]] Result<std::shared_ptr<State>> open_capture(Source source, const MachineOptions& options);

}  // namespace barter::machine
