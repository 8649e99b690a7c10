// The peer contract on the software PCIe.
#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peer_fabric_machine.h"

namespace barter::contract {
namespace {

using testing::ElementsAre;

INSTANTIATE_TEST_SUITE_P(
    OnFabric, PeerContract,
    testing::Values(machine("switch", {}), machine("switch_with_iommu", {.iommu = IommuMode::translate}),
                    machine("acs", {.acs = kAcsRedirects, .route = Route::through_host_bridge}),
                    machine("acs_with_iommu", kAcsWithIommu),
                    machine("host_bridge", {.one_switch = false, .route = Route::through_host_bridge}),
                    machine("host_bridge_with_iommu", kHostBridgeWithIommu), machine("threaded_switch", threaded({})),
                    machine("threaded_acs_with_iommu", threaded(kAcsWithIommu)),
                    machine("direct_translated", kDirectTranslated),
                    machine("redirected_translated", kRedirectedTranslated),
                    machine("threaded_direct_translated", threaded(kDirectTranslated))),
    name_of_param);

INSTANTIATE_TEST_SUITE_P(OnFabric, PeerContractGuarded,
                         testing::Values(machine("acs_with_iommu", kAcsWithIommu),
                                         machine("host_bridge_with_iommu", kHostBridgeWithIommu),
                                         machine("threaded_acs_with_iommu", threaded(kAcsWithIommu)),
                                         machine("direct_translated", kDirectTranslated),
                                         machine("redirected_translated", kRedirectedTranslated)),
                         name_of_param);

// A device that never stops writing, while its mapping is revoked under it.

TEST_P(PeerOnFabric, Point4_storm_of_writes_stops_dead_when_revoke_returns) {
  Region region = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = lease->segments()[0].address;
  DmaEngine& engine = here().importer(0);
  engine.letting_go = LettingGo::never;
  engine.held.push_back(std::move(*lease));
  engine.storm(at);
  ASSERT_TRUE(after(engine.storms_arrived, 100));

  const auto report = region.revoke({.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  const std::vector<std::byte> then = contents(region);
  const std::uint64_t arrived = engine.storms_arrived;
  const fabric::Counters counted = here().fabric().counters();
  EXPECT_THAT(report->late, ElementsAre(engine.function()));

  ASSERT_TRUE(after(engine.storms_refused, 1000));
  EXPECT_EQ(contents(region), then) << "a byte arrived after revoke() had returned";
  EXPECT_LE(engine.storms_arrived, arrived + 1) << "one write may have been done and not yet counted";
  const fabric::Counters now = here().fabric().counters();
  if (machine().guarded())
    EXPECT_GE(now.iommu_faults, counted.iommu_faults + 999);
  else
    EXPECT_GE(now.blocked_requests, counted.blocked_requests + 999);
  EXPECT_EQ(now.host_data_written_bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(Storm, PeerOnFabric,
                         testing::Values(machine("switch", {}), machine("acs_with_iommu", kAcsWithIommu),
                                         machine("host_bridge_with_iommu", kHostBridgeWithIommu),
                                         machine("threaded_switch", threaded({})),
                                         machine("threaded_acs_with_iommu", threaded(kAcsWithIommu)),
                                         machine("direct_translated", kDirectTranslated),
                                         machine("redirected_translated", kRedirectedTranslated),
                                         machine("threaded_direct_translated", threaded(kDirectTranslated)),
                                         machine("threaded_redirected_translated", threaded(kRedirectedTranslated))),
                         name_of_param);

// The device vanishes from its slot in the middle of a transfer.
TEST_P(PeerOnFabric, Point6_importer_pulled_out_in_mid_transfer_takes_nobody_with_it) {
  const Region region = allocate(4_KiB);
  const Mapping leaving = map(0, region);
  const Mapping staying = map(1, region);
  auto lease = leaving.lease();
  ASSERT_TRUE(lease);
  here().importer(0).letting_go = LettingGo::never;
  here().importer(0).held.push_back(std::move(*lease));
  here().fabric().remove(here().importer(0).function());
  const auto report = exchange().remove(here().importer(0), {.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_FALSE(leaving.lease());
  const auto still = staying.lease();
  ASSERT_TRUE(still);
  EXPECT_TRUE(here().write(1, still->segments()[0].address, std::vector<std::byte>(4096, std::byte{1})));
  EXPECT_EQ(contents(region), std::vector<std::byte>(4096, std::byte{1}));
}

}  // namespace
}  // namespace barter::contract
