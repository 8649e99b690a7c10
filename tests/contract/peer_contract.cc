// The tests of the peer contract. The number in a test's name is the point of the contract that it shows.
#include "peer_contract.h"

#include <algorithm>
#include <optional>
#include <ranges>
#include <utility>

#include <gmock/gmock.h>

#include "exporter_contract.h"
#include "importer_contract.h"
#include "peer/fallback.h"
#include "peer/mapping.h"
#include "peer/pointers.h"

namespace barter::contract {

using namespace barter::literals;
using peer::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Region PeerContract::allocate(std::uint64_t bytes) {
  auto region = exchange().allocate(machine().exporter(), bytes);
  if (!region) ADD_FAILURE() << region.error().message();
  return std::move(*region);
}

Mapping PeerContract::map(unsigned importer, const Region& region, MapOptions options) {
  auto mapping = exchange().map(machine().importer(importer), region, options);
  if (!mapping) ADD_FAILURE() << mapping.error().message();
  return std::move(*mapping);
}

// The two seams by themselves.

TEST_P(PeerContract, Exporter_keeps_its_contract) { check_exporter(machine().exporter()); }

TEST_P(PeerContract, Importer_keeps_its_contract) {
  std::vector<std::byte> bytes(16);
  const Region region = allocate(4_KiB);  // where memory is lent, there is none before
  // On a route by bus address no request goes through the domain, and its addresses lead nowhere; nor on one by a link.
  const bool goes_through_domain = machine().expected_route() != Route::link &&
                                   (machine().guarded() || !machine().importer(0).domain().translates());
  if (!goes_through_domain) GTEST_SKIP() << "skipped: on this route no request goes through the importer's domain";
  check_importer(machine().importer(0), machine().exporter().bus_address() + region.range().offset,
                 [&](DmaAddress at) { return machine().read(0, at, bytes); });
}

// 1. The exporter decides alone.

TEST_P(PeerContract, Point1_owner_is_asked_with_importer_range_access_and_route) {
  const Region region = allocate(64_KiB);
  std::vector<Request> seen;
  machine().on_request([&](const Request& request) {
    seen.push_back(request);
    return Answer::direct();
  });
  const Mapping mapping = map(1, region, {.access = Access::read, .offset = 8_KiB, .bytes = 4_KiB});
  ASSERT_THAT(seen, SizeIs(1));
  EXPECT_EQ(seen[0].importer, machine().importer(1).function());
  EXPECT_EQ(seen[0].range, (MemoryRange{region.range().offset + 8_KiB, 4_KiB}));
  EXPECT_EQ(seen[0].access, Access::read);
  EXPECT_EQ(seen[0].route, machine().expected_route());
}

TEST_P(PeerContract, Point1_owner_shares_one_part_and_not_another) {
  const Region region = allocate(64_KiB);
  const MemoryRange shared{region.range().offset, 16_KiB};
  machine().on_request([&](const Request& request) {
    return shared.contains(request.range) ? Answer::direct() : Answer::refuse("only the first 16 KiB are shared");
  });
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region, {.bytes = 16_KiB}));
  const auto refused = exchange().try_map(machine().importer(0), region, {.offset = 12_KiB, .bytes = 8_KiB});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_refused);
  EXPECT_EQ(refused.error().error.code, ErrorCode::refused);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("only the first 16 KiB are shared"));
  EXPECT_EQ(exchange().counters().refused_for(Refusal::owner_refused), 1u);
}

TEST_P(PeerContract, Point1_by_way_of_host_is_told_apart_from_no) {
  const Region region = allocate(4_KiB);
  machine().on_request([](const Request&) { return Answer::by_way_of_host("the link is busy"); });
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_asks_host);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("the link is busy"));
  EXPECT_EQ(exchange().counters().refused_for(Refusal::owner_asks_host), 1u);
  EXPECT_EQ(exchange().counters().refused_for(Refusal::owner_refused), 0u);
}

TEST_P(PeerContract, Point1_owner_is_asked_about_all_that_an_iommu_would_open) {
  const Region region = allocate(16_KiB);
  MemoryRange asked;
  machine().on_request([&](const Request& request) {
    asked = request.range;
    return Answer::direct();
  });
  const Mapping mapping = map(0, region, {.offset = 5000, .bytes = 100});
  EXPECT_EQ(mapping.size_bytes(), 100u);
  const std::uint64_t start = region.range().offset;
  if (machine().opens_whole_pages())
    EXPECT_EQ(asked, (MemoryRange{start + 4096, 4096}));
  else
    EXPECT_EQ(asked, (MemoryRange{start + 5000, 100}));
}

// 2. Verdict before mapping. What happens without a route is tested on the machine whose verdicts a test can choose.

TEST_P(PeerContract, Point2_mapping_says_its_route_and_reaches_its_memory) {
  const Region region = allocate(8_KiB);
  const Mapping mapping = map(0, region);
  EXPECT_EQ(mapping.route(), machine().expected_route());
  EXPECT_EQ(mapping.access(), Access::read_write);
  EXPECT_EQ(mapping.importer(), machine().importer(0).function());
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  ASSERT_THAT(lease->segments(), SizeIs(1));
  EXPECT_EQ(lease->segments()[0].bytes, 8_KiB);
  const auto sent = pattern(8_KiB, 1);
  EXPECT_TRUE(machine().write(0, start_of(*lease), sent));
  EXPECT_EQ(contents(region), sent);
  std::vector<std::byte> back(8_KiB);
  EXPECT_TRUE(machine().read(0, start_of(*lease), back));
  EXPECT_EQ(back, sent);
}

TEST_P(PeerContract, Point2_part_of_a_region_begins_where_it_was_asked_to) {
  const Region region = allocate(16_KiB);
  const Mapping mapping = map(0, region, {.offset = 5000, .bytes = 100});
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const auto sent = pattern(100, 9);
  EXPECT_TRUE(machine().write(0, start_of(*lease), sent));
  EXPECT_EQ(machine().contents({region.range().offset + 5000, 100}), sent);
}

// 3. The importer obeys.

TEST_P(PeerContract, Point3_importer_is_told_once_for_each_mapping_and_may_call_back) {
  Region region = allocate(8_KiB);
  const Mapping first = map(0, region);
  const Mapping second = map(0, region);
  std::vector<bool> refused;
  machine().on_invalidate(0, [&](peer::MappingId id) {
    refused.push_back(!exchange().lease(id).has_value());
    static_cast<void>(exchange().counters());  // no lock is held
  });
  const auto report = region.revoke();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->mappings, 2u);
  EXPECT_THAT(report->late, SizeIs(0));
  EXPECT_THAT(machine().told(0), testing::UnorderedElementsAre(first.state().id(), second.state().id()));
  EXPECT_THAT(refused, ElementsAre(true, true));  // already when it is told, there are no new leases
  ASSERT_TRUE(region.revoke());
  EXPECT_THAT(machine().told(0), SizeIs(2));
}

TEST_P(PeerContract, Point3_importer_that_is_being_told_is_not_told_again) {
  Region region = allocate(8_KiB);
  const Mapping mapping = map(0, region);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  machine().hold(0, std::move(*lease));
  bool first = true;
  machine().on_invalidate(0, [&](peer::MappingId) {
    if (std::exchange(first, false)) {
      EXPECT_TRUE(region.invalidate({.deadline = 0ms}));
    }
  });
  ASSERT_TRUE(region.revoke());
  EXPECT_THAT(machine().told(0), SizeIs(1));
}

TEST_P(PeerContract, Point3_what_is_in_flight_finishes_before_revoke_returns) {
  Region region = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = start_of(*lease);
  const auto sent = pattern(4_KiB, 3);
  machine().set_letting_go(0, LettingGo::when_driven);
  machine().set_in_flight(0, [&] { EXPECT_TRUE(machine().write(0, at, sent)); });
  machine().hold(0, std::move(*lease));
  const auto report = region.revoke();
  ASSERT_TRUE(report);
  EXPECT_THAT(report->late, SizeIs(0));
  EXPECT_EQ(contents(region), sent);
  EXPECT_TRUE(mapping.is_revoked());
  const auto again = mapping.lease();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::revoked);
}

// 4. After revoke() returns, not a byte. Who does not let go by then: peer_contract_late.cc.

TEST_P(PeerContract, Point4_stale_ids_are_refused_and_never_followed) {
  Region region = allocate(4_KiB);
  std::optional<Mapping> mapping = map(0, region);
  const peer::MappingId old = mapping->state().id();
  EXPECT_TRUE(exchange().lease(old));
  mapping.reset();
  const auto gone = exchange().lease(old);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::revoked);
  // The place is used again; the old name does not mean the new mapping.
  const Mapping next = map(0, region);
  ASSERT_EQ(next.state().id().slot, old.slot) << "this test wants the same place";
  EXPECT_NE(next.state().id().generation, old.generation);
  EXPECT_FALSE(exchange().lease(old));
  EXPECT_TRUE(exchange().lease(next.state().id()));
}

TEST_P(PeerContract, Point4_forged_ids_are_refused_and_never_followed) {
  const Region region = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  const peer::MappingId real = mapping.state().id();
  for (const peer::MappingId forged :
       {peer::MappingId{real.slot, real.generation + 1}, peer::MappingId{real.slot, 0},
        peer::MappingId{real.slot, 0xffffffff}, peer::MappingId{real.slot + 1, real.generation},
        peer::MappingId{0xffffffff, real.generation}, peer::MappingId{65535, 1}, peer::MappingId{65536, 1}}) {
    const auto lease = exchange().lease(forged);
    ASSERT_FALSE(lease) << forged.slot << ", " << forged.generation;
    EXPECT_THAT(lease.error().code, testing::AnyOf(ErrorCode::revoked, ErrorCode::invalid_argument));
  }
  EXPECT_TRUE(exchange().lease(real));
}

TEST_P(PeerContract, Point4_revoked_is_for_good_and_invalidated_is_for_now) {
  Region region = allocate(4_KiB);
  const Mapping first = map(0, region);
  ASSERT_TRUE(region.invalidate());
  EXPECT_TRUE(first.is_revoked());
  EXPECT_FALSE(region.is_revoked());
  const Mapping second = map(0, region);
  EXPECT_TRUE(second.lease());
  EXPECT_FALSE(first.lease());  // it stays stale
  ASSERT_TRUE(region.revoke());
  EXPECT_TRUE(region.is_revoked());
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::revoked);
  EXPECT_EQ(refused.error().error.code, ErrorCode::revoked);
}

TEST_P(PeerContract, Point4_mapping_made_while_the_owner_takes_back_does_not_survive) {
  Region region = allocate(4_KiB);
  machine().on_request([&](const Request&) {
    EXPECT_TRUE(exchange().counters().invalidations == 0 ? region.invalidate() : region.revoke());
    return Answer::direct();  // the memory was taken back between the question and the mapping
  });
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto mapping = exchange().try_map(machine().importer(0), region);
    ASSERT_FALSE(mapping);
    EXPECT_EQ(mapping.error().reason, Refusal::revoked);
  }
  EXPECT_EQ(exchange().counters().mapped, exchange().counters().unmapped);
}

// 5. Nothing is lost when memory moves. The retry on another route is the transfer's, and tested there.

TEST_P(PeerContract, Point5_what_was_written_before_an_invalidation_is_there_after_it) {
  Region region = allocate(4_KiB);
  const auto sent = pattern(4_KiB, 8);
  {
    const Mapping mapping = map(0, region);
    const auto lease = mapping.lease();
    ASSERT_TRUE(lease);
    ASSERT_TRUE(machine().write(0, start_of(*lease), sent));
  }
  ASSERT_TRUE(region.invalidate());
  const Mapping mapping = map(1, region);
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  std::vector<std::byte> back(4_KiB);
  ASSERT_TRUE(machine().read(1, start_of(*lease), back));
  EXPECT_EQ(back, sent);
}

// 6. Lifetime is shared.

TEST_P(PeerContract, Point6_handles_may_be_dropped_in_any_order) {
  std::vector<int> order{0, 1, 2};
  do {
    std::optional<Region> region = allocate(4_KiB);
    std::optional<Mapping> mapping = map(0, *region);
    std::optional<Lease> lease = std::move(*mapping->lease());
    const DmaAddress at = start_of(*lease);
    machine().set_letting_go(0, LettingGo::never);
    for (const int which : order) {
      if (which == 0) region.reset();
      if (which == 1) mapping.reset();
      if (which == 2) lease.reset();
    }
    if (machine().guarded()) {
      EXPECT_FALSE(machine().write(0, at, pattern(16, 1)));
    }
    const auto counters = exchange().counters();
    EXPECT_EQ(counters.mapped, counters.unmapped);
    // All of the memory is there again.
    const Region whole = allocate(machine().exporter().size_bytes());
    machine_ = GetParam().create();  // an importer that was isolated stays so
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(PeerContract, Point6_mapping_dropped_under_a_lease_is_unmapped_by_the_last_one) {
  const Region region = allocate(4_KiB);
  std::optional<Mapping> mapping = map(0, region);
  std::optional<Lease> first = std::move(*mapping->lease());
  std::optional<Lease> second = std::move(*mapping->lease());
  const DmaAddress at = start_of(*first);
  mapping.reset();
  first.reset();
  EXPECT_TRUE(machine().write(0, at, pattern(4_KiB, 2)));  // the second lease still keeps it
  EXPECT_EQ(exchange().counters().unmapped, 0u);
  second.reset();
  EXPECT_EQ(exchange().counters().unmapped, 1u);
  if (machine().guarded()) {
    EXPECT_FALSE(machine().write(0, at, pattern(4_KiB, 2)));
  }
}

TEST_P(PeerContract, Point6_exporter_that_is_unplugged_revokes_for_good) {
  Region region = allocate(4_KiB);
  const Mapping mapping = map(0, region);
  auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  machine().hold(0, std::move(*lease));
  const auto report = exchange().withdraw(machine().exporter());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->mappings, 1u);
  EXPECT_FALSE(mapping.lease());
  EXPECT_TRUE(region.is_revoked());
  EXPECT_TRUE(region.cpu_bytes().empty());
  EXPECT_FALSE(exchange().map(machine().importer(0), region));
  EXPECT_FALSE(exchange().allocate(machine().exporter(), 4_KiB));
  EXPECT_TRUE(region.revoke());  // no harm
}

TEST_P(PeerContract, Point6_importer_that_is_unplugged_takes_nobody_with_it) {
  const Region region = allocate(4_KiB);
  const Mapping leaving = map(0, region);
  const Mapping staying = map(1, region);
  auto lease = leaving.lease();
  ASSERT_TRUE(lease);
  machine().hold(0, std::move(*lease));
  const auto report = exchange().remove(machine().importer(0));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->mappings, 1u);
  EXPECT_FALSE(leaving.lease());
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::device_gone);
  const auto still = staying.lease();
  ASSERT_TRUE(still);
  EXPECT_TRUE(machine().write(1, start_of(*still), pattern(4_KiB, 4)));
}

TEST_P(PeerContract, Point6_handles_may_outlive_the_exchange) {
  std::optional<Region> region = allocate(4_KiB);
  std::optional<Mapping> mapping = map(0, *region);
  std::optional<Lease> lease = std::move(*mapping->lease());
  machine().end_exchange();
  EXPECT_FALSE(mapping->lease());
  EXPECT_THAT(lease->segments(), SizeIs(1));
  EXPECT_TRUE(region->is_revoked());
  EXPECT_TRUE(region->revoke());
  region.reset();
  mapping.reset();
  lease.reset();
}

// 7. No bookkeeping for each page: the counts of allocations are in src/peer/cost_test.cc, the times in bench/.

TEST_P(PeerContract, Point7_a_mapping_of_everything_is_one_segment) {
  const Region region = allocate(machine().exporter().size_bytes());
  const Mapping mapping = map(0, region);
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  EXPECT_THAT(lease->segments(), SizeIs(1));
  EXPECT_EQ(lease->segments()[0].bytes, machine().exporter().size_bytes());
}

// 8. Pointers work: what one points to is found, and it shows the same bytes as the DMA.

TEST_P(PeerContract, Point8_pointer_into_device_memory_is_known_and_shows_what_dma_does) {
  std::optional<Region> region = allocate(16_KiB);
  const auto bytes = region->cpu_bytes();
  if (bytes.empty()) GTEST_SKIP() << "skipped: this memory has no view of the CPU's";
  const auto runs = exchange().pointers().runs(bytes.subspan(5000, 100));
  ASSERT_THAT(runs, SizeIs(1));
  ASSERT_EQ(runs[0].region, region->state());
  EXPECT_EQ(runs[0].offset, 5000u);
  {
    const Mapping mapping = map(0, *region, {.offset = runs[0].offset, .bytes = 100});
    const auto lease = mapping.lease();
    ASSERT_TRUE(lease);
    const auto sent = pattern(100, 3);
    EXPECT_TRUE(machine().write(0, start_of(*lease), sent));
    EXPECT_TRUE(std::ranges::equal(bytes.subspan(5000, 100), sent));
    std::ranges::reverse(bytes.subspan(5000, 100));
    std::vector<std::byte> back(100);
    EXPECT_TRUE(machine().read(0, start_of(*lease), back));
    EXPECT_TRUE(std::ranges::equal(back, std::views::reverse(sent)));
  }
  // Neither what lies behind it nor what was there before is taken for it.
  EXPECT_EQ(exchange().pointers().runs({bytes.data() + bytes.size(), 1})[0].region, nullptr);
  region.reset();
  EXPECT_EQ(exchange().pointers().runs(bytes.first(1))[0].region, nullptr);
}

// 9. Fallback is a decision with a reason, and a passing failure passes.

TEST_P(PeerContract, Point9_a_passing_refusal_does_not_turn_direct_off) {
  Region region = allocate(4_KiB);
  const Bdf client = machine().importer(0).function();
  bool first = true;
  machine().on_request([&](const Request&) {
    if (std::exchange(first, false)) return Answer::by_way_of_host("not just now");
    return Answer::direct();
  });
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  const auto fallen = peer::decide(P2p::preferred, refused.error());
  ASSERT_TRUE(fallen);
  EXPECT_EQ(fallen->way, peer::Way::host);
  EXPECT_EQ(fallen->fallback, peer::FallbackReason::owner_asks_host);
  EXPECT_EQ(fallen->why, "not just now");
  EXPECT_FALSE(peer::decide(P2p::required, refused.error()));
  // The next transfer is decided afresh.
  const auto planned = peer::decide(P2p::preferred, exchange().route(client, region.exporter()), Access::read);
  ASSERT_TRUE(planned);
  EXPECT_EQ(planned->way, peer::Way::direct);
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region));
}

// 10. Nothing lets an importer reach what was not exported to it, where an IOMMU stands on the route. Elsewhere nothing
// can stop an importer, and no test pretends otherwise.

TEST_P(PeerContractGuarded, Point10_outside_its_mappings_an_importer_faults_and_changes_nothing) {
  const Region region = allocate(4_KiB);
  const Region neighbour = allocate(4_KiB);
  const auto before = contents(neighbour);
  const Mapping mapping = map(0, region, {.access = Access::read});
  const auto lease = mapping.lease();
  ASSERT_TRUE(lease);
  const DmaAddress at = start_of(*lease);
  const std::uint64_t refused = machine().refused_requests();
  std::vector<std::byte> stolen(16);
  EXPECT_TRUE(machine().read(0, at, stolen));
  EXPECT_FALSE(machine().write(0, at, pattern(16, 1)));         // for reading only
  EXPECT_FALSE(machine().read(0, at + 4096, stolen));           // beyond its end
  EXPECT_FALSE(machine().write(0, at + 4088, pattern(16, 1)));  // across its end
  EXPECT_FALSE(machine().read(1, at, stolen));                  // another importer's address
  const DmaAddress raw{machine().exporter().bus_address().value + neighbour.range().offset};
  EXPECT_FALSE(machine().write(0, raw, pattern(16, 1)));  // by its bus address
  EXPECT_GE(machine().refused_requests(), refused + 4);
  EXPECT_EQ(contents(neighbour), before);
}

TEST_P(PeerContractGuarded, Point10_nothing_is_reachable_after_the_mapping_is_dropped) {
  const Region region = allocate(4_KiB);
  const auto before = contents(region);
  DmaAddress at;
  {
    const Mapping mapping = map(0, region);
    at = start_of(*mapping.lease());
  }
  EXPECT_FALSE(machine().write(0, at, pattern(16, 1)));
  EXPECT_EQ(contents(region), before);
}

}  // namespace barter::contract
