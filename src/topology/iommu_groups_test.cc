#include "topology/iommu_groups.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/test_trees.h"

namespace barter::topology {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Group = Known<std::optional<std::uint32_t>>;
using PT = PortType;

// Source Validation, Request Redirect, Completion Redirect and Upstream Forwarding: what Linux switches on for an
// IOMMU.
constexpr std::uint16_t kAll = 0x1d;

Known<std::optional<AcsInfo>> registers(std::uint16_t capability, std::uint16_t control) {
  return std::optional(AcsInfo{.capability = capability, .control = control, .offset = 0x100});
}
const Known<std::optional<AcsInfo>> kNoAcs = std::optional<AcsInfo>{};

TopologyParts translating(const std::vector<Plug>& plugs) {
  TopologyParts parts = machine(plugs);
  parts.iommu = IommuMode::translate;
  return parts;
}

// By name, "?" for unknown: "rp:0 usp:0".
std::string told(const TopologyParts& parts) {
  const std::vector<Group> groups = linux_iommu_groups(parts);
  EXPECT_EQ(groups.size(), parts.functions.size());
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i != 0) text += ' ';
    text += parts.functions[i].name + ':';
    text += !groups[i] ? "?" : *groups[i] ? std::to_string(**groups[i]) : "-";
  }
  return text;
}

Group group_of(const TopologyParts& parts, std::string_view name) {
  const std::vector<Group> groups = linux_iommu_groups(parts);
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (parts.functions[i].name == name) return groups[i];
  ADD_FAILURE() << name;
  return {};
}

struct Row {
  std::uint8_t bus, device, function;
  PT type;
  std::uint8_t secondary;  // 0: no bridge
  std::uint8_t subordinate;
  int acs;  // 0: none; 1: all on; 2: a capability without a bit, as some GPUs have
  std::uint32_t group;
};

TopologyParts machine_of(const std::vector<Row>& rows) {
  TopologyParts parts{.source = "test", .functions = {}, .iommu = IommuMode::translate};
  for (const Row& row : rows) {
    FunctionInfo function{.bdf = {0, row.bus, row.device, row.function}};
    function.vendor_id = std::uint16_t{0x1022};
    function.port_type = row.type;
    if (row.secondary != 0) function.bridge = BusRange{row.secondary, row.subordinate};
    function.acs = row.acs == 0 ? kNoAcs : row.acs == 1 ? registers(0x5f, kAll) : registers(0, 0);
    parts.functions.push_back(std::move(function));
  }
  return parts;
}

void expect_groups_of(const std::vector<Row>& rows) {
  const std::vector<Group> groups = linux_iommu_groups(machine_of(rows));
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(groups[i], Group(std::optional(rows[i].group)))
        << Bdf{0, rows[i].bus, rows[i].device, rows[i].function}.to_string();
}

// The facts and the groups that lspci told of a laptop (Ryzen 9 6900HS, a published listing), as far as bus 7;
// without its 00:00.0 and 00:00.2, the IOMMU itself, which AMD's driver gives no group.
TEST(IommuGroups, AreThoseOfAMachineOfAmd) {
  expect_groups_of({
      {0x00, 0x01, 0, PT::conventional, 0, 0, 0, 0},     {0x00, 0x01, 1, PT::root_port, 1, 3, 1, 1},
      {0x00, 0x02, 0, PT::conventional, 0, 0, 0, 2},     {0x00, 0x02, 1, PT::root_port, 4, 4, 1, 3},
      {0x00, 0x02, 2, PT::root_port, 5, 5, 1, 4},        {0x00, 0x02, 4, PT::root_port, 6, 6, 1, 5},
      {0x00, 0x03, 0, PT::conventional, 0, 0, 0, 6},     {0x00, 0x04, 0, PT::conventional, 0, 0, 0, 7},
      {0x00, 0x08, 0, PT::conventional, 0, 0, 0, 8},     {0x00, 0x08, 1, PT::root_port, 7, 7, 1, 9},
      {0x00, 0x08, 3, PT::root_port, 8, 8, 1, 10},       {0x00, 0x14, 0, PT::conventional, 0, 0, 0, 11},
      {0x00, 0x14, 3, PT::conventional, 0, 0, 0, 11},    {0x00, 0x18, 0, PT::conventional, 0, 0, 0, 12},
      {0x00, 0x18, 1, PT::conventional, 0, 0, 0, 12},    {0x00, 0x18, 2, PT::conventional, 0, 0, 0, 12},
      {0x00, 0x18, 3, PT::conventional, 0, 0, 0, 12},    {0x00, 0x18, 4, PT::conventional, 0, 0, 0, 12},
      {0x00, 0x18, 5, PT::conventional, 0, 0, 0, 12},    {0x00, 0x18, 6, PT::conventional, 0, 0, 0, 12},
      {0x00, 0x18, 7, PT::conventional, 0, 0, 0, 12},    {0x01, 0x00, 0, PT::upstream_port, 2, 3, 0, 13},
      {0x02, 0x00, 0, PT::downstream_port, 3, 3, 1, 14}, {0x03, 0x00, 0, PT::legacy_endpoint, 0, 0, 2, 15},
      {0x03, 0x00, 1, PT::legacy_endpoint, 0, 0, 2, 16}, {0x04, 0x00, 0, PT::endpoint, 0, 0, 0, 17},
      {0x05, 0x00, 0, PT::endpoint, 0, 0, 0, 18},        {0x06, 0x00, 0, PT::endpoint, 0, 0, 0, 19},
      {0x07, 0x00, 0, PT::legacy_endpoint, 0, 0, 2, 20}, {0x07, 0x00, 1, PT::legacy_endpoint, 0, 0, 2, 21},
  });
}

// The example of Linux's Documentation/driver-api/vfio.rst: 00:1e.0, 06:0d.0 and 06:0d.1 make one group.
TEST(IommuGroups, AreOneBehindAConventionalBridge) {
  expect_groups_of({{0x00, 0x1e, 0, PT::conventional, 6, 6, 0, 0},
                    {0x06, 0x0d, 0, PT::conventional, 0, 0, 0, 0},
                    {0x06, 0x0d, 1, PT::conventional, 0, 0, 0, 0}});
}

// Express below a bridge from conventional PCI: however well it isolates, requests carry the upper bridge's ID.
TEST(IommuGroups, AreOneBehindAConventionalBridgeHoweverDeep) {
  expect_groups_of({{0, 0, 0, PT::conventional, 0, 0, 0, 0},
                    {0, 1, 0, PT::root_port, 1, 3, 1, 1},
                    {1, 0, 0, PT::pcie_to_pci_bridge, 2, 3, 0, 2},
                    {2, 0, 0, PT::pci_to_pcie_bridge, 3, 3, 0, 2},
                    {3, 0, 0, PT::endpoint, 0, 0, 0, 2}});
}

TEST(IommuGroups, AreOneFromARootPortWithoutAcsDown) {
  EXPECT_EQ(told(translating(one_switch())), "rp:0 usp:0 dsp0:0 a:0 dsp1:0 b:0");
  // What the ports below do doesn't help.
  EXPECT_EQ(told(translating(one_switch(kAll, kAll, 0))), "rp:0 usp:0 dsp0:0 a:0 dsp1:0 b:0");
  std::vector<Plug> plain = one_switch();
  plain[0].acs = kNoAcs;
  EXPECT_EQ(told(translating(plain)), "rp:0 usp:0 dsp0:0 a:0 dsp1:0 b:0");
}

TEST(IommuGroups, AreEachItsOwnWhereAllPortsIsolate) {
  TopologyParts parts = translating(one_switch(kAll, kAll, kAll));
  const std::string each_its_own = "rp:0 usp:1 dsp0:2 a:4 dsp1:3 b:5";
  EXPECT_EQ(told(parts), each_its_own);
  parts.iommu = IommuMode::passthrough;
  EXPECT_EQ(told(parts), each_its_own);
}

// Linux looks upwards only: that the two ports can reach each other does not bring their groups together.
TEST(IommuGroups, JoinThatOfTheLowestPortThatDoesNotIsolate) {
  EXPECT_EQ(told(translating(one_switch(0, 0, kAll))), "rp:0 usp:1 dsp0:2 a:2 dsp1:3 b:3");
  EXPECT_EQ(told(translating(one_switch(kAll, 0, kAll))), "rp:0 usp:1 dsp0:2 a:4 dsp1:3 b:3");
}

TEST(IommuGroups, NeedEachOfTheFourControlsThatThePortHas) {
  for (const int missing : {0x01, 0x04, 0x08, 0x10})
    EXPECT_EQ(told(translating({root_port("rp", {endpoint("a")}, static_cast<std::uint16_t>(kAll & ~missing))})),
              "rp:0 a:0")
        << missing;
  // Translation Blocking, Egress Control and Direct Translated P2P are not asked for.
  EXPECT_EQ(told(translating({root_port("rp", {endpoint("a")}, kAll)})), "rp:0 a:1");
  // Those that the capability lacks are wired on.
  std::vector<Plug> plugs = {root_port("rp", {endpoint("a")})};
  plugs[0].acs = registers(0x05, 0x05);
  EXPECT_EQ(told(translating(plugs)), "rp:0 a:1");
  plugs[0].acs = registers(0x05, 0x01);
  EXPECT_EQ(told(translating(plugs)), "rp:0 a:0");
}

TEST(IommuGroups, AreSharedByFunctionsOfADeviceThatDoNotIsolate) {
  const auto device = [](Known<std::optional<AcsInfo>> second) {
    return translating({root_port(
        "rp", {{.name = "f0"}, {.name = "f1", .acs = std::move(second), .function = 1}, {.name = "f2", .function = 2}},
        kAll)});
  };
  EXPECT_EQ(told(device(kNoAcs)), "rp:0 f0:1 f1:1 f2:1");
  EXPECT_EQ(told(device(registers(0x5f, kAll))), "rp:0 f0:1 f1:2 f2:1");
  EXPECT_EQ(told(device(registers(0x5f, 0))), "rp:0 f0:1 f1:1 f2:1");
}

TEST(IommuGroups, OfVirtualFunctionsAreTheirOwn) {
  const std::vector<Plug> card = {{.name = "pf"},
                                  {.name = "vf1", .function = 1, .is_virtual = true},
                                  {.name = "vf2", .function = 2, .is_virtual = true}};
  EXPECT_EQ(told(translating({root_port("rp", card, kAll)})), "rp:0 pf:1 vf1:2 vf2:3");
  EXPECT_EQ(told(translating({root_port("rp", card)})), "rp:0 pf:0 vf1:0 vf2:0");
  const std::vector<Plug> beside = {
      {.name = "pf"}, {.name = "f1", .function = 1}, {.name = "vf", .function = 4, .is_virtual = true}};
  EXPECT_EQ(told(translating({root_port("rp", beside, kAll)})), "rp:0 pf:1 f1:1 vf:2");
}

TEST(IommuGroups, OfIntelsIntegratedEndpointsAreTheirOwn) {
  TopologyParts parts = translating({{.name = "f0", .type = PT::root_complex_endpoint},
                                     {.name = "f1", .type = PT::root_complex_endpoint, .function = 1}});
  EXPECT_EQ(told(parts), "f0:0 f1:0");
  for (FunctionInfo& function : parts.functions) function.vendor_id = std::uint16_t{0x8086};
  EXPECT_EQ(told(parts), "f0:0 f1:1");
  parts.functions[1].vendor_id = Unknown{"not told"};
  EXPECT_EQ(told(parts), "f0:0 f1:1") << "no other function of the device is in want of company";
  parts.functions[0].vendor_id = Unknown{"not told"};
  EXPECT_EQ(told(parts), "f0:0 f1:?");
}

TEST(IommuGroups, AreUnknownWhereTheAcsThatDecidesIs) {
  std::vector<Plug> plugs = one_switch(kAll, kAll, kAll);
  plugs[0].below[0].below[0].acs = Unknown{"lspci ran without root"};
  TopologyParts parts = translating(plugs);
  EXPECT_EQ(told(parts), "rp:0 usp:1 dsp0:2 a:? dsp1:3 b:?");
  EXPECT_THAT(group_of(parts, "a").why_unknown(), AllOf(HasSubstr("0000:02:00.0"), HasSubstr("without root")));
  EXPECT_THAT(group_of(parts, "b").why_unknown(), HasSubstr("can't be counted"));
  // Where the root port doesn't isolate it is all the same.
  plugs[0].acs = kNoAcs;
  EXPECT_EQ(told(translating(plugs)), "rp:0 usp:0 dsp0:0 a:0 dsp1:0 b:0");
}

TEST(IommuGroups, AreUnknownBelowWhatIsUnknown) {
  TopologyParts parts = translating({root_port("rp", {endpoint("a")}, kAll)});
  parts.functions[0].port_type = Unknown{"config space ended"};
  EXPECT_THAT(group_of(parts, "a").why_unknown(), AllOf(HasSubstr("0000:00:00.0"), HasSubstr("config space ended")));
  EXPECT_EQ(group_of(parts, "rp"), Group(std::optional(0u))) << "alone in its device, on a root bus";
}

TEST(IommuGroups, FollowTheMode) {
  TopologyParts parts = machine(one_switch());
  EXPECT_EQ(told(parts), "rp:- usp:- dsp0:- a:- dsp1:- b:-");
  parts.iommu = Unknown{"not captured"};
  EXPECT_EQ(told(parts), "rp:? usp:? dsp0:? a:? dsp1:? b:?");
  EXPECT_THAT(group_of(parts, "a").why_unknown(), HasSubstr("not captured"));
}

TEST(IommuGroups, ComeInTheOrderInWhichTheFunctionsAreGiven) {
  TopologyParts parts = translating({root_port("rp", {endpoint("a")}, kAll), root_port("rp1", {endpoint("b")}, kAll)});
  std::reverse(parts.functions.begin(), parts.functions.end());
  EXPECT_EQ(told(parts), "b:3 rp1:1 a:2 rp:0");
}

TEST(IommuGroups, AreUnknownInWhatIsNoTree) {
  TopologyParts parts = translating({endpoint("a")});
  parts.functions.push_back(parts.functions[0]);
  EXPECT_THAT(linux_iommu_groups(parts), ElementsAre(testing::Not(testing::IsTrue()), testing::Not(testing::IsTrue())));
  parts.functions.clear();
  EXPECT_TRUE(linux_iommu_groups(parts).empty());
}

}  // namespace
}  // namespace barter::topology
