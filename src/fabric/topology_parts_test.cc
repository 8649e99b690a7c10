// What the fabric tells the analyser of its machines beyond their registers: here, the IOMMU groups.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "barter/topology.hpp"
#include "fabric/fabric.h"
#include "topology/builtin_machines.h"
#include "topology/description.h"

namespace barter::fabric {
namespace {

TopologyParts parts_of(const topology::Description& description) {
  auto fabric = Fabric::create(description, {.host_memory_bytes = 64 << 20});
  EXPECT_TRUE(fabric.has_value()) << fabric.error().message();
  const auto enumerated = (*fabric)->enumerate();
  EXPECT_TRUE(enumerated.has_value()) << enumerated.error().message();
  return (*fabric)->topology();
}

topology::Description builtin(std::string_view name) {
  const auto machine = topology::find_builtin_machine(name);
  EXPECT_TRUE(machine.has_value()) << name;
  auto description = topology::parse_description(machine->toml, name);
  EXPECT_TRUE(description.has_value()) << description.error().message();
  return *description;
}

// By name; the host bridge has none. -1: no IOMMU acts on it.
std::map<std::string, int> groups_of(const topology::Description& description) {
  std::map<std::string, int> groups;
  for (const FunctionInfo& function : parts_of(description).functions) {
    EXPECT_TRUE(function.iommu_group.has_value())
        << function.bdf.to_string() << ": " << function.iommu_group.why_unknown();
    if (!function.iommu_group) continue;
    groups[function.name] = *function.iommu_group ? static_cast<int>(**function.iommu_group) : -1;
  }
  return groups;
}

TEST(IommuGroupsOfTheFabric, AreThereInEveryBuiltInMachineThatHasAnIommu) {
  for (const topology::BuiltinMachine& machine : topology::builtin_machines()) {
    const auto description = builtin(machine.name);
    for (const auto& [name, group] : groups_of(description))
      EXPECT_EQ(group == -1, description.iommu == IommuMode::off) << machine.name << " " << name;
  }
}

TEST(IommuGroupsOfTheFabric, OfTheServerAreEachFunctionsOwn) {
  const auto parts = parts_of(builtin("ai-server"));
  ASSERT_EQ(parts.functions.size(), 2 + 4 * (1 + 1 + 5 + 5u));
  std::map<Bdf, std::uint32_t> groups;
  for (const FunctionInfo& function : parts.functions) groups[function.bdf] = function.iommu_group->value();
  std::uint32_t next = 0;
  for (const auto& [bdf, group] : groups) EXPECT_EQ(group, next++) << bdf.to_string();
}

TEST(IommuGroupsOfTheFabric, OfTheSmallMachinesFollowTheirAcs) {
  const std::map<std::string, int> all_below_the_root_port{{"", 0},      {"rp0", 1},   {"sw0", 1},  {"sw0.0", 1},
                                                           {"sw0.1", 1}, {"nvme0", 1}, {"nvme1", 1}};
  for (const IommuMode mode : {IommuMode::passthrough, IommuMode::translate}) {
    auto two_nvme = builtin("two-nvme");
    two_nvme.iommu = mode;
    EXPECT_EQ(groups_of(two_nvme), all_below_the_root_port);
    // The switch isolates and the root port doesn't.
    auto acs = builtin("acs");
    acs.iommu = mode;
    EXPECT_EQ(groups_of(acs), all_below_the_root_port);
    acs.root_ports[0].port.acs = acs.switches[0].downstream[0].acs;
    EXPECT_EQ(groups_of(acs),
              (std::map<std::string, int>{
                  {"", 0}, {"rp0", 1}, {"sw0", 2}, {"sw0.0", 3}, {"sw0.1", 4}, {"nvme0", 5}, {"nvme1", 6}}));
    auto host_bridge = builtin("host-bridge");
    host_bridge.iommu = mode;
    EXPECT_EQ(groups_of(host_bridge),
              (std::map<std::string, int>{{"", 0}, {"rp0", 1}, {"rp1", 2}, {"nvme0", 1}, {"nvme1", 2}}));
  }
}

}  // namespace
}  // namespace barter::fabric
