// What the hardware does with a request of the client to the provider, and with its completion, by the rules of PCIe:
// docs/verdicts.md tells the rule with a worked example. What one port does is decided in acs_rules.h; here is which
// ports are asked, and what becomes of the answers.
//
// Facts may be missing, so everything is a set of what may happen; a route is known if all of it comes to the same.
#pragma once
#include <cstdint>

#include "barter/topology.hpp"
#include "topology/acs_rules.h"
#include "topology/graph.h"

namespace barter::topology {

template <class Choice>
class SetOf {
 public:
  constexpr SetOf() = default;
  constexpr SetOf(Choice only) { add(only); }
  constexpr void add(Choice choice) { bits_ = static_cast<std::uint8_t>(bits_ | 1u << static_cast<unsigned>(choice)); }
  constexpr void add(SetOf other) { bits_ = static_cast<std::uint8_t>(bits_ | other.bits_); }
  [[nodiscard]] constexpr bool has(Choice choice) const { return (bits_ >> static_cast<unsigned>(choice) & 1u) != 0; }
  [[nodiscard]] constexpr bool is(Choice only) const { return bits_ == 1u << static_cast<unsigned>(only); }
  friend constexpr bool operator==(SetOf, SetOf) = default;

 private:
  std::uint8_t bits_ = 0;
};
using Routes = SetOf<Route>;
using Decisions = SetOf<PortDecision>;

// What a root complex does with peer requests that reach it.
struct Turning {
  Routes reads;
  Routes writes;
};
// Told by the machine's description; else inferred from what Linux's authors tested (the allow-list, Zen; AMD before Zen
// turns writes only); else unknown, because PCIe leaves it to the implementation (6.0, 1.3.1).
[[nodiscard]] Turning root_complex_turns(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host);
// The same, where Linux's answer about the pair is at hand.
[[nodiscard]] Turning root_complex_turns(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host,
                                         Tri linux_allows);

// What the functions do where the ways of two functions part, and above there.
struct Crossing {
  bool by_root_complex = false;  // there is no common function: all that passes goes to the root complex
  Decisions untranslated;        // for requests at the client's side
  Decisions translated;
  Decisions completions;                // at the provider's side, strictly ordered
  Tri forwarded = Tri::yes;             // what is redirected gets past the downstream ports above
  Tri translated_forwarded = Tri::yes;  // the same for translated requests
  Turning turning;
};
[[nodiscard]] Crossing find_crossing(const Tree& tree, const Meeting& meeting, const Turning& turning);

// What matters of a client besides its place. Translation may be blocked at ports below the crossing.
struct Requester {
  Tri translated = Tri::no;  // ATS is enabled, so its requests carry translated addresses
  Tri blocked_below = Tri::no;
};
[[nodiscard]] Requester find_requester(const Tree& tree, Index client, Index client_side);

struct WireRoutes {
  Route read = Route::unknown;
  Route write = Route::unknown;
};
[[nodiscard]] WireRoutes wire_routes(const Crossing& crossing, const Requester& requester);

// Is Translation Blocking on in this function?
[[nodiscard]] Tri blocks_translated(const FunctionInfo& function);
// Does this function let a redirected TLP pass on its way up to the root complex? Only downstream ports of switches need
// Upstream Forwarding for that: what a root port does is part of its root complex, and the others have no own egress below.
[[nodiscard]] Tri forwards_upstream(const FunctionInfo& function);

// Both directions, with facts.
struct WireAnswers {
  WireAnswer read;
  WireAnswer write;
};
// Every function that a request passes: the shortest way, unless it is known to be redirected; then up to the root bus
// and down again, through what is above the crossing twice.
[[nodiscard]] std::vector<Index> request_path(const Tree& tree, Index client, Index provider, Route write_route);

[[nodiscard]] WireAnswers wire_answers(const Tree& tree, Index client, Index provider);

}  // namespace barter::topology
