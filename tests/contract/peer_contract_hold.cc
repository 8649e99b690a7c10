// The peer contract on the two ways to hold memory (barter::Hold): pinned, which the owner has promised not to move, and
// dynamic. The number in a test's name is the point of the contract that it shows.
#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "peer/region.h"
#include "peer_contract.h"

namespace barter::contract {

using namespace barter::literals;
using peer::Refusal;
using testing::HasSubstr;
using testing::SizeIs;

TEST_P(PeerContract, Point1_owner_is_told_how_the_memory_is_to_be_held_and_may_refuse) {
  const Region region = allocate(8_KiB);
  machine().on_request([](const Request& request) {
    return request.hold == Hold::pinned ? Answer::refuse("it is about to move") : Answer::direct();
  });
  const auto refused = exchange().try_map(machine().importer(0), region, {.hold = Hold::pinned});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_refused);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("it is about to move"));
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u) << "what was refused holds nothing";
  const Mapping dynamic = map(0, region);
  EXPECT_EQ(dynamic.hold(), Hold::dynamic);
}

TEST_P(PeerContract, Point1_owner_that_lets_nobody_pin_is_not_asked_and_says_so) {
  const Region region = allocate(8_KiB);
  machine().limit_pins(0);
  int asked = 0;
  machine().on_request([&](const Request&) {
    ++asked;
    return Answer::direct();
  });
  const auto refused = exchange().try_map(machine().importer(0), region, {.hold = Hold::pinned});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_refused);
  EXPECT_EQ(refused.error().error.code, ErrorCode::refused);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("map it dynamic"));
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region));
}

TEST_P(PeerContract, Point1_pinning_past_the_owners_limit_is_refused_with_numbers_until_something_is_unmapped) {
  const Region region = allocate(64_KiB);
  machine().limit_pins(16_KiB);
  // Parts of pages count as whole ones: the owner can't move half a page.
  std::optional<Mapping> first = map(0, region, {.offset = 8_KiB + 100, .bytes = 4_KiB, .hold = Hold::pinned});
  EXPECT_EQ(first->hold(), Hold::pinned);
  EXPECT_EQ(exchange().counters().pinned_bytes, 8_KiB);
  const Mapping second = map(1, region, {.bytes = 8_KiB, .hold = Hold::pinned});
  const auto refused = exchange().try_map(machine().importer(1), region, {.bytes = 1, .hold = Hold::pinned});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::pin_limit);
  EXPECT_EQ(refused.error().error.code, ErrorCode::exhausted);
  EXPECT_THAT(refused.error().error.message(),
              HasSubstr("4096 bytes are to be pinned, 16384 are pinned already, and the "
                        "owner allows 16384"));
  EXPECT_EQ(exchange().counters().refused_for(Refusal::pin_limit), 1u);
  EXPECT_TRUE(exchange().try_map(machine().importer(1), region)) << "dynamic mappings have no limit";
  first.reset();
  EXPECT_EQ(exchange().counters().pinned_bytes, 8_KiB);
  EXPECT_TRUE(exchange().try_map(machine().importer(1), region, {.bytes = 8_KiB, .hold = Hold::pinned}));
}

// As where a region belongs to another process than the device does.
TEST_P(PeerContract, Point1_region_may_have_a_pin_limit_of_its_own_below_that_of_its_exporter) {
  const Region mine = allocate(64_KiB);
  const Region theirs = allocate(64_KiB);
  theirs.state()->limit_pins(8_KiB);
  std::optional<Mapping> pinned = map(0, theirs, {.bytes = 8_KiB, .hold = Hold::pinned});
  const auto past = exchange().try_map(machine().importer(1), theirs, {.bytes = 1, .hold = Hold::pinned});
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().reason, Refusal::pin_limit);
  EXPECT_THAT(past.error().error.message(), HasSubstr("8192 are pinned already, and the owner allows 8192"));
  const Mapping other = map(1, mine, {.bytes = 32_KiB, .hold = Hold::pinned});
  machine().limit_pins(40_KiB);
  EXPECT_FALSE(exchange().try_map(machine().importer(1), mine, {.bytes = 1, .hold = Hold::pinned}));
  theirs.state()->limit_pins(std::nullopt);
  EXPECT_FALSE(exchange().try_map(machine().importer(1), theirs, {.bytes = 1, .hold = Hold::pinned}))
      << "the exporter's limit counts as well";
  pinned.reset();
  EXPECT_TRUE(exchange().try_map(machine().importer(1), theirs, {.bytes = 8_KiB, .hold = Hold::pinned}));
  theirs.state()->limit_pins(0);
  const auto none = exchange().try_map(machine().importer(1), theirs, {.bytes = 1, .hold = Hold::pinned});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, Refusal::owner_refused);
  EXPECT_EQ(exchange().counters().pinned_bytes, 32_KiB) << "what was refused holds nothing";
}

TEST_P(PeerContract, Point1_limit_that_is_lowered_moves_nothing_that_is_pinned) {
  Region region = allocate(16_KiB);
  const Mapping pinned = map(0, region, {.hold = Hold::pinned});
  machine().limit_pins(4_KiB);
  EXPECT_TRUE(pinned.lease());
  EXPECT_FALSE(exchange().try_map(machine().importer(1), region, {.bytes = 1, .hold = Hold::pinned}));
  ASSERT_TRUE(region.revoke());
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u);
  const Region other = allocate(4_KiB);
  EXPECT_TRUE(exchange().try_map(machine().importer(1), other, {.hold = Hold::pinned}));
}

TEST_P(PeerContract, Point5_pinned_memory_does_not_move_and_nobody_is_told_of_the_attempt) {
  Region region = allocate(16_KiB);
  const Mapping pinned = map(0, region, {.bytes = 4_KiB, .hold = Hold::pinned});
  const Mapping dynamic = map(1, region);
  const auto before = exchange().counters();
  const auto refused = region.invalidate();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::pinned);
  EXPECT_THAT(refused.error().message(), HasSubstr(machine().importer(0).function().to_string() + " (4096 bytes)"));
  EXPECT_THAT(machine().told(0), SizeIs(0));
  EXPECT_THAT(machine().told(1), SizeIs(0));
  EXPECT_EQ(exchange().counters().invalidations, before.invalidations);
  EXPECT_EQ(exchange().counters().invalidations_refused, before.invalidations_refused + 1);
  // Both go on as if nothing had happened.
  for (unsigned index : {0u, 1u}) {
    const auto lease = (index == 0 ? pinned : dynamic).lease();
    ASSERT_TRUE(lease);
    EXPECT_TRUE(machine().write(index, start_of(*lease), pattern(4_KiB, static_cast<unsigned char>(index))));
  }
  EXPECT_EQ(machine().contents({region.range().offset, 4_KiB}), pattern(4_KiB, 1));
}

// Managed memory moves single pages of a region.
TEST_P(PeerContract, Point5_pages_that_are_not_pinned_move_beside_those_that_are) {
  const Region region = allocate(16_KiB);
  const Mapping pinned = map(0, region, {.bytes = 4_KiB, .hold = Hold::pinned});
  const Mapping dynamic = map(1, region, {.offset = 8_KiB, .bytes = 4_KiB});
  EXPECT_TRUE(region.state()->invalidate_part({8_KiB, 4_KiB}, {}));
  EXPECT_TRUE(dynamic.is_revoked());
  EXPECT_TRUE(pinned.lease());
  const auto refused = region.state()->invalidate_part({0, 8_KiB}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::pinned);
  EXPECT_TRUE(pinned.lease());
}

TEST_P(PeerContract, Point5_memory_moves_again_once_the_last_lease_of_the_pin_has_ended) {
  Region region = allocate(8_KiB);
  std::optional<Mapping> pinned = map(0, region, {.hold = Hold::pinned});
  std::optional<Lease> lease = std::move(*pinned->lease());
  pinned.reset();
  EXPECT_FALSE(region.invalidate()) << "its transfer is still in flight";
  EXPECT_EQ(exchange().counters().pinned_bytes, 8_KiB);
  lease.reset();
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u);
  const Mapping dynamic = map(1, region);
  EXPECT_TRUE(region.invalidate());
  EXPECT_TRUE(dynamic.is_revoked());
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region, {.hold = Hold::pinned}));
}

TEST_P(PeerContract, Point4_pinned_memory_is_revoked_for_good_like_any_other) {
  Region region = allocate(4_KiB);
  const Mapping pinned = map(0, region, {.hold = Hold::pinned});
  auto lease = pinned.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = start_of(*lease);
  machine().set_letting_go(0, LettingGo::never);
  machine().hold(0, std::move(*lease));
  const auto report = region.revoke({.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, testing::ElementsAre(machine().importer(0).function()));
  EXPECT_FALSE(machine().write(0, at, pattern(4_KiB, 3)));
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u);
}

TEST_P(PeerContract, Point6_pins_of_an_importer_that_leaves_are_given_back) {
  Region region = allocate(8_KiB);
  const Mapping leaving = map(0, region, {.hold = Hold::pinned});
  ASSERT_FALSE(region.invalidate());
  ASSERT_TRUE(exchange().remove(machine().importer(0)));
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u);
  EXPECT_TRUE(region.invalidate());
}

TEST_P(PeerContract, Point6_pins_outlive_the_memory_only_as_handles) {
  Region region = allocate(8_KiB);
  const Mapping pinned = map(0, region, {.hold = Hold::pinned});
  ASSERT_TRUE(exchange().withdraw(machine().exporter()));
  EXPECT_EQ(exchange().counters().pinned_bytes, 0u);
  EXPECT_EQ(pinned.hold(), Hold::pinned);
  EXPECT_FALSE(pinned.lease());
}

}  // namespace barter::contract
