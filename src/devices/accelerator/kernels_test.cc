#include "devices/accelerator/kernels.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/random.h"

namespace barter::devices::accelerator {
namespace {

std::vector<std::byte> noise(std::size_t bytes, std::uint64_t seed = 1) {
  base::Random chance(seed);
  std::vector<std::byte> all(bytes);
  for (std::byte& byte : all) byte = static_cast<std::byte>(chance.next());
  return all;
}

// The outside oracle: Collet's own implementation.
TEST(AcceleratorKernels, ChecksumIsXxh64OfAnyLengthSeedAndCut) {
  const auto bytes = noise(5000);
  for (std::size_t length : {0u, 1u, 3u, 4u, 7u, 8u, 12u, 31u, 32u, 33u, 63u, 64u, 100u, 4096u, 5000u}) {
    for (const std::uint64_t seed : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{0x9e3779b97f4a7c15}}) {
      for (const std::size_t cut : {32u, 64u, 992u}) {
        Checksum checksum(seed);
        for (std::size_t at = 0; at < length; at += cut)
          checksum.add(std::span(bytes).subspan(at, std::min(cut, length - at)));
        EXPECT_EQ(checksum.value(), XXH64(bytes.data(), length, seed)) << length << " " << cut;
      }
    }
  }
}

TEST(AcceleratorKernels, WordsAreAddedModulo2To32) {
  const std::uint32_t one[] = {1, 0xffffffff, 0x80000000};
  const std::uint32_t other[] = {2, 2, 0x80000000};
  std::uint32_t into[3] = {};
  add_words(std::as_bytes(std::span(one)).data(), std::as_bytes(std::span(other)).data(),
            std::as_writable_bytes(std::span(into)).data(), 3);
  EXPECT_EQ(into[0], 3u);
  EXPECT_EQ(into[1], 1u);
  EXPECT_EQ(into[2], 0u);
  EXPECT_EQ(sum_words(std::as_bytes(std::span(one)).data(), 3), 0x1'8000'0000u);
}

TEST(AcceleratorKernels, HistogramCountsEveryByte) {
  const auto bytes = noise(10000);
  std::array<std::uint64_t, 256> counts{};
  count_bytes(bytes, counts);
  for (std::size_t value = 0; value < 256; ++value)
    EXPECT_EQ(counts[value],
              static_cast<std::uint64_t>(std::count(bytes.begin(), bytes.end(), static_cast<std::byte>(value))));
}

TEST(AcceleratorKernels, FilterRowsWeighClampAndRepeatTheEdge) {
  const std::byte rows[3][3] = {{std::byte{10}, std::byte{20}, std::byte{30}},
                                {std::byte{40}, std::byte{50}, std::byte{60}},
                                {std::byte{70}, std::byte{80}, std::byte{90}}};
  std::byte into[3] = {};
  filter_row({.weight = {1, 1, 1, 1, 1, 1, 1, 1, 1}, .shift = 3}, {rows[0], rows[1], rows[2]}, into);
  EXPECT_EQ(into[0], std::byte{(2 * (10 + 40 + 70) + 20 + 50 + 80) / 8});
  EXPECT_EQ(into[1], std::byte{450 / 8});
  filter_row({.weight = {0, 0, 0, 0, 9, 0, 0, 0, 0}, .shift = 0}, {rows[0], rows[1], rows[2]}, into);
  EXPECT_EQ(into[2], std::byte{255});
  filter_row({.weight = {0, 0, 0, 0, -1, 0, 0, 0, 0}, .shift = 0}, {rows[0], rows[1], rows[2]}, into);
  EXPECT_EQ(into[2], std::byte{0});
}

}  // namespace
}  // namespace barter::devices::accelerator
