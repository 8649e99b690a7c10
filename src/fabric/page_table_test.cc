#include "fabric/page_table.h"

#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "fabric/iova_allocator.h"

namespace barter::fabric {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

TEST(PageTable, UsesSuperpagesWhereBothSidesAreAligned) {
  PageTable table;
  ASSERT_TRUE(table.map({.iova = 4 * kGiB, .target = 8 * kGiB, .bytes = kGiB}, Access::read));
  EXPECT_EQ(table.tables_in_use(), 2u);  // the root, and one below it
  const auto leaf = table.translate(4 * kGiB + 12345);
  ASSERT_TRUE(leaf);
  EXPECT_EQ(leaf->range.bytes, kGiB);
  EXPECT_EQ(leaf->range.target, 8 * kGiB);
  EXPECT_EQ(leaf->access, Access::read);
  // 4 KiB before a 2 MiB boundary, 2 MiB, and 4 KiB after it: three leaves.
  ASSERT_TRUE(table.map({.iova = 2 * kMiB - 4 * kKiB, .target = 6 * kMiB - 4 * kKiB, .bytes = 2 * kMiB + 8 * kKiB},
                        Access::read_write));
  EXPECT_EQ(table.translate(2 * kMiB - 1)->range.bytes, 4 * kKiB);
  EXPECT_EQ(table.translate(2 * kMiB)->range.bytes, 2 * kMiB);
  EXPECT_EQ(table.translate(4 * kMiB)->range.target, 8 * kMiB);
  EXPECT_FALSE(table.translate(4 * kMiB + 4 * kKiB));
  EXPECT_FALSE(table.translate(std::uint64_t{1} << 48));
}

TEST(PageTable, EmptyTablesAreUsedAgain) {
  PageTable table;
  for (int round = 0; round < 1000; ++round) {
    const std::uint64_t iova = (std::uint64_t{1} << 47) + static_cast<std::uint64_t>(round) * 8 * kGiB;
    ASSERT_TRUE(table.map({.iova = iova, .target = 0x5000, .bytes = 12 * kKiB}, Access::write));
    EXPECT_EQ(table.tables_in_use(), 4u);
    table.unmap(iova, 12 * kKiB);
    EXPECT_EQ(table.tables_in_use(), 1u);
    EXPECT_FALSE(table.translate(iova));
  }
}

// Against a model that knows nothing of tables: a map from page to page.
TEST(PageTable, AgreesWithAMapOfPages) {
  EXPECT_TRUE(rc::check("map and unmap at random", [] {
    PageTable table;
    std::map<std::uint64_t, std::uint64_t> pages;
    std::vector<PageRange> mapped;
    const int steps = *rc::gen::inRange(1, 40);
    for (int step = 0; step < steps; ++step) {
      if (!mapped.empty() && *rc::gen::inRange(0, 3) == 0) {
        const auto which = *rc::gen::inRange<std::size_t>(0, mapped.size());
        table.unmap(mapped[which].iova, mapped[which].bytes);
        for (std::uint64_t at = 0; at < mapped[which].bytes; at += 4096) pages.erase(mapped[which].iova + at);
        mapped.erase(mapped.begin() + static_cast<std::ptrdiff_t>(which));
        continue;
      }
      const PageRange range{
          .iova = *rc::gen::inRange<std::uint64_t>(0, 4096) * 4096 + *rc::gen::element(0ull, 0x7fffff000000ull),
          .target = *rc::gen::inRange<std::uint64_t>(0, 4096) * 4096,
          .bytes = *rc::gen::inRange<std::uint64_t>(1, 1200) * 4096};
      const auto next = pages.lower_bound(range.iova);
      if (next != pages.end() && next->first < range.iova + range.bytes) continue;
      RC_ASSERT(table.map(range, Access::read_write));
      mapped.push_back(range);
      for (std::uint64_t at = 0; at < range.bytes; at += 4096) pages[range.iova + at] = range.target + at;
    }
    for (const auto& [iova, target] : pages) {
      const auto leaf = table.translate(iova + 17);
      RC_ASSERT(leaf.has_value());
      RC_ASSERT(leaf->range.target + (iova - leaf->range.iova) == target);
      RC_ASSERT(pages.contains(leaf->range.iova));
      RC_ASSERT(pages.contains(leaf->range.iova + leaf->range.bytes - 4096));
    }
    for (const PageRange& range : mapped) table.unmap(range.iova, range.bytes);
    for (const auto& [iova, target] : pages) RC_ASSERT(!table.translate(iova).has_value());
    RC_ASSERT(table.tables_in_use() == 1u);
  }));
}

TEST(IovaAllocator, RangesAreCongruentToTheirTargetsAndNeverOverlap) {
  EXPECT_TRUE(rc::check("allocate and release at random", [] {
    IovaAllocator allocator;
    std::map<std::uint64_t, std::uint64_t> taken;
    const int steps = *rc::gen::inRange(1, 60);
    for (int step = 0; step < steps; ++step) {
      if (!taken.empty() && *rc::gen::inRange(0, 3) == 0) {
        allocator.release(taken.begin()->first);
        RC_ASSERT(!allocator.find(taken.begin()->first).has_value());
        taken.erase(taken.begin());
        continue;
      }
      const IovaRequest request{.target = *rc::gen::inRange<std::uint64_t>(0, 1 << 24) * 4096,
                                .bytes = *rc::gen::inRange<std::uint64_t>(1, 1 << 19) * 4096};
      const auto iova = allocator.allocate(request);
      RC_ASSERT(iova.has_value());
      RC_ASSERT(*iova >= kFirstIova && *iova + request.bytes <= kFirstIova * 2);
      const std::uint64_t page = request.bytes >= kGiB ? kGiB : request.bytes >= 2 * kMiB ? 2 * kMiB : 4096;
      RC_ASSERT(*iova % page == request.target % page);
      const auto next = taken.lower_bound(*iova);
      RC_ASSERT(next == taken.end() || *iova + request.bytes <= next->first);
      if (next != taken.begin()) RC_ASSERT(std::prev(next)->first + std::prev(next)->second <= *iova);
      taken[*iova] = request.bytes;
      RC_ASSERT(allocator.find(*iova + request.bytes - 1)->iova == *iova);
    }
  }));
}

TEST(IovaAllocator, LargestRangesRunOutWithoutHarm) {
  IovaAllocator allocator;
  const IovaRequest whole{.target = 0, .bytes = std::uint64_t{1} << 42};
  const auto first = allocator.allocate(whole);
  ASSERT_TRUE(first);
  EXPECT_FALSE(allocator.allocate(whole));
  allocator.release(*first);
  EXPECT_EQ(allocator.allocate(whole), first);
  EXPECT_FALSE(allocator.allocate({.target = 0, .bytes = whole.bytes + 4096}));
  EXPECT_FALSE(allocator.allocate({.target = 0, .bytes = 0}));
}

}  // namespace
}  // namespace barter::fabric
