// Two models that threads of their own step, as in a threaded machine, and a host that speaks to both meanwhile. What matters here is
// said by ThreadSanitizer, and by the promises of docs/devices/nic.md that a test can break.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/nic/test_host.h"

namespace barter::devices::nic {
namespace {

using testing::IsEmpty;

constexpr std::uint64_t kData = TestHost::kData;
constexpr std::uint32_t kSend = 0x01, kWrite = 0x02, kRead = 0x03, kRegister = 0x04, kReceive = 0x10;
constexpr std::uint32_t kMayRead = 0x10000, kMayWrite = 0x20000;
constexpr std::uint32_t kBytes = 300'000;  // more than is under way at a time

class NicThreads : public testing::Test {
 protected:
  NicThreads() {
    for (TestHost* host : {&here_, &there_})
      for (unsigned channel = 2; channel < 4; ++channel) host->open(channel);
    for (TestHost* host : {&here_, &there_})
      threads_[host == &here_ ? 0 : 1] = std::thread([this, &device = *host->device] {
        while (!is_over_.load(std::memory_order_acquire))
          if (!device.step()) std::this_thread::yield();
      });
  }
  ~NicThreads() override {
    stop();
    EXPECT_THAT(here_.device->violations(), IsEmpty());
    EXPECT_THAT(there_.device->violations(), IsEmpty());
  }
  void stop() {
    is_over_.store(true, std::memory_order_release);
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }
  static TestHost::Completion wait(TestHost& host, unsigned channel) {
    while (!host.has(channel)) std::this_thread::yield();
    return host.take(channel);
  }
  std::uint32_t region(TestHost& host, std::uint64_t address, std::uint64_t bytes) {
    host.push(0, {.word = kRegister, .lists = kMayRead | kMayWrite, .address = address, .bytes = bytes});
    const auto answer = wait(host, 0);
    EXPECT_EQ(answer.status(), 0u);
    return static_cast<std::uint32_t>(answer.result);
  }

  TestPair nics_;
  TestHost& here_ = nics_.here;
  TestHost& there_ = nics_.there;

 private:
  std::atomic<bool> is_over_ = false;
  std::array<std::thread, 2> threads_;
};

TEST_F(NicThreads, MessagesAndRegionsBothWaysAtOnce) {
  constexpr std::uint64_t kInto = kData + 0x60000, kRegion = kData + 0xc0000, kFetched = kData + 0x120000;
  const std::array keys = {region(here_, kRegion, kBytes), region(there_, kRegion, kBytes)};
  for (unsigned round = 0; round < 20; ++round) {
    for (TestHost* host : {&here_, &there_}) {
      host->fill(kData, kBytes, round * 2 + (host == &here_ ? 1 : 0));
      host->push(1, {.word = kReceive, .address = kInto, .bytes = kBytes});
    }
    for (TestHost* host : {&here_, &there_}) {
      const std::uint32_t key = keys[host == &here_ ? 1 : 0];
      host->push(0, {.word = kSend, .address = kData, .bytes = kBytes});
      host->push(2, {.word = kWrite, .address = kData, .bytes = kBytes - 1, .key = key, .offset = 1});
      host->push(2, {.word = kRead, .address = kFetched, .bytes = kBytes - 1, .key = key, .offset = 1});
      EXPECT_EQ(host->get(0x24), 1u);
    }
    for (TestHost* host : {&here_, &there_}) {
      TestHost& other = host == &here_ ? there_ : here_;
      EXPECT_EQ(wait(*host, 0).status(), 0u) << "a receive that was there before is found";
      EXPECT_EQ(wait(*host, 2).status(), 0u);
      EXPECT_EQ(wait(*host, 2).status(), 0u);
      EXPECT_EQ(wait(other, 1).result, kBytes);
      const std::byte* const sent = host->bytes(kData, kBytes).data();
      ASSERT_EQ(std::memcmp(other.bytes(kInto, kBytes).data(), sent, kBytes), 0);
      ASSERT_EQ(std::memcmp(other.bytes(kRegion + 1, kBytes - 1).data(), sent, kBytes - 1), 0);
      ASSERT_EQ(std::memcmp(host->bytes(kFetched, kBytes - 1).data(), sent, kBytes - 1), 0);
    }
  }
}

// Whoever has told the other end that there is a receive gets no status 8.
TEST_F(NicThreads, AReceiveThatWasThereBeforeIsFound) {
  for (std::uint32_t round = 0; round < 3000; ++round) {
    there_.push(1, {.word = kReceive, .address = kData, .bytes = 64});
    here_.push(0, {.word = kSend, .address = kData, .bytes = round % 64 + 1});
    ASSERT_EQ(wait(here_, 0).status(), 0u) << round;
    ASSERT_EQ(wait(there_, 1).result, round % 64 + 1);
  }
}

// REMOTE's promise: once it was not BUSY, or has changed, the memory is the host's alone. A late access is a data race for
// ThreadSanitizer, and a late write a wrong byte for anybody.
TEST_F(NicThreads, NothingMovesByAKeyThatWasWithdrawn) {
  here_.fill(kData, kBytes, 1);
  for (int round = 0; round < 60; ++round) {
    const std::uint32_t key = region(there_, kData, kBytes);
    here_.push(0, {.word = kWrite, .address = kData, .bytes = kBytes, .key = key});
    here_.push(2, {.word = kRead, .address = kData + 0x100000, .bytes = kBytes, .key = key});
    for (int look = 0; look < round; ++look) std::this_thread::yield();
    there_.set(0x2c, key);
    const std::uint64_t remote = there_.get(0x30);
    if ((remote & 1) != 0)
      while (there_.get(0x30) == remote) std::this_thread::yield();
    std::memset(there_.bytes(kData, kBytes).data(), 0, kBytes);
    for (const unsigned channel : {0u, 2u}) {
      const unsigned status = wait(here_, channel).status();
      EXPECT_TRUE(status == 0 || status == 11) << status;
    }
    ASSERT_TRUE(std::ranges::all_of(there_.bytes(kData, kBytes), [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

// The other end is reset, disabled and stopped while everything is under way.
TEST_F(NicThreads, AWireThatGoesDownAtAnyTimeEndsWhatIsUnderWay) {
  for (int round = 0; round < 60; ++round) {
    const std::uint32_t key = region(there_, kData, kBytes);
    there_.push(1, {.word = kReceive, .address = kData, .bytes = kBytes});
    there_.push(2, {.word = kSend, .address = kData, .bytes = kBytes});
    here_.push(3, {.word = kReceive, .address = kData + 0x80000, .bytes = kBytes});
    here_.push(0, {.word = kSend, .address = kData, .bytes = kBytes});
    here_.push(2, {.word = round % 2 == 0 ? kWrite : kRead, .address = kData + 0x100000, .bytes = kBytes, .key = key});
    for (int look = 0; look < round * 4; ++look) std::this_thread::yield();
    switch (round % 3) {
      case 0:
        there_.device->reset();
        break;
      case 1:
        there_.set(0x18, 0);
        break;
      default:
        there_.set(0x18, 3);
        break;
    }
    while (there_.get(0x1c) != 0) std::this_thread::yield();
    for (const unsigned channel : {0u, 2u}) {
      const unsigned status = wait(here_, channel).status();
      EXPECT_TRUE(status == 0 || status == 7) << status;
    }
    std::memset(there_.bytes(kData, kBytes).data(), 0, kBytes);  // not READY: nothing moves there any more
    while (there_.get(0x18) != 0) there_.set(0x18, 0);
    there_.set(0x18, 1);
    while (there_.get(0x1c) != 1) std::this_thread::yield();
    for (unsigned channel = 0; channel < 4; ++channel) there_.open(channel);
    // The receive of here has got all, something, or nothing yet.
    if (!here_.has(3)) {
      there_.push(2, {.word = kSend, .address = kData, .bytes = 8});
      const unsigned status = wait(there_, 2).status();
      EXPECT_TRUE(status == 0 || status == 8) << status;
    }
    const unsigned status = wait(here_, 3).status();
    EXPECT_TRUE(status == 0 || status == 7) << status;
  }
}

}  // namespace
}  // namespace barter::devices::nic
