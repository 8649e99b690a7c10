#include "peer/bounce.h"

#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"

namespace barter::peer {
namespace {

using namespace barter::literals;
using testing::HasSubstr;
using Buffers = BouncePool<std::vector<std::byte>>;

Result<std::vector<std::byte>> make(std::uint64_t bytes) { return std::vector<std::byte>(bytes); }

TEST(BouncePool, FailsLoudlyWhenItIsUsedUpAndRecovers) {
  auto pool = Buffers::create(4_KiB, 2, make);
  ASSERT_TRUE(pool);
  std::optional first = std::move(*(*pool)->take());
  auto second = (*pool)->take();
  ASSERT_TRUE(second);
  EXPECT_EQ((**second).size(), 4_KiB);
  const auto third = (*pool)->take();
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::exhausted);
  EXPECT_THAT(third.error().message(), HasSubstr("all 2 buffers of 4096 bytes are in use"));
  const std::byte* const place = (**first).data();
  first.reset();
  const auto again = (*pool)->take();
  ASSERT_TRUE(again);
  EXPECT_EQ((**again).data(), place) << "the buffer that came back, not a new one";
  const BounceCounters counters = (*pool)->counters();
  EXPECT_EQ(counters.in_use, 2u);
  EXPECT_EQ(counters.most_in_use, 2u);
  EXPECT_EQ(counters.taken, 3u);
  EXPECT_EQ(counters.refused, 1u);
}

TEST(BouncePool, PassesOnTheErrorOfItsAllocation) {
  int calls = 0;
  const auto pool = Buffers::create(4_KiB, 8, [&](std::uint64_t bytes) -> Result<std::vector<std::byte>> {
    if (++calls == 3) return fail({.code = ErrorCode::exhausted, .why = "no host memory"});
    return make(bytes);
  });
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().why, "no host memory");
  EXPECT_EQ(calls, 3);
}

TEST(BouncePool, RefusesNonsense) {
  EXPECT_FALSE(Buffers::create(0, 1, make));
  EXPECT_FALSE(Buffers::create(1, 0, make));
  EXPECT_FALSE(Buffers::create(1, kMaxBounceBuffers + 1, make));
}

TEST(BouncePool, NeverLendsOneBufferTwice) {
  auto pool = BouncePool<int>::create(4, 3, [](std::uint64_t) { return Result<int>(0); });
  ASSERT_TRUE(pool);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        auto buffer = (*pool)->take();
        if (!buffer) continue;
        EXPECT_EQ(++**buffer, 1);  // a plain int: ThreadSanitizer would see two users
        EXPECT_EQ(--**buffer, 0);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ((*pool)->counters().in_use, 0u);
}

}  // namespace
}  // namespace barter::peer
