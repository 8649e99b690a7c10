// Random trees with random ACS and random gaps in what is known, and four ways to judge them that have nothing in common
// but the question: the single verdict, the matrix, the kernel's nested loops written down literally, and a TLP that is
// walked through the tree port by port.
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "topology/acs_rules.h"
#include "topology/test_trees.h"

namespace barter::topology {
namespace {

using namespace test;

// ---- random machines

unsigned roll(unsigned choices) { return *rc::gen::resize(100, rc::gen::inRange(0u, choices)); }
bool one_in(unsigned n) { return roll(n) == 0; }

struct Wildness {
  bool unknowns = true;
};

std::optional<AcsInfo> some_acs() {
  if (one_in(2)) return std::nullopt;
  constexpr std::uint16_t kControls[] = {0, 0, kRr, kCr, kUf, kEc, kDt, kTb};
  unsigned control = 0;
  for (unsigned i = 0; i < 3; ++i) control |= kControls[roll(8)];
  return acs(static_cast<std::uint16_t>(control), {roll(8), 0, 0, 0, 0, 0, 0, 0});
}

Plug some_plug(PortType type, unsigned depth, const Wildness& wild);

std::vector<Plug> some_device(unsigned depth, const Wildness& wild) {
  if (depth > 0 && one_in(2)) return {some_plug(PortType::upstream_port, depth, wild)};
  std::vector<Plug> device = {some_plug(PortType::endpoint, 0, wild)};
  if (one_in(4)) {
    device.push_back(some_plug(PortType::endpoint, 0, wild));
    device.back().function = 1;
  }
  if (one_in(6)) {
    const Plug alike = some_plug(PortType::endpoint, 0, wild);
    for (unsigned i = 0, count = 1 + roll(4); i < count; ++i) {
      device.push_back(one_in(4) ? some_plug(PortType::endpoint, 0, wild) : alike);
      device.back().is_virtual = true;
    }
  }
  return device;
}

Plug some_plug(PortType type, unsigned depth, const Wildness& wild) {
  Plug plug{.type = type, .acs = some_acs(), .ats = one_in(4)};
  if (wild.unknowns && one_in(12)) plug.acs = Unknown{"hidden"};
  if (wild.unknowns && one_in(12)) plug.ats = Unknown{"hidden"};
  if (type == PortType::upstream_port)
    for (unsigned i = 0, count = roll(4); i < count; ++i)
      plug.below.push_back(some_plug(PortType::downstream_port, depth - 1, wild));
  if ((type == PortType::root_port || type == PortType::downstream_port) && !one_in(5))
    plug.below = some_device(depth, wild);
  return plug;
}

std::vector<Plug> some_root_bus(const Wildness& wild) {
  std::vector<Plug> plugs;
  if (one_in(2)) plugs.push_back({.type = PortType::root_complex_endpoint, .acs = some_acs()});
  for (unsigned i = 0, count = 1 + roll(3); i < count; ++i) plugs.push_back(some_plug(PortType::root_port, 2, wild));
  return plugs;
}

TopologyParts some_machine(const Wildness& wild) {
  TopologyParts parts{.source = "random"};
  Enumerator enumerator(parts);
  enumerator.root_bus(0, 0, some_root_bus(wild));
  if (one_in(2)) enumerator.root_bus(0, 0x80, some_root_bus(wild));
  if (one_in(3)) enumerator.root_bus(1, 0, some_root_bus(wild));
  const CpuInfo cpus[] = {{"GenuineIntel", 6}, {"AuthenticAMD", 25}, {"AuthenticAMD", 16}};
  parts.cpu = cpus[roll(3)];
  if (wild.unknowns && one_in(6)) parts.cpu = Unknown{"hidden"};
  parts.iommu = IommuMode::off;
  constexpr std::uint16_t kHosts[] = {0x2030, 0x2f00, 0x29c0, 0x0010};
  for (FunctionInfo& function : parts.functions) {
    if (function.bdf.device != 0 || (function.bdf.bus != 0 && function.bdf.bus != 0x80)) continue;
    function.vendor_id = std::uint16_t{0x8086};
    function.device_id = kHosts[roll(4)];
    if (wild.unknowns && one_in(6)) function.device_id = Unknown{"hidden"};
  }
  if (one_in(2)) parts.host_bridges.push_back({.root_bus = 0, .turns_reads = one_in(2), .turns_writes = one_in(2)});
  return parts;
}

// ---- Linux's own loops, on nothing but what is in the parts and no unknowns

class Kernel {
 public:
  explicit Kernel(const TopologyParts& parts) : parts_(parts) {}

  struct Answer {
    Route route;
    std::uint32_t distance;
  };

  // calc_map_type_and_dist
  Answer ask(const FunctionInfo& provider, const FunctionInfo& client) const {
    std::uint32_t dist_a = 0;
    std::uint32_t dist_b = 0;
    unsigned acs_cnt = 0;
    for (const FunctionInfo* a = &provider; a != nullptr; a = upstream_bridge(*a), ++dist_a) {
      dist_b = 0;
      if (acs_redir(*a)) ++acs_cnt;
      for (const FunctionInfo* b = &client; b != nullptr; b = upstream_bridge(*b), ++dist_b) {
        if (a != b) continue;
        for (const FunctionInfo* bb = &client; bb != a; bb = upstream_bridge(*bb))
          if (acs_redir(*bb)) ++acs_cnt;
        if (acs_cnt == 0) return {Route::bus_address, dist_a + dist_b};
        return {through_host(provider, client), dist_a + dist_b};
      }
    }
    return {through_host(provider, client), dist_a + dist_b};
  }

 private:
  const FunctionInfo* find(Bdf bdf) const {
    for (const FunctionInfo& function : parts_.functions)
      if (function.bdf == bdf) return &function;
    return nullptr;
  }
  // pci_upstream_bridge, with pci_physfn
  const FunctionInfo* upstream_bridge(const FunctionInfo& function) const {
    const FunctionInfo& physical = function.physical_function ? *find(*function.physical_function) : function;
    for (const FunctionInfo& bridge : parts_.functions)
      if (bridge.bridge && bridge.bdf.domain == physical.bdf.domain && bridge.bridge->secondary == physical.bdf.bus)
        return &bridge;
    return nullptr;
  }
  static bool acs_redir(const FunctionInfo& function) {
    return *function.acs && ((*function.acs)->control & (kRr | kCr | kEc)) != 0;
  }
  Bdf root_of(const FunctionInfo& function) const {
    const FunctionInfo* at = &function;
    while (upstream_bridge(*at) != nullptr) at = upstream_bridge(*at);
    if (at->physical_function) at = find(*at->physical_function);
    return {at->bdf.domain, at->bdf.bus, 0, 0};
  }
  // What this test's machines have of the list: 1 for any pair, 2 below one host bridge, 0 not listed.
  int listed(Bdf root) const {
    const FunctionInfo* first = nullptr;
    for (const FunctionInfo& function : parts_.functions)
      if (function.bdf.domain == root.domain && function.bdf.bus == root.bus &&
          (first == nullptr || function.bdf < first->bdf))
        first = &function;
    if (*first->vendor_id != 0x8086) return 0;
    return *first->device_id == 0x2030 ? 1 : *first->device_id == 0x2f00 ? 2 : 0;
  }
  Route through_host(const FunctionInfo& provider, const FunctionInfo& client) const {
    const Bdf a = root_of(provider);
    const Bdf b = root_of(client);
    const bool zen = parts_.cpu->vendor == "AuthenticAMD" && parts_.cpu->family >= 0x17;
    const bool allowed = a == b ? listed(a) != 0 : listed(a) == 1 && listed(b) == 1;
    return zen || allowed ? Route::through_host_bridge : Route::not_supported;
  }

  const TopologyParts& parts_;
};

// ---- one TLP, port by port, with no unknowns but what the root complex does

class Tlp {
 public:
  explicit Tlp(const Topology& topology, bool translated) : topology_(topology), translated_(translated) {}

  enum class End { arrived, at_root_complex, lost };

  End request(const FunctionInfo& client, const FunctionInfo& provider) const {
    return travel(
        client, provider,
        [&](const FunctionInfo& port, const FunctionInfo& peer) {
          const std::uint8_t number = port.is_bridge() ? peer.port_number
                                      : peer.bdf.device == port.bdf.device
                                          ? peer.bdf.function
                                          : static_cast<std::uint8_t>(peer.bdf.device << 3);
          return decide_request(acs_controls(*port.acs), {.address_type = type(), .target_number = number});
        },
        true);
  }
  End completion(const FunctionInfo& provider, const FunctionInfo& client) const {
    return travel(
        provider, client,
        [](const FunctionInfo& port, const FunctionInfo&) { return decide_completion(acs_controls(*port.acs), false); },
        false);
  }

 private:
  AddressType type() const { return translated_ ? AddressType::translated : AddressType::untranslated; }
  const FunctionInfo* above(const FunctionInfo& function) const {
    const auto parent = topology_.parent(function.bdf);
    return parent ? topology_.find(*parent) : nullptr;
  }
  bool is_below(const FunctionInfo& function, const FunctionInfo& bridge) const {
    for (const FunctionInfo* at = &function; at != nullptr; at = above(*at))
      if (at == &bridge) return true;
    return false;
  }

  template <class Decide>
  End travel(const FunctionInfo& from, const FunctionInfo& to, Decide decide, bool is_request) const {
    bool redirected = false;
    for (const FunctionInfo* at = &from; at != &to;) {
      const FunctionInfo* up = above(*at);
      const AcsControls controls = acs_controls(*at->acs);
      // A function's own Translation Blocking, if it has any, acts where its requests leave it for the crossing; decide()
      // sees to that for peers.
      const bool leaves = at != &from || (up != nullptr && up == &to);
      if (is_request && leaves && !passes_translation_blocking(controls, type())) return End::lost;
      if (redirected && at->port_type == Known<PortType>(PortType::downstream_port) &&
          !forwards_its_own_egress(controls))
        return End::lost;
      if (!redirected && is_below(to, *at)) return End::arrived;  // the target is below the sender
      if (!redirected) {
        const FunctionInfo* peer = sibling_towards(to, up);
        if (peer != nullptr && up == nullptr) return at_root(*at, *peer, is_request);
        if (peer != nullptr) {
          const PortDecision decision = decide(*at, *peer);
          if (decision == PortDecision::direct) return End::arrived;
          if (decision == PortDecision::blocked) return End::lost;
          redirected = true;
        }
      }
      if (up == nullptr) return End::at_root_complex;
      at = up;
    }
    return End::arrived;
  }

  End at_root(const FunctionInfo& port, const FunctionInfo& peer, bool is_request) const {
    if (!is_request) return End::at_root_complex;
    if (!passes_translation_blocking(acs_controls(*port.acs), type())) return End::lost;
    const bool root_ports = *port.port_type == PortType::root_port && *peer.port_type == PortType::root_port &&
                            port.bdf.domain == peer.bdf.domain && port.bdf.bus == peer.bdf.bus;
    const PortDecision decision =
        decide_request(acs_controls(*port.acs), {.address_type = type(), .target_number = peer.port_number});
    return root_ports && decision == PortDecision::blocked ? End::lost : End::at_root_complex;
  }

  // The function beside the one at hand, both below `bridge` or on root buses, that `to` is or is below; null if `to` is
  // the bridge or not below it.
  const FunctionInfo* sibling_towards(const FunctionInfo& to, const FunctionInfo* bridge) const {
    for (const FunctionInfo* at = &to; at != nullptr; at = above(*at))
      if (above(*at) == bridge && at != bridge) return at;
    return nullptr;
  }

  const Topology& topology_;
  bool translated_;
};

// ---- properties

Topology must(const TopologyParts& parts) {
  auto topology = Topology::build(parts);
  if (!topology) RC_FAIL(topology.error().message());
  return *topology;
}

// Says which pair it is about where an answer is not the expected one.
void check(const Verdict& verdict, bool holds) {
  if (!holds) RC_FAIL(verdict.client.to_string() + " to " + verdict.provider.to_string());
}

RC_GTEST_PROP(VerdictProperty, MatrixIsTheVerdictOfEachPair, ()) {
  const Topology topology = must(some_machine({}));
  const VerdictMatrix matrix = topology.verdicts();
  const auto functions = topology.functions();
  RC_ASSERT(matrix.count == functions.size());
  for (std::size_t provider = 0; provider < matrix.count; ++provider) {
    for (std::size_t client = 0; client < matrix.count; ++client) {
      const Verdict verdict = topology.verdict({.client = functions[client].bdf, .provider = functions[provider].bdf});
      const PairRoutes routes = matrix.routes({.client = client, .provider = provider});
      check(verdict, routes.by_linux() == verdict.by_linux.route);
      check(verdict, routes.by_wire_read() == verdict.by_wire.read.route);
      check(verdict, routes.by_wire_write() == verdict.by_wire.write.route);
      check(verdict, matrix.distance({.client = client, .provider = provider}) == verdict.by_linux.distance);
    }
  }
}

RC_GTEST_PROP(VerdictProperty, LinuxIsTheKernelsLoops, ()) {
  const TopologyParts parts = some_machine({.unknowns = false});
  const Topology topology = must(parts);
  const Kernel kernel(parts);
  for (const FunctionInfo& provider : parts.functions) {
    for (const FunctionInfo& client : parts.functions) {
      const Verdict verdict = topology.verdict({.client = client.bdf, .provider = provider.bdf});
      const Kernel::Answer expected = kernel.ask(provider, client);
      check(verdict, verdict.by_linux.route == expected.route);
      check(verdict, verdict.by_linux.distance == expected.distance);
      check(verdict, !verdict.by_linux.facts.empty());
    }
  }
}

RC_GTEST_PROP(VerdictProperty, WireIsWhatHappensToATlp, ()) {
  const TopologyParts parts = some_machine({.unknowns = false});
  const Topology topology = must(parts);
  for (const FunctionInfo& provider : topology.functions()) {
    for (const FunctionInfo& client : topology.functions()) {
      const Verdict verdict = topology.verdict({.client = client.bdf, .provider = provider.bdf});
      const Tlp tlp(topology, *client.ats_enabled);
      const Tlp::End request = tlp.request(client, provider);
      const Tlp::End completion = tlp.completion(provider, client);
      const auto agrees = [](Route route, Tlp::End end) {
        if (end == Tlp::End::arrived) return route == Route::bus_address;
        if (end == Tlp::End::lost) return route == Route::not_supported;
        return route != Route::bus_address;
      };
      check(verdict, agrees(verdict.by_wire.write.route, request));
      const bool completion_decides =
          request == Tlp::End::arrived || (request == Tlp::End::at_root_complex && completion == Tlp::End::lost);
      check(verdict, agrees(verdict.by_wire.read.route, completion_decides ? completion : request));
    }
  }
}

// All that one hidden fact may turn out to be.
std::vector<std::function<void(FunctionInfo&)>> revelations(const FunctionInfo& function) {
  std::vector<std::function<void(FunctionInfo&)>> all;
  if (!function.acs) {
    all.push_back([](FunctionInfo& f) { f.acs = std::optional<AcsInfo>{}; });
    for (unsigned control : {0u, 4u, 8u, 0x10u, 0x20u, 0x24u, 0x40u, 0x44u, 2u, 0x7fu})
      for (std::uint32_t bits : {0u, ~0u})
        all.push_back([=](FunctionInfo& f) {
          f.acs = acs(static_cast<std::uint16_t>(control), {bits, bits, bits, bits, bits, bits, bits, bits});
        });
  }
  if (!function.ats_enabled)
    for (bool value : {false, true}) all.push_back([=](FunctionInfo& f) { f.ats_enabled = value; });
  if (!function.device_id)
    for (std::uint16_t id : {std::uint16_t{0x2030}, std::uint16_t{0x2f00}, std::uint16_t{0x29c0}})
      all.push_back([=](FunctionInfo& f) { f.device_id = id; });
  return all;
}

void check_never_contradicts(const VerdictMatrix& before, const VerdictMatrix& after) {
  const auto compare = [](Route unknown, Route known) { RC_ASSERT(unknown == Route::unknown || unknown == known); };
  for (std::size_t provider = 0; provider < before.count; ++provider) {
    for (std::size_t client = 0; client < before.count; ++client) {
      const VerdictMatrix::Pair pair{.client = client, .provider = provider};
      compare(before.routes(pair).by_linux(), after.routes(pair).by_linux());
      compare(before.routes(pair).by_wire_read(), after.routes(pair).by_wire_read());
      compare(before.routes(pair).by_wire_write(), after.routes(pair).by_wire_write());
      RC_ASSERT(before.distance(pair) == after.distance(pair));
    }
  }
}

RC_GTEST_PROP(VerdictProperty, AFactThatBecomesKnownNeverContradicts, ()) {
  const TopologyParts parts = some_machine({});
  const VerdictMatrix before = must(parts).verdicts();
  for (std::size_t i = 0; i < parts.functions.size(); ++i) {
    for (const auto& reveal : revelations(parts.functions[i])) {
      TopologyParts known = parts;
      reveal(known.functions[i]);
      check_never_contradicts(before, must(known).verdicts());
    }
  }
  if (parts.cpu) return;
  for (const CpuInfo& cpu : {CpuInfo{"GenuineIntel", 6}, CpuInfo{"AuthenticAMD", 25}, CpuInfo{"AuthenticAMD", 16}}) {
    TopologyParts known = parts;
    known.cpu = cpu;
    check_never_contradicts(before, must(known).verdicts());
  }
}

// The linux rule is unknown exactly where two ways of filling the gaps disagree.
RC_GTEST_PROP(VerdictProperty, LinuxIsUnknownExactlyWhereTheGapsDecide, ()) {
  TopologyParts parts = some_machine({.unknowns = false});
  for (unsigned i = 0, count = 1 + roll(3); i < count; ++i)
    parts.functions[roll(static_cast<unsigned>(parts.functions.size()))].acs = Unknown{"hidden"};
  if (one_in(3)) parts.cpu = Unknown{"hidden"};
  if (one_in(3)) parts.functions[0].device_id = Unknown{"hidden"};
  std::vector<TopologyParts> worlds = {parts};
  const auto split = [&](auto is_hidden, auto fill, std::size_t ways) {
    std::vector<TopologyParts> more;
    for (const TopologyParts& world : worlds)
      for (std::size_t way = 0; way < (is_hidden(world) ? ways : 1); ++way) {
        more.push_back(world);
        if (is_hidden(world)) fill(more.back(), way);
      }
    worlds = std::move(more);
  };
  for (std::size_t i = 0; i < parts.functions.size(); ++i)
    split(
        [i](const TopologyParts& world) { return !world.functions[i].acs; },
        [i](TopologyParts& world, std::size_t way) { world.functions[i].acs = acs(way == 0 ? std::uint16_t{0} : kRr); },
        2);
  split([](const TopologyParts& world) { return !world.cpu; },
        [](TopologyParts& world, std::size_t way) {
          world.cpu = CpuInfo{way == 0 ? "GenuineIntel" : "AuthenticAMD", 23};
        },
        2);
  split([](const TopologyParts& world) { return !world.functions[0].device_id; },
        [](TopologyParts& world, std::size_t way) {
          constexpr std::uint16_t kIds[] = {0x2030, 0x2f00, 0x29c0};
          world.functions[0].device_id = kIds[way];
        },
        3);
  const Topology topology = must(parts);
  for (std::size_t provider = 0; provider < parts.functions.size(); ++provider) {
    for (std::size_t client = 0; client < parts.functions.size(); ++client) {
      std::optional<Route> expected;
      for (const TopologyParts& world : worlds) {
        const Route route = Kernel(world).ask(world.functions[provider], world.functions[client]).route;
        expected = !expected || *expected == route ? route : Route::unknown;
      }
      const Verdict verdict =
          topology.verdict({.client = parts.functions[client].bdf, .provider = parts.functions[provider].bdf});
      check(verdict, verdict.by_linux.route == *expected);
    }
  }
}

}  // namespace
}  // namespace barter::topology
