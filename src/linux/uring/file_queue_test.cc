#include "linux/uring/file_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "linux/descriptor.h"

namespace barter::linux_os {
namespace {

using ::testing::HasSubstr;

// A file without a name, of bytes that tell where they are.
class FileQueueTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = 1 << 20;

  void SetUp() override {
    std::string name = ::testing::TempDir() + "/barter-file-queue-XXXXXX";
    file_ = Descriptor(mkstemp(name.data()));
    unlink(name.c_str());
    ASSERT_TRUE(file_.is_open());
    for (std::size_t at = 0; at < kBytes; ++at) bytes_[at] = static_cast<std::byte>(at >> 9 ^ at);
    ASSERT_EQ(pwrite(file_.number(), bytes_.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
    auto signal = CompletionSignal::create();
    ASSERT_TRUE(signal);
    signal_.emplace(std::move(*signal));
    auto queue = FileQueue::create(file_.number(), *signal_, {.capacity = 4});
    if (!queue && queue.error().code != ErrorCode::invalid_argument)
      GTEST_SKIP() << "skipped: " << queue.error().message();
    ASSERT_TRUE(queue) << queue.error().message();
    queue_ = std::move(*queue);
  }

  std::vector<FileOutcome> take(std::size_t count) {
    std::vector<FileOutcome> all;
    std::array<FileOutcome, 8> some;
    while (all.size() < count) {
      const auto found = queue_->poll(some);
      if (!found) {
        ADD_FAILURE() << found.error().message();
        break;
      }
      all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(*found));
      if (*found == 0) signal_->wait(std::chrono::milliseconds(100));
    }
    return all;
  }
  static DmaSegment segment(std::span<std::byte> memory) {
    return {{reinterpret_cast<std::uintptr_t>(memory.data())}, memory.size()};
  }

  Descriptor file_;
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kBytes);
  std::optional<CompletionSignal> signal_;
  std::unique_ptr<FileQueue> queue_;
};

TEST_F(FileQueueTest, ReadsSeveralAtATimeAndSaysWhich) {
  std::vector<std::byte> memory(kBytes);
  for (std::uint64_t part = 0; part < 4; ++part) {
    const DmaSegment piece = segment(std::span(memory).subspan(part << 18, 1 << 18));
    ASSERT_TRUE(queue_->submit({.offset = part << 18, .memory = {&piece, 1}, .at_least = 1 << 18, .tag = part + 10}));
  }
  const DmaSegment piece = segment(memory);
  const auto one_more = queue_->submit({.memory = {&piece, 1}, .at_least = 1});
  ASSERT_FALSE(one_more);
  EXPECT_EQ(one_more.error().code, ErrorCode::exhausted);
  EXPECT_EQ(queue_->in_flight(), 4u);
  queue_->ring();
  std::uint64_t tags = 0;
  for (const FileOutcome& outcome : take(4)) {
    EXPECT_EQ(outcome.status, 0) << describe_file_status(outcome.status);
    tags += outcome.tag;
  }
  EXPECT_EQ(tags, 10u + 11 + 12 + 13);
  EXPECT_EQ(queue_->in_flight(), 0u);
  EXPECT_EQ(memory, bytes_);
}

TEST_F(FileQueueTest, WritesFromSeveralSegmentsAndRegisteredBuffers) {
  std::vector<std::byte> memory(8192, std::byte{0x5a});
  EXPECT_TRUE(queue_->add_buffer(memory)) << queue_->grants();
  const std::array<DmaSegment, 2> pieces = {segment(std::span(memory).first(100)),
                                            segment(std::span(memory).subspan(100, 412))};
  ASSERT_TRUE(queue_->submit({.writes = true, .offset = 4096, .memory = pieces, .at_least = 512}));
  const DmaSegment whole = segment(std::span(memory).first(4096));
  ASSERT_TRUE(queue_->submit({.writes = true, .offset = 65536, .memory = {&whole, 1}, .at_least = 4096}));
  queue_->ring();
  for (const FileOutcome& outcome : take(2)) EXPECT_EQ(outcome.status, 0) << describe_file_status(outcome.status);
  queue_->forget_buffer(memory);
  std::vector<std::byte> now(kBytes);
  ASSERT_EQ(pread(file_.number(), now.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
  std::fill_n(bytes_.begin() + 4096, 512, std::byte{0x5a});
  std::fill_n(bytes_.begin() + 65536, 4096, std::byte{0x5a});
  EXPECT_EQ(now, bytes_);
}

TEST_F(FileQueueTest, AFileMayEndWithinTheLastBlockButNotBefore) {
  std::vector<std::byte> memory(8192);
  const DmaSegment piece = segment(memory);
  ASSERT_TRUE(queue_->submit({.offset = kBytes - 100, .memory = {&piece, 1}, .at_least = 100}));
  queue_->ring();
  EXPECT_EQ(take(1).front().status, 0);
  EXPECT_EQ(std::memcmp(memory.data(), bytes_.data() + kBytes - 100, 100), 0);
  ASSERT_TRUE(queue_->submit({.offset = kBytes - 100, .memory = {&piece, 1}, .at_least = 101}));
  queue_->ring();
  EXPECT_EQ(take(1).front().status, FileQueue::kEndOfFile);
}

TEST_F(FileQueueTest, ErrorsOfTheKernelComeWithTheRequest) {
  const DmaSegment nowhere{{4096}, 512};
  ASSERT_TRUE(queue_->submit({.memory = {&nowhere, 1}, .at_least = 512, .tag = 7}));
  queue_->ring();
  const FileOutcome outcome = take(1).front();
  EXPECT_EQ(outcome.status, EFAULT);
  EXPECT_EQ(outcome.tag, 7u);
  EXPECT_EQ(outcome.memory, reinterpret_cast<void*>(4096));
  EXPECT_THAT(describe_file_status(EFAULT), HasSubstr("taken back"));
}

TEST_F(FileQueueTest, NonsenseIsRefused) {
  std::vector<std::byte> memory(512);
  const DmaSegment piece = segment(memory);
  const DmaSegment empty{piece.address, 0};
  const DmaSegment huge{piece.address, ~std::uint64_t{0}};
  const std::vector<DmaSegment> many(FileQueue::kMaxPieces + 1, piece);
  EXPECT_FALSE(queue_->submit({.at_least = 1}));
  EXPECT_FALSE(queue_->submit({.memory = {&empty, 1}, .at_least = 1}));
  EXPECT_FALSE(queue_->submit({.memory = {&huge, 1}, .at_least = 1}));
  EXPECT_FALSE(queue_->submit({.memory = many, .at_least = 1}));
  EXPECT_FALSE(queue_->submit({.memory = {&piece, 1}, .at_least = 0}));
  EXPECT_FALSE(queue_->submit({.memory = {&piece, 1}, .at_least = 513}));
  EXPECT_EQ(queue_->in_flight(), 0u);
}

TEST_F(FileQueueTest, AQueueThatGoesWaitsForWhatIsInFlight) {
  std::vector<std::byte> memory(kBytes);
  const DmaSegment piece = segment(memory);
  ASSERT_TRUE(queue_->submit({.memory = {&piece, 1}, .at_least = kBytes}));
  queue_->ring();
  queue_ = nullptr;
  EXPECT_EQ(memory, bytes_);
}

}  // namespace
}  // namespace barter::linux_os
