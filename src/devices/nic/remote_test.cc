// Two models: what one does in the other's registered memory, and a wire that goes down. In the numbers of docs/devices/nic.md.
#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/nic/test_host.h"

namespace barter::devices::nic {
namespace {

using testing::IsEmpty;

constexpr std::uint64_t kBase = TestHost::kBase;
constexpr std::uint64_t kData = TestHost::kData;
constexpr std::uint64_t kNowhere = TestHost::kNowhere;
constexpr std::uint64_t kLists = kBase + 0x10000;
constexpr std::uint32_t kSend = 0x01, kWrite = 0x02, kRead = 0x03, kRegister = 0x04, kReceive = 0x10;
constexpr std::uint32_t kMayRead = 0x10000, kMayWrite = 0x20000;
constexpr std::uint64_t kMiB = 1 << 20;

class NicRemote : public testing::Test {
 protected:
  explicit NicRemote(const NicSetup& here = {}, const NicSetup& there = {}) : nics_(here, there) {}
  ~NicRemote() override {
    EXPECT_THAT(here_.device->violations(), IsEmpty());
    if (there_.device) {
      EXPECT_THAT(there_.device->violations(), IsEmpty());
    }
  }
  // By the other end; its key.
  std::uint32_t region(std::uint64_t address, std::uint64_t bytes, std::uint32_t lists = kMayRead | kMayWrite) {
    there_.push(0, {.word = kRegister, .lists = lists, .address = address, .bytes = bytes});
    nics_.run();
    const auto answer = there_.take(0);
    EXPECT_EQ(answer.status(), 0u);
    return static_cast<std::uint32_t>(answer.result);
  }
  TestHost::Completion carry_out(const Command& command) {
    here_.push(0, command);
    nics_.run();
    return here_.take(0);
  }
  unsigned access(std::uint32_t word, std::uint32_t key, std::uint64_t offset, std::uint64_t bytes) {
    return carry_out({.word = word, .address = kData, .bytes = bytes, .key = key, .offset = offset}).status();
  }
  // Until some bytes have been moved by the channel, and by far not all of 1 MiB.
  void half_way(TestHost& host, unsigned channel) {
    while (host.moved(channel) < 300'000) (void)here_.device->step(), (void)there_.device->step();
    EXPECT_LT(host.moved(channel), 900'000u);
  }
  bool is_same(std::uint64_t at_here, std::uint64_t at_there, std::size_t count) {
    return std::memcmp(here_.bytes(at_here, count).data(), there_.bytes(at_there, count).data(), count) == 0;
  }

  TestPair nics_;
  TestHost& here_ = nics_.here;
  TestHost& there_ = nics_.there;
};

class NicRemoteInSlices : public NicRemote {
 protected:
  NicRemoteInSlices() : NicRemote({.bytes_per_step = 20'000}, {.bytes_per_step = 20'000}) {}
};

TEST_F(NicRemote, WritesAndReadsGoByKeyAndTakeNoChannel) {
  there_.close(1);
  constexpr std::uint32_t kAll = 1'000'003;
  there_.list(kLists, {{kData + 2 * kMiB, 7}, {kData, 800'000}, {kData + kMiB, 300'000}});
  const std::uint32_t key = region(kLists, 1'100'007, kMayRead | kMayWrite | 3);
  there_.list(kLists, {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}});  // of no matter afterwards
  here_.fill(kData, kAll);
  here_.list(kLists, {{kData, 3}, {kData + 3, kAll - 3}});
  const auto written =
      carry_out({.word = kWrite | 0x120100, .lists = 2, .address = kLists, .bytes = kAll, .key = key, .offset = 5});
  EXPECT_EQ(written.word, 0x80000012u);
  EXPECT_EQ(written.result, kAll);
  EXPECT_THAT(here_.interrupts, testing::ElementsAre(0u));
  EXPECT_TRUE(is_same(kData, kData + 2 * kMiB + 5, 2));
  EXPECT_TRUE(is_same(kData + 2, kData, 800'000));
  EXPECT_TRUE(is_same(kData + 800'002, kData + kMiB, kAll - 800'002));
  EXPECT_EQ(here_.moved(0), kAll);
  EXPECT_EQ(there_.moved(0), 0u) << "by no channel there";
  const std::uint64_t remote = there_.get(0x30);
  EXPECT_EQ(remote & 1, 0u);
  EXPECT_GE(remote >> 1, kAll / 65536) << "at most 64 KiB at a time";
  EXPECT_EQ(here_.get(0x30), 0u);

  here_.fill(kData, kAll, 99);
  const auto read = carry_out({.word = kRead, .lists = 2, .address = kLists, .bytes = kAll, .key = key, .offset = 5});
  EXPECT_EQ(read.status(), 0u);
  EXPECT_EQ(read.result, kAll);
  EXPECT_TRUE(is_same(kData, kData + 2 * kMiB + 5, 2));
  EXPECT_TRUE(is_same(kData + 2, kData, 800'000));
  EXPECT_TRUE(is_same(kData + 800'002, kData + kMiB, kAll - 800'002));
  EXPECT_EQ(here_.moved(0), 2 * kAll);
  EXPECT_EQ(access(kRead, key, 1'100'006, 1), 0u) << "the last byte";
}

TEST_F(NicRemote, WhatAKeyDoesNotNameOrPermitIsRefused) {
  const std::uint32_t both = region(kData, 4096);
  const std::uint32_t readable = region(kData, 4096, kMayRead);
  const std::uint32_t writable = region(kData, 4096, kMayWrite);
  for (const std::uint32_t word : {kRead, kWrite}) {
    EXPECT_EQ(access(word, both, 0, 4096), 0u);
    EXPECT_EQ(access(word, both, 0, 4097), 11u);
    EXPECT_EQ(access(word, both, 4095, 2), 11u);
    EXPECT_EQ(access(word, both, 4096, 1), 11u);
    EXPECT_EQ(access(word, both, ~std::uint64_t{0}, 2), 11u);
    EXPECT_EQ(access(word, both + 0x10000, 0, 1), 11u) << "another number";
    EXPECT_EQ(access(word, both + 7, 0, 1), 11u) << "an index that is not in use";
    EXPECT_EQ(access(word, both | 0xffff, 0, 1), 11u) << "past all indices";
    EXPECT_EQ(access(word, 0, 0, 1), 11u);
    EXPECT_EQ(access(word, readable, 0, 1), word == kRead ? 0u : 11u);
    EXPECT_EQ(access(word, writable, 0, 1), word == kWrite ? 0u : 11u);
  }
  const std::uint64_t before = here_.moved(0);
  EXPECT_EQ(carry_out({.word = kWrite, .address = kNowhere, .bytes = 8, .key = 0}).result, 0u);
  EXPECT_EQ(here_.moved(0), before);
  // Its own regions are the other end's to reach, not its own.
  there_.push(0, {.word = kRead, .address = kData, .bytes = 8, .key = both});
  nics_.run();
  EXPECT_EQ(there_.take(0).status(), 11u);
  // What the bus refuses, here and there.
  EXPECT_EQ(carry_out({.word = kWrite, .address = kNowhere, .bytes = 8, .key = both}).status(), 5u);
  EXPECT_EQ(carry_out({.word = kRead, .address = kNowhere, .bytes = 8, .key = both}).status(), 6u);
  const std::uint32_t elsewhere = region(kNowhere, 4096);
  EXPECT_EQ(access(kRead, elsewhere, 0, 8), 10u);
  EXPECT_EQ(access(kWrite, elsewhere, 0, 8), 10u);
  EXPECT_EQ(access(kRead, both, 0, 8), 0u) << "and on it goes";
}

class NicRemoteFewKeys : public NicRemote {
 protected:
  NicRemoteFewKeys() : NicRemote({}, {.keys = 3}) {}
};

TEST_F(NicRemoteFewKeys, AreAllInUseAtSomeTimeAndNeverTheSameAgain) {
  std::vector<std::uint32_t> keys;
  for (int index = 0; index < 3; ++index) keys.push_back(region(kData, 8));
  there_.push(0, {.word = kRegister, .lists = kMayRead, .address = kData, .bytes = 8});
  nics_.run();
  const auto refused = there_.take(0);
  EXPECT_EQ(refused.status(), 12u);
  EXPECT_EQ(refused.result, 0u);
  there_.set(0x2c, keys[1] + 0x10000);  // names nothing
  there_.set(0x2c, keys[1] | 0xffff);
  there_.push(0, {.word = kRegister, .lists = kMayRead, .address = kData, .bytes = 8});
  nics_.run();
  EXPECT_EQ(there_.take(0).status(), 12u);
  const std::uint32_t first = keys[1];
  for (int round = 0; round < 20; ++round) {
    there_.set(0x2c, keys[1]);
    EXPECT_EQ(access(kRead, keys[1], 0, 8), 11u);
    keys[1] = region(kData, 8);
    EXPECT_EQ(keys[1] & 0xffff, first & 0xffff) << "the index that is free";
    EXPECT_NE(keys[1], first);
    EXPECT_EQ(access(kRead, first, 0, 8), 11u) << "a key of old";
    EXPECT_EQ(access(kRead, keys[1], 0, 8), 0u);
    there_.set(0x2c, first);
    EXPECT_EQ(access(kRead, keys[1], 0, 8), 0u) << "withdrawing it changes nothing";
  }
  for (const std::uint32_t key : keys) EXPECT_LT(key & 0xffff, 3u);
  // A device that is not READY knows no keys, and those of before name nothing afterwards.
  there_.set(0x18, 0);
  (void)there_.device->step();
  there_.enable();
  there_.open(0);
  for (const std::uint32_t key : keys) EXPECT_EQ(access(kRead, key, 0, 8), 11u);
  for (int index = 0; index < 3; ++index) {
    const std::uint32_t key = region(kData, 8);
    EXPECT_THAT(keys, testing::Not(testing::Contains(key)));
    EXPECT_EQ(access(kRead, key, 0, 8), 0u);
  }
}

TEST_F(NicRemoteInSlices, AKeyWithdrawnInMidTransferEndsIt) {
  here_.fill(kData, kMiB, 3);
  for (const std::uint32_t word : {kRead, kWrite}) {
    const std::uint32_t key = region(kData, kMiB);
    here_.push(0, {.word = word, .address = kData, .bytes = kMiB, .key = key});
    const std::uint64_t before = here_.moved(0);
    while (here_.moved(0) < before + 300'000) (void)here_.device->step(), (void)there_.device->step();
    there_.set(0x2c, key);
    const std::uint64_t remote = there_.get(0x30);
    EXPECT_EQ(remote & 1, 0u);
    std::memset(there_.bytes(kData, kMiB).data(), 0x55, kMiB);
    nics_.run();
    const auto answer = here_.take(0);
    EXPECT_EQ(answer.status(), 11u);
    EXPECT_GE(answer.result, 300'000u);
    EXPECT_LT(answer.result, kMiB);
    EXPECT_TRUE(std::ranges::all_of(there_.bytes(kData, kMiB), [](std::byte byte) { return byte == std::byte{0x55}; }));
  }
}

// Seen from the bus: BUSY while the bytes move, and one more each time.
TEST_F(NicRemote, RemoteTellsWhenBytesAreMovedForTheOtherEnd) {
  // The region is the NIC's own REMOTE register, as it were: a host whose memory shows it when it is read.
  class Watcher final : public fabric::Requester {
   public:
    explicit Watcher(TestHost& host) : host_(host) {}
    fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
      if (from.value >= kData) seen.push_back(static_cast<std::uint32_t>(nic->read_register(0, {0x30}, 4)));
      return host_.read(from, into);
    }
    fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
      if (to.value >= kData) seen.push_back(static_cast<std::uint32_t>(nic->read_register(0, {0x30}, 4)));
      return host_.write(to, from);
    }
    Run run(DmaAddress, std::uint64_t, Access) override { return {}; }
    void interrupt(unsigned) override {}
    void windows_changed() override {}
    [[nodiscard]] bool may_master() const override { return true; }
    [[nodiscard]] std::optional<BusAddress> bar_address(unsigned) const override { return std::nullopt; }
    fabric::Device* nic = nullptr;
    std::vector<std::uint32_t> seen;

   private:
    TestHost& host_;
  };
  const std::uint32_t key = region(kData, kMiB);
  Watcher watcher(there_);
  watcher.nic = there_.device.get();
  there_.device->attach(watcher);
  EXPECT_EQ(access(kWrite, key, 1, 65536 * 2 + 1), 0u);
  EXPECT_EQ(access(kRead, key, 1, 10), 0u);
  EXPECT_THAT(watcher.seen, testing::ElementsAre(3u, 5u, 7u, 9u));
  EXPECT_EQ(there_.get(0x30), 8u);
  there_.push(1, {.word = kReceive, .address = kData, .bytes = 8});
  here_.push(0, {.word = kSend, .address = kData, .bytes = 8});
  nics_.run();
  EXPECT_EQ(watcher.seen.back(), 8u) << "a receive's memory goes by no key";
  there_.set(0x18, 3);
  (void)there_.device->step();
  EXPECT_EQ(there_.get(0x30), 0u);
}

// How a wire can go down; and how it comes back, with the channels of the side that did it.
struct Break {
  const char* name;
  std::function<void(TestHost&)> down;
  std::function<void(TestHost&)> up;
  bool is_silent;  // nothing completes at the end that did it
};
const Break kBreaks[] = {
    {"disabled",
     [](TestHost& host) {
       host.set(0x18, 0);
       (void)host.device->step();
     },
     [](TestHost& host) { host.enable(), host.open(0), host.open(1); }, true},
    {"reset by its register",
     [](TestHost& host) {
       host.set(0x18, 3);
       (void)host.device->step();
     },
     [](TestHost& host) { host.enable(), host.open(0), host.open(1); }, true},
    {"reset as a function", [](TestHost& host) { host.device->reset(); },
     [](TestHost& host) { host.enable(), host.open(0), host.open(1); }, true},
    {"without bus mastering", [](TestHost& host) { host.may_master_now = false; },
     [](TestHost& host) { host.may_master_now = true; }, false},
    {"disabled for no longer than a step",
     [](TestHost& host) {
       host.set(0x18, 0);
       host.set(0x18, 1);
       (void)host.device->step();
     },
     [](TestHost& host) { host.open(0), host.open(1); }, true},
};

TEST_F(NicRemoteInSlices, AWireThatGoesDownEndsAMessageOnBothSides) {
  for (const Break& how : kBreaks)
    for (TestHost* const host : {&here_, &there_}) {
      SCOPED_TRACE(std::string(how.name) + (host == &here_ ? " here" : " there"));
      here_.close(0), here_.open(0), there_.close(1), there_.open(1);
      there_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
      there_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
      here_.push(0, {.word = kSend, .address = kData, .bytes = kMiB});
      half_way(there_, 1);
      const auto end_of = [&](const TestHost* of) { return of == &here_ ? here_.take(0) : there_.take(1); };
      how.down(*host);
      nics_.run();
      EXPECT_EQ(end_of(host == &here_ ? &there_ : &here_).status(), 7u);
      EXPECT_FALSE(there_.has(1)) << "a receive that no message has begun to fill goes on waiting";
      how.up(*host);
      nics_.run();
      EXPECT_EQ(here_.get(0x24), 1u);
      if (!how.is_silent) {
        EXPECT_EQ(end_of(host).status(), 7u);
      }
      EXPECT_FALSE(here_.has(0) || there_.has(1)) << "what was in flight at an end that was stopped completes never";
      if (how.is_silent && host == &there_) there_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
      here_.fill(kData, 1000, 17);
      EXPECT_EQ(carry_out({.word = kSend, .address = kData, .bytes = 1000}).status(), 0u);
      EXPECT_EQ(there_.take(1).result, 1000u) << "by the receive that went on waiting";
      EXPECT_TRUE(is_same(kData, kData, 1000));
    }
}

TEST_F(NicRemoteInSlices, AWireThatGoesDownEndsWhatGoesByAKey) {
  for (const Break& how : kBreaks)
    for (TestHost* const host : {&here_, &there_})
      for (const std::uint32_t word : {kRead, kWrite}) {
        SCOPED_TRACE(std::string(how.name) + (host == &here_ ? " here" : " there"));
        here_.close(0), here_.open(0), there_.close(0), there_.open(0);
        const std::uint32_t key = region(kData, kMiB);
        here_.push(0, {.word = word, .address = kData, .bytes = kMiB, .key = key});
        half_way(here_, 0);
        how.down(*host);
        nics_.run();
        const std::uint64_t remote = there_.get(0x30);
        if (host == &there_) {
          EXPECT_EQ(here_.take(0).status(), 7u);
          if (here_.get(0x24) == 0) {
            EXPECT_EQ(access(word, key, 0, 8), 7u) << "nor does anything begin";
          }
        }
        how.up(*host);
        nics_.run();
        if (host == &here_ && !how.is_silent) {
          EXPECT_EQ(here_.take(0).status(), 7u);
        }
        EXPECT_EQ(there_.get(0x30), remote) << "nothing is moved for it any more";
        EXPECT_EQ(access(word, key, 0, 8), host == &there_ && how.is_silent ? 11u : 0u);
        there_.set(0x2c, key);
      }
}

TEST_F(NicRemoteInSlices, AnEndThatIsNoMoreIsADownWire) {
  there_.push(0, {.word = kSend, .address = kData, .bytes = kMiB});
  there_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
  here_.push(0, {.word = kSend, .address = kData, .bytes = kMiB});
  here_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
  half_way(here_, 0);
  there_.device.reset();
  EXPECT_EQ(here_.get(0x24), 0u);
  nics_.run();
  EXPECT_EQ(here_.take(0).status(), 7u);
  EXPECT_EQ(here_.take(1).status(), 7u);
  EXPECT_EQ(carry_out({.word = kSend, .address = kData, .bytes = 8}).status(), 7u);
  here_.push(1, {.word = kReceive, .address = kData, .bytes = 8});
  nics_.run();
  EXPECT_FALSE(here_.has(1));
}

// Bus mastering may end in the middle of a step. What ends by that is told once it is back.
TEST_F(NicRemote, BusMasteringThatEndsInMidStepIsADownWireToo) {
  const std::uint32_t key = region(kData, kMiB);
  for (const std::uint32_t word : {kSend, kRead, kWrite})
    for (TestHost* const host : {&here_, &there_}) {
      SCOPED_TRACE(std::to_string(word) + (host == &here_ ? " here" : " there"));
      if (word == kSend) there_.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
      here_.push(0, {.word = word, .address = kData, .bytes = kMiB, .key = word == kSend ? 0 : key});
      host->lose_bus_in(7);
      nics_.run();
      EXPECT_FALSE(host->may_master_now);
      TestHost& other = host == &here_ ? there_ : here_;
      if (&other == &here_ || word == kSend) {
        EXPECT_EQ((&other == &here_ ? here_.take(0) : there_.take(1)).status(), 7u);
      }
      EXPECT_FALSE(here_.has(0) || there_.has(1));
      host->may_master_now = true;
      nics_.run();
      if (host == &here_ || word == kSend) {
        EXPECT_EQ((host == &here_ ? here_.take(0) : there_.take(1)).status(), 7u);
      }
      EXPECT_EQ(access(kRead, key, 0, 8), 0u);
    }
}

// When all bytes are where they should be, and told so, the end that sent them learns that too.
TEST_F(NicRemote, WhatIsDoneAtTheOtherEndIsDone) {
  there_.push(1, {.word = kReceive, .address = kData, .bytes = 8});
  here_.push(0, {.word = kSend, .address = kData, .bytes = 8});
  for (int step = 0; !there_.has(1); ++step) {
    ASSERT_LT(step, 100);
    (void)(step % 2 == 0 ? here_ : there_).device->step();
  }
  there_.device->reset();
  EXPECT_FALSE(here_.has(0));
  nics_.run();
  EXPECT_EQ(here_.take(0).status(), 0u);
  // But what has not come across is not done, though the other end has nothing left to do.
  there_.enable();
  there_.open(0);
  const std::uint32_t key = region(kData, 8);
  const std::uint64_t before = there_.get(0x30);
  here_.push(0, {.word = kRead, .address = kData, .bytes = 8, .key = key});
  for (int step = 0; there_.get(0x30) == before; ++step) {
    ASSERT_LT(step, 100);
    (void)(step % 2 == 0 ? here_ : there_).device->step();
  }
  there_.device->reset();
  nics_.run();
  const auto answer = here_.take(0);
  EXPECT_EQ(answer.status(), 7u);
  EXPECT_EQ(answer.result, 0u);
}

TEST(NicAlone, KnowsKeysButHasNoOtherEnd) {
  TestHost host;
  host.enable();
  host.open(0);
  host.open(1);
  host.push(0, {.word = kRegister, .lists = kMayRead, .address = kData, .bytes = 8});
  host.push(0, {.word = kSend, .address = kData, .bytes = 8});
  host.push(0, {.word = kRead, .address = kData, .bytes = 8});
  host.push(1, {.word = kReceive, .address = kData, .bytes = 8});
  host.run();
  EXPECT_EQ(host.take(0).status(), 0u);
  EXPECT_EQ(host.take(0).status(), 7u);
  EXPECT_EQ(host.take(0).status(), 7u);
  EXPECT_FALSE(host.has(1));
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

}  // namespace
}  // namespace barter::devices::nic
