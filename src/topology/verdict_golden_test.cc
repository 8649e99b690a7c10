// One server, captured with its IOMMU off and on (shared/data/machines, not part of the repository): all that Linux changed
// about ACS is what the verdicts may differ by.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "topology/load.h"

namespace barter::topology {
namespace {

std::filesystem::path machines() {
  const char* shared = std::getenv("BARTER_SHARED");
  return (shared != nullptr ? std::filesystem::path(shared) : std::filesystem::path(BARTER_SOURCE_DIR) / "../shared") /
         "data/machines";
}

std::optional<Topology> load(const std::string& name) {
  const std::filesystem::path file = machines() / name / "lspci.txt";
  std::ifstream stream(file);
  if (!stream) return std::nullopt;
  std::stringstream text;
  text << stream.rdbuf();
  auto parts = load_lspci_text(text.str(), name);
  EXPECT_TRUE(parts.has_value()) << parts.error().message();
  auto topology = Topology::build(*parts);
  EXPECT_TRUE(topology.has_value()) << topology.error().message();
  return *topology;
}

bool redirects(const FunctionInfo& function) {
  return function.acs && *function.acs && ((*function.acs)->control & 0x2c) != 0;
}

TEST(VerdictGolden, TheIommuChangesOnlyWhatPassesTheRedirectingPorts) {
  const auto off = load("dell-t630");
  const auto on = load("dell-t630-iommu");
  if (!off || !on) GTEST_SKIP() << "skipped: no captured machines in " << machines();
  ASSERT_EQ(off->functions().size(), on->functions().size());
  // With a CPU for which the host bridge always answers, so that every difference shows.
  const Topology zen_off = off->with_cpu({"AuthenticAMD", 25});
  const Topology zen_on = on->with_cpu({"AuthenticAMD", 25});
  unsigned redirecting = 0;
  for (const FunctionInfo& function : zen_on.functions()) redirecting += redirects(function) ? 1u : 0u;
  EXPECT_EQ(redirecting, 3u);
  unsigned changed = 0;
  for (const FunctionInfo& client : zen_on.functions()) {
    for (const FunctionInfo& provider : zen_on.functions()) {
      const VerdictQuery query{.client = client.bdf, .provider = provider.bdf};
      const LinuxAnswer before = zen_off.verdict(query).by_linux;
      const LinuxAnswer after = zen_on.verdict(query).by_linux;
      EXPECT_EQ(before.distance, after.distance);
      if (before.route == after.route) continue;
      ++changed;
      EXPECT_EQ(before.route, Route::bus_address);
      EXPECT_EQ(after.route, Route::through_host_bridge);
      EXPECT_FALSE(after.facts.empty());
    }
  }
  EXPECT_GT(changed, 0u);
}

}  // namespace
}  // namespace barter::topology
