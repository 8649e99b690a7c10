#include "peer/segments.h"

#include <algorithm>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace barter::peer {
namespace {

using enum SegmentKind;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kTop = ~std::uint64_t{0};

TEST(Segments, NeighboursOfOneKindAreJoined) {
  EXPECT_THAT(merged(SegmentList{{{0x1000}, 0x1000}, {{0x2000}, 0x10}, {{0x2010}, 1}}),
              ElementsAre(DmaSegment{{0x1000}, 0x1011}));
  EXPECT_EQ(merged(SegmentList{{{0x1000}, 0x1000}, {{0x2001}, 0x10}}).size(), 2u);
  EXPECT_EQ(merged(SegmentList{{{0x2000}, 0x1000}, {{0x1000}, 0x1000}}).size(), 2u) << "order is kept";
  EXPECT_EQ(merged(SegmentList{{{0x1000}, 0x1000, bus_address}, {{0x2000}, 0x1000, iova}}).size(), 2u)
      << "the same number is another place behind an IOMMU";
  EXPECT_EQ(merged(SegmentList{{{kTop - 0xfff}, 0x1000}, {{0}, 0x1000}}).size(), 2u)
      << "nothing goes on behind the end";
}

TEST(Segments, PartsAreCutOut) {
  const SegmentList list{{{0x1000}, 100}, {{0x5000}, 100, bus_address}, {{0x9000}, 100}};
  SegmentList part;
  ASSERT_TRUE(cut(list, {50, 200}, part));
  EXPECT_THAT(part,
              ElementsAre(DmaSegment{{0x1032}, 50}, DmaSegment{{0x5000}, 100, bus_address}, DmaSegment{{0x9000}, 50}));
  ASSERT_TRUE(cut(list, {100, 100}, part));
  EXPECT_THAT(part, ElementsAre(DmaSegment{{0x5000}, 100, bus_address}));
  ASSERT_TRUE(cut(list, {300, 0}, part));
  EXPECT_THAT(part, IsEmpty());
  EXPECT_EQ(cut(list, {300, 1}, part).error(), SegmentProblem::beyond_end);
  EXPECT_EQ(cut(list, {kTop, 2}, part).error(), SegmentProblem::beyond_end);
}

TEST(Segments, AreSplitAtTheImportersLimits) {
  SegmentList fitted;
  const SegmentList one{{{0x1800}, 0x3000}};
  ASSERT_TRUE(fit(one, {.boundary_bytes = 0x1000}, fitted));
  EXPECT_THAT(fitted, ElementsAre(DmaSegment{{0x1800}, 0x800}, DmaSegment{{0x2000}, 0x1000},
                                  DmaSegment{{0x3000}, 0x1000}, DmaSegment{{0x4000}, 0x800}));
  ASSERT_TRUE(fit(one, {.max_segment_bytes = 0x2000}, fitted));
  EXPECT_THAT(fitted, ElementsAre(DmaSegment{{0x1800}, 0x2000}, DmaSegment{{0x3800}, 0x1000}));
  // Where the importer goes on at pages only, splits are made at pages.
  ASSERT_TRUE(fit(one, {.max_segment_bytes = 0x2000, .seam_bytes = 0x1000}, fitted));
  EXPECT_THAT(fitted, ElementsAre(DmaSegment{{0x1800}, 0x1800}, DmaSegment{{0x3000}, 0x1800}));
  // Also where the list has its seam elsewhere.
  const SegmentList two{{{0x1800}, 0x1234}, {{0x2a34}, 0x1dcc}};
  ASSERT_TRUE(fit(two, {.max_segment_bytes = 0x2000, .seam_bytes = 0x1000}, fitted));
  EXPECT_THAT(fitted, ElementsAre(DmaSegment{{0x1800}, 0x1800}, DmaSegment{{0x3000}, 0x1800}));
}

TEST(Segments, WhatCanNotBeMetIsAnError) {
  SegmentList fitted;
  const auto problem = [&](const SegmentList& list, const SegmentLimits& limits) {
    const auto done = fit(list, limits, fitted);
    EXPECT_THAT(fitted, IsEmpty());
    return done ? SegmentProblem::no_bytes : done.error();
  };
  EXPECT_EQ(problem({{{0x1'0000'0000}, 1}}, {.address_bits = 32}), SegmentProblem::too_high);
  EXPECT_EQ(problem({{{0xffff'f000}, 0x1001}}, {.address_bits = 32}), SegmentProblem::too_high);
  EXPECT_EQ(problem({{{0x1000}, 0x3000}}, {.max_segment_bytes = 0x1000, .max_segments = 2}), SegmentProblem::too_many);
  EXPECT_EQ(problem({{{0x1800}, 0x800}, {{0x5800}, 0x800}}, {.seam_bytes = 0x1000}), SegmentProblem::bad_seam);
  EXPECT_EQ(problem({{{0x1002}, 4}}, {.alignment_bytes = 4}), SegmentProblem::misaligned);
  EXPECT_EQ(problem({{{0x1000}, 6}}, {.alignment_bytes = 4}), SegmentProblem::misaligned);
  EXPECT_EQ(problem({{{0x1000}, 6}, {{0x2000}, 6}}, {.alignment_bytes = 4}), SegmentProblem::misaligned);
  EXPECT_EQ(problem({{{0x1000}, 1}}, {.max_segments = 0}), SegmentProblem::bad_limits);
  EXPECT_EQ(problem({{{0x1000}, 1}}, {.boundary_bytes = 3}), SegmentProblem::bad_limits);
  EXPECT_EQ(problem({{{0x1000}, 1}}, {.max_segment_bytes = 2, .alignment_bytes = 4}), SegmentProblem::bad_limits);
}

TEST(Segments, ListsThatAreNoneAreRefused) {
  EXPECT_EQ(size_of(SegmentList{{{0x1000}, 0}}).error(), SegmentProblem::no_bytes);
  EXPECT_EQ(size_of(SegmentList{{{kTop}, 2}}).error(), SegmentProblem::wraps_around);
  EXPECT_EQ(size_of(SegmentList{{{0}, kTop}, {{0}, 1}}).error(), SegmentProblem::too_long);
  EXPECT_EQ(size_of(SegmentList{{{kTop}, 1}, {{0}, kTop - 1}}).value(), kTop);
  EXPECT_EQ(size_of(SegmentList{}).value(), 0u);
}

// The case that the issue names: one read of 1 MiB into three parts, of which one goes by bus address.
TEST(Segments, ThreePartsAreCutIntoCommands) {
  const SegmentList memory{{{0x10'0000}, 300 << 10}, {{0x80'0000}, 500 << 10, bus_address}, {{0xa0'0000}, 224 << 10}};
  SegmentCutter cutter(memory);
  SegmentList piece;
  ASSERT_EQ(cutter.take({.max_bytes = 512 << 10, .granularity_bytes = 512}, {.seam_bytes = 4096}, piece), 512u << 10);
  EXPECT_THAT(piece, ElementsAre(DmaSegment{{0x10'0000}, 300 << 10}, DmaSegment{{0x80'0000}, 212 << 10, bus_address}));
  ASSERT_EQ(cutter.take({.max_bytes = 512 << 10, .granularity_bytes = 512}, {.seam_bytes = 4096}, piece), 512u << 10);
  EXPECT_THAT(piece, ElementsAre(DmaSegment{{0x83'5000}, 288 << 10, bus_address}, DmaSegment{{0xa0'0000}, 224 << 10}));
  EXPECT_EQ(cutter.left_bytes(), 0u);
  EXPECT_EQ(cutter.take({}, {}, piece).error(), SegmentProblem::beyond_end);
}

TEST(Segments, PieceEndsWhereTheImporterCanNotGoOn) {
  const SegmentList memory{{{0x1000}, 0x1200}, {{0x8000}, 0x1000}, {{0x9100}, 0x300}};
  SegmentCutter cutter(memory);
  SegmentList piece;
  EXPECT_EQ(cutter.take({.granularity_bytes = 512}, {.seam_bytes = 4096}, piece), 0x1200u);
  EXPECT_EQ(cutter.take({.granularity_bytes = 512}, {.seam_bytes = 4096}, piece), 0x1000u);
  EXPECT_EQ(cutter.take({.granularity_bytes = 512}, {.seam_bytes = 4096}, piece), 0x200u);
  EXPECT_EQ(cutter.take({.granularity_bytes = 512}, {.seam_bytes = 4096}, piece).error(), SegmentProblem::beyond_end);
  EXPECT_EQ(cutter.left_bytes(), 0x100u) << "nothing was taken";
}

// A drive's own memory and other memory stand in no command together.
TEST(Segments, MemoryThatStandsApartHasPiecesOfItsOwn) {
  const SegmentLimits limits{.apart = {{0x4000}, 0x2000}};
  const SegmentList memory{{{0x1000}, 0x1000}, {{0x3000}, 0x2000}, {{0x5000}, 0x800}, {{0x5800}, 0x1000}};
  SegmentCutter cutter(memory);
  SegmentList piece;
  EXPECT_EQ(cutter.take({}, limits, piece), 0x2000u);
  EXPECT_THAT(piece, ElementsAre(DmaSegment{{0x1000}, 0x1000}, DmaSegment{{0x3000}, 0x1000}));
  EXPECT_EQ(cutter.take({}, limits, piece), 0x2000u);
  EXPECT_THAT(piece, ElementsAre(DmaSegment{{0x4000}, 0x2000}));
  EXPECT_EQ(cutter.take({}, limits, piece), 0x800u);
  EXPECT_THAT(piece, ElementsAre(DmaSegment{{0x6000}, 0x800}));
  EXPECT_EQ(check(SegmentList{{{0x3800}, 0x1000}}, limits).error(), SegmentProblem::too_large);
  EXPECT_EQ(check(SegmentList{{{0x3000}, 0x1000}, {{0x4000}, 0x1000}}, limits).error(), SegmentProblem::bad_seam);
}

// Short lists in a small space, so that neighbours, boundaries and the top of memory are met often.
SegmentList any_list() {
  SegmentList list;
  std::uint64_t at = *rc::gen::element<std::uint64_t>(0, 0x1000, kTop - 0x4000);
  const int count = *rc::gen::inRange(1, 8);
  for (int index = 0; index < count; ++index) {
    if (*rc::gen::inRange(0, 3) == 0) at = *rc::gen::inRange<std::uint64_t>(0, 0x2000) & ~std::uint64_t{3};
    std::uint64_t bytes = *rc::gen::inRange<std::uint64_t>(1, 0x300);
    if (*rc::gen::inRange(0, 2) == 0) bytes = std::max<std::uint64_t>(bytes & ~std::uint64_t{0xff}, 0x100);
    if (bytes - 1 > kTop - at) bytes = kTop - at + 1;
    list.push_back({{at}, bytes, *rc::gen::element(iova, iova, bus_address)});
    at += bytes;
  }
  return list;
}

SegmentLimits any_limits() {
  return {.max_segment_bytes = *rc::gen::element<std::uint64_t>(16, 100, 0x200, kTop),
          .max_segments = *rc::gen::element<std::size_t>(1, 2, 5, 1000),
          .boundary_bytes = *rc::gen::element<std::uint64_t>(0, 0x80, 0x1000),
          .address_bits = *rc::gen::element(64u, 64u, 13u),
          .alignment_bytes = *rc::gen::element<std::uint64_t>(1, 1, 4),
          .seam_bytes = *rc::gen::element<std::uint64_t>(1, 1, 0x40),
          .apart = {{*rc::gen::element<std::uint64_t>(0, 0x1100)}, *rc::gen::element<std::uint64_t>(0, 0, 0x200)}};
}

// Byte by byte, where a list leads: addresses with their kinds.
std::vector<std::pair<std::uint64_t, SegmentKind>> bytes_of(const SegmentList& list) {
  std::vector<std::pair<std::uint64_t, SegmentKind>> all;
  for (const DmaSegment& segment : list)
    for (std::uint64_t byte = 0; byte < segment.bytes; ++byte)
      all.emplace_back(segment.address.value + byte, segment.kind);
  return all;
}

RC_GTEST_PROP(SegmentProperties, JoiningAndCuttingChangeNoByte, ()) {
  const SegmentList list = any_list();
  const auto bytes = bytes_of(list);
  const SegmentList joined = merged(list);
  RC_ASSERT(bytes_of(joined) == bytes);
  for (std::size_t index = 1; index < joined.size(); ++index) {
    const DmaSegment& before = joined[index - 1];
    RC_ASSERT(before.kind != joined[index].kind || before.address.value + before.bytes != joined[index].address.value ||
              joined[index].address.value == 0);
  }
  const auto from = *rc::gen::inRange<std::size_t>(0, bytes.size() + 1);
  const auto count = *rc::gen::inRange<std::size_t>(0, bytes.size() - from + 1);
  SegmentList part;
  RC_ASSERT(cut(list, {from, count}, part).has_value());
  RC_ASSERT(bytes_of(part) == decltype(bytes_of(part))(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                                       bytes.begin() + static_cast<std::ptrdiff_t>(from + count)));
}

// What was taken are the bytes of the list in order, each piece fits, and only what can't be told to the importer is left.
RC_GTEST_PROP(SegmentProperties, PiecesAreTheListAndFit, ()) {
  const SegmentList list = any_list();
  const SegmentLimits limits = any_limits();
  const SegmentCutter::Wanted wanted{.max_bytes = *rc::gen::element<std::uint64_t>(256, 0x400, kTop),
                                     .granularity_bytes = *rc::gen::element<std::uint64_t>(1, 3, 256)};
  SegmentCutter cutter(list);
  SegmentList piece, all;
  while (cutter.left_bytes() > 0) {
    const std::uint64_t left = cutter.left_bytes();
    const auto taken = cutter.take(wanted, limits, piece);
    RC_ASSERT(left - cutter.left_bytes() == taken.value_or(0));
    if (!taken) break;
    RC_ASSERT((*taken > 0 && *taken <= wanted.max_bytes && *taken % wanted.granularity_bytes == 0));
    RC_ASSERT(size_of(piece).value_or(0) == *taken);
    RC_ASSERT(check(piece, limits).has_value());
    all.insert(all.end(), piece.begin(), piece.end());
  }
  auto expected = bytes_of(list);
  expected.resize(expected.size() - cutter.left_bytes());
  RC_ASSERT(bytes_of(all) == expected);
}

// An oracle that takes one byte after the other and starts a new segment when it must. Without seams and alignment no way
// to cut takes fewer segments, so a piece must reach exactly as far.
RC_GTEST_PROP(SegmentProperties, PiecesAreAsLongAsCanBe, ()) {
  const SegmentList list = any_list();
  SegmentLimits limits = any_limits();
  limits.alignment_bytes = limits.seam_bytes = 1;
  SegmentList slow, piece;
  std::uint64_t reached = 0;
  bool was_apart = false;
  for (const auto& [address, kind] : bytes_of(list)) {
    if (limits.address_bits < 64 && address >> limits.address_bits != 0) break;
    const bool is_apart = address - limits.apart.address.value < limits.apart.bytes;
    if (!slow.empty() && is_apart != was_apart) break;
    was_apart = is_apart;
    const bool goes_on = !slow.empty() && slow.back().kind == kind && address != 0 &&
                         slow.back().address.value + slow.back().bytes == address &&
                         slow.back().bytes < limits.max_segment_bytes &&
                         (limits.boundary_bytes == 0 || address % limits.boundary_bytes != 0);
    if (goes_on) {
      ++slow.back().bytes;
    } else {
      if (slow.size() == limits.max_segments) break;
      slow.push_back({{address}, 1, kind});
    }
    ++reached;
  }
  const auto taken = SegmentCutter(list).take({}, limits, piece);
  RC_ASSERT(taken.value_or(0) == reached);
  RC_ASSERT(piece == slow);
}

}  // namespace
}  // namespace barter::peer
