// What Linux's p2pdma code decides about one pair (drivers/pci/p2pdma.c, calc_map_type_and_dist): docs/verdicts.md tells
// the rule with a worked example. Directions, Direct Translated P2P and the egress vector play no part in it, and ACS
// counts on every function of the way.
#pragma once
#include <cstdint>

#include "barter/topology.hpp"
#include "topology/graph.h"

namespace barter::topology {

// The ACS controls of which Linux takes any one for redirection: Request Redirect, Completion Redirect, Egress Control.
inline constexpr std::uint16_t kLinuxRedirectBits = 0x2c;

// Does Linux count this function as one that redirects?
[[nodiscard]] Tri linux_redirects(const FunctionInfo& function);

// One of several that were found on a way: a yes decides, else an unknown.
[[nodiscard]] constexpr Tri any_of(Tri a, Tri b) {
  if (a == Tri::yes || b == Tri::yes) return Tri::yes;
  return a == Tri::unknown || b == Tri::unknown ? Tri::unknown : Tri::no;
}

// The last step: `redirected` is about the way by the lowest common function, and without one it must be yes.
[[nodiscard]] constexpr Route linux_route(Tri redirected, Tri host_bridges_allow) {
  if (redirected == Tri::no) return Route::bus_address;
  if (redirected == Tri::unknown || host_bridges_allow == Tri::unknown) return Route::unknown;
  return host_bridges_allow == Tri::yes ? Route::through_host_bridge : Route::not_supported;
}

// Hops from both to their lowest common function; without one, the functions on both ways to the root bus.
[[nodiscard]] std::uint16_t linux_distance(const Tree& tree, Index client, Index provider);

[[nodiscard]] LinuxAnswer linux_answer(const Tree& tree, Index client, Index provider);

}  // namespace barter::topology
