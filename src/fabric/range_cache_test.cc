#include "fabric/range_cache.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace barter::fabric {
namespace {

TEST(RangeCache, AnEmptyOneKnowsNothing) {
  const auto cache = std::make_unique<RangeCache>();
  for (const std::uint64_t address : {std::uint64_t{0}, std::uint64_t{4096}, ~std::uint64_t{0}})
    EXPECT_EQ(cache->find(address), nullptr);
}

TEST(RangeCache, AgreesWithASearchOfAllRanges) {
  EXPECT_TRUE(rc::check("insert and find at random", [] {
    const auto cache = std::make_unique<RangeCache>();
    std::vector<CachedRange> known;
    const auto count = *rc::gen::inRange<std::size_t>(0, 200);
    for (std::size_t number = 0; number < count; ++number) {
      // Neighbours that touch, in any order.
      const std::uint64_t start = *rc::gen::inRange<std::uint64_t>(0, 5000) * 0x3000;
      const auto overlaps = [start](const CachedRange& range) { return range.start == start; };
      if (std::any_of(known.begin(), known.end(), overlaps)) continue;
      known.push_back({.start = start, .bytes = *rc::gen::inRange<std::uint64_t>(1, 0x3001)});
      cache->insert(known.back());
    }
    for (int look = 0; look < 400; ++look) {
      const std::uint64_t address = *rc::gen::inRange<std::uint64_t>(0, 5001 * 0x3000);
      const CachedRange* found = cache->find(address);
      const auto expected = std::find_if(known.begin(), known.end(), [&](const CachedRange& range) {
        return address >= range.start && address - range.start < range.bytes;
      });
      RC_ASSERT((found == nullptr) == (expected == known.end()));
      if (found != nullptr) RC_ASSERT(found->start == expected->start);
    }
  }));
}

TEST(RangeCache, ForgetsWhenItIsFullAndGoesOn) {
  const auto cache = std::make_unique<RangeCache>();
  for (std::uint64_t number = 0; number < 3 * RangeCache::kMaxRanges; ++number) {
    cache->insert({.start = number * 4096, .bytes = 4096});
    ASSERT_NE(cache->find(number * 4096 + 5), nullptr);
    ASSERT_EQ(cache->find((number + 1) * 4096), nullptr);
  }
}

}  // namespace
}  // namespace barter::fabric
