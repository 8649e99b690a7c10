#include "linux/vfio/iova_space.h"

#include <gtest/gtest.h>

namespace barter::linux_os::vfio {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kLast = ~std::uint64_t{0};

TEST(IovaSpace, GivesTheLowestFreeAddressAboveTheFirstMebibyte) {
  IovaSpace space({{0, kLast}}, {});
  EXPECT_EQ(space.allocate(4096, 4096), kMiB);
  EXPECT_EQ(space.allocate(4096, 4096), kMiB + 4096);
  space.give_back(kMiB);
  EXPECT_EQ(space.allocate(8192, 4096), kMiB + 8192);
  EXPECT_EQ(space.allocate(4096, 4096), kMiB);
}

TEST(IovaSpace, KeepsOutOfReservedRangesAndOfWhatLiesOnTheBus) {
  // The MSI window is missing from what is usable, and a BAR lies at 16 MiB.
  IovaSpace space({{0xfef00000, kLast}, {0, 0xfedfffff}}, {{16 * kMiB, 32 * kMiB - 1}});
  EXPECT_EQ(space.allocate(15 * kMiB, 4096), kMiB);
  EXPECT_EQ(space.allocate(4096, 4096), 32 * kMiB);
  EXPECT_EQ(space.allocate(0xfe000000, 4096), 0xfef00000);
}

TEST(IovaSpace, Aligns) {
  IovaSpace space({{0, kLast}}, {});
  EXPECT_EQ(space.allocate(4096, 4096), kMiB);
  EXPECT_EQ(space.allocate(2 * kMiB, 2 * kMiB), 2 * kMiB);
}

TEST(IovaSpace, RunsOutWithoutWrappingAround) {
  IovaSpace space({{kLast - 8191, kLast}}, {});
  EXPECT_EQ(space.allocate(4096, 4096), kLast - 8191);
  EXPECT_EQ(space.allocate(4096, 4096), kLast - 4095);
  EXPECT_EQ(space.allocate(4096, 4096), std::nullopt);
  EXPECT_EQ(space.allocate(kLast, 4096), std::nullopt);
  EXPECT_EQ(space.allocate(4096, std::uint64_t{1} << 63), std::nullopt);
  EXPECT_EQ(IovaSpace({}, {}).allocate(4096, 4096), std::nullopt);
  EXPECT_EQ(IovaSpace({{5, 4}}, {}).allocate(1, 1), std::nullopt);
}

TEST(IovaSpace, TakesAnAddressByNameEvenAnAvoidedOne) {
  IovaSpace space({{0, 64 * kMiB - 1}}, {{16 * kMiB, 32 * kMiB - 1}});
  EXPECT_TRUE(space.take(16 * kMiB, kMiB));
  EXPECT_FALSE(space.take(16 * kMiB + 4096, 4096));
  EXPECT_FALSE(space.take(16 * kMiB - 4096, 2 * kMiB));
  EXPECT_FALSE(space.take(63 * kMiB, 2 * kMiB));
  EXPECT_FALSE(space.take(kLast - 4095, 8192));
  EXPECT_FALSE(space.take(0, 0));
  space.give_back(16 * kMiB);
  EXPECT_TRUE(space.take(16 * kMiB + 4096, 4096));
}

}  // namespace
}  // namespace barter::linux_os::vfio
