#include "drivers/nvme/data_pointer.h"

#include <algorithm>
#include <array>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace barter::drivers::nvme {
namespace {

using ::testing::ElementsAre;

class DataPointerTest : public ::testing::Test {
 protected:
  std::expected<DataPointer, DataProblem> describe(std::vector<DmaSegment> segments, std::uint64_t bytes,
                                                   SglSupport sgl = SglSupport::none, unsigned page_log2 = 12) {
    words_.fill(0xdead);
    return describe_data(segments, bytes, {.page_log2 = page_log2, .sgl = sgl}, {words_, {0xabc000}});
  }
  [[nodiscard]] std::vector<std::uint64_t> list(std::size_t count) const {
    return {words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  std::array<std::uint64_t, kListPrpEntries> words_{};
};

// Base 2.0, section 4.1.1: what PRP1 and PRP2 hold.
TEST_F(DataPointerTest, OnePageIsOnePrp) {
  const auto pointer = describe({{{0x7000}, 4096}}, 4096);
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->first, 0x7000u);
  EXPECT_EQ(pointer->second, 0u);
  EXPECT_FALSE(pointer->is_sgl);
  EXPECT_EQ(words_[0], 0xdeadu);  // no list was written
}

TEST_F(DataPointerTest, TwoPagesAreTwoPrps) {
  EXPECT_EQ(describe({{{0x7000}, 8192}}, 8192)->second, 0x8000u);
  EXPECT_EQ(describe({{{0x7e00}, 1024}}, 1024)->first, 0x7e00u);
  EXPECT_EQ(describe({{{0x7e00}, 1024}}, 1024)->second, 0x8000u);
  EXPECT_EQ(describe({{{0x7e00}, 512}, {{0x20000}, 512}}, 1024)->second, 0x20000u);
}

TEST_F(DataPointerTest, MorePagesAreAList) {
  const auto pointer = describe({{{0x7e00}, 8704}, {{0x20000}, 512}}, 9216);
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->first, 0x7e00u);
  EXPECT_EQ(pointer->second, 0xabc000u);
  EXPECT_THAT(list(4), ElementsAre(0x8000, 0x9000, 0x20000, 0xdead));
}

TEST_F(DataPointerTest, LargerPagesMakeShorterLists) {
  const auto pointer = describe({{{0x1f000}, 0x21000}}, 0x21000, SglSupport::none, 16);
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->second, 0xabc000u);
  EXPECT_THAT(list(3), ElementsAre(0x20000, 0x30000, 0xdead));
}

TEST_F(DataPointerTest, TheLargestTransferFillsOneListPage) {
  EXPECT_TRUE(describe({{{0x7004}, 2 << 20}}, 2 << 20));
  EXPECT_EQ(words_[511], 0x7000u + 512 * 4096);
  EXPECT_EQ(describe({{{0x7004}, (2 << 20) + 4096}}, (2 << 20) + 4096).error(), DataProblem::too_scattered);
}

// Base 2.0, section 4.1.2: descriptors of 16 bytes, type in the top nibble of the last.
TEST_F(DataPointerTest, OneLongSegmentIsOneSglDataBlock) {
  const auto pointer = describe({{{0x7000}, 1 << 20}}, 1 << 20, SglSupport::any_alignment);
  ASSERT_TRUE(pointer);
  EXPECT_TRUE(pointer->is_sgl);
  EXPECT_EQ(pointer->first, 0x7000u);
  EXPECT_EQ(pointer->second, 0x0000'0000'0010'0000u);
}

TEST_F(DataPointerTest, SeveralSegmentsAreALastSegment) {
  const auto pointer = describe({{{0x7001}, 511}, {{0x9003}, 513}}, 1024, SglSupport::any_alignment);
  ASSERT_TRUE(pointer);
  EXPECT_TRUE(pointer->is_sgl);
  EXPECT_EQ(pointer->first, 0xabc000u);
  EXPECT_EQ(pointer->second, 0x3000'0000'0000'0020u);
  EXPECT_THAT(list(5), ElementsAre(0x7001, 511, 0x9003, 513, 0xdead));
}

TEST_F(DataPointerTest, AnSglOnlyWhereItIsShorterOrTheOnlyWay) {
  using enum SglSupport;
  EXPECT_FALSE(describe({{{0x7000}, 8192}}, 8192, any_alignment)->is_sgl);
  EXPECT_TRUE(describe({{{0x7000}, 12288}}, 12288, any_alignment)->is_sgl);
  EXPECT_FALSE(describe({{{0x7000}, 4096}, {{0x9000}, 4096}, {{0xb000}, 4096}}, 12288, any_alignment)->is_sgl);
  EXPECT_TRUE(describe({{{0x7004}, 512}, {{0x9000}, 512}}, 1024, dword_alignment)->is_sgl);
  EXPECT_EQ(describe({{{0x7001}, 512}, {{0x9000}, 512}}, 1024, dword_alignment).error(), DataProblem::not_aligned);
  EXPECT_EQ(describe({{{0x7004}, 512}, {{0x9000}, 512}}, 1024, none).error(), DataProblem::not_aligned);
  EXPECT_EQ(describe({{{0x7002}, 512}}, 512, none).error(), DataProblem::not_aligned);
}

TEST_F(DataPointerTest, RefusesWhatCanNotBe) {
  using enum SglSupport;
  EXPECT_EQ(describe({}, 512).error(), DataProblem::wrong_length);
  EXPECT_FALSE(describe({{{0}, 0}}, 0));
  EXPECT_EQ(describe({{{0x7000}, 512}}, 1024).error(), DataProblem::wrong_length);
  EXPECT_EQ(describe({{{0x7000}, 512}, {{0x8000}, 1024}}, 1024).error(), DataProblem::wrong_length);
  EXPECT_EQ(describe({{{0}, ~0ull}, {{0x8000}, 513}}, 512).error(), DataProblem::wrong_length);
  EXPECT_EQ(describe({{{0x7000}, 512}, {{0x8000}, 0}}, 512).error(), DataProblem::no_segment);
  EXPECT_EQ(describe({{{0xffff'ffff'ffff'f000}, 8192}}, 8192).error(), DataProblem::wraps_around);
  EXPECT_TRUE(describe({{{0xffff'ffff'ffff'f000}, 4096}}, 4096));  // up to the very last byte
  std::vector<DmaSegment> many(257, {{0x7004}, 4});
  EXPECT_EQ(describe(many, 4 * 257, any_alignment).error(), DataProblem::too_scattered);
  many.pop_back();
  EXPECT_TRUE(describe(many, 4 * 256, any_alignment));
}

// Whatever the segments, the list says the same bytes in the same order.
TEST_F(DataPointerTest, ListsNameEveryPageOnce) {
  for (std::uint64_t start = 0; start < 8192; start += 1004) {
    for (std::uint64_t bytes = 4; bytes < 40000; bytes += 1372) {
      const std::uint64_t first = 0x100000 + (start & ~3ull);
      const auto pointer = describe({{{first}, bytes}}, bytes);
      ASSERT_TRUE(pointer);
      std::vector<std::uint64_t> expected;
      for (std::uint64_t at = first; at < first + bytes; ++at)
        if (at == first || at % 4096 == 0) expected.push_back(at);
      std::vector<std::uint64_t> got = {pointer->first};
      if (expected.size() == 2) got.push_back(pointer->second);
      if (expected.size() > 2) {
        const auto tail = list(expected.size() - 1);
        got.insert(got.end(), tail.begin(), tail.end());
      }
      ASSERT_EQ(got, expected);
    }
  }
}

// The bytes that a data pointer names, read as the specification says and not as describe_data() writes it.
std::vector<DmaSegment> decode(const DataPointer& pointer, const std::array<std::uint64_t, kListPrpEntries>& words,
                               std::uint64_t bytes, std::uint64_t page_bytes) {
  std::vector<DmaSegment> all;
  if (pointer.is_sgl) {
    const std::uint64_t length = pointer.second & 0xffffffff;
    if (pointer.second >> 60 == 0) return {{{pointer.first}, length}};
    for (std::uint64_t at = 0; at < length / 8; at += 2) peer::append(all, {{words[at]}, words[at + 1] & 0xffffffff});
    return all;
  }
  const std::uint64_t first = std::min(bytes, page_bytes - pointer.first % page_bytes);
  all.push_back({{pointer.first}, first});
  const bool is_list = bytes - first > page_bytes;
  std::size_t entry = 0;
  for (std::uint64_t left = bytes - first; left > 0;) {
    const std::uint64_t here = std::min(left, page_bytes);
    peer::append(all, {{is_list ? words[entry++] : pointer.second}, here});
    left -= here;
  }
  return all;
}

// Memory of any shape, cut by this controller's limits: each piece can be told to it, and what it is told is the piece.
RC_GTEST_PROP(DataPointerProperties, WhatIsCutByTheLimitsCanBeTold, ()) {
  DataPointerRules rules{
      .page_log2 = *rc::gen::element(12u, 13u, 16u),
      .sgl = *rc::gen::element(SglSupport::none, SglSupport::dword_alignment, SglSupport::any_alignment)};
  const peer::SegmentLimits limits = data_limits(rules);
  std::vector<DmaSegment> memory;
  const int count = *rc::gen::inRange(1, 40);
  for (int index = 0; index < count; ++index) {
    const std::uint64_t unit = *rc::gen::element<std::uint64_t>(1, 4, 512, 4096, 65536);
    const std::uint64_t start = *rc::gen::inRange<std::uint64_t>(1, 1 << 20) * unit;
    memory.push_back({{start},
                      *rc::gen::inRange<std::uint64_t>(1, 40) * unit,
                      *rc::gen::element(SegmentKind::iova, SegmentKind::bus_address)});
  }
  std::array<std::uint64_t, kListPrpEntries> words{};
  peer::SegmentCutter cutter(memory);
  peer::SegmentList piece;
  while (cutter.left_bytes() > 0) {
    const auto bytes = cutter.take({.max_bytes = 2 << 20, .granularity_bytes = 512}, limits, piece);
    if (!bytes) break;  // it ends within a block, or can't be told, which the unit tests have
    const auto pointer = describe_data(piece, *bytes, rules, {words, {0xabc000}});
    RC_ASSERT(pointer.has_value());
    for (DmaSegment& segment : piece) segment.kind = SegmentKind::iova;
    RC_ASSERT(decode(*pointer, words, *bytes, rules.page_bytes()) == peer::merged(piece));
  }
}

}  // namespace
}  // namespace barter::drivers::nvme
