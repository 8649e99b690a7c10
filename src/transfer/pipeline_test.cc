#include "transfer/pipeline.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/random.h"
#include "transfer/verify.h"

namespace barter::transfer {
namespace {

constexpr std::uint32_t kBlock = 512;

// Bytes in memory, answering out of order and a few at a time. DMA addresses are CPU addresses.
class ScriptedEndpoint : public machine::Endpoint {
 public:
  ScriptedEndpoint(std::string name, std::uint64_t bytes, base::Random random)
      : bytes_(bytes), name_(std::move(name)), random_(random) {}

  std::vector<std::byte> bytes_;
  std::uint64_t max_piece_ = 4096;
  std::uint32_t capacity_ = 8;
  std::optional<std::uint64_t> bad_offset_;  // pieces that touch it fail
  std::optional<std::uint64_t> dies_after_;  // pieces
  std::uint64_t pieces_ = 0;
  std::uint32_t most_in_flight_ = 0;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] std::uint32_t block_bytes() const override { return kBlock; }
  [[nodiscard]] std::uint64_t max_piece_bytes() const override { return max_piece_; }
  [[nodiscard]] std::uint32_t capacity() const override { return capacity_; }
  [[nodiscard]] bool is_read_only() const override { return false; }
  [[nodiscard]] Result<void> reserve(std::uint64_t, std::uint64_t) override { return {}; }

  [[nodiscard]] Result<void> submit(const machine::Piece& piece) override {
    EXPECT_EQ(piece.offset % kBlock, 0u);
    EXPECT_LE(piece.bytes, max_piece_);
    EXPECT_LE(piece.offset + piece.bytes, bytes_.size());
    queued_.push_back({piece, {piece.memory.begin(), piece.memory.end()}});
    most_in_flight_ = std::max(most_in_flight_, static_cast<std::uint32_t>(queued_.size() + rung_.size()));
    EXPECT_LE(queued_.size() + rung_.size(), capacity_);
    ++pieces_;
    return {};
  }
  void ring() override {
    rung_.insert(rung_.end(), queued_.begin(), queued_.end());
    queued_.clear();
  }
  [[nodiscard]] Result<std::size_t> poll(std::span<machine::PieceResult> results) override {
    if (dies_after_ && pieces_ > *dies_after_)
      return fail({.code = ErrorCode::device_gone, .doing = "polling", .subject = name_, .why = "it was unplugged"});
    std::size_t count = 0;
    while (!rung_.empty() && count < results.size() && random_.chance(0.7)) {
      std::swap(rung_.front(), rung_[random_.below(rung_.size())]);
      results[count++] = finish(rung_.front());
      rung_.pop_front();
    }
    return count;
  }
  [[nodiscard]] std::string describe(std::uint16_t) const override { return "a bad block"; }
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override {
    auto memory = std::make_shared<std::vector<std::byte>>(bytes);
    const std::span<std::byte> all(*memory);
    return pci::DmaBuffer(all, DmaAddress{std::bit_cast<std::uint64_t>(all.data())}, [memory] {});
  }
  [[nodiscard]] Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) override {
    return pci::DmaBuffer(other.bytes(), other.address(), {});
  }

 protected:
  struct Queued {
    machine::Piece piece;
    std::vector<DmaSegment> memory;
    double left = 1;  // of the work
  };

  machine::PieceResult finish(const Queued& queued) {
    const machine::Piece& piece = queued.piece;
    if (bad_offset_ && *bad_offset_ >= piece.offset && *bad_offset_ < piece.offset + piece.bytes)
      return {.tag = piece.tag, .status = 0x281};
    std::uint64_t at = piece.offset;
    for (const DmaSegment& segment : queued.memory) {
      auto* memory = std::bit_cast<std::byte*>(segment.address.value);
      if (piece.direction == machine::Direction::from_endpoint)
        std::memcpy(memory, &bytes_[at], segment.bytes);
      else
        std::memcpy(&bytes_[at], memory, segment.bytes);
      at += segment.bytes;
    }
    EXPECT_EQ(at, piece.offset + piece.bytes);
    return {.tag = piece.tag};
  }

  std::deque<Queued> queued_;
  std::deque<Queued> rung_;

 private:
  std::string name_;
  base::Random random_;
};

// Does as much as a piece's work in each moment, evenly of all pieces that it has.
class EvenEndpoint final : public ScriptedEndpoint {
 public:
  using ScriptedEndpoint::ScriptedEndpoint;
  void work() {
    const double share = 1.0 / static_cast<double>(rung_.size());
    for (Queued& queued : rung_) queued.left -= share;
  }
  [[nodiscard]] Result<std::size_t> poll(std::span<machine::PieceResult> results) override {
    std::size_t count = 0;
    while (!rung_.empty() && rung_.front().left < 1e-6 && count < results.size()) {
      results[count++] = finish(rung_.front());
      rung_.pop_front();
    }
    return count;
  }
};

// Time that passes only when somebody waits.
class IdleClock final : public base::Clock {
 public:
  [[nodiscard]] base::TimePoint now() const override { return now_; }
  void idle() override { now_ += std::chrono::milliseconds(1); }

 private:
  base::TimePoint now_;
};

struct Pair {
  explicit Pair(std::uint64_t bytes, std::uint64_t seed = 1)
      : source("source", bytes, base::Random(seed)), destination("destination", bytes, base::Random(seed + 1)) {
    base::Random random(seed + 2);
    for (std::byte& byte : source.bytes_) byte = static_cast<std::byte>(random.next());
  }
  [[nodiscard]] Job job(std::uint64_t bytes, StagingShape shape) {
    return {.source = source, .destination = destination, .bytes = bytes, .shape = shape};
  }
  ScriptedEndpoint source;
  ScriptedEndpoint destination;
  IdleClock clock;
};

RC_GTEST_PROP(Pipeline, MovesEveryByteWhateverTheShape, ()) {
  const auto blocks = *rc::gen::inRange<std::uint64_t>(1, 200);
  const auto chunk_blocks = *rc::gen::inRange<std::uint64_t>(1, 40);
  const auto slots = *rc::gen::inRange<std::uint32_t>(1, 12);
  Pair pair(256 * kBlock, *rc::gen::arbitrary<std::uint64_t>());
  pair.source.capacity_ = *rc::gen::inRange<std::uint32_t>(1, 9);
  pair.destination.capacity_ = *rc::gen::inRange<std::uint32_t>(1, 9);
  pair.source.max_piece_ = *rc::gen::inRange<std::uint64_t>(1, 20) * kBlock;
  pair.destination.max_piece_ = *rc::gen::inRange<std::uint64_t>(1, 20) * kBlock;
  Job job = pair.job(blocks * kBlock, {.slots = slots, .chunk_bytes = chunk_blocks * kBlock});
  job.source_offset = *rc::gen::inRange<std::uint64_t>(0, 257 - blocks) * kBlock;
  job.destination_offset = *rc::gen::inRange<std::uint64_t>(0, 257 - blocks) * kBlock;
  const std::vector<std::byte> before = pair.destination.bytes_;
  Pipeline pipeline(job, {}, pair.clock);
  const auto outcome = pipeline.run();
  RC_ASSERT(outcome.has_value());
  RC_ASSERT(outcome->host_bytes == blocks * kBlock);
  RC_ASSERT(outcome->fallbacks.empty());
  std::vector<std::byte> expected = before;
  std::memcpy(&expected[job.destination_offset], &pair.source.bytes_[job.source_offset], job.bytes);
  RC_ASSERT(pair.destination.bytes_ == expected);
}

// Drives that end all that they were given together.
TEST(Pipeline, KeepsBothDrivesAtWork) {
  constexpr std::uint64_t kChunks = 64;
  for (const std::uint32_t slots : {2u, 3u, 5u, 8u}) {
    EvenEndpoint source("source", kChunks * kBlock, base::Random(1));
    EvenEndpoint destination("destination", kChunks * kBlock, base::Random(2));
    class Clock final : public base::Clock {
     public:
      Clock(EvenEndpoint& one, EvenEndpoint& other) : one_(one), other_(other) {}
      [[nodiscard]] base::TimePoint now() const override { return base::TimePoint{Duration{moments}}; }
      void idle() override {
        ++moments;
        one_.work();
        other_.work();
      }
      std::int64_t moments = 0;

     private:
      EvenEndpoint& one_;
      EvenEndpoint& other_;
    } clock(source, destination);
    Pipeline pipeline({.source = source,
                       .destination = destination,
                       .bytes = kChunks * kBlock,
                       .shape = {.slots = slots, .chunk_bytes = kBlock}},
                      {}, clock);
    ASSERT_TRUE(pipeline.run());
    // One after the other they take twice as many moments as there are chunks.
    EXPECT_LE(clock.moments, static_cast<std::int64_t>(kChunks + kChunks / 4)) << slots << " slots";
  }
}

TEST(Pipeline, ReportsProgressUpToTheEnd) {
  Pair pair(64 * kBlock);
  std::vector<std::uint64_t> seen;
  Manner manner{.progress = [&](CopyProgress progress) {
    EXPECT_EQ(progress.total_bytes, 64u * kBlock);
    seen.push_back(progress.done_bytes);
  }};
  Pipeline pipeline(pair.job(64 * kBlock, {.slots = 2, .chunk_bytes = 4 * kBlock}), std::move(manner), pair.clock);
  ASSERT_TRUE(pipeline.run());
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.back(), 64u * kBlock);
}

TEST(Pipeline, CountsWhyNothingWentDirect) {
  Pair pair(64 * kBlock);
  Manner manner{.stage = []() -> DirectStagingResult {
    return std::unexpected(NotStaged{.reason = peer::FallbackReason::no_route, .error = {.why = "no way"}});
  }};
  Pipeline pipeline(pair.job(64 * kBlock, {.slots = 2, .chunk_bytes = 4 * kBlock}), std::move(manner), pair.clock);
  const auto outcome = pipeline.run();
  ASSERT_TRUE(outcome);
  ASSERT_EQ(outcome->fallbacks.size(), 1u);
  EXPECT_EQ(outcome->fallbacks[0].code, "no_route");
  EXPECT_EQ(outcome->fallbacks[0].reason, "no way");
  EXPECT_EQ(outcome->fallbacks[0].chunks, 16u);
  EXPECT_EQ(outcome->fallbacks[0].bytes, 64u * kBlock);
}

TEST(Pipeline, TriesToGoDirectAgain) {
  Pair pair(256 * kBlock);
  int tries = 0;
  Manner manner{.stage = [&tries]() -> DirectStagingResult {
    ++tries;
    return std::unexpected(NotStaged{.reason = peer::FallbackReason::exhausted, .error = {.why = "full just now"}});
  }};
  Pipeline pipeline(pair.job(256 * kBlock, {.slots = 2, .chunk_bytes = kBlock}), std::move(manner), pair.clock);
  ASSERT_TRUE(pipeline.run());
  EXPECT_GE(tries, 256 / 32);
}

TEST(Pipeline, WritesNothingWhenOnlyDirectWillDo) {
  Pair pair(64 * kBlock);
  Manner manner{.stage = []() -> DirectStagingResult {
                  return std::unexpected(NotStaged{.error = {.code = ErrorCode::refused, .why = "not mine to give"}});
                },
                .direct_only = true};
  Pipeline pipeline(pair.job(64 * kBlock, {.slots = 2, .chunk_bytes = 4 * kBlock}), std::move(manner), pair.clock);
  const auto outcome = pipeline.run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::refused);
  EXPECT_EQ(pair.source.pieces_ + pair.destination.pieces_, 0u);
}

TEST(Pipeline, NamesTheDriveAndPlaceOfABadBlock) {
  Pair pair(64 * kBlock);
  pair.source.bad_offset_ = 33 * kBlock;
  Pipeline pipeline(pair.job(64 * kBlock, {.slots = 3, .chunk_bytes = 4 * kBlock}), {}, pair.clock);
  const auto outcome = pipeline.run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::device_failed);
  EXPECT_EQ(outcome.error().subject, "source");
  EXPECT_EQ(outcome.error().where, "offset 16384");
  EXPECT_NE(outcome.error().why.find("a bad block"), std::string::npos);
  EXPECT_TRUE(pipeline.is_quiet());
}

TEST(Pipeline, SaysThatADriveIsGoneAndThatItIsNotQuiet) {
  Pair pair(64 * kBlock);
  pair.destination.dies_after_ = 3;
  Pipeline pipeline(pair.job(64 * kBlock, {.slots = 3, .chunk_bytes = 4 * kBlock}), {}, pair.clock);
  const auto outcome = pipeline.run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::device_gone);
  EXPECT_FALSE(pipeline.is_quiet());
}

TEST(Verify, FindsTheFirstDifference) {
  Pair pair(64 * kBlock);
  pair.destination.bytes_ = pair.source.bytes_;
  const Job job = pair.job(64 * kBlock, {.slots = 1, .chunk_bytes = 4 * kBlock});
  EXPECT_EQ(*first_difference(job, pair.clock), std::nullopt);
  pair.destination.bytes_[20001] ^= std::byte{1};
  pair.destination.bytes_[30000] ^= std::byte{1};
  EXPECT_EQ(*first_difference(job, pair.clock), 20001u);
}

TEST(Cut, TakesAPartOutOfSeveralSegments) {
  const std::vector<DmaSegment> whole{{{1000}, 10}, {{2000}, 20}, {{3000}, 30}};
  std::vector<DmaSegment> part;
  cut(whole, 5, 30, part);
  EXPECT_EQ(part, (std::vector<DmaSegment>{{{1005}, 5}, {{2000}, 20}, {{3000}, 5}}));
  cut(whole, 30, 30, part);
  EXPECT_EQ(part, (std::vector<DmaSegment>{{{3000}, 30}}));
}

}  // namespace
}  // namespace barter::transfer
