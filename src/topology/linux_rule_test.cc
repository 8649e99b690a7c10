#include "topology/linux_rule.h"

#include <algorithm>
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

Topology build(TopologyParts parts) {
  auto topology = Topology::build(std::move(parts));
  EXPECT_TRUE(topology.has_value()) << topology.error().message();
  return *topology;
}

LinuxAnswer ask(const Topology& topology, std::string_view client, std::string_view provider) {
  return topology.verdict({.client = topology.find(client)->bdf, .provider = topology.find(provider)->bdf}).by_linux;
}

LinuxAnswer ask(const std::vector<Plug>& plugs, std::string_view client, std::string_view provider) {
  return ask(build(machine(plugs)), client, provider);
}

// The table of distances of Linux's calc_map_type_and_dist.
TEST(LinuxRule, Distances) {
  struct Row {
    const char* what;
    std::vector<Plug> plugs;
    std::uint32_t distance;
    Route route;
  };
  const Plug multi = {.name = "b", .function = 1};
  const Plug virtual_function = {.name = "b", .is_virtual = true};
  const Row rows[] = {
      {"two functions of one device", {root_port("rp", {endpoint("a"), multi})}, 2, Route::bus_address},
      {"a virtual function and its physical one",
       {root_port("rp", {endpoint("a"), virtual_function})},
       2,
       Route::bus_address},
      {"one switch", one_switch(), 4, Route::bus_address},
      {"a switch below a switch",
       {root_port("rp", {upstream("u", {downstream("d0", {endpoint("a")}),
                                        downstream("d1", {upstream("v", {downstream("e0", {endpoint("b")})})})})})},
       6,
       Route::bus_address},
      {"two root ports",
       {root_port("rp0", {endpoint("a")}), root_port("rp1", {endpoint("b")})},
       4,
       Route::not_supported},
      {"switches below two root ports",
       {root_port("rp0", {upstream("u", {downstream("d", {endpoint("a")})})}),
        root_port("rp1", {upstream("v", {downstream("e", {endpoint("b")})})})},
       8,
       Route::not_supported},
      {"two root complex endpoints",
       {{.name = "a", .type = PortType::root_complex_endpoint}, {.name = "b", .type = PortType::root_complex_endpoint}},
       2,
       Route::not_supported},
  };
  for (const Row& row : rows) {
    const Topology topology = build(machine(row.plugs));
    for (const auto& [client, provider] : {std::pair("a", "b"), std::pair("b", "a")}) {
      const LinuxAnswer answer = ask(topology, client, provider);
      EXPECT_EQ(answer.distance, row.distance) << row.what;
      EXPECT_EQ(answer.route, row.route) << row.what;
    }
    EXPECT_EQ(ask(topology, "a", "a").distance, 0u) << row.what;
    EXPECT_EQ(ask(topology, "a", "a").route, Route::bus_address) << row.what;
  }
}

TEST(LinuxRule, EachRedirectingBitOnEachFunctionOfTheWayCounts) {
  for (std::uint16_t bit : {kRr, kCr, kEc}) {
    for (const char* where : {"a", "dsp0", "usp", "dsp1", "b"}) {
      TopologyParts parts = machine(one_switch());
      for (FunctionInfo& function : parts.functions)
        if (function.name == where) function.acs = acs(bit);
      const LinuxAnswer answer = ask(build(parts), "a", "b");
      EXPECT_EQ(answer.route, Route::not_supported) << where << " " << bit;
      EXPECT_THAT(answer.facts, Contains(Field(&Fact::reg, HasSubstr("ACSCtl."))));
    }
  }
}

TEST(LinuxRule, OtherBitsAndOtherFunctionsDoNotCount) {
  EXPECT_EQ(ask(one_switch(0x01 | kTb | kUf | kDt, 0x01 | kTb | kUf | kDt), "a", "b").route, Route::bus_address);
  EXPECT_EQ(ask(one_switch(0, 0, 0x7f), "a", "b").route, Route::bus_address);  // the root port above the common one
}

TEST(LinuxRule, ACommonRootPortCounts) {
  const std::vector<Plug> plugs = {root_port("rp", {endpoint("a"), {.name = "b", .function = 1}}, kRr)};
  EXPECT_EQ(ask(plugs, "a", "b").route, Route::not_supported);
  EXPECT_EQ(ask(plugs, "a", "b").distance, 2u);
}

TEST(LinuxRule, AFunctionThatRedirectsDoesSoToItselfToo) {
  Plug lone = endpoint("a");
  lone.acs = acs(kRr);
  TopologyParts parts = machine({root_port("rp", {lone})});
  parts.cpu = CpuInfo{"AuthenticAMD", 25};
  const LinuxAnswer answer = ask(build(parts), "a", "a");
  EXPECT_EQ(answer.route, Route::through_host_bridge);
  EXPECT_EQ(answer.distance, 0u);
}

TEST(LinuxRule, ZenAllowsEveryHostBridge) {
  TopologyParts parts = machine(one_switch(kRr));
  const auto with_cpu = [&](const char* vendor, std::uint32_t family) {
    return ask(build(parts).with_cpu({vendor, family}), "a", "b").route;
  };
  EXPECT_EQ(with_cpu("AuthenticAMD", 0x17), Route::through_host_bridge);
  EXPECT_EQ(with_cpu("AuthenticAMD", 0x1a), Route::through_host_bridge);
  EXPECT_EQ(with_cpu("AuthenticAMD", 0x16), Route::not_supported);
  EXPECT_EQ(with_cpu("HygonGenuine", 0x18), Route::not_supported);
  EXPECT_EQ(with_cpu("GenuineIntel", 0x17), Route::not_supported);
}

// Two root ports below one host bridge whose function 00.0 has this ID.
TopologyParts with_host_bridge(std::uint16_t vendor, std::uint16_t device) {
  TopologyParts parts = machine({{.name = "host", .type = PortType::root_complex_endpoint},
                                 root_port("rp0", {endpoint("a")}),
                                 root_port("rp1", {endpoint("b")})});
  parts.functions[0].vendor_id = vendor;
  parts.functions[0].device_id = device;
  return parts;
}

TEST(LinuxRule, TheListOfHostBridges) {
  const auto route = [](std::uint16_t vendor, std::uint16_t device) {
    return ask(build(with_host_bridge(vendor, device)), "a", "b").route;
  };
  for (const std::uint16_t device : std::initializer_list<std::uint16_t>{0x3c00, 0x3c01, 0x2f00, 0x2f01, 0x2030, 0x2031,
                                                                         0x2032, 0x2033, 0x2020, 0x09a2})
    EXPECT_EQ(route(0x8086, device), Route::through_host_bridge) << std::hex << device;
  EXPECT_EQ(route(0x1ae0, 0x0001), Route::through_host_bridge);
  EXPECT_EQ(route(0x1ae0, 0xffff), Route::through_host_bridge);
  EXPECT_EQ(route(0x8086, 0x29c0), Route::not_supported);  // QEMU's q35: a patch was posted, not merged
  EXPECT_EQ(route(0x1022, 0x1450), Route::not_supported);  // once listed, replaced by the rule about the CPU
}

TEST(LinuxRule, OnlyFunctionZeroOrARootPortIsTakenForTheHostBridge) {
  const auto route = [](PortType type, std::uint8_t device) {
    TopologyParts parts = with_host_bridge(0x8086, 0x2030);
    parts.functions[0].bdf.device = device;
    parts.functions[0].port_type = type;
    for (FunctionInfo& function : parts.functions)
      if (function.bdf.bus == 0 && function.name != "host")
        function.bdf.device = static_cast<std::uint8_t>(function.bdf.device + 8);
    return ask(build(parts), "a", "b").route;
  };
  EXPECT_EQ(route(PortType::root_complex_endpoint, 0), Route::through_host_bridge);
  EXPECT_EQ(route(PortType::root_complex_endpoint, 1), Route::not_supported);
  EXPECT_EQ(route(PortType::root_port, 1), Route::through_host_bridge);
}

// Two host bridges of one kind, a function below each.
TopologyParts two_hosts(std::uint16_t vendor, std::uint16_t device) {
  TopologyParts parts = machine({});
  for (std::uint8_t host = 0; host < 2; ++host) {
    Enumerator(parts).root_bus(0, static_cast<std::uint8_t>(host * 0x80),
                               {{.name = "host", .type = PortType::root_complex_endpoint},
                                root_port("rp", {endpoint(host == 0 ? "a" : "b")})});
  }
  for (FunctionInfo& function : parts.functions) {
    if (function.name != "host") continue;
    function.vendor_id = vendor;
    function.device_id = device;
  }
  return parts;
}

TEST(LinuxRule, SomeEntriesHoldBelowOneHostBridgeOnly) {
  EXPECT_EQ(ask(build(two_hosts(0x8086, 0x2030)), "a", "b").route, Route::through_host_bridge);
  EXPECT_EQ(ask(build(two_hosts(0x8086, 0x2f00)), "a", "b").route, Route::not_supported);
  TopologyParts mixed = two_hosts(0x8086, 0x2030);
  mixed.functions[0].device_id = std::uint16_t{0x29c0};
  EXPECT_EQ(ask(build(mixed), "a", "b").route, Route::not_supported);
  EXPECT_EQ(ask(build(mixed), "b", "a").route, Route::not_supported);
}

TEST(LinuxRule, AnUnknownThatDecidesMakesTheAnswerUnknown) {
  TopologyParts parts = machine(one_switch());
  parts.functions[2].acs = Unknown{"lspci was not run as root"};
  const LinuxAnswer answer = ask(build(parts), "a", "b");
  EXPECT_EQ(answer.route, Route::unknown);
  EXPECT_EQ(answer.distance, 4u);
  EXPECT_THAT(answer.facts, Contains(Field(&Fact::says, HasSubstr("lspci was not run as root"))));
  EXPECT_THAT(answer.remedies, Contains(Field(&Remedy::command, HasSubstr("sudo lspci"))));
}

TEST(LinuxRule, AnUnknownBesideARedirectionDecidesNothing) {
  TopologyParts parts = machine(one_switch(0, kRr));
  for (FunctionInfo& function : parts.functions)
    if (function.name == "dsp0") function.acs = Unknown{};
  EXPECT_EQ(ask(build(parts), "a", "b").route, Route::not_supported);
}

TEST(LinuxRule, AnUnknownCpuMattersOnlyThroughTheHostBridge) {
  TopologyParts direct = machine(one_switch());
  direct.cpu = Unknown{};
  EXPECT_EQ(ask(build(direct), "a", "b").route, Route::bus_address);
  TopologyParts listed = with_host_bridge(0x8086, 0x2030);
  listed.cpu = Unknown{};
  EXPECT_EQ(ask(build(listed), "a", "b").route, Route::through_host_bridge);
  TopologyParts unlisted = with_host_bridge(0x8086, 0x29c0);
  unlisted.cpu = Unknown{};
  const LinuxAnswer answer = ask(build(unlisted), "a", "b");
  EXPECT_EQ(answer.route, Route::unknown);
  EXPECT_THAT(answer.remedies, Contains(Field(&Remedy::command, HasSubstr("--cpu VENDOR:FAMILY"))));
}

TEST(LinuxRule, AnUnknownHostBridgeMattersOnlyIfTheCpuDoesNotDecide) {
  TopologyParts parts = with_host_bridge(0x8086, 0);
  parts.functions[0].device_id = Unknown{"the name is not in pci.ids"};
  EXPECT_EQ(ask(build(parts), "a", "b").route, Route::unknown);
  EXPECT_EQ(ask(build(parts).with_cpu({"AuthenticAMD", 25}), "a", "b").route, Route::through_host_bridge);
  parts.functions[0].vendor_id = std::uint16_t{0x1022};  // a vendor that isn't on the list at all
  EXPECT_EQ(ask(build(parts), "a", "b").route, Route::not_supported);
}

TEST(LinuxRule, ASourceThatLeavesFunctionsOutMayHideTheHostBridge) {
  TopologyParts parts = machine({root_port("rp0", {endpoint("a")}), root_port("rp1", {endpoint("b")})});
  for (FunctionInfo& function : parts.functions)
    if (function.bdf.bus == 0) ++function.bdf.device;
  EXPECT_EQ(ask(build(parts), "a", "b").route, Route::not_supported);
  parts.lists_every_function = false;
  EXPECT_EQ(ask(build(parts), "a", "b").route, Route::unknown);
}

TEST(LinuxRule, RemediesAreCommandsThatClearOnlyTheOffendingBits) {
  const LinuxAnswer answer = ask(one_switch(0x1d, 0x3d), "a", "b");
  EXPECT_EQ(answer.route, Route::not_supported);
  // Numbered as enumeration does: root port 00:00.0, switch 01:00.0, its ports 02:00.0 and 02:01.0.
  EXPECT_THAT(answer.remedies, Contains(Field(&Remedy::command, "setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000:000c")));
  EXPECT_THAT(answer.remedies, Contains(Field(&Remedy::command, "setpci -s 0000:02:01.0 ECAP_ACS+6.w=0000:002c")));
  EXPECT_THAT(answer.remedies, Contains(Field(&Remedy::command, "pci=disable_acs_redir=0000:02:01.0;0000:02:00.0")));
  for (const Remedy& remedy : answer.remedies) {
    EXPECT_FALSE(remedy.effect.empty()) << remedy.command;
    EXPECT_FALSE(remedy.cost.empty()) << remedy.command;
  }
}

TEST(LinuxRule, AMoveNamesTheSwitchAndItsEmptyPorts) {
  const LinuxAnswer answer =
      ask({root_port("rp0", {upstream("u", {downstream("d0", {endpoint("a")}), downstream("d1", {})})}),
           root_port("rp1", {endpoint("b")})},
          "a", "b");
  EXPECT_EQ(answer.route, Route::not_supported);
  const auto remedy = std::find_if(answer.remedies.begin(), answer.remedies.end(), [](const Remedy& each) {
    return each.command.find("below the switch 0000:01:00.0") != std::string::npos;
  });
  ASSERT_NE(remedy, answer.remedies.end());
  EXPECT_THAT(remedy->effect, HasSubstr("0000:02:01.0"));
}

TEST(LinuxRule, AVirtualMachineSaysSo) {
  TopologyParts parts = machine(one_switch());
  parts.is_virtual_machine = true;
  EXPECT_THAT(ask(build(parts), "a", "b").facts, Contains(Field(&Fact::says, HasSubstr("hypervisor"))));
}

}  // namespace
}  // namespace barter::topology
