// All pairs of 4096 functions: Topology::verdicts() against a walk along both paths for each pair. The walk is what one
// would write first and keep: compact nodes, parents by index, the ways to the root in two small arrays, host bridges looked
// up in a table, no strings and no facts. It shares acs_rules.h with the library and nothing else that decides, and its
// every answer is compared with the library's.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "barter/topology.hpp"
#include "bench.h"
#include "topology/acs_rules.h"
#include "topology/graph.h"
#include "topology/host_bridges.h"
#include "topology/test_trees.h"
#include "topology/wire_rule.h"

namespace {

using namespace barter;
using namespace barter::topology;
using barter::topology::test::Plug;

constexpr std::size_t kFunctions = 4096;

// ---- the machine: segments of four root complexes each, switches below switches, drives, and NICs with virtual functions,
// without which no machine comes to thousands. In the second machine no two functions are alike.

struct Maker {
  bool alike = true;
  unsigned made = 0;
  unsigned devices_made = 0;

  // Of every sixteen ports: five redirect by ACS, one could not be read, one has ATS made direct.
  Known<std::optional<AcsInfo>> port_acs() {
    switch (made++ % 16) {
      case 0:
      case 3:
      case 6:
      case 9:
      case 12:
        return test::acs(0x1d);
      case 5:
        return Unknown{"not read"};
      case 11:
        return test::acs(0x5d);
      default:
        return test::acs(0);
    }
  }
  Plug port(PortType type, std::vector<Plug> below) {
    return {.type = type, .acs = port_acs(), .below = std::move(below)};
  }
  // Every third one is a NIC with fifteen virtual functions, the others are drives.
  std::vector<Plug> device() {
    std::vector<Plug> functions = {function(0)};
    if (devices_made++ % 3 == 0)
      for (std::uint8_t number = 1; number < 16; ++number) functions.push_back(function(number));
    return functions;
  }
  Plug function(std::uint8_t number) {
    Plug plug{.ats = devices_made % 5 == 0, .function = number, .is_virtual = number != 0};
    // Egress Control makes functions distinct by their numbers.
    if (!alike && number == 0) plug.acs = test::acs(0x20, {1});
    return plug;
  }
  Plug switch_with(unsigned devices, unsigned switches) {
    std::vector<Plug> ports;
    for (unsigned i = 0; i < switches; ++i) ports.push_back(port(PortType::downstream_port, {switch_with(4, 0)}));
    for (unsigned i = 0; i < devices; ++i) ports.push_back(port(PortType::downstream_port, device()));
    return {.type = PortType::upstream_port, .below = std::move(ports)};
  }
  std::vector<Plug> root_bus() {
    std::vector<Plug> plugs = {{.name = "host", .type = PortType::root_complex_endpoint}};
    for (unsigned i = 0; i < 3; ++i) plugs.push_back(port(PortType::root_port, {switch_with(6, 1)}));
    for (unsigned i = 0; i < 4; ++i) plugs.push_back(port(PortType::root_port, device()));
    return plugs;
  }
};

TopologyParts make_machine(bool alike = true) {
  TopologyParts parts{.source = "4096 functions"};
  test::Enumerator enumerator(parts);
  Maker maker{.alike = alike};
  for (std::uint32_t domain = 0; parts.functions.size() < kFunctions; ++domain)
    for (unsigned root = 0; root < 0x100 && parts.functions.size() < kFunctions; root += 0x40)
      enumerator.root_bus(domain, static_cast<std::uint8_t>(root), maker.root_bus());
  // The last root bus is cut where the count is reached; what is cut has nothing below it that stays.
  parts.functions.resize(kFunctions);
  for (FunctionInfo& function : parts.functions) {
    if (function.name != "host") continue;
    function.vendor_id = std::uint16_t{0x8086};
    constexpr std::uint16_t kIds[] = {0x2030, 0x2f00, 0x29c0, 0x09a2};
    function.device_id = kIds[(function.bdf.domain + function.bdf.bus / 0x40u) % 4];
  }
  parts.cpu = CpuInfo{"GenuineIntel", 6};
  return parts;
}

// ---- the walk

struct Step {
  Index parent = kNone;
  std::uint32_t host = 0;
  Tri redirects = Tri::no;
  Tri translated = Tri::no;
  bool readable = true;  // its ACS
  bool is_downstream = false;
  bool is_root_port = false;
  bool is_port = false;
  std::uint8_t number = 0;
  AcsControls acs;
};

struct Hosts {
  Tri allowed = Tri::unknown;
  Turning turning;
};

class Walker {
 public:
  explicit Walker(const Tree& tree) : hosts_(tree.host_bridges.size()) {
    for (Index i = 0; i < tree.functions.size(); ++i) {
      const FunctionInfo& function = tree.functions[i];
      Step step{.parent = tree.nodes[i].parent, .host = tree.nodes[i].host};
      step.readable = function.acs.has_value();
      if (step.readable) step.acs = acs_controls(*function.acs);
      step.redirects = !step.readable ? Tri::unknown : (step.acs.control & 0x2c) != 0 ? Tri::yes : Tri::no;
      step.translated = !function.ats_enabled ? Tri::unknown : *function.ats_enabled ? Tri::yes : Tri::no;
      step.is_downstream = *function.port_type == PortType::downstream_port;
      step.is_root_port = *function.port_type == PortType::root_port;
      step.is_port = function.is_bridge();
      step.number = step.is_port ? function.port_number : static_cast<std::uint8_t>(function.bdf.requester_id() & 0xff);
      steps_.push_back(step);
    }
    for (std::uint32_t client = 0; client < hosts_; ++client)
      for (std::uint32_t provider = 0; provider < hosts_; ++provider)
        pairs_.push_back({host_bridges_allow(tree, client, provider), root_complex_turns(tree, client, provider)});
  }

  // One entry for each pair, as plain arrays.
  struct Flat {
    std::vector<PairRoutes> routes;  // [provider * functions + client]
    std::vector<std::uint16_t> distances;
  };
  Flat walk() const {
    Flat matrix;
    matrix.routes.resize(steps_.size() * steps_.size());
    matrix.distances.resize(steps_.size() * steps_.size());
    for (Index provider = 0; provider < steps_.size(); ++provider) {
      for (Index client = 0; client < steps_.size(); ++client) {
        const std::size_t at = std::size_t{provider} * steps_.size() + client;
        matrix.routes[at] = pair(client, provider, matrix.distances[at]);
      }
    }
    return matrix;
  }

 private:
  static constexpr std::size_t kDeepest = 64;

  PairRoutes pair(Index client, Index provider, std::uint16_t& distance) const {
    std::array<Index, kDeepest> client_way;
    std::array<Index, kDeepest> provider_way;
    std::size_t c = way_up(client, client_way);
    std::size_t p = way_up(provider, provider_way);
    Index common = kNone;
    while (c > 0 && p > 0 && client_way[c - 1] == provider_way[p - 1]) {
      common = client_way[c - 1];
      --c;
      --p;
    }
    // Now c and p functions are left below the common one; the ones next to it are the sides.
    distance = static_cast<std::uint16_t>(c + p);
    const Hosts& hosts = pairs_[steps_[client].host * hosts_ + steps_[provider].host];
    Tri redirected = common == kNone ? Tri::yes : steps_[common].redirects;
    for (std::size_t i = 0; i < p; ++i) redirected = either(redirected, steps_[provider_way[i]].redirects);
    for (std::size_t i = 0; i < c; ++i) redirected = either(redirected, steps_[client_way[i]].redirects);
    Route by_linux = Route::unknown;
    if (redirected == Tri::no) by_linux = Route::bus_address;
    if (redirected == Tri::yes && hosts.allowed == Tri::yes) by_linux = Route::through_host_bridge;
    if (redirected == Tri::yes && hosts.allowed == Tri::no) by_linux = Route::not_supported;

    Routes reads;
    Routes writes;
    const Tri translated = steps_[client].translated;
    for (const bool as_translated : {false, true}) {
      if (translated == (as_translated ? Tri::no : Tri::yes)) continue;
      send(client_way, c, p == 0 ? kNone : provider_way[p - 1], common, as_translated, hosts, reads, writes);
    }
    return {.raw =
                static_cast<std::uint8_t>(static_cast<unsigned>(by_linux) | static_cast<unsigned>(single(reads)) << 2 |
                                          static_cast<unsigned>(single(writes)) << 4)};
  }

  std::size_t way_up(Index from, std::array<Index, kDeepest>& way) const {
    std::size_t length = 0;
    for (Index at = from; at != kNone; at = steps_[at].parent) way[length++] = at;
    return length;
  }

  static Tri either(Tri a, Tri b) {
    if (a == Tri::yes || b == Tri::yes) return Tri::yes;
    return a == Tri::unknown || b == Tri::unknown ? Tri::unknown : Tri::no;
  }
  static Route single(Routes routes) {
    for (Route route : {Route::bus_address, Route::through_host_bridge, Route::not_supported})
      if (routes.is(route)) return route;
    return Route::unknown;
  }

  void send(const std::array<Index, kDeepest>& way, std::size_t c, Index side, Index common, bool translated,
            const Hosts& hosts, Routes& reads, Routes& writes) const {
    const AddressType type = translated ? AddressType::translated : AddressType::untranslated;
    for (std::size_t i = 1; translated && i + 1 < c; ++i) {
      const Step& port = steps_[way[i]];
      if (port.readable && passes_translation_blocking(port.acs, type)) continue;
      reads.add(Route::not_supported);
      writes.add(Route::not_supported);
      if (port.readable) return;
    }
    Decisions request = PortDecision::direct;
    Decisions completion = PortDecision::direct;
    if (common == kNone)
      request = to_root_complex(steps_[way[c - 1]], steps_[side], type);
    else if (c > 0)
      request = at_crossing(steps_[way[c - 1]], side == kNone ? nullptr : &steps_[side], type);
    if (common != kNone && c > 0 && side != kNone) completion = completion_at(steps_[side]);
    const auto [forwarded, translated_forwarded] = up_from(common, translated);
    if (request.has(PortDecision::blocked)) {
      reads.add(Route::not_supported);
      writes.add(Route::not_supported);
    }
    if (request.has(PortDecision::direct)) {
      writes.add(Route::bus_address);
      if (completion.has(PortDecision::direct)) reads.add(Route::bus_address);
      if (completion.has(PortDecision::redirect)) turn(reads, forwarded, hosts.turning.reads);
    }
    if (request.has(PortDecision::redirect)) {
      turn(writes, translated_forwarded, hosts.turning.writes);
      turn(reads, translated_forwarded, hosts.turning.reads);
    }
  }

  static void turn(Routes& routes, Tri arrives, Routes turned) {
    if (arrives != Tri::no) routes.add(turned);
    if (arrives != Tri::yes) routes.add(Route::not_supported);
  }

  static Decisions at_crossing(const Step& from, const Step* to, AddressType type) {
    Decisions decisions;
    if (!from.readable) {
      decisions.add(PortDecision::direct);
      if (to != nullptr) decisions.add(PortDecision::redirect);
      if (to != nullptr || type == AddressType::translated) decisions.add(PortDecision::blocked);
      return decisions;
    }
    if (to == nullptr)
      return passes_translation_blocking(from.acs, type) ? PortDecision::direct : PortDecision::blocked;
    return decide_request(from.acs, {.address_type = type, .target_number = to->number});
  }

  static Decisions to_root_complex(const Step& from, const Step& to, AddressType type) {
    const bool peers = from.host == to.host && from.is_root_port && to.is_root_port;
    const Decisions ports = at_crossing(from, peers ? &to : nullptr, type);
    Decisions decisions;
    if (ports.has(PortDecision::blocked)) decisions.add(PortDecision::blocked);
    if (ports.has(PortDecision::direct) || ports.has(PortDecision::redirect)) decisions.add(PortDecision::redirect);
    return decisions;
  }

  static Decisions completion_at(const Step& from) {
    if (from.readable) return decide_completion(from.acs, false);
    Decisions decisions(PortDecision::direct);
    decisions.add(PortDecision::redirect);
    return decisions;
  }

  std::pair<Tri, Tri> up_from(Index common, bool translated) const {
    Tri lost = Tri::no;
    Tri blocked = Tri::no;
    for (Index at = common; at != kNone; at = steps_[at].parent) {
      const Step& port = steps_[at];
      if (port.is_downstream)
        lost = either(lost, !port.readable ? Tri::unknown : forwards_its_own_egress(port.acs) ? Tri::no : Tri::yes);
      if (translated)
        blocked = either(blocked, !port.readable                                                   ? Tri::unknown
                                  : passes_translation_blocking(port.acs, AddressType::translated) ? Tri::no
                                                                                                   : Tri::yes);
    }
    const auto negate = [](Tri tri) { return tri == Tri::unknown ? tri : tri == Tri::yes ? Tri::no : Tri::yes; };
    return {negate(lost), negate(either(lost, blocked))};
  }

  std::size_t hosts_;
  std::vector<Step> steps_;
  std::vector<Hosts> pairs_;
};

// ---- the row

bool agree(const VerdictMatrix& ours, const Walker::Flat& walked) {
  for (std::size_t provider = 0; provider < kFunctions; ++provider) {
    for (std::size_t client = 0; client < kFunctions; ++client) {
      const VerdictMatrix::Pair pair{.client = client, .provider = provider};
      const std::size_t at = provider * kFunctions + client;
      if (ours.routes(pair) != walked.routes[at] || ours.distance(pair) != walked.distances[at]) return false;
    }
  }
  return true;
}

bench::Row measure(bool alike, const bench::Question& question) {
  auto topology = Topology::build(make_machine(alike));
  auto tree = grow(make_machine(alike));
  if (!topology || !tree) throw bench::Broken((topology ? tree.error() : topology.error()).message());
  const Walker walker(*tree);
  if (topology->verdicts().count != kFunctions || !agree(topology->verdicts(), walker.walk()))
    throw bench::Broken("the matrix and the walk give different answers");
  const auto million_pairs_per_second = [](int times, const std::function<void()>& work) {
    return static_cast<double>(kFunctions * kFunctions) * times / bench::seconds_of(work) / 1e6;
  };
  // Several times, so that both measurements take long enough to be steady.
  constexpr int kTimes = 20;
  const auto ours = [&] {
    for (int i = 0; i < kTimes; ++i) {
      const VerdictMatrix matrix = topology->verdicts();
      benchmark::DoNotOptimize(matrix.slot_routes.data());
      benchmark::DoNotOptimize(matrix.slot_distances.data());
    }
  };
  const auto theirs = [&] {
    const Walker::Flat matrix = walker.walk();
    benchmark::DoNotOptimize(matrix.routes.data());
    benchmark::DoNotOptimize(matrix.distances.data());
  };
  return bench::row_of(
      question, {.rounds = 5}, [&] { return million_pairs_per_second(kTimes, ours); },
      [&] { return million_pairs_per_second(1, theirs); });
}

std::vector<bench::Row> verdict_matrix() {
  const char* peer = "walking both paths for each pair";
  return {measure(true, {.name = "verdicts for all pairs of 4096 functions",
                         .peer_name = peer,
                         .unit = "M pairs/s",
                         .goal = 100,
                         .direction = bench::Direction::at_least}),
          // Without shared slots every pair is written out, and the page faults of 50 MB set the pace.
          measure(false, {.name = "the same, where no two functions are alike",
                          .peer_name = peer,
                          .unit = "M pairs/s",
                          .goal = 10,
                          .direction = bench::Direction::at_least})};
}

const bool registered = bench::register_bench("verdict_matrix", verdict_matrix);

}  // namespace
