#include "topology/wire_rule.h"

#include <algorithm>

#include "topology/host_bridges.h"
#include "topology/linux_rule.h"

namespace barter::topology {
namespace {

constexpr Tri to_tri(bool value) { return value ? Tri::yes : Tri::no; }

constexpr Tri both_of(Tri a, Tri b) {
  if (a == Tri::no || b == Tri::no) return Tri::no;
  return a == Tri::yes && b == Tri::yes ? Tri::yes : Tri::unknown;
}

constexpr Tri not_of(Tri a) {
  if (a == Tri::unknown) return a;
  return a == Tri::yes ? Tri::no : Tri::yes;
}

// ACS is an extended capability, which conventional PCI functions can't have.
bool acs_is_known(const FunctionInfo& function) {
  return function.acs.has_value() || (function.port_type && *function.port_type == PortType::conventional);
}

AcsControls controls_of(const FunctionInfo& function) {
  return function.acs ? acs_controls(*function.acs) : AcsControls{};
}

bool may_be(const FunctionInfo& function, PortType type) { return !function.port_type || *function.port_type == type; }

// What indexes the egress control vector of `from` for TLPs to `to`, its sibling: the port number between ports, the
// function number between the functions of a device.
bool is_port(const FunctionInfo& function) { return function.is_bridge(); }
std::uint8_t target_number(const FunctionInfo& from, const FunctionInfo& to) {
  if (is_port(from)) return to.port_number;
  if (from.bdf.device == to.bdf.device) return to.bdf.function;
  return static_cast<std::uint8_t>(to.bdf.device << 3 | to.bdf.function);
}

// Is it known which bit of the vector counts, and what it says? The port number is read with Link Capabilities.
bool egress_is_known(const FunctionInfo& from, const FunctionInfo& to) {
  return (*from.acs)->egress_control_vector.has_value() && (!is_port(from) || to.link_max.has_value());
}

Decisions request_decisions(const FunctionInfo& from, const FunctionInfo* to, AddressType type) {
  Decisions decisions;
  if (!acs_is_known(from)) {
    decisions.add(PortDecision::direct);
    if (to != nullptr) decisions.add(PortDecision::redirect);
    if (to != nullptr || type == AddressType::translated) decisions.add(PortDecision::blocked);
    return decisions;
  }
  AcsControls acs = controls_of(from);
  if (to == nullptr) return passes_translation_blocking(acs, type) ? PortDecision::direct : PortDecision::blocked;
  if ((acs.control & acs_bit::kEgressControl) == 0 || egress_is_known(from, *to))
    return decide_request(acs, {.address_type = type, .target_number = target_number(from, *to)});
  acs.egress_control_vector = {};
  decisions.add(decide_request(acs, {.address_type = type}));  // as if the bit were set
  acs.control = static_cast<std::uint16_t>(acs.control & ~acs_bit::kEgressControl);
  acs.control = static_cast<std::uint16_t>(acs.control & ~acs_bit::kRequestRedirect);
  decisions.add(decide_request(acs, {.address_type = type}));  // as if it were clear
  return decisions;
}

Decisions completion_decisions(const FunctionInfo& from) {
  if (acs_is_known(from)) return decide_completion(controls_of(from), false);
  Decisions decisions(PortDecision::direct);
  decisions.add(PortDecision::redirect);
  return decisions;
}

// Between root ports of one root complex only Egress Control holds a request back; where else it goes is up to the root
// complex, which it reaches either way.
Decisions root_decisions(const Tree& tree, const Meeting& meeting, AddressType type) {
  const FunctionInfo& from = tree.functions[meeting.client_side];
  const FunctionInfo& to = tree.functions[meeting.provider_side];
  const bool peers = tree.nodes[meeting.client_side].host == tree.nodes[meeting.provider_side].host &&
                     may_be(from, PortType::root_port) && may_be(to, PortType::root_port);
  const Decisions ports = request_decisions(from, peers ? &to : nullptr, type);
  Decisions decisions;
  if (ports.has(PortDecision::blocked)) decisions.add(PortDecision::blocked);
  if (ports.has(PortDecision::direct) || ports.has(PortDecision::redirect)) decisions.add(PortDecision::redirect);
  if (peers && !(from.port_type && to.port_type)) decisions.add(PortDecision::redirect);
  return decisions;
}

Routes redirected(Tri arrives, Routes turned) {
  Routes routes;
  if (arrives != Tri::no) routes.add(turned);
  if (arrives != Tri::yes) routes.add(Route::not_supported);
  return routes;
}

Routes write_routes(const Crossing& crossing, Decisions requests, Tri forwarded) {
  Routes routes;
  if (requests.has(PortDecision::direct)) routes.add(Route::bus_address);
  if (requests.has(PortDecision::blocked)) routes.add(Route::not_supported);
  if (requests.has(PortDecision::redirect)) routes.add(redirected(forwarded, crossing.turning.writes));
  return routes;
}

Routes read_routes(const Crossing& crossing, Decisions requests, Tri forwarded) {
  Routes routes;
  if (requests.has(PortDecision::blocked)) routes.add(Route::not_supported);
  if (requests.has(PortDecision::redirect)) {
    Tri arrives = forwarded;
    if (crossing.completions.is(PortDecision::redirect)) arrives = both_of(arrives, crossing.forwarded);
    routes.add(redirected(arrives, crossing.turning.reads));
  }
  if (!requests.has(PortDecision::direct)) return routes;
  if (crossing.completions.has(PortDecision::direct)) routes.add(Route::bus_address);
  if (crossing.completions.has(PortDecision::redirect))
    routes.add(redirected(crossing.forwarded, crossing.turning.reads));
  return routes;
}

Route only_one(Routes routes) {
  for (Route route : {Route::bus_address, Route::through_host_bridge, Route::not_supported})
    if (routes.is(route)) return route;
  return Route::unknown;
}

// The description's word on one direction; with two root complexes both must turn.
Tri described(const Known<bool>& client, const Known<bool>& provider) {
  if ((client && !*client) || (provider && !*provider)) return Tri::no;
  return client && provider ? Tri::yes : Tri::unknown;
}

Routes turned(Tri turns) {
  Routes routes;
  if (turns != Tri::no) routes.add(Route::through_host_bridge);
  if (turns != Tri::yes) routes.add(Route::not_supported);
  return routes;
}

}  // namespace

Turning root_complex_turns(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host) {
  return root_complex_turns(tree, client_host, provider_host, host_bridges_allow(tree, client_host, provider_host));
}

Turning root_complex_turns(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host, Tri linux_allows) {
  const HostBridgeInfo& client = tree.host_bridges[client_host];
  const HostBridgeInfo& provider = tree.host_bridges[provider_host];
  Tri reads = described(client.turns_reads, provider.turns_reads);
  Tri writes = described(client.turns_writes, provider.turns_writes);
  // "Not on the list" is no evidence that a root complex doesn't turn requests around; "AMD before Zen" is some.
  if (linux_allows == Tri::yes || is_amd_before_zen(tree.cpu)) {
    if (reads == Tri::unknown) reads = linux_allows;
    if (writes == Tri::unknown) writes = Tri::yes;
  }
  return {.reads = turned(reads), .writes = turned(writes)};
}

Tri blocks_translated(const FunctionInfo& function) {
  if (!acs_is_known(function)) return Tri::unknown;
  return to_tri(!passes_translation_blocking(controls_of(function), AddressType::translated));
}

Tri forwards_upstream(const FunctionInfo& function) {
  if (function.port_type && *function.port_type != PortType::downstream_port) return Tri::yes;
  if (acs_is_known(function) && forwards_its_own_egress(controls_of(function))) return Tri::yes;
  return function.port_type && acs_is_known(function) ? Tri::no : Tri::unknown;
}

Crossing find_crossing(const Tree& tree, const Meeting& meeting, const Turning& turning) {
  Crossing crossing{.untranslated = PortDecision::direct,
                    .translated = PortDecision::direct,
                    .completions = PortDecision::direct,
                    .turning = turning};
  if (meeting.common == kNone) {
    crossing.by_root_complex = true;
    crossing.untranslated = root_decisions(tree, meeting, AddressType::untranslated);
    crossing.translated = root_decisions(tree, meeting, AddressType::translated);
    return crossing;
  }
  if (meeting.client_side != kNone) {
    const FunctionInfo& from = tree.functions[meeting.client_side];
    const FunctionInfo* to = meeting.provider_side == kNone ? nullptr : &tree.functions[meeting.provider_side];
    crossing.untranslated = request_decisions(from, to, AddressType::untranslated);
    crossing.translated = request_decisions(from, to, AddressType::translated);
    if (to != nullptr) crossing.completions = completion_decisions(*to);
  }
  Tri blocked = Tri::no;
  for (Index at = meeting.common; at != kNone; at = tree.nodes[at].parent) {
    crossing.forwarded = both_of(crossing.forwarded, forwards_upstream(tree.functions[at]));
    blocked = any_of(blocked, blocks_translated(tree.functions[at]));
  }
  crossing.translated_forwarded = both_of(crossing.forwarded, not_of(blocked));
  return crossing;
}

Requester find_requester(const Tree& tree, Index client, Index client_side) {
  const FunctionInfo& function = tree.functions[client];
  Requester requester{.translated = function.ats_enabled ? to_tri(*function.ats_enabled) : Tri::unknown};
  if (client_side == kNone || client == client_side) return requester;
  for (Index at = tree.nodes[client].parent; at != client_side; at = tree.nodes[at].parent)
    requester.blocked_below = any_of(requester.blocked_below, blocks_translated(tree.functions[at]));
  return requester;
}

std::vector<Index> request_path(const Tree& tree, Index client, Index provider, Route write_route) {
  const Index common = meet(tree, client, provider).common;
  std::vector<Index> path = shortest_path(tree, client, provider);
  if (write_route != Route::through_host_bridge || common == kNone) return path;
  std::vector<Index> detour;  // above the common function, up to the root bus
  for (Index at = tree.nodes[common].parent; at != kNone; at = tree.nodes[at].parent) detour.push_back(at);
  auto turn = std::find(path.begin(), path.end(), common) + 1;
  std::vector<Index> up_and_down = detour;
  // The function on the root bus is passed once: requests turn around behind it.
  for (std::size_t i = detour.size(); i-- > 1;) up_and_down.push_back(detour[i - 1]);
  if (!detour.empty()) up_and_down.push_back(common);
  path.insert(turn, up_and_down.begin(), up_and_down.end());
  return path;
}

WireRoutes wire_routes(const Crossing& crossing, const Requester& requester) {
  Routes reads;
  Routes writes;
  if (requester.translated != Tri::yes) {
    reads.add(read_routes(crossing, crossing.untranslated, crossing.forwarded));
    writes.add(write_routes(crossing, crossing.untranslated, crossing.forwarded));
  }
  if (requester.translated != Tri::no) {
    if (requester.blocked_below != Tri::yes) {
      reads.add(read_routes(crossing, crossing.translated, crossing.translated_forwarded));
      writes.add(write_routes(crossing, crossing.translated, crossing.translated_forwarded));
    }
    if (requester.blocked_below != Tri::no) {
      reads.add(Route::not_supported);
      writes.add(Route::not_supported);
    }
  }
  return {.read = only_one(reads), .write = only_one(writes)};
}

}  // namespace barter::topology
