// What the fabric does with a real read and write is what the analyser's wire rule says of the pair, on random machines:
// one function decides at a port (topology/acs_rules.h), but who asks it, and what comes of the answers, is two programs.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/random.h"
#include "fabric/test_machines.h"

namespace barter {
namespace {

using fabric::Completion;
using fabric::Counters;

std::optional<topology::AcsDescription> random_acs(base::Random& random) {
  if (random.below(4) == 0) return std::nullopt;
  topology::AcsDescription acs;
  acs.capability = static_cast<std::uint16_t>(random.below(0x80));
  if ((acs.capability & 0x20) != 0)
    acs.capability = static_cast<std::uint16_t>(acs.capability | (1 + random.below(10)) << 8);
  acs.control = static_cast<std::uint16_t>(random.next() & acs.capability & 0x7f);
  acs.egress_control_vector = {static_cast<std::uint32_t>(random.next())};
  return acs;
}

// One or two root complexes, up to three levels of switches, a device with one or two functions in each port left.
topology::Description random_machine(std::uint64_t seed) {
  base::Random random(seed);
  topology::Description machine;
  machine.name = fmt::format("random-{}", seed);
  std::vector<std::string> open;  // ports with nothing below
  const auto port = [&](std::string name) {
    auto described = fabric::test_port(std::move(name));
    described.acs = random_acs(random);
    return described;
  };
  const auto roots = 1 + random.below(2);
  for (std::uint64_t root = 0; root < roots; ++root) {
    machine.root_complexes.push_back({.name = fmt::format("rc{}", root),
                                      .root_bus = static_cast<std::uint8_t>(root * 0x80),
                                      .turns_reads = random.below(2) == 0,
                                      .turns_writes = random.below(2) == 0});
    const auto ports = 1 + random.below(2);
    for (std::uint64_t number = 0; number < ports; ++number) {
      open.push_back(fmt::format("rp{}.{}", root, number));
      machine.root_ports.push_back({port(open.back()), machine.root_complexes.back().name});
    }
  }
  const auto switches = random.below(4);
  for (std::uint64_t number = 0; number < switches; ++number) {
    const auto chosen = static_cast<std::ptrdiff_t>(random.below(open.size()));
    topology::SwitchDescription described{.name = fmt::format("sw{}", number),
                                          .below = open[static_cast<std::size_t>(chosen)]};
    open.erase(open.begin() + chosen);
    described.upstream = fabric::test_port(described.name);
    const auto ports = 1 + random.below(3);
    for (std::uint64_t below = 0; below < ports; ++below) {
      open.push_back(fmt::format("sw{}.{}", number, below));
      described.downstream.push_back(port(open.back()));
    }
    machine.switches.push_back(std::move(described));
  }
  for (const std::string& below : open) {
    const auto functions = 1 + random.below(4) / 3;
    for (std::uint64_t number = 0; number < functions; ++number) {
      auto function = fabric::test_function(fmt::format("{}-f{}", below, number), below);
      function.function = static_cast<std::uint8_t>(number);
      if (functions > 1) function.acs = random_acs(random);
      machine.functions.push_back(std::move(function));
    }
  }
  return machine;
}

// Bytes that crossed a link of a root port: the request or its completion has been at the root complex.
std::uint64_t root_port_bytes(const Counters& counters) {
  std::uint64_t bytes = 0;
  for (const auto& link : counters.links)
    if (link.port.starts_with("rp")) bytes += link.upstream_bytes + link.downstream_bytes;
  return bytes;
}

// What became of one request, told from what can be seen outside: its status, the memory, the counters.
Route seen(fabric::TestMachine& machine, std::size_t client, std::size_t provider, bool is_read) {
  std::vector<std::byte> bytes(64, std::byte{0x5a});
  auto memory = machine.devices[provider]->memory();
  std::fill(memory.begin(), memory.end(), std::byte{0x11});
  const DmaAddress target = fabric::as_dma(fabric::TestMachine::bar(*machine.devices[provider], 2)) + 128;
  const Counters before = machine.fabric->counters();
  auto& bus = machine.devices[client]->bus();
  const Completion status = is_read ? bus.read(target, bytes) : bus.write(target, bytes);
  const Counters after = machine.fabric->counters();
  const bool moved = is_read ? bytes[0] == std::byte{0x11} : memory[128] == std::byte{0x5a};
  EXPECT_EQ(moved, status == Completion::successful);
  EXPECT_EQ(after.host_data_read_bytes + after.host_data_written_bytes, 0u);
  if (status != Completion::successful) {
    EXPECT_EQ(after.blocked_requests + after.unsupported_requests,
              before.blocked_requests + before.unsupported_requests + 1);
    return Route::not_supported;
  }
  const bool was_redirected = after.redirected_requests > before.redirected_requests;
  return was_redirected || root_port_bytes(after) > root_port_bytes(before) ? Route::through_host_bridge
                                                                            : Route::bus_address;
}

TEST(WireAgreement, TheFabricDoesWhatTheWireRuleSays) {
  int routes[4] = {};
  EXPECT_TRUE(rc::check("every pair of a random machine", [&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const topology::Description description = random_machine(seed);
    fabric::TestMachine machine(description, {.host_memory_bytes = 1 << 20});
    RC_ASSERT(machine.fabric != nullptr);
    const auto topology = Topology::build(machine.fabric->topology());
    RC_ASSERT(topology.has_value());
    for (std::size_t client = 0; client < machine.devices.size(); ++client) {
      for (std::size_t provider = 0; provider < machine.devices.size(); ++provider) {
        const auto client_bdf = machine.bdf(description.functions[client].name);
        const auto provider_bdf = machine.bdf(description.functions[provider].name);
        const Verdict verdict = topology->verdict({.client = client_bdf, .provider = provider_bdf});
        for (const bool is_read : {false, true}) {
          const Route said = (is_read ? verdict.by_wire.read : verdict.by_wire.write).route;
          const Route done = seen(machine, client, provider, is_read);
          ++routes[static_cast<int>(done)];
          RC_LOG() << (is_read ? "read " : "write ") << description.functions[client].name << " -> "
                   << description.functions[provider].name << ": the rule says " << name_of(said) << ", the fabric did "
                   << name_of(done) << "\n";
          RC_ASSERT(said == done);
        }
      }
    }
  }));
  // The machines must have been such that every answer came up.
  for (const Route route : {Route::bus_address, Route::through_host_bridge, Route::not_supported})
    EXPECT_GT(routes[static_cast<int>(route)], 50) << name_of(route);
}

}  // namespace
}  // namespace barter
