// Managed memory on the software machine: real page faults, accelerators and drives.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "machine/state.h"
#include "thread_sanitizer.h"

namespace {

using namespace barter::literals;
using barter::PageState;

class ManagedMemory : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (barter::contract::is_under_thread_sanitizer() && !GetParam())
      GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
    auto machine = barter::Machine::open("ai-server", {.threaded = GetParam()});
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(std::move(*machine));
    auto memory = barter::ManagedMemory::create(*machine_, kBytes, {.touch_deadline = 10s});
    if (!memory &&
        (memory.error().code == barter::ErrorCode::refused || memory.error().code == barter::ErrorCode::unsupported))
      GTEST_SKIP() << "skipped: " << memory.error().message();
    ASSERT_TRUE(memory) << memory.error().message();
    memory_.emplace(std::move(*memory));
    for (std::size_t at = 0; at < kBytes; ++at) memory_->bytes()[at] = expected(at);
  }
  static std::byte expected(std::size_t at) { return static_cast<std::byte>(at * 7 + at / 4096); }
  [[nodiscard]] std::uint64_t host_data_bytes() const { return machine_->state()->backend().traffic()->data_bytes; }
  [[nodiscard]] barter::Provider gpu(const char* name) const { return *machine_->provider(name); }
  [[nodiscard]] PageState state_of(std::size_t page) const {
    return memory_->where({page * 4096, 4096})->front().state;
  }

  static constexpr std::uint64_t kBytes = 8_MiB;
  std::optional<barter::Machine> machine_;
  std::optional<barter::ManagedMemory> memory_;
};

TEST_P(ManagedMemory, APointerIsGoodWhereverThePagesAre) {
  ASSERT_TRUE(memory_->move_to(gpu("gpu0"), {.offset = 0, .bytes = kBytes / 2}));
  EXPECT_EQ(memory_->where()->size(), 2u);
  EXPECT_EQ(memory_->where()->front().device, gpu("gpu0").bdf());
  EXPECT_EQ(memory_->bytes()[5000], expected(5000)) << "a touch brings a page back";
  EXPECT_EQ(memory_->counters().pages_by_touch, 1u);
  for (std::size_t at = 0; at < kBytes; at += 333) ASSERT_EQ(memory_->bytes()[at], expected(at)) << at;
}

TEST_P(ManagedMemory, ADriveReadsStraightIntoTheAcceleratorsPages) {
  const barter::Drive drive = *machine_->drive("nvme0");
  std::vector<std::byte> content(2_MiB, std::byte{0x5a});
  ASSERT_TRUE(barter::write(drive, {}, content));
  ASSERT_TRUE(memory_->move_to(gpu("gpu0"), {.offset = 0, .bytes = 4_MiB}));
  const std::uint64_t before = host_data_bytes();
  {
    auto mapping = memory_->map(drive, {.access = barter::Access::write, .offset = 1_MiB, .bytes = 2_MiB});
    ASSERT_TRUE(mapping) << mapping.error().message();
    auto leases = mapping->lease();
    ASSERT_TRUE(leases);
    std::uint64_t offset = 0;
    for (std::size_t part = 0; part < leases->size(); ++part) {
      EXPECT_TRUE(mapping->parts()[part].is_direct);
      const std::uint64_t bytes = mapping->parts()[part].range.bytes;
      ASSERT_TRUE(barter::read(drive, {.offset = offset, .bytes = bytes}, (*leases)[part]));
      offset += bytes;
    }
  }
  EXPECT_EQ(host_data_bytes(), before) << "not a byte of it went through host memory";
  EXPECT_EQ(state_of(300), PageState::device);
  EXPECT_EQ(memory_->bytes()[1_MiB - 1], expected(1_MiB - 1));
  EXPECT_TRUE(std::ranges::equal(memory_->bytes().subspan(1_MiB, 2_MiB), content)) << "what it wrote is there";
  EXPECT_EQ(memory_->bytes()[3_MiB], expected(3_MiB));
}

TEST_P(ManagedMemory, WhereTheOwnerSaysNoTheDriveReachesHostPages) {
  const barter::Drive drive = *machine_->drive("nvme1");
  auto gpu0 = gpu("gpu0");
  ASSERT_TRUE(memory_->move_to(gpu0));
  gpu0.on_request([](const barter::Request&) { return barter::Answer::by_way_of_host(); });
  auto mapping = memory_->map(drive, {.access = barter::Access::read, .offset = 0, .bytes = 1_MiB});
  ASSERT_TRUE(mapping) << mapping.error().message();
  ASSERT_EQ(mapping->parts().size(), 1u);
  EXPECT_FALSE(mapping->parts().front().is_direct);
  auto leases = mapping->lease();
  ASSERT_TRUE(leases);
  const std::uint64_t before = host_data_bytes();
  ASSERT_TRUE(barter::write(drive, {.bytes = 1_MiB}, leases->front()));
  EXPECT_EQ(host_data_bytes(), before + 1_MiB) << "the drive fetches it from host memory, and nobody copies it";
  std::vector<std::byte> found(1_MiB);
  ASSERT_TRUE(barter::read(drive, {}, found));
  for (std::size_t at = 0; at < found.size(); ++at) ASSERT_EQ(found[at], expected(at)) << at;
}

TEST_P(ManagedMemory, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(barter::ManagedMemory::create(*machine_, 0));
  EXPECT_FALSE(barter::ManagedMemory::create(*machine_, ~std::uint64_t{0}));
  auto other = barter::Machine::open("two-nvme");
  EXPECT_FALSE(memory_->move_to(*other->provider("nvme0")));
  EXPECT_FALSE(memory_->map(*other->drive("nvme0")));
  auto captured = memory_->move_to(gpu("gpu0"), {.offset = kBytes, .bytes = 1});
  ASSERT_FALSE(captured);
  EXPECT_EQ(captured.error().code, barter::ErrorCode::out_of_range);
}

TEST_P(ManagedMemory, TheMemoryOutlivesTheMachinesHandle) {
  ASSERT_TRUE(memory_->move_to(gpu("gpu1"), {.offset = 0, .bytes = 1_MiB}));
  machine_.reset();
  EXPECT_EQ(memory_->bytes()[77], expected(77));
}

TEST_P(ManagedMemory, AnyPointerIsReadAndWritten) {
  const barter::Drive drive = *machine_->drive("nvme0");
  std::vector<std::byte> content(6_MiB);
  for (std::size_t at = 0; at < content.size(); ++at) content[at] = static_cast<std::byte>(at * 11 + at / 512);
  const auto written = barter::write(drive, {}, content);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(written->copied_bytes, 6_MiB) << "ordinary memory goes by way of a buffer";

  // Half of it in a device and half here.
  ASSERT_TRUE(memory_->move_to(gpu("gpu0"), {.offset = 0, .bytes = 4_MiB}));
  const std::uint64_t before = host_data_bytes();
  const auto read = barter::read(drive, {}, memory_->bytes().subspan(1_MiB, 6_MiB));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->direct_bytes, 3_MiB);
  EXPECT_EQ(read->host_bytes, 3_MiB);
  EXPECT_EQ(read->copied_bytes, 0u);
  EXPECT_EQ(host_data_bytes(), before + 3_MiB) << "what goes to the device touches no host memory";
  EXPECT_EQ(state_of(300), PageState::device);

  // And back, to another place of the drive, and into a device-mapped pointer.
  const auto back = barter::write(drive, {.offset = 16_MiB}, memory_->bytes().subspan(1_MiB, 6_MiB));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->direct_bytes, 3_MiB);
  auto region = gpu("gpu1").allocate(6_MiB);
  ASSERT_TRUE(region);
  const auto shown = barter::read(drive, {.offset = 16_MiB}, region->cpu_bytes());
  ASSERT_TRUE(shown) << shown.error().message();
  EXPECT_EQ(shown->direct_bytes, 6_MiB);
  EXPECT_TRUE(std::ranges::equal(region->cpu_bytes(), content));
  EXPECT_TRUE(std::ranges::equal(memory_->bytes().subspan(1_MiB, 6_MiB), content));
  EXPECT_EQ(memory_->bytes()[1_MiB - 1], expected(1_MiB - 1));
  EXPECT_EQ(memory_->bytes()[7_MiB], expected(7_MiB));
}

// A block of the drive lies across two parts, one here and one there: the drive's list has both.
TEST_P(ManagedMemory, APointerThatFitsNoBlockIsReachedAllTheSame) {
  const barter::Drive drive = *machine_->drive("nvme0");
  std::vector<std::byte> content(32_KiB, std::byte{0x3c});
  ASSERT_TRUE(barter::write(drive, {}, content));
  ASSERT_TRUE(memory_->move_to(gpu("gpu0"), {.offset = 0, .bytes = 16_KiB}));
  const auto read = barter::read(drive, {}, memory_->bytes().subspan(101, 32_KiB));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->direct_bytes, 16_KiB - 101);
  EXPECT_EQ(read->host_bytes, 16_KiB + 101);
  EXPECT_EQ(read->copied_bytes, 0u);
  EXPECT_EQ(read->why_copied, "");
  EXPECT_TRUE(std::ranges::equal(memory_->bytes().subspan(101, 32_KiB), content));
  EXPECT_EQ(memory_->bytes()[100], expected(100));
  EXPECT_EQ(memory_->bytes()[101 + 32_KiB], expected(101 + 32_KiB));
  for (const std::size_t bad : {std::size_t{0}, std::size_t{100}})
    EXPECT_FALSE(barter::read(drive, {}, memory_->bytes().first(bad)));
}

TEST_P(ManagedMemory, WhereTheOwnerSharesNothingABufferServes) {
  const barter::Drive drive = *machine_->drive("nvme0");
  ASSERT_TRUE(barter::write(drive, {}, std::vector<std::byte>(1_MiB, std::byte{0x77})));
  auto gpu0 = gpu("gpu0");
  gpu0.on_request([](const barter::Request&) { return barter::Answer::refuse("it is mine"); });
  auto region = gpu0.allocate(1_MiB);
  const auto read = barter::read(drive, {}, region->cpu_bytes());
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->copied_bytes, 1_MiB);
  EXPECT_EQ(read->why_copied, "it is mine");
  EXPECT_EQ(region->cpu_bytes().back(), std::byte{0x77});
}

INSTANTIATE_TEST_SUITE_P(On, ManagedMemory, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Threaded" : "Stepped"; });

// Several threads touch what another one moves, and a drive reads: on a machine that runs threaded.
TEST(ManagedMemoryUnderThreads, EveryTouchSeesTheBytesThatWereThere) {
  auto machine = barter::Machine::open("ai-server", {.threaded = true});
  ASSERT_TRUE(machine);
  auto memory = barter::ManagedMemory::create(*machine, 256 * 4096, {.touch_deadline = 10s});
  if (!memory) GTEST_SKIP() << "skipped: " << memory.error().message();
  const std::span<std::byte> bytes = memory->bytes();
  constexpr int kThreads = 3;
  constexpr unsigned kRounds = 200;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      // Each has its own bytes of every page, and finds in them what it left there. They go on until one has met a page that
      // was away: on a busy computer all rounds may pass before the first move.
      for (unsigned round = 0; round < kRounds || memory->counters().pages_by_touch == 0; ++round)
        for (std::size_t page = 0; page < 16; ++page) {
          volatile std::byte& mine = bytes[page * 4096 + thread * 64];
          EXPECT_EQ(std::to_integer<unsigned>(mine), round % 256);
          mine = static_cast<std::byte>(round + 1);
        }
      --running;
    });
  const std::vector<barter::Provider> devices = {*machine->provider("gpu0"), *machine->provider("gpu1")};
  for (std::size_t turn = 0; running != 0; ++turn) {
    auto moved = memory->move_to(devices[turn % 2], {.offset = 0, .bytes = 16 * 4096});
    EXPECT_TRUE(moved) << moved.error().message();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(memory->counters().pages_by_touch, 0u);
}

// The example of docs/managed-memory.md.
int memory_that_moves() {
  auto machine = barter::Machine::open("ai-server");
  if (!machine) return barter::print(machine.error());
  const barter::Provider gpu = *machine->provider("gpu0");
  const barter::Drive drive = *machine->drive("nvme0");
  auto memory = barter::ManagedMemory::create(*machine, 4_MiB);
  if (!memory) return barter::print(memory.error());
  std::span<std::byte> bytes = memory->bytes();  // an ordinary pointer
  std::ranges::fill(bytes, std::byte{0x11});     // the CPU writes: pages in host memory
  if (auto moved = memory->move_to(gpu, {.offset = 0, .bytes = 2_MiB}); !moved) return barter::print(moved.error());

  // One pointer, half of its pages there and half here: the drive takes each from where it is.
  auto written = barter::write(drive, {}, bytes);
  if (!written) return barter::print(written.error());
  if (written->direct_bytes != 2_MiB || written->host_bytes != 2_MiB) return 1;

  // The same, mapped by hand: a part for each place that pages are in, and a lease of all of them.
  auto mapping = memory->map(drive, {.access = barter::Access::read, .offset = 1_MiB, .bytes = 2_MiB});
  if (!mapping) return barter::print(mapping.error());
  bytes[1_MiB] = std::byte{0x22};  // a touch brings that page back, on any thread, importers drained first
  auto stale = mapping->lease();
  if (stale.has_value() || stale.error().code != barter::ErrorCode::revoked) return 1;  // so map it again
  auto where = memory->where({.offset = 1_MiB, .bytes = 8_KiB});
  if (!where) return barter::print(where.error());
  return where->size() == 2 && where->front().state == barter::PageState::host && bytes[0] == std::byte{0x11} ? 0 : 1;
}

TEST(ManagedMemoryGuide, ItsExampleRuns) {
  if (barter::contract::is_under_thread_sanitizer()) GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
  auto machine = barter::Machine::open("two-nvme");
  if (auto memory = barter::ManagedMemory::create(*machine, 4_KiB); !memory)
    GTEST_SKIP() << "skipped: " << memory.error().message();
  EXPECT_EQ(memory_that_moves(), 0);
}

}  // namespace
