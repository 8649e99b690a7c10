// The peer contract on importers that do not let go by the deadline: they are cut off, reported, and get no memory for a while. The
// number in a test's name is the point of the contract that it shows.
#include <cstdint>
#include <utility>

#include <gmock/gmock.h>

#include "peer_contract.h"

namespace barter::contract {

using namespace barter::literals;
using peer::Refusal;
using testing::ElementsAre;

TEST_P(PeerContract, Point4_late_importer_is_cut_off_and_reported) {
  Region region = allocate(4_KiB);
  const Region other = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  const Mapping bystander = map(1, other);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = start_of(*lease);
  const auto before = pattern(4_KiB, 5);
  ASSERT_TRUE(machine().write(0, at, before));
  machine().set_letting_go(0, LettingGo::never);
  machine().hold(0, std::move(*lease));

  const auto report = region.revoke({.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, ElementsAre(machine().importer(0).function()));
  const std::uint64_t refused = machine().refused_requests();
  EXPECT_FALSE(machine().write(0, at, pattern(4_KiB, 77)));
  EXPECT_EQ(contents(region), before);  // not a byte
  EXPECT_GT(machine().refused_requests(), refused);
  EXPECT_EQ(exchange().counters().late_importers, 1u);
  EXPECT_EQ(exchange().counters().isolated_importers, machine().guarded() ? 0u : 1u);

  // Everyone else goes on.
  const auto still = bystander.lease();
  ASSERT_TRUE(still);
  EXPECT_TRUE(machine().write(1, start_of(*still), pattern(4_KiB, 6)));
}

TEST_P(PeerContract, Point4_cut_off_importer_gets_no_memory_before_its_transfers_have_ended_or_it_is_readmitted) {
  Region region = allocate(4_KiB);
  const Region other = allocate(4_KiB);
  machine().set_letting_go(0, LettingGo::never);
  int asked = 0;
  if (machine().owner() != nullptr)
    machine().on_request([&](const Request&) {
      ++asked;
      return Answer::direct();
    });
  // The first time its transfers end by themselves, the second time its driver has reset it.
  for (const bool is_reset : {false, true}) {
    const Mapping mapping = map(0, region);
    auto lease = mapping.lease();
    ASSERT_TRUE(lease);
    machine().hold(0, std::move(*lease));
    ASSERT_TRUE(region.invalidate({.deadline = 1ms}));
    asked = 0;
    const auto refused = exchange().try_map(machine().importer(0), other);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, machine().guarded() ? Refusal::late_importer : Refusal::device_gone);
    EXPECT_EQ(refused.error().error.code, ErrorCode::device_failed);
    EXPECT_EQ(asked, 0);
    EXPECT_TRUE(exchange().try_map(machine().importer(1), other)) << "the others have done nothing";
    if (!is_reset) machine().end_transfers(0);
    EXPECT_EQ(exchange().try_map(machine().importer(0), other).has_value(), machine().guarded() && !is_reset)
        << "who was isolated stays so";
    exchange().readmit(machine().importer(0));
    EXPECT_TRUE(exchange().try_map(machine().importer(0), other));
  }
}

// What was in flight when the memory was taken away arrives later, when the importer's driver thinks of new memory already.
TEST_P(PeerContract, Point4_what_arrives_late_does_not_reach_what_is_mapped_next) {
  Region region = allocate(4_KiB);
  const Region next = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = start_of(*lease);
  machine().set_letting_go(0, LettingGo::never);
  machine().hold(0, std::move(*lease));
  ASSERT_TRUE(region.invalidate({.deadline = 1ms}));
  const auto before = contents(next);
  {
    const auto mapped = exchange().try_map(machine().importer(0), next);
    EXPECT_FALSE(machine().write(0, at, pattern(4_KiB, 5)));
    EXPECT_FALSE(mapped);
  }
  EXPECT_EQ(contents(next), before);
  machine().end_transfers(0);
  if (!machine().guarded()) return;
  const Mapping mapped = map(0, next);
  const auto leased = mapped.lease();
  ASSERT_TRUE(leased);
  EXPECT_TRUE(machine().write(0, start_of(*leased), pattern(4_KiB, 6)));
  EXPECT_EQ(contents(next), pattern(4_KiB, 6));
}

}  // namespace barter::contract
