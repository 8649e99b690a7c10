// The peer contract on a bus of arrays, and those of its points that need verdicts or failures that a test chooses.
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peer_contract.h"
#include "peer_contract_fake.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using peer::Refusal;
using testing::HasSubstr;

PeerMachineParam fake(std::string name, Route route, bool iommu) {
  return {std::move(name), [=] { return std::make_unique<FakeMachine>(route, iommu); }};
}

INSTANTIATE_TEST_SUITE_P(OnArrays, PeerContract,
                         testing::Values(fake("switch", Route::bus_address, false),
                                         fake("switch_with_iommu", Route::bus_address, true),
                                         fake("host_bridge", Route::through_host_bridge, false),
                                         fake("host_bridge_with_iommu", Route::through_host_bridge, true)),
                         name_of_param);

INSTANTIATE_TEST_SUITE_P(OnArrays, PeerContractGuarded,
                         testing::Values(fake("host_bridge_with_iommu", Route::through_host_bridge, true)),
                         name_of_param);

class PeerContractVerdicts : public testing::Test {
 protected:
  // A region, and a mapping attempt under the given verdict.
  auto try_map(peer::RouteAnswer answer, MapOptions options = {}, bool iommu = true) {
    machine_ = std::make_unique<FakeMachine>(Route::through_host_bridge, iommu);
    machine_->rule = [answer](Bdf, Bdf) { return answer; };
    machine_->on_request([this](const Request&) {
      ++asked_;
      return Answer::direct();
    });
    region_.emplace(std::move(*machine_->exchange().allocate(machine_->exporter(), 8_KiB)));
    return machine_->exchange().try_map(machine_->importer(0), *region_, options);
  }
  void TearDown() override { region_.reset(); }

  std::unique_ptr<FakeMachine> machine_;
  std::optional<Region> region_;
  int asked_ = 0;
};

TEST_F(PeerContractVerdicts, Point2_without_a_route_no_mapping_and_the_owner_is_not_even_asked) {
  const auto mapping = try_map({.read = Route::not_supported,
                                .write = Route::not_supported,
                                .why = "0000:00:01.0 redirects requests (ACSCtl.ReqRedir)"});
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().reason, Refusal::no_route);
  EXPECT_EQ(mapping.error().error.code, ErrorCode::no_route);
  EXPECT_THAT(mapping.error().error.message(), HasSubstr("ACSCtl.ReqRedir"));
  EXPECT_EQ(asked_, 0);
}

TEST_F(PeerContractVerdicts, Point2_unknown_route_needs_the_callers_word) {
  const peer::RouteAnswer unknown{.why = "ACS could not be read"};
  const auto refused = try_map(unknown);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::route_unknown);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("ACS could not be read"));
  const auto allowed = machine_->exchange().try_map(machine_->importer(0), *region_, {.allow_unknown_route = true});
  ASSERT_TRUE(allowed);
  EXPECT_EQ(allowed->route(), Route::unknown);
}

TEST_F(PeerContractVerdicts, Point2_reads_and_writes_have_verdicts_of_their_own) {
  const peer::RouteAnswer reads_only{.read = Route::through_host_bridge, .write = Route::not_supported};
  EXPECT_TRUE(try_map(reads_only, {.access = Access::read}));
  EXPECT_FALSE(try_map(reads_only, {.access = Access::write}));
  EXPECT_FALSE(try_map(reads_only, {.access = Access::read_write}));
}

TEST_F(PeerContractVerdicts, Point2_two_ways_behind_an_iommu_are_not_one_mapping) {
  const peer::RouteAnswer two_ways{.read = Route::through_host_bridge, .write = Route::bus_address};
  const auto refused = try_map(two_ways);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::routes_differ);
  EXPECT_TRUE(try_map(two_ways, {.access = Access::write}));
  EXPECT_TRUE(try_map(two_ways, {}, false)) << "without an IOMMU both ways have the same address";
}

TEST_F(PeerContractVerdicts, Point2_hardware_that_takes_no_writes_is_respected) {
  ASSERT_TRUE(try_map({.read = Route::bus_address, .write = Route::bus_address}));
  machine_->exporter().hardware = Access::read;
  EXPECT_TRUE(machine_->exchange().try_map(machine_->importer(0), *region_, {.access = Access::read}));
  const auto refused = machine_->exchange().try_map(machine_->importer(0), *region_, {.access = Access::write});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::hardware_access);
}

TEST_F(PeerContractVerdicts, Point1_memory_without_a_cpu_view_is_shared_all_the_same) {
  ASSERT_TRUE(try_map({.read = Route::bus_address, .write = Route::bus_address}));
  EXPECT_TRUE(region_->cpu_bytes().empty());
  machine_->exporter().cpu_visible = true;
  EXPECT_EQ(region_->cpu_bytes().size(), 8_KiB);
}

TEST_F(PeerContractVerdicts, Point4_memory_of_an_importer_that_cannot_be_cut_off_is_never_used_again) {
  machine_ = std::make_unique<FakeMachine>(Route::bus_address, false);
  auto region = machine_->exchange().allocate(machine_->exporter(), 8_KiB);
  const auto mapping = machine_->exchange().map(machine_->importer(0), *region);
  machine_->importer(0).letting_go = LettingGo::never;
  machine_->importer(0).cannot_isolate = true;
  machine_->hold(0, std::move(*mapping->lease()));
  const auto report = region->revoke({.deadline = 1ms});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::device_failed);
  EXPECT_THAT(report.error().message(), HasSubstr("may still arrive"));
  const MemoryRange lost = region->range();
  region = machine_->exchange().allocate(machine_->exporter(), 4_KiB);
  EXPECT_EQ(machine_->exchange().counters().quarantined_bytes, 8_KiB);
  EXPECT_FALSE(lost.contains(region->range()));
  EXPECT_FALSE(machine_->exchange().allocate(machine_->exporter(), FakeMachine::kMemoryBytes - 8_KiB));
}

TEST_F(PeerContractVerdicts, Point4_revoke_waits_for_an_iommu_entry_that_no_mapping_stands_for_yet) {
  machine_ = std::make_unique<FakeMachine>(Route::through_host_bridge, true);
  auto region = machine_->exchange().allocate(machine_->exporter(), 8_KiB);
  std::atomic<bool> returned = false;
  bool arrived = true;
  std::jthread revoker;
  machine_->importer(0).iommu->on_mapped = [&](DmaAddress at) {
    revoker = std::jthread([&, at] {
      EXPECT_TRUE(region->revoke());
      arrived = machine_->write(0, at, std::vector<std::byte>(16));
      returned = true;
    });
    while (machine_->exchange().counters().revocations == 0) std::this_thread::yield();
    for (int patience = 0; patience < 1000 && !returned; ++patience) std::this_thread::yield();
    EXPECT_FALSE(returned);
  };
  const auto mapping = machine_->exchange().try_map(machine_->importer(0), *region);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().reason, Refusal::revoked);
  revoker.join();
  EXPECT_FALSE(arrived);
}

// The IOMMU gives out again what it forgets; what it gives out before that is something else.
TEST_F(PeerContractVerdicts, Point4_nothing_is_taken_from_a_late_importer_while_its_iommu_makes_a_new_mapping) {
  machine_ = std::make_unique<FakeMachine>(Route::through_host_bridge, true);
  auto region = machine_->exchange().allocate(machine_->exporter(), 4_KiB);
  auto next = machine_->exchange().allocate(machine_->exporter(), 4_KiB);
  const auto mapping = machine_->exchange().map(machine_->importer(0), *region);
  auto lease = mapping->lease();
  const DmaAddress at = start_of(*lease);
  machine_->set_letting_go(0, LettingGo::never);
  machine_->hold(0, std::move(*lease));
  FakeIommu& iommu = *machine_->importer(0).iommu;
  std::jthread revoker;
  iommu.on_mapped = [&](DmaAddress) {
    revoker = std::jthread([&] { EXPECT_TRUE(region->revoke({.deadline = 0ms})); });
    while (machine_->exchange().counters().revocations == 0) std::this_thread::yield();
    for (int patience = 0; patience < 1000; ++patience) std::this_thread::yield();
    const std::lock_guard lock(iommu.mutex_);
    EXPECT_TRUE(iommu.translate(at.value, Access::read)) << "it was taken away meanwhile";
  };
  const auto mapped = machine_->exchange().try_map(machine_->importer(0), *next);
  if (!mapped) {
    EXPECT_EQ(mapped.error().reason, Refusal::late_importer);
  }
  revoker.join();
  EXPECT_FALSE(machine_->write(0, at, std::vector<std::byte>(16)));
  iommu.on_mapped = {};
  EXPECT_FALSE(machine_->exchange().try_map(machine_->importer(0), *next));
  machine_->end_transfers(0);
  EXPECT_TRUE(machine_->exchange().try_map(machine_->importer(0), *next));
}

TEST_F(PeerContractVerdicts, Point1_attempts_that_fail_after_the_pin_was_counted_give_it_back) {
  machine_ = std::make_unique<FakeMachine>(Route::through_host_bridge, true);
  machine_->limit_pins(8_KiB);
  auto region = machine_->exchange().allocate(machine_->exporter(), 8_KiB);
  const auto pin = [&] {
    return machine_->exchange().try_map(machine_->importer(0), *region, {.hold = Hold::pinned}).has_value();
  };
  machine_->importer(0).iommu->fail_next = true;
  EXPECT_FALSE(pin());
  machine_->on_request([&](const Request&) {
    EXPECT_TRUE(region->invalidate()) << "what is not mapped yet does not hold the memory";
    return Answer::direct();
  });
  EXPECT_FALSE(pin());
  machine_->on_request({});
  EXPECT_EQ(machine_->exchange().counters().pinned_bytes, 0u);
  EXPECT_TRUE(pin());
}

TEST_F(PeerContractVerdicts, Point9_a_full_iommu_is_a_passing_failure) {
  machine_ = std::make_unique<FakeMachine>(Route::through_host_bridge, true);
  const auto region = machine_->exchange().allocate(machine_->exporter(), 8_KiB);
  machine_->importer(0).iommu->fail_next = true;
  const auto refused = machine_->exchange().try_map(machine_->importer(0), *region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::exhausted);
  EXPECT_TRUE(machine_->exchange().try_map(machine_->importer(0), *region));
}

}  // namespace
}  // namespace barter::contract
