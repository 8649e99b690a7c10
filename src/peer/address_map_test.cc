#include "peer/address_map.h"

#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace barter::peer {
namespace {

using Map = AddressMap<int>;
using SmallBlocks = AddressMap<int, 4>;

// The same by a tree, as one would write it without a thought for speed.
class Naive {
 public:
  bool insert(std::uintptr_t start, std::uintptr_t end, int value) {
    if (end <= start) return false;
    for (const auto& [other, range] : ranges_)
      if (other < end && range.first > start) return false;
    ranges_[start] = {end, value};
    return true;
  }
  bool erase(std::uintptr_t start) { return ranges_.erase(start) != 0; }
  [[nodiscard]] std::optional<int> find(std::uintptr_t address) const {
    for (const auto& [start, range] : ranges_)
      if (address >= start && address < range.first) return range.second;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<int> at_or_after(std::uintptr_t address) const {
    for (const auto& [start, range] : ranges_)
      if (range.first > address) return range.second;
    return std::nullopt;
  }
  [[nodiscard]] std::size_t size() const { return ranges_.size(); }
  [[nodiscard]] std::uintptr_t nth_start(std::size_t n) const {
    return std::next(ranges_.begin(), static_cast<std::ptrdiff_t>(n))->first;
  }

 private:
  std::map<std::uintptr_t, std::pair<std::uintptr_t, int>> ranges_;
};

template <class Found>
std::optional<int> value_of(Found found) {
  return found ? std::optional(found.value()) : std::nullopt;
}

// The range that contains this address, if one does.
template <class AnyMap>
auto find(const AnyMap& map, std::uintptr_t address) {
  const auto next = map.at_or_after(address);
  return next && next.start() <= address ? next : decltype(next){};
}

TEST(AddressMap, KnowsWhatItWasTold) {
  Map map;
  EXPECT_FALSE(find(map, 0x1000));
  EXPECT_FALSE(map.at_or_after(0));
  ASSERT_TRUE(map.insert({.start = 0x1000, .end = 0x2000, .value = 1}));
  ASSERT_TRUE(map.insert({.start = 0x2000, .end = 0x2001, .value = 2}));  // neighbours may touch
  EXPECT_FALSE(find(map, 0x0fff));
  EXPECT_EQ(find(map, 0x1000).value(), 1);
  EXPECT_EQ(find(map, 0x1fff).value(), 1);
  EXPECT_EQ(find(map, 0x2000).value(), 2);
  EXPECT_FALSE(find(map, 0x2001));
  EXPECT_FALSE(map.at_or_after(0x2001));
  EXPECT_EQ(map.at_or_after(0).value(), 1);
  EXPECT_TRUE(map.erase(0x1000));
  EXPECT_FALSE(map.erase(0x1000));
  EXPECT_FALSE(map.erase(0x2000 - 1)) << "a range is erased by its start";
  EXPECT_EQ(map.size(), 1u);
}

TEST(AddressMap, TakesPointers) {
  Map map;
  std::array<std::byte, 64> memory{};
  const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
  ASSERT_TRUE(map.insert(memory, 7));
  EXPECT_EQ(find(map, start + 63).value(), 7);
  EXPECT_FALSE(find(map, start + 64));
  EXPECT_TRUE(map.erase(memory.data()));
}

TEST(AddressMap, RefusesWhatMakesNoSense) {
  Map map;
  ASSERT_TRUE(map.insert({.start = 0x1000, .end = 0x2000, .value = 1}));
  const auto code = [&](std::uintptr_t start, std::uintptr_t end) {
    const auto inserted = map.insert({.start = start, .end = end, .value = 9});
    return inserted ? std::optional<ErrorCode>() : inserted.error().code;
  };
  EXPECT_EQ(code(0x3000, 0x3000), ErrorCode::invalid_argument) << "empty";
  EXPECT_EQ(code(~std::uintptr_t{0} - 1, 4), ErrorCode::invalid_argument) << "wraps around";
  EXPECT_EQ(code(0x1fff, 0x3000), ErrorCode::invalid_argument) << "overlaps the end";
  EXPECT_EQ(code(0x0800, 0x1001), ErrorCode::invalid_argument) << "overlaps the start";
  EXPECT_EQ(code(0x0800, 0x3000), ErrorCode::invalid_argument) << "contains it";
  EXPECT_EQ(code(0x1800, 0x1801), ErrorCode::invalid_argument) << "lies in it";
  EXPECT_FALSE(map.insert(std::span<const std::byte>{}, 9));
  EXPECT_EQ(map.size(), 1u) << "nothing of it is left behind";
}

TEST(AddressMap, SplitsAndJoinsItsBlocks) {
  Map map;
  constexpr std::uintptr_t kCount = 5000;
  for (std::uintptr_t index = 0; index < kCount; ++index) {
    const std::uintptr_t start = (index * 7919 % kCount + 1) << 12;
    ASSERT_TRUE(map.insert({.start = start, .end = start + 0x800, .value = static_cast<int>(start >> 12)}));
  }
  for (std::uintptr_t page = 1; page <= kCount; ++page) {
    ASSERT_EQ(find(map, page << 12).value(), static_cast<int>(page));
    ASSERT_FALSE(find(map, (page << 12) + 0x800));
  }
  for (std::uintptr_t page = 1; page <= kCount; ++page)
    if (page % 97 != 0) {
      ASSERT_TRUE(map.erase(page << 12));
    }
  EXPECT_EQ(map.size(), kCount / 97);
  for (std::uintptr_t page = 1; page <= kCount; ++page) ASSERT_EQ(bool(find(map, page << 12)), page % 97 == 0) << page;
}

TEST(AddressMap, DoesAsTheNaiveOneDoes) {
  EXPECT_TRUE(rc::check([] {
    SmallBlocks map;
    Naive naive;
    const int steps = *rc::gen::inRange(1, 600);
    for (int step = 0; step < steps; ++step) {
      const auto address = *rc::gen::inRange<std::uintptr_t>(0, 1500);
      const int what = *rc::gen::inRange(0, 10);
      if (what < 6) {
        const auto end = address + *rc::gen::inRange<std::uintptr_t>(0, 6);
        const bool done = map.insert({.start = address, .end = end, .value = step}).has_value();
        RC_ASSERT(done == naive.insert(address, end, step));
      } else if (what < 8 && naive.size() != 0) {
        const std::uintptr_t start = naive.nth_start(address % naive.size());
        RC_ASSERT(map.erase(start) == naive.erase(start));
      } else {
        RC_ASSERT(map.erase(address) == naive.erase(address));
      }
      RC_ASSERT(map.size() == naive.size());
      RC_ASSERT(value_of(find(map, address)) == naive.find(address));
      RC_ASSERT(value_of(map.at_or_after(address)) == naive.at_or_after(address));
    }
  }));
}

}  // namespace
}  // namespace barter::peer
