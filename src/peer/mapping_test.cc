// What a lease costs and what it leaves behind: importers that use different mappings never write the same cache line, and a
// mapping is unmapped even if its last lease did not see that it was closed.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "peer/exchange.h"
#include "peer/mapping.h"
#include "peer/test_devices.h"

namespace barter::peer {
namespace {

using namespace barter::literals;

constexpr std::size_t kLineBytes = 64;
static_assert(alignof(MappingState) >= kLineBytes && sizeof(MappingState) % kLineBytes == 0);

using Bytes = std::array<unsigned char, sizeof(MappingState)>;

Bytes bytes_of(const Mapping& mapping) {
  Bytes bytes;
  std::memcpy(bytes.data(), static_cast<const void*>(&mapping.state()), bytes.size());
  return bytes;
}

class MappingTest : public testing::Test {
 protected:
  MappingTest() {
    EXPECT_TRUE(exchange_.add(memory_) && exchange_.add(first_) && exchange_.add(second_));
    region_.emplace(std::move(*exchange_.allocate(memory_, 64_KiB)));
  }
  Mapping map(Importer& importer) { return std::move(*exchange_.map(importer, *region_)); }
  [[nodiscard]] std::uint64_t unmapped() { return exchange_.counters().unmapped; }

  test::WaitingClock clock_;
  test::Memory memory_{{.bus = 1}, 1_MiB};
  test::Client first_{{.bus = 2}}, second_{{.bus = 3}};
  Exchange exchange_{clock_,
                     [](Bdf, Bdf) { return RouteAnswer{.read = Route::bus_address, .write = Route::bus_address}; }};
  std::optional<Region> region_;
};

TEST_F(MappingTest, LeasesWriteOneLineOfTheirOwnMappingAndNothingElse) {
  const Mapping mine = map(first_);
  const Mapping theirs = map(second_);  // the next place in the table
  ASSERT_TRUE(mine.lease());            // the first leaves the number of its thread behind
  const Bytes mine_before = bytes_of(mine);
  const Bytes theirs_before = bytes_of(theirs);
  {
    const auto lease = mine.lease();
    ASSERT_TRUE(lease);
    const Bytes now = bytes_of(mine);
    EXPECT_NE(now, mine_before);
    for (std::size_t at = 0; at < now.size(); ++at) {
      EXPECT_TRUE(now[at] == mine_before[at] || at < kLineBytes) << "word and seat are in the first line";
    }
    const auto counted = mine.lease();  // because the seat is taken
    ASSERT_TRUE(counted);
    EXPECT_NE(bytes_of(mine), now);
    EXPECT_EQ(bytes_of(theirs), theirs_before);
  }
  EXPECT_EQ(bytes_of(mine), mine_before);
}

// A lease that ends on another thread in the very instant in which the mapping is closed does not see that it is the last.
// Here it is made not to look.
class UnseeingLease {
 public:
  explicit UnseeingLease(const Mapping& mapping) : state_(const_cast<MappingState&>(mapping.state())) {
    auto lease = mapping.lease();
    EXPECT_TRUE(lease);
    new (place_) Lease(std::move(*lease));  // and is never destroyed
  }
  void end() { state_.leave_seat_unseeing(); }

 private:
  MappingState& state_;
  alignas(Lease) std::byte place_[sizeof(Lease)];
};

TEST_F(MappingTest, IsUnmappedByTheNextCallIfTheLastLeaseDidNotSeeThatItWas) {
  std::optional<Mapping> mapping = map(first_);
  UnseeingLease lease(*mapping);
  mapping.reset();
  EXPECT_EQ(unmapped(), 0u);
  EXPECT_EQ(unmapped(), 0u) << "the note stays as long as the lease lives";
  lease.end();
  const Mapping other = map(second_);  // any call will do
  EXPECT_EQ(unmapped(), 1u);
  EXPECT_EQ(exchange_.counters().mapped, 2u);
}

TEST_F(MappingTest, IsUnmappedByARevocationIfTheLastLeaseDidNotSeeThatItWas) {
  Mapping mapping = map(first_);
  UnseeingLease lease(mapping);
  first_.on_told = [&] { lease.end(); };
  const auto report = region_->revoke();
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->late.empty());
  EXPECT_EQ(unmapped(), 1u);
}

TEST_F(MappingTest, PlaceOfALateLeaseIsUsedAgainThoughItDidNotSeeThatItWasLate) {
  std::optional<Mapping> mapping = map(first_);
  const MappingId old = mapping->state().id();
  UnseeingLease lease(*mapping);
  ASSERT_TRUE(region_->invalidate({.deadline = Duration::zero()}));
  mapping.reset();
  EXPECT_NE(map(second_).state().id().slot, old.slot);
  lease.end();
  static_cast<void>(unmapped());
  const Mapping next = map(second_);
  EXPECT_EQ(next.state().id().slot, old.slot);
  EXPECT_NE(next.state().id().generation, old.generation);
}

// The seat is given back to the next one, and what can't sit is counted.
TEST_F(MappingTest, ClosedMappingGivesNoLeaseWhetherTheSeatIsFreeOrNot) {
  const Mapping mapping = map(first_);
  std::optional<Lease> seated = std::move(*mapping.lease());
  std::optional<Lease> counted = std::move(*mapping.lease());
  first_.on_told = [&] {
    EXPECT_FALSE(mapping.lease());
    seated.reset();
    EXPECT_FALSE(mapping.lease());
    counted.reset();
    EXPECT_FALSE(mapping.lease());
  };
  const auto report = region_->revoke();
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->late.empty());
  EXPECT_EQ(unmapped(), 1u);
}

}  // namespace
}  // namespace barter::peer
