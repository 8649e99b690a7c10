// Two models and the link between them, spoken to in the numbers of docs/devices/accelerator.md, section 5.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "devices/accelerator/test_host.h"

namespace barter::devices::accelerator {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBehind0 = std::uint64_t{1} << 48;  // the memory behind link 0
constexpr std::uint64_t kBehind1 = std::uint64_t{2} << 48;
constexpr std::uint64_t kRead = std::uint64_t{1} << 62, kWrite = std::uint64_t{1} << 63;
constexpr std::uint32_t kCopy = 0, kCompute = 1;

AcceleratorSetup setup(std::uint64_t unit) {
  return {
      .memory_bytes = 4 * kMiB, .copy_channels = 1, .compute_channels = 1, .ring_log2 = 8, .links = 2, .unit = unit};
}

// Port 0 of `here` leads to port 1 of `there`.
class AcceleratorLinks : public testing::Test {
 protected:
  AcceleratorLinks() {
    EXPECT_TRUE(connect({*here_.device, 0}, {*there_.device, 1}));
    here_.set(0x804, 1);
    there_.set(0x844, 1);
  }
  ~AcceleratorLinks() override {
    EXPECT_THAT(here_.device->violations(), IsEmpty());
    if (expects_clean_) {
      EXPECT_THAT(there_.device->violations(), IsEmpty());
    }
  }
  // Grant `index` of the far end.
  void grant(unsigned index, std::uint64_t start, std::uint64_t size) {
    if (size != 0) there_.set(0x4800 + index * 0x10, start, 8);
    there_.set(0x4808 + index * 0x10, size, 8);
    EXPECT_EQ(there_.get(0x4808 + index * 0x10, 8), size);
  }
  unsigned copy(std::uint64_t from, std::uint64_t to, std::uint64_t bytes) {
    return here_.carry_out({.word = 0x01, .spaces = 0x0c, .source = from, .destination = to, .count = bytes}).status();
  }
  static void fill(std::span<std::byte> bytes, unsigned step) {
    for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(at * step + at / 251);
  }

  TestHost here_{setup(0xa)}, there_{setup(0xb)};
  bool expects_clean_ = true;
};

TEST_F(AcceleratorLinks, EachEndNamesTheOther) {
  EXPECT_EQ(here_.get(0x1c), 2u);
  EXPECT_EQ(here_.get(0x50, 8), 0xau);
  EXPECT_EQ(here_.get(0x800), 3u);
  EXPECT_EQ(here_.get(0x808, 8), 0xbu);
  EXPECT_EQ(here_.get(0x810, 8), 4 * kMiB);
  EXPECT_EQ(here_.get(0x818), 1u);
  EXPECT_EQ(there_.get(0x840), 3u);
  EXPECT_EQ(there_.get(0x848, 8), 0xau);
  EXPECT_EQ(there_.get(0x858), 0u);
  // The others lead nowhere.
  EXPECT_EQ(here_.get(0x840), 0u);
  EXPECT_EQ(here_.get(0x848, 8), 0u);
  EXPECT_EQ(here_.get(0x850, 8), 0u);
  EXPECT_FALSE(connect({*here_.device, 0}, {*there_.device, 0})) << "in use";
  EXPECT_FALSE(connect({*here_.device, 2}, {*there_.device, 0})) << "not there";
  EXPECT_FALSE(connect({*here_.device, 1}, {*here_.device, 1})) << "one and the same";
}

TEST_F(AcceleratorLinks, EnginesReachAllOfWhatIsGrantedAndTheBusSeesNothing) {
  here_.start(kCopy);
  fill(here_.window().first(kMiB), 7);
  fill(there_.window().subspan(3 * kMiB), 11);
  grant(0, 0, kWrite | kMiB);
  grant(5, 3 * kMiB, kRead | kMiB);
  EXPECT_EQ(copy(0, kBehind0, kMiB), 0u);
  EXPECT_EQ(std::memcmp(here_.window().data(), there_.window().data(), kMiB), 0);
  EXPECT_EQ(copy(kBehind0 + 3 * kMiB, 2 * kMiB, kMiB), 0u);
  EXPECT_EQ(std::memcmp(here_.window().data() + 2 * kMiB, there_.window().data() + 3 * kMiB, kMiB), 0);
  EXPECT_EQ(here_.get(0x820, 8), kMiB);
  EXPECT_EQ(here_.get(0x828, 8), kMiB);
  EXPECT_EQ(there_.get(0x860, 8), 0u) << "it has moved nothing itself";
  // To the bus and from it, where nothing is local.
  fill(here_.bytes(TestHost::kBase + 0x10000, 0x20000), 3);
  EXPECT_EQ(here_
                .carry_out({.word = 0x01,
                            .spaces = 0x0d,
                            .source = TestHost::kBase + 0x10000,
                            .destination = kBehind0 + 1,
                            .count = 0x1ffff})
                .status(),
            0u);
  EXPECT_EQ(std::memcmp(here_.bytes(TestHost::kBase + 0x10000, 0x1ffff).data(), there_.window().data() + 1, 0x1ffff),
            0);
}

TEST_F(AcceleratorLinks, ComputeAndFillTakeLinkAddressesToo) {
  here_.start(kCompute);
  fill(there_.window().first(kMiB), 5);
  grant(0, 0, kRead | kMiB);
  grant(1, 2 * kMiB, kRead | kWrite | 4096);
  const auto sum = here_.carry_out(
      {.word = 0x14, .spaces = 0x0c, .source = kBehind0 + 3, .destination = kBehind0 + 2 * kMiB, .count = 700'001});
  EXPECT_EQ(sum.status(), 0u);
  EXPECT_EQ(sum.result, XXH64(there_.window().data() + 3, 700'001, 0));
  EXPECT_EQ(here_.load<std::uint64_t>(there_.window().subspan(2 * kMiB)), sum.result);
  EXPECT_EQ(here_
                .carry_out({.word = 0x10,
                            .spaces = 0,
                            .source = kBehind0,
                            .second = kBehind0 + 4096,
                            .destination = kBehind0 + 2 * kMiB,
                            .count = 1024})
                .status(),
            0u);
  EXPECT_EQ(here_.load<std::uint32_t>(there_.window().subspan(2 * kMiB)),
            here_.load<std::uint32_t>(there_.window()) + here_.load<std::uint32_t>(there_.window().subspan(4096)));
}

TEST_F(AcceleratorLinks, NothingIsReachedThatIsNotGranted) {
  here_.start(kCopy);
  fill(here_.window().first(kMiB), 7);
  const std::vector<std::byte> before(there_.window().begin(), there_.window().end());
  EXPECT_EQ(copy(0, kBehind0, 8), 7u) << "nothing is granted at first";
  grant(0, 8192, kRead | 4096);
  EXPECT_EQ(copy(0, kBehind0 + 8192, 8), 7u) << "reading is not writing";
  EXPECT_EQ(copy(kBehind0 + 8191, 0, 2), 7u);
  EXPECT_EQ(copy(kBehind0 + 12287, 0, 2), 7u);
  EXPECT_EQ(copy(kBehind0 + 8192, 0, 4096), 0u);
  // Several grants that follow each other.
  grant(1, 12288, kRead | kWrite | 100);
  EXPECT_EQ(copy(kBehind0 + 8192, 0, 4196), 0u);
  EXPECT_EQ(copy(kBehind0 + 8192, 0, 4197), 7u);
  EXPECT_TRUE(std::ranges::equal(before, there_.window())) << "not a byte";
  grant(0, 8192, 0);
  EXPECT_EQ(copy(kBehind0 + 8192, 0, 1), 7u);
  EXPECT_EQ(copy(kBehind0 + 12288, 0, 100), 0u) << "the other one holds";
  EXPECT_EQ(copy(kBehind0 + 0xffff'ffff'ffff, 0, 1), 7u) << "far beyond its memory";
  EXPECT_EQ(copy(kBehind1, 0, 1), 6u) << "a port that leads nowhere";
  EXPECT_EQ(here_.carry_out({.word = 0x02, .spaces = 0x0f, .destination = kBehind0, .count = 8}).status(), 7u);
}

TEST(AcceleratorLinkAddresses, WhatNamesNoPortIsOutsideTheMemory) {
  TestHost here(setup(1)), there(setup(2));
  ASSERT_TRUE(connect({*here.device, 0}, {*there.device, 0}));
  here.set(0x804, 1);
  there.set(0x804, 1);
  there.set(0x4000, 0, 8);
  there.set(0x4008, kRead | 4 * kMiB, 8);
  here.start(kCopy);
  const auto copy = [&](std::uint64_t from, std::uint64_t bytes) {
    return here.carry_out({.word = 0x01, .spaces = 0x0c, .source = from, .destination = 0, .count = bytes}).status();
  };
  EXPECT_EQ(copy(kBehind0, 8), 0u);
  EXPECT_EQ(copy(std::uint64_t{3} << 48, 8), 3u);
  EXPECT_EQ(copy(std::uint64_t{9} << 48, 8), 3u);
  EXPECT_EQ(copy(std::uint64_t{1} << 63, 8), 3u);
  EXPECT_EQ(copy(kBehind0 - 8, 16), 3u) << "from its own memory nothing goes on into a peer's";
  EXPECT_EQ(copy(kBehind1 - 1, 2), 7u) << "nor from one peer's into the next";
  EXPECT_THAT(here.device->violations(), SizeIs(4));
  // Neither tables nor the progress counter may lie there.
  here.set(0x30, kBehind0 | 1, 8);
  EXPECT_EQ(here.carry_out({.word = 0x01, .spaces = 0x0e, .source = 0, .destination = 0, .count = 8}).status(), 3u);
  here.set(0x101c, 0);
  here.run();
  here.set(0x1010, kBehind0 | 1, 8);
  here.set(0x101c, 1);
  here.run();
  EXPECT_EQ(here.get(0x1020), 2u);
}

TEST_F(AcceleratorLinks, PagesMayLieBehindALink) {
  here_.start(kCopy);
  grant(0, 2 * kMiB, kRead | kWrite | 2 * kMiB);
  fill(there_.window().subspan(2 * kMiB), 3);
  // One page of 2 MiB at 0, of the peer's memory from 2 MiB on; tables at 1 MiB of the own memory.
  auto memory = here_.window();
  const auto entry = [&](std::size_t at, std::uint64_t value) { std::memcpy(memory.data() + at, &value, 8); };
  entry(kMiB, (kMiB + 0x1000) | 1);
  entry(kMiB + 0x1000, (kMiB + 0x2000) | 1);
  entry(kMiB + 0x2000, (kBehind0 + 2 * kMiB) | 0x83);
  here_.set(0x30, kMiB | 1, 8);
  EXPECT_EQ(
      here_.carry_out({.word = 0x01, .spaces = 0x0e, .source = 100, .destination = 0, .count = kMiB / 2}).status(), 0u);
  EXPECT_EQ(std::memcmp(memory.data(), there_.window().data() + 2 * kMiB + 100, kMiB / 2), 0);
}

TEST_F(AcceleratorLinks, DownIsAnErrorOfItsOwnAndUpGoesOn) {
  here_.start(kCopy);
  grant(0, 0, kRead | kMiB);
  const auto is_down = [&](const char* why) {
    EXPECT_EQ(here_.get(0x800) & 1, 0u) << why;
    EXPECT_EQ(there_.get(0x840) & 1, 0u) << why;
    EXPECT_EQ(copy(kBehind0, 0, 64), 6u) << why;
  };
  EXPECT_EQ(copy(kBehind0, 0, 64), 0u);
  set_link({*here_.device, 0}, false);
  is_down("broken");
  set_link({*there_.device, 1}, true);
  EXPECT_EQ(copy(kBehind0, 0, 64), 0u) << "as if nothing had been";
  there_.set(0x844, 0);
  is_down("the other end is disabled");
  there_.set(0x844, 1);
  here_.set(0x804, 0);
  is_down("this end is disabled");
  here_.set(0x804, 1);
  there_.is_on = false;
  is_down("the other has no power");
  there_.is_on = true;
  EXPECT_EQ(copy(kBehind0, 0, 64), 0u);
}

TEST_F(AcceleratorLinks, AResetClosesItsOwnEndAlone) {
  here_.start(kCopy);
  grant(0, 0, kRead | kMiB);
  EXPECT_EQ(copy(kBehind0, 0, 64), 0u);
  there_.device->reset();
  EXPECT_EQ(there_.get(0x844), 0u);
  EXPECT_EQ(there_.get(0x4808, 8), 0u);
  EXPECT_EQ(copy(kBehind0, 0, 64), 6u);
  there_.set(0x844, 1);
  EXPECT_EQ(copy(kBehind0, 0, 64), 7u) << "up again, but nothing is granted any more";
  EXPECT_EQ(here_.get(0x820, 8), 64u);
}

TEST_F(AcceleratorLinks, AnAcceleratorThatIsNoMoreIsReachedNoMore) {
  here_.start(kCopy);
  grant(0, 0, kRead | kMiB);
  expects_clean_ = false;
  there_.device.reset();
  EXPECT_EQ(copy(kBehind0, 0, 64), 6u);
  EXPECT_EQ(here_.get(0x800), 0u);
  EXPECT_EQ(here_.get(0x808, 8), 0u);
  there_.device = std::move(*create_accelerator(setup(0xc)));
}

TEST(AcceleratorGrants, AreCheckedWhenTheyAreWritten) {
  TestHost host(setup(1));
  auto refused = [&, seen = std::size_t{0}](std::uint64_t at, std::uint64_t value, unsigned width) mutable {
    host.set(at, value, width);
    EXPECT_EQ(host.device->violations().size(), ++seen) << at << " " << value;
  };
  host.set(0x4000, 4 * kMiB - 16, 8);
  refused(0x4008, kRead | 17, 8);
  EXPECT_EQ(host.get(0x4008, 8), 0u);
  host.set(0x4008, kRead | 16, 8);
  refused(0x4000, 0, 8);
  EXPECT_EQ(host.get(0x4000, 8), 4 * kMiB - 16);
  refused(0x4008, std::uint64_t{1} << 50, 8);
  EXPECT_EQ(host.get(0x4008, 8), kRead | 16);
  refused(0x4008, 0, 4);  // only whole
  refused(0x804, 2, 4);
  refused(0x800, 1, 4);
  refused(0x880, 1, 4);   // there is no third port
  refused(0x5008, 0, 8);  // nor are there its grants
  host.set(0x47f8, kWrite | 1, 8);
  EXPECT_EQ(host.get(0x47f8, 8), kWrite | 1) << "the last one";
}

// In a machine of threads: once a write of a grant reads back, the other end is out.
TEST_F(AcceleratorLinks, AGrantThatIsTakenBackWaitsForWhatIsUnderWay) {
  here_.start(kCopy);
  fill(here_.window().first(kMiB), 7);
  std::atomic<bool> is_over = false;
  std::thread engine([&] {
    while (!is_over) here_.device->step();
  });
  const std::vector<std::byte> zeros(kMiB);
  for (int round = 0; round < 40; ++round) {
    grant(0, 0, kWrite | kMiB);
    here_.push({.word = 0x01, .spaces = 0x0c, .source = 0, .destination = kBehind0, .count = kMiB});
    for (int look = 0; look < round; ++look) std::this_thread::yield();
    grant(0, 0, 0);
    std::memset(there_.window().data(), 0, kMiB);
    std::atomic<std::uint32_t> word = 0;
    const std::uint32_t phase = round / 8 % 2 == 0 ? 0x80000000u : 0;
    auto* const at = reinterpret_cast<std::uint32_t*>(
        here_.bytes(TestHost::kCompletions + static_cast<std::uint64_t>(round % 8) * 16 + 12, 4).data());
    do word = std::atomic_ref(*at).load(std::memory_order_acquire);
    while ((word & 0x80000000u) != phase);
    EXPECT_TRUE(here_.take().status() == 0 || (word >> 16 & 0xff) == 7);
    ASSERT_EQ(std::memcmp(there_.window().data(), zeros.data(), kMiB), 0);
  }
  is_over = true;
  engine.join();
}

}  // namespace
}  // namespace barter::devices::accelerator
