// What the program in the guest is told by its cases, and the rules that decide on its routes.
#pragma once
#include <cstdint>
#include <string>

#include "barter/topology.hpp"
#include "barter/verdict.hpp"
#include "peer/exchange.h"

namespace barter::guest {

// A word from the environment. Ends the program if it is not there: it runs in a guest alone.
[[nodiscard]] std::string told(const char* name);
// BARTER_ROUTE: the route that whoever drew the machine expects.
[[nodiscard]] Route expected_route();

enum class Rule : std::uint8_t { of_linux, of_the_wire };
// This computer's, by what sysfs says of it.
[[nodiscard]] peer::RouteRule route_rule(Rule rule);

}  // namespace barter::guest
