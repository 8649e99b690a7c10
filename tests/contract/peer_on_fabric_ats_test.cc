// Point 4 of the peer contract against devices that ask the IOMMU and keep its answers (PCIe's Address Translation
// Services), and against one that ignores being told to drop them: where a switch lets its requests pass directly, no IOMMU
// stands in its way.
#include <atomic>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peer_fabric_machine.h"

namespace barter::contract {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class PeerOnFabricAts : public PeerOnFabric {
 protected:
  // The first importer writes in every step, by a mapping of the region, and its device keeps what the IOMMU told it.
  void SetUp() override {
    PeerOnFabric::SetUp();
    region_ = allocate(4_KiB);
    mapping_ = map(0, *region_);
    auto lease = mapping_->lease();
    ASSERT_TRUE(lease);
    lease_ = std::move(*lease);
    here().fabric().ignore_invalidations(engine().function(), true);
    engine().storm(lease_->segments()[0].address);
    ASSERT_TRUE(after(engine().storms_arrived, 100));
  }
  void TearDown() override {
    engine().storm(std::nullopt);
    lease_.reset();
    mapping_.reset();
    region_.reset();
  }
  DmaEngine& engine() { return here().importer(0); }
  [[nodiscard]] bool is_direct() { return here().expected_route() == Route::bus_address; }

  // Nothing arrives from here on, and it is the right guard that stops it.
  void expect_silence() {
    const std::vector<std::byte> then = contents(*region_);
    const fabric::Counters counted = here().fabric().counters();
    ASSERT_TRUE(after(engine().storms_refused, 1000));
    EXPECT_EQ(contents(*region_), then) << "a byte arrived";
    const fabric::Counters now = here().fabric().counters();
    if (is_direct()) {
      EXPECT_GE(now.blocked_requests, counted.blocked_requests + 999) << "Bus Master Enable";
    } else {
      EXPECT_GE(now.iommu_faults, counted.iommu_faults + 999);
      EXPECT_TRUE(here().fabric().iommu_faults().back().is_translated);
    }
    EXPECT_EQ(now.ignored_invalidations, 1u);
    EXPECT_EQ(exchange().counters().isolated_importers, is_direct() ? 1u : 0u);
  }

  std::optional<Region> region_;
  std::optional<Mapping> mapping_;
  std::optional<Lease> lease_;
};

TEST_P(PeerOnFabricAts, Point4_neither_lease_nor_translation_is_given_up) {
  engine().letting_go = LettingGo::never;
  engine().held.push_back(std::move(*lease_));
  const auto report = region_->revoke({.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, ElementsAre(engine().function()));
  expect_silence();
  EXPECT_EQ(exchange().counters().late_importers, 1u);
}

// The driver is honest, its device is not: it counts as late where no IOMMU could stop it.
TEST_P(PeerOnFabricAts, Point4_lease_is_given_up_and_translation_is_not) {
  lease_.reset();
  const auto report = region_->revoke();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, SizeIs(is_direct() ? 1u : 0u));
  expect_silence();
}

// No revocation is at work when the device shows what it is; the next one reports it.
TEST_P(PeerOnFabricAts, Point4_mapping_is_dropped_and_translation_is_not) {
  lease_.reset();
  mapping_.reset();
  expect_silence();
  const auto report = region_->revoke();
  ASSERT_TRUE(report);
  EXPECT_THAT(report->late, SizeIs(is_direct() ? 1u : 0u));
  EXPECT_EQ(report->mappings, 0u);
}

TEST_P(PeerOnFabricAts, Point4_device_is_trusted_again_after_its_reset) {
  lease_.reset();
  ASSERT_TRUE(region_->revoke());
  engine().storm(std::nullopt);
  const Region other = allocate(4_KiB);
  EXPECT_EQ(exchange().try_map(engine(), other).has_value(), !is_direct());
  here().fabric().ignore_invalidations(engine().function(), false);
  ASSERT_TRUE(here().fabric().function(engine().function()).value()->reset());
  here().fabric().set_bus_master(engine().function(), true);
  exchange().readmit(engine());
  const Mapping mapping = map(0, other);
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const std::vector<std::byte> then = contents(*region_);
  EXPECT_TRUE(here().write(0, lease->segments()[0].address, std::vector<std::byte>(4096, std::byte{9})));
  EXPECT_EQ(contents(other), std::vector<std::byte>(4096, std::byte{9}));
  EXPECT_EQ(contents(*region_), then);
}

INSTANTIATE_TEST_SUITE_P(Defiant, PeerOnFabricAts,
                         testing::Values(machine("direct", kDirectTranslated),
                                         machine("redirected", kRedirectedTranslated),
                                         machine("threaded_direct", threaded(kDirectTranslated)),
                                         machine("threaded_redirected", threaded(kRedirectedTranslated))),
                         name_of_param);

}  // namespace
}  // namespace barter::contract
