#include "barter/topology.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/test_trees.h"

namespace barter::topology {
namespace {

using namespace test;
using testing::HasSubstr;

FunctionInfo at(std::uint8_t bus, std::uint8_t device, std::optional<BusRange> bridge = {}) {
  return {.bdf = {0, bus, device, 0}, .bridge = bridge};
}

Bdf bdf(std::uint8_t bus, std::uint8_t device) { return {0, bus, device, 0}; }

std::string why_not(std::vector<FunctionInfo> functions) {
  auto topology = Topology::build({.source = "rack.txt", .functions = std::move(functions)});
  if (topology) return "";
  EXPECT_EQ(topology.error().code, ErrorCode::malformed);
  EXPECT_THAT(topology.error().message(), HasSubstr("rack.txt"));
  return topology.error().message();
}

Topology must(TopologyParts parts) {
  auto topology = Topology::build(std::move(parts));
  EXPECT_TRUE(topology.has_value()) << topology.error().message();
  return *topology;
}

TEST(Topology, RefusesDuplicates) { EXPECT_THAT(why_not({at(1, 0), at(0, 0), at(1, 0)}), HasSubstr("0000:01:00.0")); }

TEST(Topology, RefusesImpossibleBridges) {
  EXPECT_THAT(why_not({at(1, 0, BusRange{1, 3})}), HasSubstr("its own bus"));
  EXPECT_THAT(why_not({at(0, 0, BusRange{3, 1})}), HasSubstr("backwards"));
}

TEST(Topology, RefusesOverlapsBetweenSiblings) {
  EXPECT_THAT(why_not({at(0, 0, BusRange{1, 3}), at(0, 1, BusRange{3, 4})}), HasSubstr("overlap"));
  EXPECT_THAT(why_not({at(0, 0, BusRange{1, 5}), at(0, 1, BusRange{2, 3})}), HasSubstr("overlap"));
  EXPECT_THAT(why_not({at(0, 0, BusRange{1, 5}), at(0, 1, BusRange{1, 5})}), HasSubstr("overlap"));
  EXPECT_EQ(why_not({at(0, 0, BusRange{1, 5}), at(1, 1, BusRange{2, 3}), at(0, 2, BusRange{6, 6})}), "");
}

TEST(Topology, RefusesABridgeThatReachesBeyondTheOneAbove) {
  EXPECT_THAT(why_not({at(0, 0, BusRange{1, 3}), at(1, 0, BusRange{2, 4})}), HasSubstr("overlap"));
}

TEST(Topology, RefusesLoops) {
  EXPECT_THAT(why_not({at(5, 0, BusRange{3, 3}), at(3, 0, BusRange{5, 5})}), HasSubstr("loop"));
  FunctionInfo a = at(1, 0, BusRange{0, 0});
  FunctionInfo b = at(2, 0, BusRange{0, 0});
  a.parent = b.bdf;
  b.parent = a.bdf;
  EXPECT_THAT(why_not({a, b}), HasSubstr("loop"));
  a.parent = a.bdf;
  EXPECT_THAT(why_not({a}), HasSubstr("loop"));
}

TEST(Topology, RefusesParentsThatAreNotThere) {
  FunctionInfo a = at(1, 0);
  a.parent = bdf(0, 9);
  EXPECT_THAT(why_not({a}), HasSubstr("0000:00:09.0"));
  EXPECT_THAT(why_not({a, at(0, 9)}), HasSubstr("not a bridge"));
}

TEST(Topology, RefusesTwoHostBridgesOfOneRootBus) {
  TopologyParts parts{.source = "x", .functions = {at(0, 0)}, .host_bridges = {{.root_bus = 0}, {.root_bus = 0}}};
  EXPECT_FALSE(Topology::build(parts).has_value());
}

TEST(Topology, AnEmptyMachineIsAMachine) {
  const Topology topology = must({.source = "nothing"});
  EXPECT_TRUE(topology.functions().empty());
  EXPECT_TRUE(topology.host_bridges().empty());
  EXPECT_EQ(topology.verdicts().count, 0u);
}

TEST(Topology, FindsParentsByBusNumbers) {
  const Topology topology = must({.source = "x",
                                  .functions = {at(0, 0, BusRange{1, 4}), at(1, 0, BusRange{2, 4}),
                                                at(2, 0, BusRange{3, 3}), at(3, 0), at(4, 0), at(0x80, 0)}});
  EXPECT_EQ(topology.parent(bdf(3, 0)), bdf(2, 0));
  EXPECT_EQ(topology.parent(bdf(4, 0)), bdf(1, 0));  // nobody's secondary bus: the deepest bridge around it
  EXPECT_EQ(topology.parent(bdf(0, 0)), std::nullopt);
  EXPECT_EQ(topology.parent(bdf(0x80, 0)), std::nullopt);
  EXPECT_THAT(topology.children(bdf(1, 0)), testing::ElementsAre(bdf(2, 0), bdf(4, 0)));
  ASSERT_EQ(topology.host_bridges().size(), 2u);
  EXPECT_EQ(topology.host_bridges()[1].root_bus, 0x80);
}

TEST(Topology, AnUnconfiguredBridgeHasNothingBelow) {
  const Topology topology = must({.source = "x", .functions = {at(0, 0, BusRange{0, 0}), at(0, 1)}});
  EXPECT_EQ(topology.parent(bdf(0, 1)), std::nullopt);
}

TEST(Topology, KeepsWhatTheSourceSaysOfHostBridges) {
  const Topology topology = must({.source = "x",
                                  .functions = {at(0, 0), at(0x40, 0)},
                                  .host_bridges = {{.root_bus = 0x40, .numa_node = 1, .turns_reads = true}}});
  ASSERT_EQ(topology.host_bridges().size(), 2u);
  EXPECT_FALSE(topology.host_bridges()[0].turns_reads.has_value());
  EXPECT_EQ(topology.host_bridges()[1].turns_reads, Known<bool>(true));
}

TEST(Topology, AVirtualFunctionIsBelowItsPhysicalFunctionsBridge) {
  FunctionInfo physical = at(1, 0);
  FunctionInfo virtual_function = at(2, 0);
  virtual_function.physical_function = physical.bdf;
  const Topology topology = must({.source = "x", .functions = {at(0, 0, BusRange{1, 2}), physical, virtual_function}});
  EXPECT_EQ(topology.parent(bdf(2, 0)), bdf(0, 0));
  FunctionInfo integrated = at(0, 5);
  FunctionInfo on_bus_one = at(1, 0);
  on_bus_one.physical_function = integrated.bdf;
  const Topology other = must({.source = "x", .functions = {integrated, on_bus_one}});
  EXPECT_EQ(other.host_bridges().size(), 1u);
}

TEST(Topology, ResolvesNamesAndNumbers) {
  const Topology topology = must(machine(one_switch()));
  EXPECT_EQ(*topology.resolve("a"), bdf(3, 0));
  EXPECT_EQ(*topology.resolve("04:00.0"), bdf(4, 0));
  EXPECT_EQ(*topology.resolve("0000:04:00.0"), bdf(4, 0));
  const auto name = topology.resolve("dspo");
  ASSERT_FALSE(name.has_value());
  EXPECT_EQ(name.error().code, ErrorCode::not_found);
  EXPECT_THAT(name.error().message(), HasSubstr("dsp0"));
  const auto number = topology.resolve("0001:04:00.0");
  ASSERT_FALSE(number.has_value());
  EXPECT_THAT(number.error().message(), HasSubstr("did you mean 0000:04:00.0"));
  EXPECT_FALSE(topology.resolve("").has_value());
}

TEST(Topology, AnAmbiguousNameIsRefused) {
  const Topology topology = must(machine({root_port("rp", {endpoint("x"), endpoint("x")})}));
  ASSERT_FALSE(topology.resolve("x").has_value());
  EXPECT_THAT(topology.resolve("x").error().message(), HasSubstr("several"));
}

TEST(Topology, AVerdictOnAStrangerIsUnknownAndSaysSo) {
  const Topology topology = must(machine(one_switch()));
  const Verdict verdict = topology.verdict({.client = bdf(3, 0), .provider = bdf(0x99, 0)});
  EXPECT_EQ(verdict.by_linux.route, Route::unknown);
  EXPECT_EQ(verdict.by_linux.distance, std::nullopt);
  ASSERT_EQ(verdict.by_linux.facts.size(), 1u);
  EXPECT_EQ(verdict.by_linux.facts[0].function, "0000:99:00.0");
  EXPECT_TRUE(verdict.path.empty());
}

TEST(Topology, AnotherCpuLeavesTheFirstTopologyAlone) {
  const Topology intel = must(machine(one_switch(kRr)));
  const Topology zen = intel.with_cpu({"AuthenticAMD", 25});
  EXPECT_EQ(intel.cpu()->vendor, "GenuineIntel");
  EXPECT_EQ(zen.cpu()->vendor, "AuthenticAMD");
  EXPECT_EQ(zen.verdict({.client = bdf(3, 0), .provider = bdf(4, 0)}).by_linux.route, Route::through_host_bridge);
}

// The worked example of docs/verdicts.md.
TEST(Topology, TheWorkedExample) {
  TopologyParts parts = machine({root_port("rp0", {upstream("u", {downstream("d0", {endpoint("a")}, kRr | kCr | kUf),
                                                                  downstream("d1", {endpoint("b")}, kCr)})}),
                                 root_port("rp1", {endpoint("c")})});
  parts.host_bridges.push_back({.turns_reads = true, .turns_writes = true});
  const Topology topology = must(parts);
  const auto ask = [&](const char* client, const char* provider) {
    return topology.verdict({.client = *topology.resolve(client), .provider = *topology.resolve(provider)});
  };
  const Verdict a_to_b = ask("a", "b");
  EXPECT_EQ(a_to_b.by_linux.distance, 4u);
  EXPECT_EQ(a_to_b.by_linux.route, Route::not_supported);
  std::vector<std::string> commands;
  for (const Remedy& remedy : a_to_b.by_linux.remedies) commands.push_back(remedy.command);
  EXPECT_THAT(commands, testing::IsSupersetOf({"setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000:000c",
                                               "setpci -s 0000:02:01.0 ECAP_ACS+6.w=0000:0008",
                                               "pci=disable_acs_redir=0000:02:01.0;0000:02:00.0"}));
  EXPECT_EQ(a_to_b.by_wire.write.route, Route::through_host_bridge);
  EXPECT_EQ(ask("a", "c").by_linux.distance, 6u);
  EXPECT_EQ(ask("b", "a").by_wire.write.route, Route::bus_address);
  EXPECT_EQ(ask("b", "a").by_wire.read.route, Route::through_host_bridge);
  EXPECT_EQ(ask("a", "a").by_wire.read.route, Route::bus_address);
}

}  // namespace
}  // namespace barter::topology
