// The route of a client whose driver is our own: nobody but the hardware decides about its requests.
#pragma once
#include "barter/topology.hpp"
#include "peer/exchange.h"

namespace barter::machine {

[[nodiscard]] peer::RouteAnswer wire_route(const Topology& topology, Bdf client, Bdf provider);

}  // namespace barter::machine
