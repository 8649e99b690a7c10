// What accelerators compute on memory by ordinary pointers, wherever its pages are.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <xxhash.h>

#include "barter/barter.hpp"
#include "machine/state.h"
#include "thread_sanitizer.h"

namespace {

using namespace barter::literals;
using barter::ErrorCode;
using barter::PageState;
using barter::Placement;
namespace compute = barter::compute;

constexpr compute::Options kStay{.placement = Placement::stay};

// Of making managed memory: this kernel, or this user, has no userfaultfd.
bool is_not_to_be_had(const barter::Error& error) {
  return error.code == ErrorCode::refused || error.code == ErrorCode::unsupported;
}

// With an IOMMU and without, in steps and in threads.
class Compute : public testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    if (barter::contract::is_under_thread_sanitizer() && !std::get<1>(GetParam()))
      GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
    auto machine = barter::Machine::open(std::get<0>(GetParam()), {.threaded = std::get<1>(GetParam())});
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(std::move(*machine));
    auto memory = barter::ManagedMemory::create(*machine_, kBytes, {.touch_deadline = 10s});
    if (!memory && is_not_to_be_had(memory.error())) GTEST_SKIP() << "skipped: " << memory.error().message();
    ASSERT_TRUE(memory) << memory.error().message();
    memory_.emplace(std::move(*memory));
    gpu_.emplace(*machine_->accelerator("gpu0"));
    for (std::size_t at = 0; at < words().size(); ++at) words()[at] = word(at);
  }
  static std::uint32_t word(std::size_t at) { return static_cast<std::uint32_t>(at * 2654435761u + at / 1024); }
  [[nodiscard]] std::span<std::uint32_t> words() const { return barter::words_of<std::uint32_t>(memory_->bytes()); }
  static std::uint64_t total(std::size_t first, std::size_t count) {
    std::uint64_t sum = 0;
    for (std::size_t at = first; at < first + count; ++at) sum += word(at);
    return sum;
  }
  [[nodiscard]] barter::Provider provider(const char* name) const { return *machine_->provider(name); }
  // The bytes of host memory that devices have read and written for data.
  [[nodiscard]] std::uint64_t host_data_bytes() const { return machine_->state()->backend().traffic()->data_bytes; }

  static constexpr std::uint64_t kBytes = 8_MiB;
  static constexpr std::size_t kWords = kBytes / 4;
  std::optional<barter::Machine> machine_;
  std::optional<barter::ManagedMemory> memory_;
  std::optional<barter::Accelerator> gpu_;
};

TEST_P(Compute, PagesFollowTheDeviceThatUsesThem) {
  const auto sum = compute::sum(*gpu_, words());
  ASSERT_TRUE(sum) << sum.error().message();
  EXPECT_EQ(*sum, total(0, kWords));
  const auto where = *memory_->where();
  EXPECT_TRUE(std::ranges::all_of(where, [&](const barter::Residence& run) {
    return run.state == PageState::device && run.device == gpu_->bdf();
  }));
  // Once there, no byte of them crosses host memory.
  const std::uint64_t before = host_data_bytes();
  EXPECT_EQ(*compute::sum(*gpu_, words()), total(0, kWords));
  EXPECT_EQ(host_data_bytes(), before);
  // The CPU's touch takes one page back, what it writes there is seen, and the page follows again.
  words()[kWords / 2] += 5;
  EXPECT_EQ(memory_->where({.offset = kBytes / 2, .bytes = 4096})->front().state, PageState::host);
  EXPECT_EQ(*compute::sum(*gpu_, words()), total(0, kWords) + 5);
  EXPECT_EQ(memory_->where({.offset = kBytes / 2, .bytes = 4096})->front().state, PageState::device);
  EXPECT_EQ(memory_->counters().pages_by_touch, 1u);
}

TEST_P(Compute, PagesThatStayAreReachedWhereTheyAre) {
  ASSERT_TRUE(memory_->move_to(provider("gpu0"), {.offset = 0, .bytes = 2_MiB}));
  ASSERT_TRUE(memory_->move_to(provider("gpu1"), {.offset = 4_MiB, .bytes = 2_MiB}));
  const auto before = *memory_->where();
  const std::uint64_t traffic = host_data_bytes();
  // From within one page to within another, across all four places.
  const auto sum = compute::sum(*gpu_, words().subspan(100, kWords - 300), kStay);
  ASSERT_TRUE(sum) << sum.error().message();
  EXPECT_EQ(*sum, total(100, kWords - 300));
  const auto after = *memory_->where();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t run = 0; run < after.size(); ++run) EXPECT_EQ(after[run].state, before[run].state) << run;
  EXPECT_EQ(host_data_bytes() - traffic, 4_MiB - 200 * 4) << "what lies in host memory, and no more";
}

TEST_P(Compute, WritesArriveWhereThePagesAre) {
  ASSERT_TRUE(memory_->move_to(provider("gpu1"), {.offset = 0, .bytes = 1_MiB}));
  const std::size_t count = 1_MiB / 4;
  const auto first = words().subspan(0, count), second = words().subspan(count, count),
             third = words().subspan(2 * count, count);
  ASSERT_TRUE(compute::add(*gpu_, first, second, third, kStay));
  for (std::size_t at = 0; at < count; at += 97) ASSERT_EQ(third[at], word(at) + word(at + count)) << at;
  // In place, the pages in the device.
  ASSERT_TRUE(compute::add(*gpu_, first, third, first));
  for (std::size_t at = 0; at < count; at += 97) ASSERT_EQ(first[at], 2 * word(at) + word(at + count)) << at;
  // And what is around was not touched.
  EXPECT_EQ(words()[3 * count], word(3 * count));
  const auto eights = barter::words_of<std::uint64_t>(memory_->bytes().subspan(3_MiB, 64_KiB));
  const std::uint32_t before = words()[3_MiB / 4 - 1];
  ASSERT_TRUE(compute::fill(*gpu_, eights, 0x0123456789abcdef));
  EXPECT_TRUE(std::ranges::all_of(eights, [](std::uint64_t one) { return one == 0x0123456789abcdef; }));
  EXPECT_EQ(words()[(3_MiB + 64_KiB) / 4], word((3_MiB + 64_KiB) / 4));
  EXPECT_EQ(words()[3_MiB / 4 - 1], before);
}

TEST_P(Compute, ResultsAreThoseOfTheCpu) {
  const auto bytes = memory_->bytes().subspan(0, 1_MiB + 123);
  const std::uint64_t expected = XXH64(bytes.data(), bytes.size(), 7);
  EXPECT_EQ(*compute::checksum(*gpu_, bytes, 7), expected);

  std::array<std::uint64_t, 256> counts{};
  for (const std::byte byte : bytes) ++counts[static_cast<std::size_t>(byte)];
  const auto found = barter::words_of<std::uint64_t>(memory_->bytes().subspan(2_MiB, 2048)).first<256>();
  ASSERT_TRUE(compute::histogram(*gpu_, bytes, found));
  EXPECT_TRUE(std::ranges::equal(found, counts));

  constexpr std::uint32_t kWidth = 300, kHeight = 200;
  const auto pixels = memory_->bytes().subspan(0, kWidth * kHeight);
  const auto filtered = memory_->bytes().subspan(4_MiB, kWidth * kHeight);
  const std::span<std::int16_t, 9> weights =
      barter::words_of<std::int16_t>(memory_->bytes().subspan(6_MiB, 18)).first<9>();
  std::ranges::copy(std::array<std::int16_t, 9>{1, 2, 1, 2, 4, 2, 1, 2, 1}, weights.begin());
  ASSERT_TRUE(compute::filter(*gpu_, {pixels, kWidth, kHeight}, {weights, 4}, filtered));
  const auto pixel = [&](std::int64_t x, std::int64_t y) {
    x = std::clamp<std::int64_t>(x, 0, kWidth - 1);
    y = std::clamp<std::int64_t>(y, 0, kHeight - 1);
    return static_cast<int>(pixels[static_cast<std::size_t>(y * kWidth + x)]);
  };
  for (std::int64_t y = 0; y < kHeight; y += 13)
    for (std::int64_t x = 0; x < kWidth; x += 7) {
      int sum = 0;
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
          sum += weights[static_cast<std::size_t>(3 * (dy + 1) + dx + 1)] * pixel(x + dx, y + dy);
      ASSERT_EQ(static_cast<int>(filtered[static_cast<std::size_t>(y * kWidth + x)]), std::clamp(sum >> 4, 0, 255))
          << x << ' ' << y;
    }
  ASSERT_TRUE(compute::copy(*gpu_, bytes, memory_->bytes().subspan(4_MiB, bytes.size())));
  EXPECT_TRUE(std::ranges::equal(bytes, memory_->bytes().subspan(4_MiB, bytes.size())));
}

TEST_P(Compute, MemoryThatARegionShowsIsAPointerToo) {
  auto region = provider("gpu1").allocate(256_KiB);
  ASSERT_TRUE(region);
  std::ranges::copy(memory_->bytes().first(256_KiB), region->cpu_bytes().begin());
  const std::uint64_t before = host_data_bytes();
  EXPECT_EQ(*compute::checksum(*gpu_, region->cpu_bytes()), XXH64(region->cpu_bytes().data(), 256_KiB, 0));
  EXPECT_EQ(host_data_bytes(), before) << "it came straight from the other accelerator";
  ASSERT_TRUE(region->revoke());
  const auto after = compute::checksum(*gpu_, memory_->bytes().first(4096));
  EXPECT_TRUE(after) << "what was taken back is in nobody's way: " << after.error().message();
}

TEST_P(Compute, TheOwnerDecides) {
  auto gpu1 = provider("gpu1");
  ASSERT_TRUE(memory_->move_to(gpu1, {.offset = 0, .bytes = 1_MiB}));
  gpu1.on_request([](const barter::Request&) { return barter::Answer::by_way_of_host(); });
  EXPECT_EQ(*compute::sum(*gpu_, words().first(1_MiB / 4), kStay), total(0, 1_MiB / 4));
  EXPECT_EQ(memory_->where({.offset = 0, .bytes = 1_MiB})->front().state, PageState::host) << "they moved for it";
  ASSERT_TRUE(memory_->move_to(gpu1, {.offset = 0, .bytes = 1_MiB}));
  gpu1.on_request([](const barter::Request&) { return barter::Answer::refuse("not for others"); });
  const auto refused = compute::sum(*gpu_, words().first(1_MiB / 4), kStay);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_NE(refused.error().message().find("not for others"), std::string::npos) << refused.error().message();
}

TEST_P(Compute, RefusesWhatItCanNotDo) {
  std::vector<std::uint32_t> plain(4096);
  const auto ordinary = compute::sum(*gpu_, plain);
  ASSERT_FALSE(ordinary);
  EXPECT_EQ(ordinary.error().code, ErrorCode::unsupported);
  EXPECT_NE(ordinary.error().message().find("managed memory"), std::string::npos) << ordinary.error().message();
  EXPECT_EQ(compute::copy(*gpu_, memory_->bytes().first(100), memory_->bytes().subspan(50, 100)).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(compute::copy(*gpu_, memory_->bytes().first(100), memory_->bytes().subspan(500, 99)).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(compute::add(*gpu_, words().first(10), words().subspan(10, 10), words().subspan(5, 10)).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(compute::checksum(*gpu_, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(compute::filter(*gpu_, {memory_->bytes().first(100), 10, 11},
                            {barter::words_of<std::int16_t>(memory_->bytes().subspan(4096, 18)).first<9>(), 0},
                            memory_->bytes().subspan(8192, 100))
                .error()
                .code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(machine_->accelerator("nvme0").error().code, ErrorCode::not_found);
  EXPECT_EQ(*compute::sum(*gpu_, words().first(8)), total(0, 8)) << "nothing of that is left";
}

TEST_P(Compute, ALostPageIsAnErrorAndNoNumber) {
  ASSERT_TRUE(memory_->move_to(provider("gpu1"), {.offset = 0, .bytes = 64_KiB}));
  barter::machine::State& state = *machine_->state();
  ASSERT_TRUE(state.unplug(**state.find_accelerator("gpu1")));
  const auto sum = compute::sum(*gpu_, words().first(4096), kStay);
  ASSERT_FALSE(sum);
  EXPECT_EQ(sum.error().code, ErrorCode::device_gone) << sum.error().message();
  EXPECT_EQ(*compute::sum(*gpu_, words().subspan(64_KiB / 4)), total(64_KiB / 4, kWords - 64_KiB / 4));
}

TEST_P(Compute, TheAcceleratorItselfLeaves) {
  EXPECT_TRUE(compute::sum(*gpu_, words().subspan(kWords / 2)));
  barter::machine::State& state = *machine_->state();
  ASSERT_TRUE(state.unplug(**state.find_accelerator("gpu0")));
  const auto sum = compute::sum(*gpu_, words().first(4096), kStay);
  ASSERT_FALSE(sum);
  EXPECT_EQ(sum.error().code, ErrorCode::device_gone) << sum.error().message();
  EXPECT_EQ(words()[9], word(9));
}

INSTANTIATE_TEST_SUITE_P(Machines, Compute, testing::Combine(testing::Values("training", "ai-server"), testing::Bool()),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param) == std::string("training") ? "Training"
                                                                                                   : "AiServer") +
                                  (std::get<1>(tested.param) ? "Threaded" : "Stepped");
                         });

class ComputeThreads : public testing::Test {
 protected:
  void SetUp() override {
    auto machine = barter::Machine::open("training", {.threaded = true});
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(std::move(*machine));
    gpu_.emplace(*machine_->accelerator("gpu0"));
    const auto memory = barter::ManagedMemory::create(*machine_, 4096);
    if (!memory && is_not_to_be_had(memory.error())) GTEST_SKIP() << "skipped: " << memory.error().message();
    ASSERT_TRUE(memory) << memory.error().message();
  }
  std::optional<barter::Machine> machine_;
  std::optional<barter::Accelerator> gpu_;
};

// Three threads: one computes, one touches, one moves pages. The words don't change, so neither may a sum.
TEST_F(ComputeThreads, EverySumIsThatOfWholePages) {
  // Without a deadline too: a touch takes the page at once, and the accelerator asks for it.
  for (const barter::Duration touch_deadline : {barter::Duration(10s), barter::Duration(0)}) {
    auto memory = barter::ManagedMemory::create(*machine_, 2_MiB, {.touch_deadline = touch_deadline});
    ASSERT_TRUE(memory) << memory.error().message();
    const auto words = barter::words_of<std::uint32_t>(memory->bytes());
    std::iota(words.begin(), words.end(), 1u);
    const std::uint64_t expected = std::accumulate(words.begin(), words.end(), std::uint64_t{0});
    const barter::Provider other = *machine_->provider("gpu1");
    std::atomic<bool> is_over = false;
    std::thread toucher([&] {
      for (std::size_t at = 7; !is_over; at = (at + 5000) % words.size()) ASSERT_EQ(words[at], at + 1);
    });
    std::thread mover([&] {
      for (std::uint64_t page = 0; !is_over; page = (page + 37) % 512) {
        const auto moved = memory->move_to(other, {.offset = page * 4096, .bytes = 16_KiB});
        ASSERT_TRUE(moved || moved.error().code == ErrorCode::out_of_range) << moved.error().message();
      }
    });
    std::uint64_t sums = 0;
    for (int round = 0; round < 16; ++round) {
      const auto sum = compute::sum(*gpu_, words, {.placement = round % 2 == 0 ? Placement::follow : Placement::stay});
      EXPECT_TRUE(sum) << sum.error().message();
      if (!sum) break;
      EXPECT_EQ(*sum, expected);
      ++sums;
    }
    is_over = true;
    toucher.join();
    mover.join();
    EXPECT_GT(sums, 0u);
  }
}

// Pages move under work that writes over what it reads: each word is added to once a round, wherever it was meanwhile.
TEST_F(ComputeThreads, WorkInPlaceIsDoneOnce) {
  auto memory = barter::ManagedMemory::create(*machine_, 4_MiB);
  ASSERT_TRUE(memory) << memory.error().message();
  const auto words = barter::words_of<std::uint32_t>(memory->bytes().first(2_MiB));
  const auto steps = barter::words_of<std::uint32_t>(memory->bytes().subspan(2_MiB));
  std::iota(words.begin(), words.end(), 1u);
  std::iota(steps.begin(), steps.end(), 77u);
  const barter::Provider other = *machine_->provider("gpu1");
  std::atomic<bool> is_over = false;
  std::thread mover([&] {
    for (std::uint64_t page = 0; !is_over; page = (page + 37) % 1024) {
      const auto moved = memory->move_to(other, {.offset = page * 4096, .bytes = 16_KiB});
      ASSERT_TRUE(moved || moved.error().code == ErrorCode::out_of_range) << moved.error().message();
      const auto back = memory->move_to_host({.offset = (page + 500) % 1024 * 4096, .bytes = 4096});
      ASSERT_TRUE(back) << back.error().message();
    }
  });
  constexpr std::uint32_t kRounds = 12;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const auto added =
        compute::add(*gpu_, words, steps, words, {.placement = round % 2 == 0 ? Placement::follow : Placement::stay});
    EXPECT_TRUE(added) << added.error().message();
  }
  is_over = true;
  mover.join();
  for (std::uint32_t at = 0; at < words.size(); ++at) ASSERT_EQ(words[at], at + 1 + kRounds * (at + 77)) << at;
}

// The owner lets the accelerator in once, and not again: a page that moves under the work is then not to be had, and why is told.
TEST_F(ComputeThreads, APageThatIsRefusedUnderWayIsAnErrorThatSaysSo) {
  auto memory = barter::ManagedMemory::create(*machine_, 2_MiB);
  ASSERT_TRUE(memory) << memory.error().message();
  const auto words = barter::words_of<std::uint32_t>(memory->bytes());
  std::iota(words.begin(), words.end(), 1u);
  const std::uint64_t expected = std::accumulate(words.begin(), words.end(), std::uint64_t{0});
  barter::Provider owner = *machine_->provider("gpu1");
  std::atomic<bool> is_working = false, lets_in = true, is_over = false;
  owner.on_request(
      [&](const barter::Request&) { return lets_in ? barter::Answer::direct() : barter::Answer::refuse("only once"); });
  std::thread toucher([&] {
    for (std::size_t at = 0; !is_over; at = (at + 5000) % words.size()) {
      if (!is_working) continue;
      ASSERT_EQ(words[at], at + 1);
    }
  });
  std::size_t refused = 0;
  for (int round = 0; round < 200 && refused == 0; ++round) {
    lets_in = true;
    ASSERT_TRUE(memory->move_to(owner));
    ASSERT_TRUE(compute::sum(*gpu_, words.first(1), {.placement = Placement::stay}));
    ASSERT_TRUE(memory->move_to(owner));
    // Shown as a whole, with leave; what is asked for from here on is not granted.
    ASSERT_EQ(*compute::sum(*gpu_, words, {.placement = Placement::stay}), expected);
    lets_in = false;
    is_working = true;
    const auto sum = compute::sum(*gpu_, words, {.placement = Placement::stay});
    is_working = false;
    if (sum) {
      EXPECT_EQ(*sum, expected);
      continue;
    }
    ++refused;
    EXPECT_EQ(sum.error().code, ErrorCode::refused) << sum.error().message();
    EXPECT_NE(sum.error().message().find("only once"), std::string::npos) << sum.error().message();
  }
  is_over = true;
  toucher.join();
  EXPECT_EQ(refused, 1u);
}

}  // namespace
