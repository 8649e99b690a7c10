#include "topology/wire_rule.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/test_trees.h"

namespace barter::topology {
namespace {

using namespace test;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;

constexpr auto kBus = Route::bus_address;
constexpr auto kHost = Route::through_host_bridge;
constexpr auto kNot = Route::not_supported;
constexpr auto kWhoKnows = Route::unknown;

Verdict ask(TopologyParts parts, std::string_view client, std::string_view provider) {
  auto topology = Topology::build(std::move(parts));
  EXPECT_TRUE(topology.has_value()) << topology.error().message();
  return topology->verdict({.client = topology->find(client)->bdf, .provider = topology->find(provider)->bdf});
}

// A root complex that turns all peer requests around, or none.
TopologyParts turning(std::vector<Plug> plugs, bool reads, bool writes) {
  TopologyParts parts = machine(plugs);
  parts.host_bridges.push_back({.domain = 0, .root_bus = 0, .turns_reads = reads, .turns_writes = writes});
  return parts;
}

FunctionInfo& named(TopologyParts& parts, std::string_view name) {
  for (FunctionInfo& function : parts.functions)
    if (function.name == name) return function;
  ADD_FAILURE() << name;
  return parts.functions[0];
}

struct Row {
  std::uint16_t client_side;
  std::uint16_t provider_side;
  Route read;
  Route write;
};

// Requests ask the client's side only, completions the provider's.
TEST(WireRule, RequestsAndCompletionsAskDifferentPorts) {
  constexpr Row kRows[] = {
      {0, 0, kBus, kBus},           {kRr, 0, kHost, kHost},       {kCr, 0, kBus, kBus},   {0, kRr, kBus, kBus},
      {0, kCr, kHost, kBus},        {kRr | kCr, 0, kHost, kHost}, {kCr, kRr, kBus, kBus}, {kDt, 0, kBus, kBus},
      {kDt | kRr, 0, kHost, kHost}, {kTb, 0, kBus, kBus},
  };
  for (const Row& row : kRows) {
    const Verdict verdict = ask(turning(one_switch(row.client_side, row.provider_side), true, true), "a", "b");
    EXPECT_EQ(verdict.by_wire.read.route, row.read) << std::hex << row.client_side << " " << row.provider_side;
    EXPECT_EQ(verdict.by_wire.write.route, row.write) << std::hex << row.client_side << " " << row.provider_side;
  }
}

TEST(WireRule, TranslatedRequestsHaveTheirOwnTable) {
  constexpr Row kRows[] = {
      {0, 0, kBus, kBus},   {kRr, 0, kHost, kHost},     {kDt | kRr, 0, kBus, kBus},    {kDt | kEc | kRr, 0, kBus, kBus},
      {kTb, 0, kNot, kNot}, {kTb | kDt, 0, kNot, kNot}, {kDt | kRr, kCr, kHost, kBus},
  };
  for (const Row& row : kRows) {
    TopologyParts parts = turning(one_switch(row.client_side, row.provider_side), true, true);
    named(parts, "a").ats_enabled = true;
    const Verdict verdict = ask(parts, "a", "b");
    EXPECT_EQ(verdict.by_wire.read.route, row.read) << std::hex << row.client_side << " " << row.provider_side;
    EXPECT_EQ(verdict.by_wire.write.route, row.write) << std::hex << row.client_side << " " << row.provider_side;
  }
}

// The ports of one_switch() have the numbers 1 and 2.
TEST(WireRule, EgressControlLooksUpThePeersPortNumber) {
  const auto write = [](std::uint16_t control, std::uint32_t vector) {
    TopologyParts parts = turning(one_switch(), true, true);
    named(parts, "dsp0").acs = acs(control, {vector, 0, 0, 0, 0, 0, 0, 0});
    return ask(parts, "a", "b").by_wire.write.route;
  };
  EXPECT_EQ(write(kEc, 1u << 2), kNot);
  EXPECT_EQ(write(kEc, ~(1u << 2)), kBus);
  EXPECT_EQ(write(kEc | kRr, 1u << 2), kHost);
  EXPECT_EQ(write(kEc | kRr, ~(1u << 2)), kBus);
}

TEST(WireRule, AnUnreadVectorIsUnknownWhereItDecides) {
  const auto write = [](std::uint16_t control) {
    TopologyParts parts = turning(one_switch(), true, true);
    named(parts, "dsp0").acs =
        std::optional(AcsInfo{.capability = 0x7f, .control = control, .offset = 0, .egress_control_vector = Unknown{}});
    return ask(parts, "a", "b").by_wire.write.route;
  };
  EXPECT_EQ(write(kEc), kWhoKnows);
  EXPECT_EQ(write(kEc | kRr), kWhoKnows);
  EXPECT_EQ(write(kRr), kHost);
}

// A switch below a switch; the linux rule counts redirection anywhere, the wire only where the ways part.
std::vector<Plug> nested(std::uint16_t leaf, std::uint16_t middle) {
  return {root_port("rp", {upstream("u", {downstream("d0",
                                                     {upstream("v", {downstream("e0", {endpoint("a")}, leaf),
                                                                     downstream("e1", {endpoint("c")})})},
                                                     middle),
                                          downstream("d1", {endpoint("b")})})})};
}

TEST(WireRule, RedirectionBelowTheCrossingChangesNothing) {
  const Verdict verdict = ask(turning(nested(kRr | kCr, 0), true, true), "a", "b");
  EXPECT_EQ(verdict.by_wire.read.route, kBus);
  EXPECT_EQ(verdict.by_wire.write.route, kBus);
  EXPECT_EQ(verdict.by_linux.route, kNot);
}

TEST(WireRule, RedirectionNeedsUpstreamForwardingInTheDownstreamPortsAbove) {
  EXPECT_EQ(ask(turning(nested(kRr, 0), true, true), "a", "c").by_wire.write.route, kNot);
  EXPECT_EQ(ask(turning(nested(kRr, kUf), true, true), "a", "c").by_wire.write.route, kHost);
  TopologyParts unread = turning(nested(kRr, 0), true, true);
  named(unread, "d0").acs = Unknown{};
  EXPECT_EQ(ask(unread, "a", "c").by_wire.write.route, kWhoKnows);
}

TEST(WireRule, TranslationBlockingCountsBelowTheCrossing) {
  TopologyParts parts = turning(nested(kTb, 0), true, true);
  EXPECT_EQ(ask(parts, "a", "b").by_wire.write.route, kBus);
  named(parts, "a").ats_enabled = true;
  EXPECT_EQ(ask(parts, "a", "b").by_wire.write.route, kNot);
  named(parts, "a").ats_enabled = Unknown{};
  EXPECT_EQ(ask(parts, "a", "b").by_wire.write.route, kWhoKnows);
}

TEST(WireRule, TranslationBlockingAboveTheCrossingBlocksTheDetourOnly) {
  TopologyParts parts = turning(nested(0, kTb | kUf), true, true);
  named(parts, "a").ats_enabled = true;
  EXPECT_EQ(ask(parts, "a", "c").by_wire.write.route, kBus);
  named(parts, "e0").acs = acs(kRr);
  EXPECT_EQ(ask(parts, "a", "c").by_wire.write.route, kNot);
}

TEST(WireRule, UnreadableAcsWhereTheWaysPartIsUnknown) {
  TopologyParts client_side = turning(one_switch(), true, true);
  named(client_side, "dsp0").acs = Unknown{"not root"};
  const Verdict a = ask(client_side, "a", "b");
  EXPECT_EQ(a.by_wire.read.route, kWhoKnows);
  EXPECT_EQ(a.by_wire.write.route, kWhoKnows);
  EXPECT_THAT(a.by_wire.write.facts, Contains(Field(&Fact::says, HasSubstr("not root"))));
  TopologyParts provider_side = turning(one_switch(), true, true);
  named(provider_side, "dsp1").acs = Unknown{"not root"};
  const Verdict b = ask(provider_side, "a", "b");
  EXPECT_EQ(b.by_wire.read.route, kWhoKnows);
  EXPECT_EQ(b.by_wire.write.route, kBus);
}

TEST(WireRule, TheRootComplexTurnsReadsAndWritesApart) {
  const std::vector<Plug> ports = {root_port("rp0", {endpoint("a")}), root_port("rp1", {endpoint("b")})};
  for (bool reads : {false, true}) {
    for (bool writes : {false, true}) {
      const Verdict verdict = ask(turning(ports, reads, writes), "a", "b");
      EXPECT_EQ(verdict.by_wire.read.route, reads ? kHost : kNot);
      EXPECT_EQ(verdict.by_wire.write.route, writes ? kHost : kNot);
    }
  }
}

TEST(WireRule, WithoutADescriptionLinuxsListIsEvidence) {
  TopologyParts parts = machine({root_port("rp0", {endpoint("a")}), root_port("rp1", {endpoint("b")})});
  const auto with_cpu = [&](const char* vendor, std::uint32_t family) {
    parts.cpu = CpuInfo{vendor, family};
    return ask(parts, "a", "b");
  };
  const Verdict intel = with_cpu("GenuineIntel", 6);
  EXPECT_EQ(intel.by_wire.read.route, kWhoKnows);
  EXPECT_EQ(intel.by_wire.write.route, kWhoKnows);
  EXPECT_THAT(intel.by_wire.read.facts, Contains(Field(&Fact::says, HasSubstr("1.3.1"))));
  const Verdict zen = with_cpu("AuthenticAMD", 25);
  EXPECT_EQ(zen.by_wire.read.route, kHost);
  EXPECT_EQ(zen.by_wire.write.route, kHost);
  const Verdict old_amd = with_cpu("AuthenticAMD", 0x15);
  EXPECT_EQ(old_amd.by_wire.read.route, kNot);
  EXPECT_EQ(old_amd.by_wire.write.route, kHost);
  parts.functions[0].vendor_id = std::uint16_t{0x8086};
  parts.functions[0].device_id = std::uint16_t{0x2030};
  EXPECT_EQ(with_cpu("GenuineIntel", 6).by_wire.read.route, kHost);
}

TEST(WireRule, ThePathOfARedirectedRequestGoesUpToTheRootPort) {
  const auto names = [](const std::vector<Bdf>& path) {
    std::string text;
    for (const Bdf& bdf : path) text += (text.empty() ? "" : " ") + bdf.to_string().substr(5);
    return text;
  };
  EXPECT_EQ(names(ask(machine(one_switch()), "a", "b").path), "03:00.0 02:00.0 01:00.0 02:01.0 04:00.0");
  EXPECT_EQ(names(ask(turning(one_switch(kRr), true, true), "a", "b").path),
            "03:00.0 02:00.0 01:00.0 00:00.0 01:00.0 02:01.0 04:00.0");
  EXPECT_EQ(names(ask(machine(one_switch()), "a", "a").path), "03:00.0");
  EXPECT_EQ(names(ask(machine({root_port("p", {endpoint("a")}), root_port("q", {endpoint("b")})}), "a", "b").path),
            "01:00.0 00:00.0 00:01.0 02:00.0");
}

TEST(WireRule, ASmallerMaxPayloadOnTheWayIsTold) {
  TopologyParts parts = machine(one_switch());
  for (FunctionInfo& function : parts.functions) function.max_payload_bytes = std::uint32_t{256};
  EXPECT_THAT(ask(parts, "a", "b").by_wire.write.facts, Not(Contains(Field(&Fact::reg, "DevCtl.MaxPayload"))));
  named(parts, "dsp1").max_payload_bytes = std::uint32_t{128};
  EXPECT_THAT(ask(parts, "a", "b").by_wire.write.facts, Contains(Field(&Fact::reg, "DevCtl.MaxPayload")));
}

TEST(WireRule, AFunctionReachesItsOwnMemory) {
  const Verdict verdict = ask(machine(one_switch(0x7f, 0x7f)), "a", "a");
  EXPECT_EQ(verdict.by_wire.read.route, kBus);
  EXPECT_EQ(verdict.by_wire.write.route, kBus);
}

}  // namespace
}  // namespace barter::topology
