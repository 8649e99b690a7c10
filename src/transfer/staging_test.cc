#include "transfer/staging.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace barter::transfer {
namespace {

constexpr std::uint64_t kKiB = 1024;

// Of a long copy, four chunks of 1 MiB and blocks of 512 bytes.
StagingNeeds needs_of_a_long_copy() {
  return {.bytes = std::uint64_t{1} << 30, .most = {.slots = 4, .chunk_bytes = 1024 * kKiB}, .block_bytes = 512};
}

void expect_shape(std::uint64_t room_bytes, const StagingNeeds& needs, StagingShape expected) {
  const auto shape = fit(room_bytes, needs);
  ASSERT_TRUE(shape) << room_bytes;
  EXPECT_EQ(shape->slots, expected.slots) << room_bytes;
  EXPECT_EQ(shape->chunk_bytes, expected.chunk_bytes) << room_bytes;
}

TEST(Fit, SlotsGoBeforeTheChunkShrinks) {
  const StagingNeeds needs = needs_of_a_long_copy();
  expect_shape(65536 * kKiB, needs, {4, 1024 * kKiB});
  expect_shape(3072 * kKiB, needs, {3, 1024 * kKiB});
  expect_shape(2048 * kKiB, needs, {2, 1024 * kKiB});
  // One slot of 1 MiB would let one drive wait for the other.
  expect_shape(2044 * kKiB, needs, {2, 1020 * kKiB});
  expect_shape(1024 * kKiB, needs, {2, 512 * kKiB});
  expect_shape(12 * kKiB, needs, {3, 4 * kKiB});
  expect_shape(8 * kKiB, needs, {2, 4 * kKiB});
  expect_shape(4 * kKiB, needs, {1, 4 * kKiB});
  expect_shape(1000, needs, {1, 512});
  EXPECT_FALSE(fit(511, needs));
  EXPECT_FALSE(fit(0, needs));
}

TEST(Fit, OneSlotIsEnoughForOneChunk) {
  StagingNeeds needs = needs_of_a_long_copy();
  needs.bytes = needs.most.chunk_bytes;
  expect_shape(1024 * kKiB, needs, {1, 1024 * kKiB});
  expect_shape(1020 * kKiB, needs, {2, 508 * kKiB});
  needs = needs_of_a_long_copy();
  needs.most.slots = 1;
  expect_shape(1020 * kKiB, needs, {1, 1020 * kKiB});
}

TEST(Fit, AFixedChunkFitsOrDoesNot) {
  StagingNeeds needs = needs_of_a_long_copy();
  needs.is_chunk_fixed = true;
  expect_shape(2047 * kKiB, needs, {1, 1024 * kKiB});
  EXPECT_FALSE(fit(1023 * kKiB, needs));
}

RC_GTEST_PROP(Fit, StaysWithinTheRoomAndTheNeeds, ()) {
  StagingNeeds needs;
  needs.block_bytes = std::uint64_t{1} << *rc::gen::inRange(9, 15);
  needs.bytes = *rc::gen::inRange<std::uint64_t>(1, std::uint64_t{1} << 24);
  needs.most = {.slots = *rc::gen::inRange<std::uint32_t>(1, 257),
                .chunk_bytes = *rc::gen::inRange<std::uint64_t>(1, 200) * needs.block_bytes};
  needs.is_chunk_fixed = *rc::gen::arbitrary<bool>();
  const auto room_bytes = *rc::gen::inRange<std::uint64_t>(0, std::uint64_t{1} << 25);
  const auto shape = fit(room_bytes, needs);
  RC_ASSERT(shape.has_value() == (room_bytes >= (needs.is_chunk_fixed ? needs.most.chunk_bytes : needs.block_bytes)));
  if (!shape) return;
  RC_ASSERT(shape->slots >= 1u && shape->slots <= needs.most.slots);
  RC_ASSERT(shape->chunk_bytes % needs.block_bytes == 0u);
  RC_ASSERT(shape->chunk_bytes > 0u && shape->chunk_bytes <= needs.most.chunk_bytes);
  RC_ASSERT(shape->slots * shape->chunk_bytes <= room_bytes);
}

}  // namespace
}  // namespace barter::transfer
