// Which functions of a machine the verbs talk about.
#pragma once
#include <vector>

#include "barter/topology.hpp"

namespace barter::cli {

// Devices, as opposed to what connects them: no bridges and ports, no host bridges, no event collectors.
[[nodiscard]] bool is_endpoint(const FunctionInfo& function);
// Has memory for peers, as far as is known: a source that does not tell of BARs leaves it open.
[[nodiscard]] bool may_be_provider(const FunctionInfo& function);
// Starts DMA, as far as can be told from outside: functions without any BAR have no driver that could make them.
[[nodiscard]] bool may_be_client(const FunctionInfo& function);

// In order of BDF. The pointers live as long as the topology.
[[nodiscard]] std::vector<const FunctionInfo*> endpoints(const Topology& topology);

}  // namespace barter::cli
