#include "peer/pool.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "barter/units.hpp"

namespace barter::peer {
namespace {

using namespace barter::literals;
using testing::HasSubstr;

constexpr BusAddress kStart{0x8000'0000};

TEST(Pool, GivesAlignedPagesOfItsOwn) {
  Pool pool(kStart, 1_MiB);
  const auto first = pool.allocate(1);
  const auto second = pool.allocate(1);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->bytes, kPageBytes);
  EXPECT_NE(first->offset / kPageBytes, second->offset / kPageBytes);
  const auto aligned = pool.allocate(4_KiB, 64_KiB);
  ASSERT_TRUE(aligned);
  EXPECT_EQ((kStart.value + aligned->offset) % 64_KiB, 0u);
}

TEST(Pool, AlignsOnTheBusAndLeavesOutPartsOfPages) {
  Pool pool(BusAddress{0x8000'0100}, 3 * kPageBytes);
  EXPECT_EQ(pool.size_bytes(), 2 * kPageBytes);
  const auto range = pool.allocate(2 * kPageBytes);
  ASSERT_TRUE(range);
  EXPECT_EQ((0x8000'0100 + range->offset) % kPageBytes, 0u);
  EXPECT_EQ(Pool(BusAddress{0x8000'0100}, 100).size_bytes(), 0u);
  EXPECT_FALSE(Pool(BusAddress{0x8000'0100}, 100).allocate(1));
}

TEST(Pool, BeginsLargePiecesAtSuperpagesIfItCan) {
  Pool pool(kStart, 4_GiB);  // which begins at a multiple of 2 GiB
  ASSERT_TRUE(pool.allocate(4_KiB));
  const auto huge = pool.allocate(1_GiB);
  const auto large = pool.allocate(3_MiB);
  ASSERT_TRUE(huge && large);
  EXPECT_EQ((kStart.value + huge->offset) % 1_GiB, 0u);
  EXPECT_EQ((kStart.value + large->offset) % 2_MiB, 0u);
  // Without room at a superpage, anywhere will do.
  Pool tight(BusAddress{4_KiB}, 2_MiB);
  EXPECT_TRUE(tight.allocate(2_MiB));
}

TEST(Pool, SaysWhatIsLeftWhenItIsFull) {
  Pool pool(kStart, 16 * kPageBytes);
  std::vector<MemoryRange> all;
  for (int index = 0; index < 16; ++index) all.push_back(*pool.allocate(kPageBytes));
  for (std::size_t index = 0; index < 16; index += 2) pool.free(all[index]);  // half is free, in single pages
  const auto failed = pool.allocate(2 * kPageBytes);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::exhausted);
  EXPECT_THAT(failed.error().message(), HasSubstr("32768 of 65536 bytes are free, the largest extent has 4096"));
  for (std::size_t index = 1; index < 16; index += 2) pool.free(all[index]);
  EXPECT_EQ(pool.free_extent_count(), 1u);  // all joined again
  EXPECT_EQ(pool.largest_free_bytes(), 16 * kPageBytes);
}

TEST(Pool, RefusesNonsense) {
  Pool pool(kStart, 1_MiB);
  EXPECT_EQ(pool.allocate(0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(pool.allocate(1, 3).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(pool.allocate(1, 0).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(pool.allocate(~std::uint64_t{0}).error().code, ErrorCode::exhausted);
  EXPECT_EQ(pool.allocate(1, std::uint64_t{1} << 63).error().code, ErrorCode::exhausted);
  EXPECT_EQ(pool.free_bytes(), 1_MiB);
}

TEST(Pool, HasALimitOfRegions) {
  Pool pool(kStart, (kMaxRegionsInPool + 1) * kPageBytes);
  for (std::size_t index = 0; index < kMaxRegionsInPool; ++index) ASSERT_TRUE(pool.allocate(1));
  const auto failed = pool.allocate(1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::exhausted);
  EXPECT_THAT(failed.error().message(), HasSubstr("65536 regions already"));
}

// The memory, page by page, the obvious way.
class NaivePool {
 public:
  NaivePool(std::uint64_t start, std::size_t pages) : start_(start), used_(pages, false) {}
  [[nodiscard]] bool fits(std::uint64_t bytes, std::uint64_t alignment) const {
    const std::size_t pages = (bytes + kPageBytes - 1) / kPageBytes;
    for (std::size_t page = 0; page + pages <= used_.size(); ++page)
      if ((start_ + page * kPageBytes) % alignment == 0 &&
          std::none_of(at(page), at(page + pages), [](bool used) { return used; }))
        return true;
    return false;
  }
  [[nodiscard]] bool is_free(MemoryRange range) const {
    return std::none_of(at(range.offset / kPageBytes), at((range.offset + range.bytes) / kPageBytes),
                        [](bool used) { return used; });
  }
  void set(MemoryRange range, bool used) {
    std::fill(used_.begin() + static_cast<std::ptrdiff_t>(range.offset / kPageBytes),
              used_.begin() + static_cast<std::ptrdiff_t>((range.offset + range.bytes) / kPageBytes), used);
  }
  [[nodiscard]] std::uint64_t free_bytes() const {
    return static_cast<std::uint64_t>(std::count(used_.begin(), used_.end(), false)) * kPageBytes;
  }
  [[nodiscard]] std::size_t extents() const {
    std::size_t count = 0;
    for (std::size_t page = 0; page < used_.size(); ++page) count += !used_[page] && (page == 0 || used_[page - 1]);
    return count;
  }

 private:
  [[nodiscard]] std::vector<bool>::const_iterator at(std::size_t page) const {
    return used_.begin() + static_cast<std::ptrdiff_t>(page);
  }
  std::uint64_t start_;
  std::vector<bool> used_;
};

RC_GTEST_PROP(Pool, AgreesWithTheNaivePool, ()) {
  const auto pages = *rc::gen::inRange<std::size_t>(1, 200);
  const std::uint64_t start = *rc::gen::inRange<std::uint64_t>(0, 64) * kPageBytes;
  Pool pool(BusAddress{start}, pages * kPageBytes);
  NaivePool naive(start, pages);
  std::vector<MemoryRange> live;
  const auto steps = *rc::gen::inRange(1, 300);
  for (int step = 0; step < steps; ++step) {
    if (live.empty() || *rc::gen::inRange(0, 5) < 3) {
      const auto bytes = *rc::gen::inRange<std::uint64_t>(1, 24 * kPageBytes);
      const std::uint64_t alignment = std::uint64_t{1} << *rc::gen::inRange(0, 17);
      const auto range = pool.allocate(bytes, alignment);
      // It fails exactly if there is no place: a fragmented pool never overlooks one.
      RC_ASSERT(range.has_value() == naive.fits(bytes, alignment));
      if (!range) continue;
      RC_ASSERT(range->bytes >= bytes);
      RC_ASSERT(range->offset + range->bytes <= pages * kPageBytes);
      RC_ASSERT((start + range->offset) % alignment == 0);
      RC_ASSERT(naive.is_free(*range));
      naive.set(*range, true);
      live.push_back(*range);
    } else {
      const auto index = *rc::gen::inRange<std::size_t>(0, live.size());
      pool.free(live[index]);
      naive.set(live[index], false);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
    }
    RC_ASSERT(pool.free_bytes() == naive.free_bytes());
    RC_ASSERT(pool.free_extent_count() == naive.extents());
    RC_ASSERT(pool.allocated_count() == live.size());
  }
}

}  // namespace
}  // namespace barter::peer
