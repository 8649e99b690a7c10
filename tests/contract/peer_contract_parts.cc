// The peer contract on memory that its owner decides on part by part, on owners that are told when what they granted is gone
// (p2p_map and p2p_unmap of the 2019 proposal), and on what kind of address a segment has.
#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "peer/mapping.h"
#include "peer/segments.h"
#include "peer_contract.h"

namespace barter::contract {

using namespace barter::literals;
using peer::Refusal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

namespace {

// 64 KiB: the first 16 direct, the next 16 by way of host, the rest refused. Each answer holds as far as it goes.
Consent three_answers(std::uint64_t start) {
  return [start](const Request& request) {
    const std::uint64_t at = request.range.offset - start;
    if (at < 16_KiB) return Answer::direct().for_first(16_KiB - at);
    if (at < 32_KiB) return Answer::by_way_of_host("it is being written").for_first(32_KiB - at);
    return Answer::refuse("these are the keys");
  };
}

// Direct, in parts of so many bytes.
Consent direct_in_parts(std::uint64_t bytes) {
  return [bytes](const Request&) { return Answer::direct().for_first(bytes); };
}

std::vector<MemoryRange> ranges_of(const std::vector<Request>& requests) {
  std::vector<MemoryRange> ranges;
  for (const Request& request : requests) ranges.push_back(request.range);
  return ranges;
}

}  // namespace

TEST_P(PeerContract, Point1_owner_decides_differently_on_parts_of_one_request) {
  const Region region = allocate(64_KiB);
  const std::uint64_t start = region.range().offset;
  machine().on_request(three_answers(start));
  auto parts = exchange().try_map_parts(machine().importer(0), region);
  ASSERT_TRUE(parts) << parts.error().error.message();
  ASSERT_THAT(*parts, SizeIs(3));
  EXPECT_EQ((*parts)[0].range, (MemoryRange{start, 16_KiB}));
  EXPECT_EQ((*parts)[1].range, (MemoryRange{start + 16_KiB, 16_KiB}));
  EXPECT_EQ((*parts)[2].range, (MemoryRange{start + 32_KiB, 32_KiB}));
  ASSERT_TRUE((*parts)[0].mapping);
  EXPECT_FALSE((*parts)[1].mapping);
  EXPECT_EQ((*parts)[1].answer.kind, Answer::Kind::by_way_of_host);
  EXPECT_EQ((*parts)[1].answer.reason, "it is being written");
  EXPECT_EQ((*parts)[2].answer.kind, Answer::Kind::refuse);
  EXPECT_EQ((*parts)[2].answer.reason, "these are the keys");
  EXPECT_EQ(exchange().counters().mapped, 1u);
  EXPECT_EQ(exchange().counters().refused_for(Refusal::owner_asks_host), 1u);
  EXPECT_EQ(exchange().counters().refused_for(Refusal::owner_refused), 1u);

  const auto lease = (*parts)[0].mapping->lease();
  ASSERT_TRUE(lease);
  EXPECT_TRUE(machine().write(0, start_of(*lease), pattern(16_KiB, 1)));
  EXPECT_EQ(machine().contents({start, 16_KiB}), pattern(16_KiB, 1));
  if (machine().guarded()) {
    EXPECT_FALSE(machine().write(0, start_of(*lease) + 16_KiB, pattern(16, 2))) << "the next part was not granted";
  }
}

TEST_P(PeerContract, Point1_all_or_nothing_takes_the_strictest_answer_of_any_part) {
  const Region region = allocate(64_KiB);
  machine().on_request(three_answers(region.range().offset));
  std::vector<Request> gone;
  machine().on_unmap([&](const Request& granted) { gone.push_back(granted); });
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_refused);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("these are the keys"));
  EXPECT_THAT(ranges_of(gone), ElementsAre(MemoryRange{region.range().offset, 16_KiB})) << "that part had been granted";
  const auto by_host = exchange().try_map(machine().importer(0), region, {.bytes = 20_KiB});
  ASSERT_FALSE(by_host);
  EXPECT_EQ(by_host.error().reason, Refusal::owner_asks_host);
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region, {.bytes = 16_KiB}));
  EXPECT_EQ(exchange().counters().mapped, exchange().counters().unmapped);
}

TEST_P(PeerContract, Point1_parts_of_a_request_that_begins_within_a_page_meet_at_pages) {
  const Region region = allocate(64_KiB);
  const std::uint64_t start = region.range().offset;
  machine().on_request(three_answers(start));
  auto parts = exchange().try_map_parts(machine().importer(0), region, {.offset = 5000, .bytes = 12_KiB});
  ASSERT_TRUE(parts) << parts.error().error.message();
  ASSERT_THAT(*parts, SizeIs(2));
  EXPECT_EQ((*parts)[0].range, (MemoryRange{start + 5000, 16_KiB - 5000}));
  EXPECT_EQ((*parts)[1].range, (MemoryRange{start + 16_KiB, 12_KiB + 5000 - 16_KiB}));
  const auto lease = (*parts)[0].mapping->lease();
  ASSERT_TRUE(lease);
  EXPECT_TRUE(machine().write(0, start_of(*lease), pattern(100, 4)));
  EXPECT_EQ(machine().contents({start + 5000, 100}), pattern(100, 4));
}

TEST_P(PeerContract, Point1_answer_that_ends_within_a_page_is_a_refusal) {
  const Region region = allocate(64_KiB);
  std::vector<Request> gone;
  machine().on_unmap([&](const Request& granted) { gone.push_back(granted); });
  machine().on_request(direct_in_parts(1000));
  const auto refused = exchange().try_map(machine().importer(0), region);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::owner_refused);
  EXPECT_THAT(refused.error().error.message(), HasSubstr("1000 bytes, which do not end at a page"));
  const auto parts = exchange().try_map_parts(machine().importer(0), region);
  ASSERT_TRUE(parts);
  ASSERT_THAT(*parts, SizeIs(1));
  EXPECT_FALSE((*parts)[0].mapping);
  EXPECT_THAT(gone, SizeIs(0));
  machine().on_request(direct_in_parts(1_MiB));
  EXPECT_TRUE(exchange().try_map(machine().importer(0), region)) << "more than was asked about is all of it";
}

TEST_P(PeerContract, Point1_owner_is_told_once_when_what_it_granted_is_gone) {
  Region region = allocate(16_KiB);
  std::vector<Request> gone;
  DmaAddress at;
  machine().on_unmap([&](const Request& granted) {
    gone.push_back(granted);
    static_cast<void>(exchange().counters());  // no lock is held
    if (machine().guarded()) {
      EXPECT_FALSE(machine().write(0, at, pattern(16, 9))) << "it is gone already";
    }
  });
  std::optional<Mapping> mapping =
      map(0, region, {.access = Access::read, .offset = 5000, .bytes = 100, .hold = Hold::pinned});
  at = start_of(*mapping->lease());
  EXPECT_THAT(gone, SizeIs(0));
  mapping.reset();
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_EQ(gone[0].importer, machine().importer(0).function());
  EXPECT_EQ(gone[0].access, Access::read);
  EXPECT_EQ(gone[0].hold, Hold::pinned);
  EXPECT_EQ(gone[0].route, machine().expected_route());
  const MemoryRange asked = machine().opens_whole_pages() ? MemoryRange{region.range().offset + 4096, 4096}
                                                          : MemoryRange{region.range().offset + 5000, 100};
  EXPECT_EQ(gone[0].range, asked);
  // By invalidation, by the end of a late lease, by revocation of what is late, and never twice.
  const Mapping second = map(0, region);
  at = start_of(*second.lease());
  ASSERT_TRUE(region.invalidate());
  EXPECT_THAT(gone, SizeIs(2));
  const Mapping third = map(1, region);
  auto lease = third.lease();
  machine().set_letting_go(1, LettingGo::never);
  machine().hold(1, std::move(*lease));
  ASSERT_TRUE(region.revoke({.deadline = 1ms}));
  EXPECT_THAT(gone, SizeIs(3));
  ASSERT_TRUE(region.revoke());
  EXPECT_THAT(gone, SizeIs(3));
}

TEST_P(PeerContract, Point1_mapping_granted_in_parts_is_told_gone_in_those_parts) {
  const Region region = allocate(20_KiB);
  const std::uint64_t start = region.range().offset;
  machine().on_request(direct_in_parts(8_KiB));
  std::vector<Request> gone;
  machine().on_unmap([&](const Request& granted) { gone.push_back(granted); });
  std::optional<Mapping> whole = map(0, region);
  EXPECT_THAT(whole->lease()->segments(), SizeIs(1)) << "one mapping all the same";
  whole.reset();
  const std::vector<MemoryRange> parts{{start, 8_KiB}, {start + 8_KiB, 8_KiB}, {start + 16_KiB, 4_KiB}};
  EXPECT_EQ(ranges_of(gone), parts);
  gone.clear();
  {
    const auto mapped = exchange().try_map_parts(machine().importer(0), region);
    ASSERT_TRUE(mapped);
    EXPECT_THAT(*mapped, SizeIs(3));
  }
  EXPECT_THAT(ranges_of(gone), testing::UnorderedElementsAreArray(parts));
}

TEST_P(PeerContract, Point1_owner_that_refuses_in_the_middle_leaves_what_it_granted_before) {
  Region region = allocate(16_KiB);
  int asked = 0;
  machine().on_request(
      [&](const Request&) { return ++asked == 1 ? Answer::direct().for_first(4_KiB) : Answer::refuse("enough"); });
  auto parts = exchange().try_map_parts(machine().importer(0), region);
  ASSERT_TRUE(parts);
  ASSERT_THAT(*parts, SizeIs(2));
  EXPECT_TRUE((*parts)[0].mapping->lease());
  EXPECT_EQ(asked, 2);
  ASSERT_TRUE(region.revoke());
  EXPECT_FALSE((*parts)[0].mapping->lease());
}

TEST_P(PeerContract, Point4_memory_taken_back_between_two_parts_is_an_error_of_the_whole) {
  Region region = allocate(16_KiB);
  int asked = 0;
  std::vector<Request> gone;
  machine().on_unmap([&](const Request& granted) { gone.push_back(granted); });
  machine().on_request([&](const Request&) {
    if (++asked == 2) {
      EXPECT_TRUE(region.invalidate());
    }
    return Answer::direct().for_first(4_KiB);
  });
  const auto parts = exchange().try_map_parts(machine().importer(0), region);
  ASSERT_FALSE(parts);
  EXPECT_EQ(parts.error().reason, Refusal::revoked);
  EXPECT_THAT(gone, SizeIs(2));
  EXPECT_EQ(exchange().counters().mapped, exchange().counters().unmapped);
}

TEST_P(PeerContract, Point1_parts_are_bounded_and_stale_requests_are_refused) {
  const Region region = allocate(64_KiB);
  EXPECT_EQ(exchange().try_map_parts(machine().importer(0), region, {.offset = 64_KiB}).error().reason,
            Refusal::out_of_range);
  EXPECT_EQ(exchange().try_map_parts(machine().importer(0), region, {.offset = 4_KiB, .bytes = ~0ull}).error().reason,
            Refusal::out_of_range);
  ASSERT_TRUE(exchange().withdraw(machine().exporter()));
  EXPECT_EQ(exchange().try_map_parts(machine().importer(0), region).error().reason, Refusal::device_gone);
}

// Segments say what their addresses are, so that lists of several mappings can be joined and cut without mixing them up.
TEST_P(PeerContract, Point2_segment_says_whether_an_iommu_translates_it) {
  const Region region = allocate(16_KiB);
  const Mapping first = map(0, region, {.bytes = 8_KiB});
  const Mapping second = map(0, region, {.offset = 8_KiB});
  const auto leases = std::pair(first.lease(), second.lease());
  ASSERT_TRUE(leases.first && leases.second);
  const bool by_pointer = machine().importer(0).domain().takes_pointers();
  const bool by_link = machine().expected_route() == Route::link;
  const bool on_the_bus = !by_pointer && machine().expected_route() == Route::bus_address && !machine().guarded();
  EXPECT_EQ(leases.first->segments()[0].kind, by_pointer   ? SegmentKind::pointer
                                              : by_link    ? SegmentKind::link
                                              : on_the_bus ? SegmentKind::bus_address
                                                           : SegmentKind::iova);
  peer::SegmentList list;
  for (const Lease* lease : {&*leases.first, &*leases.second})
    for (const DmaSegment& segment : lease->segments()) peer::append(list, segment);
  EXPECT_EQ(peer::size_of(list), 16_KiB);
  if (on_the_bus) {
    EXPECT_THAT(list, SizeIs(1)) << "neighbours on the bus are one";
  }
}

}  // namespace barter::contract
