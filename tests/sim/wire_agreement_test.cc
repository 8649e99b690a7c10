// What the fabric does with a real read and write is what the analyser's wire rule says of the pair, on random machines:
// one function decides at a port (topology/acs_rules.h), but who asks it, and what comes of the answers, is two programs.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/random.h"
#include "fabric/test_machines.h"
#include "pci/capabilities/acs.h"

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
topology::Description random_machine(std::uint64_t seed, bool ats = false) {
  base::Random random(seed);
  topology::Description machine;
  if (ats) machine.iommu = IommuMode::translate;
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
      function.ats = ats;
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
struct Attempt {
  std::size_t client = 0;
  std::size_t provider = 0;
  DmaAddress target;  // where the provider's memory is, 128 bytes from its start on
  bool is_read = false;
};
Route seen(fabric::TestMachine& machine, const Attempt& attempt) {
  const auto [client, provider, target, is_read] = attempt;
  std::vector<std::byte> bytes(64, std::byte{0x5a});
  auto memory = machine.devices[provider]->memory();
  std::fill(memory.begin(), memory.end(), std::byte{0x11});
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
    EXPECT_EQ(after.iommu_faults, before.iommu_faults);
    return Route::not_supported;
  }
  const bool was_redirected = after.redirected_requests > before.redirected_requests;
  return was_redirected || root_port_bytes(after) > root_port_bytes(before) ? Route::through_host_bridge
                                                                            : Route::bus_address;
}

BusAddress memory_of(fabric::TestMachine& machine, std::size_t provider) {
  return fabric::TestMachine::bar(*machine.devices[provider], 2) + 128;
}

// Which answers came up, over all the machines.
struct Tally {
  int routes[4] = {};
  void expect_every_answer() const {
    for (const Route route : {Route::bus_address, Route::through_host_bridge, Route::not_supported})
      EXPECT_GT(routes[static_cast<int>(route)], 50) << name_of(route);
  }
};

// `address_of` gives the address by which a client is to reach a provider's memory.
template <class AddressOf>
void compare_all_pairs(fabric::TestMachine& machine, const topology::Description& description, Tally& tally,
                       AddressOf&& address_of) {
  const auto topology = Topology::build(machine.fabric->topology());
  RC_ASSERT(topology.has_value());
  for (std::size_t client = 0; client < machine.devices.size(); ++client) {
    for (std::size_t provider = 0; provider < machine.devices.size(); ++provider) {
      const std::string& client_name = description.functions[client].name;
      const std::string& provider_name = description.functions[provider].name;
      const Verdict verdict =
          topology->verdict({.client = machine.bdf(client_name), .provider = machine.bdf(provider_name)});
      for (const bool is_read : {false, true}) {
        const Route said = (is_read ? verdict.by_wire.read : verdict.by_wire.write).route;
        const Route done =
            seen(machine,
                 {.client = client, .provider = provider, .target = address_of(client, provider), .is_read = is_read});
        ++tally.routes[static_cast<int>(done)];
        RC_LOG() << (is_read ? "read " : "write ") << client_name << " -> " << provider_name << ": the rule says "
                 << name_of(said) << ", the fabric did " << name_of(done) << "\n";
        RC_ASSERT(said == done);
      }
    }
  }
}

TEST(WireAgreement, TheFabricDoesWhatTheWireRuleSays) {
  Tally tally;
  EXPECT_TRUE(rc::check("every pair of a random machine", [&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const topology::Description description = random_machine(seed);
    fabric::TestMachine machine(description, {.host_memory_bytes = 1 << 20});
    RC_ASSERT(machine.fabric != nullptr);
    compare_all_pairs(machine, description, tally,
                      [&](std::size_t, std::size_t provider) { return fabric::as_dma(memory_of(machine, provider)); });
  }));
  tally.expect_every_answer();
}

// Where Translation Blocking stands at a port, a function can't get translations; the rule tells what becomes of requests
// that go by translations. So the functions get theirs while it is off everywhere.
void let_everybody_translate(fabric::TestMachine& machine, const std::vector<std::vector<DmaAddress>>& addresses) {
  struct Held {
    std::unique_ptr<pci::Function> function;
    std::uint16_t at = 0;
    std::uint16_t control = 0;
  };
  std::vector<Held> held;
  for (const FunctionInfo& info : machine.fabric->topology().functions) {
    if (!*info.acs) continue;
    const auto at = static_cast<std::uint16_t>((*info.acs)->offset + pci::acs::Control::kOffset);
    held.push_back({machine.fabric->function(info.bdf).value(), at, (*info.acs)->control});
    RC_ASSERT(held.back().function->write_config(at, 2, 0).has_value());
  }
  std::byte byte{};
  for (std::size_t client = 0; client < machine.devices.size(); ++client)
    for (const DmaAddress at : addresses[client])
      static_cast<void>(machine.devices[client]->bus().read(at, {&byte, 1}));
  for (const Held& one : held) RC_ASSERT(one.function->write_config(one.at, 2, one.control).has_value());
}

TEST(WireAgreement, TranslatedRequestsDoWhatTheWireRuleSays) {
  Tally tally;
  EXPECT_TRUE(rc::check("every pair of a random machine with ATS", [&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const topology::Description description = random_machine(seed, true);
    fabric::TestMachine machine(description, {.host_memory_bytes = 1 << 20});
    RC_ASSERT(machine.fabric != nullptr);
    std::vector<std::vector<DmaAddress>> addresses(machine.devices.size());
    for (std::size_t client = 0; client < machine.devices.size(); ++client) {
      peer::DmaDomain& domain = machine.fabric->domain(machine.bdf(description.functions[client].name));
      RC_ASSERT(domain.device_translates());
      for (std::size_t provider = 0; provider < machine.devices.size(); ++provider)
        addresses[client].push_back(domain.map(memory_of(machine, provider), 64, Access::read_write).value());
    }
    let_everybody_translate(machine, addresses);
    const std::uint64_t asked = machine.fabric->counters().translation_requests;
    RC_ASSERT(asked == machine.devices.size() * machine.devices.size());
    compare_all_pairs(machine, description, tally,
                      [&](std::size_t client, std::size_t provider) { return addresses[client][provider]; });
    RC_ASSERT(machine.fabric->counters().translation_requests == asked);  // all of them were translated
  }));
  tally.expect_every_answer();
}

}  // namespace
}  // namespace barter
