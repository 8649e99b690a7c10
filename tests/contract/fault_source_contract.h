// What every peer::FaultSource keeps (src/peer/fault_source.h). A harness touches the program's bytes as the implementation
// has it: by plain loads and stores, or by a call.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "peer/fault_source.h"
#include "peer/pool.h"
#include "thread_sanitizer.h"

namespace barter::contract {

struct FaultHarness {
  std::unique_ptr<peer::FaultSource> source;
  // A load and a store by the program. None and false: the page is lost.
  std::function<std::optional<std::byte>(std::uint64_t offset)> load;
  std::function<bool(std::uint64_t offset, std::byte value)> store;
};

struct FaultSourceKind {
  std::string name;
  std::function<Result<FaultHarness>(std::uint64_t bytes)> make;
  friend std::ostream& operator<<(std::ostream& out, const FaultSourceKind& kind) { return out << kind.name; }
};

class FaultSourceContract : public testing::TestWithParam<FaultSourceKind> {
 protected:
  static constexpr std::uint64_t kPages = 64;
  static constexpr std::uint64_t kPage = peer::kPageBytes;

  void SetUp() override {
    auto made = GetParam().make(kPages * kPage);
    if (!made && (made.error().code == ErrorCode::refused || made.error().code == ErrorCode::unsupported))
      GTEST_SKIP() << "skipped: " << made.error().message();
    ASSERT_TRUE(made) << made.error().message();
    harness_ = std::move(*made);
  }
  [[nodiscard]] peer::FaultSource& source() { return *harness_.source; }
  [[nodiscard]] std::byte load(std::uint64_t offset) { return harness_.load(offset).value_or(std::byte{0xee}); }
  // Opens each page that is touched, and counts.
  void answer_by_opening() {
    ASSERT_TRUE(source().start([this](std::uint64_t page) {
      ++faults_;
      last_page_ = page;
      EXPECT_TRUE(source().open({page, 1}));
    }));
  }

  std::atomic<std::uint64_t> faults_ = 0;
  std::atomic<std::uint64_t> last_page_ = ~std::uint64_t{0};
  FaultHarness harness_;
};

TEST_P(FaultSourceContract, StartsOpenAndZeroAndSeenTwice) {
  EXPECT_EQ(source().program_bytes().size(), kPages * kPage);
  ASSERT_EQ(source().behind_bytes().size(), kPages * kPage);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(source().program_bytes().data()) % kPage, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(source().behind_bytes().data()) % kPage, 0u);
  for (const std::byte byte : source().behind_bytes()) ASSERT_EQ(byte, std::byte{0});
  ASSERT_TRUE(harness_.store(5 * kPage + 1, std::byte{0x51}));
  EXPECT_EQ(source().behind_bytes()[5 * kPage + 1], std::byte{0x51});
  source().behind_bytes()[6 * kPage] = std::byte{0x62};
  EXPECT_EQ(load(6 * kPage), std::byte{0x62});
}

TEST_P(FaultSourceContract, AClosedPageWaitsAndIsSeenWhole) {
  answer_by_opening();
  ASSERT_TRUE(harness_.store(3 * kPage, std::byte{1}));
  ASSERT_TRUE(source().close({3, 1}));
  EXPECT_EQ(source().behind_bytes()[3 * kPage], std::byte{1}) << "closing loses nothing";
  source().behind_bytes()[3 * kPage] = std::byte{2};
  EXPECT_EQ(faults_, 0u);
  EXPECT_EQ(load(3 * kPage), std::byte{2});
  EXPECT_GE(faults_, 1u);
  EXPECT_EQ(last_page_, 3u);
  const std::uint64_t before = faults_;
  EXPECT_EQ(load(3 * kPage + 100), std::byte{0});
  EXPECT_EQ(faults_, before) << "an open page costs nothing";
}

TEST_P(FaultSourceContract, StoresWaitTooAndReachTheBytesBehind) {
  answer_by_opening();
  ASSERT_TRUE(source().close({0, kPages}));
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(harness_.store(page * kPage + 7, std::byte{0x77}));
  for (std::uint64_t page = 0; page < kPages; ++page)
    ASSERT_EQ(source().behind_bytes()[page * kPage + 7], std::byte{0x77}) << page;
}

TEST_P(FaultSourceContract, OneOpenLetsAllThreadsGoOn) {
  std::atomic<bool> asked = false;
  ASSERT_TRUE(source().start([&](std::uint64_t) { asked = true; }));
  ASSERT_TRUE(source().close({0, kPages}));
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int index = 0; index < 4; ++index)
    threads.emplace_back([&, index] {
      EXPECT_EQ(load(9 * kPage + static_cast<std::uint64_t>(index)), std::byte{0x99});
      ++done;
    });
  while (!asked) std::this_thread::yield();
  EXPECT_EQ(done, 0) << "nobody goes on before the page is open";
  for (int index = 0; index < 4; ++index)
    source().behind_bytes()[9 * kPage + static_cast<std::uint64_t>(index)] = std::byte{0x99};
  EXPECT_TRUE(source().open({9, 1}));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 4);
}

TEST_P(FaultSourceContract, WhoIsWokenAsksAgain) {
  ASSERT_TRUE(source().start([&](std::uint64_t page) {
    if (++faults_ < 3) return source().wake({page, 1});
    EXPECT_TRUE(source().open({page, 1}));
  }));
  ASSERT_TRUE(source().close({1, 1}));
  EXPECT_EQ(load(kPage), std::byte{0});
  EXPECT_GE(faults_, 3u);
}

TEST_P(FaultSourceContract, DiscardedPagesAreZeroWhenTheyComeBack) {
  answer_by_opening();
  ASSERT_TRUE(harness_.store(2 * kPage, std::byte{0xaa}));
  ASSERT_TRUE(harness_.store(4 * kPage, std::byte{0xcc}));
  ASSERT_TRUE(source().close({2, 1}));
  ASSERT_TRUE(source().discard({2, 1}));
  EXPECT_EQ(load(2 * kPage), std::byte{0});
  EXPECT_EQ(load(4 * kPage), std::byte{0xcc}) << "and its neighbours are as they were";
}

TEST_P(FaultSourceContract, OpeningWhatIsOpenChangesNothing) {
  answer_by_opening();
  ASSERT_TRUE(source().close({0, 8}));
  ASSERT_TRUE(harness_.store(3 * kPage, std::byte{3}));
  EXPECT_TRUE(source().open({0, 8}));
  EXPECT_TRUE(source().open({0, kPages}));
  EXPECT_EQ(load(3 * kPage), std::byte{3});
}

TEST_P(FaultSourceContract, ATouchOfALostPageEndsAndDoesNotHang) {
  if (is_under_thread_sanitizer()) GTEST_SKIP() << kNotUnderThreadSanitizer;
  std::atomic<bool> is_renewed = false;
  ASSERT_TRUE(source().start([&](std::uint64_t page) {
    ++faults_;
    EXPECT_TRUE(page == 7 && !is_renewed ? source().lose({page, 1}) : source().open({page, 1}));
  }));
  ASSERT_TRUE(harness_.store(7 * kPage, std::byte{7}));
  ASSERT_TRUE(source().close({7, 1}));
  EXPECT_FALSE(harness_.load(7 * kPage)) << "a thread that waits is told";
  EXPECT_FALSE(harness_.store(7 * kPage, std::byte{1}));
  EXPECT_EQ(load(8 * kPage), std::byte{0}) << "the next page lives";
  is_renewed = true;
  ASSERT_TRUE(source().renew({7, 1}));
  EXPECT_EQ(load(7 * kPage), std::byte{0});
  ASSERT_TRUE(harness_.store(7 * kPage, std::byte{8}));
  EXPECT_EQ(source().behind_bytes()[7 * kPage], std::byte{8});
}

TEST_P(FaultSourceContract, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(source().close({0, 1})) << "nobody would answer";
  answer_by_opening();
  EXPECT_FALSE(source().start([](std::uint64_t) {})) << "somebody answers already";
  for (const peer::PageRun run : {peer::PageRun{0, 0}, peer::PageRun{kPages, 1}, peer::PageRun{kPages - 1, 2},
                                  peer::PageRun{1, ~std::uint64_t{0}}}) {
    EXPECT_FALSE(source().close(run));
    EXPECT_FALSE(source().open(run));
    EXPECT_FALSE(source().discard(run));
    EXPECT_FALSE(source().lose(run));
    EXPECT_FALSE(source().renew(run));
  }
}

// Pages are closed and opened under threads that write: no store is lost.
TEST_P(FaultSourceContract, NoStoreIsLost) {
  answer_by_opening();
  constexpr int kThreads = 3;
  constexpr int kRounds = 1000;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int index = 0; index < kThreads; ++index)
    threads.emplace_back([&, index] {
      for (int round = 1; round <= kRounds; ++round)
        for (std::uint64_t page = 0; page < 4; ++page)
          EXPECT_TRUE(harness_.store(page * kPage + static_cast<std::uint64_t>(index),
                                     std::byte{static_cast<unsigned char>(round)}));
      --running;
    });
  while (running != 0) {
    const std::uint64_t before = faults_;
    EXPECT_TRUE(source().close({0, 4}));
    while (faults_ == before && running != 0) std::this_thread::yield();  // so that the threads get on
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t page = 0; page < 4; ++page)
    for (std::uint64_t index = 0; index < kThreads; ++index)
      EXPECT_EQ(source().behind_bytes()[page * kPage + index], std::byte{kRounds % 256});
}

}  // namespace barter::contract
