// Memory by an ordinary pointer, registered for a device: wherever its pages are, and after they have moved.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "thread_sanitizer.h"

namespace {

using namespace barter::literals;
using barter::Access;
using barter::ErrorCode;
using barter::Hold;
using barter::PageState;
using testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;

// The built-in machine, with an IOMMU or without.
std::string training(const std::string& iommu) {
  std::ifstream builtin(BARTER_SOURCE_DIR "/machines/training.toml");
  std::string text{std::istreambuf_iterator<char>(builtin), {}};
  const std::string off = "iommu = \"off\"";
  EXPECT_NE(text.find(off), std::string::npos);
  text.replace(text.find(off), off.size(), "iommu = \"" + iommu + "\"");
  std::string file = testing::TempDir() + "barter-registration-" + iommu + std::to_string(getpid()) + ".toml";
  std::ofstream(file) << text;
  return file;
}

class RegistrationTest : public testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    const auto [iommu, threaded] = GetParam();
    if (barter::contract::is_under_thread_sanitizer() && !threaded)
      GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
    const std::string file = training(iommu);
    auto machine = barter::Machine::open(file, {.threaded = threaded});
    std::filesystem::remove(file);
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(std::move(*machine));
    auto memory = barter::ManagedMemory::create(*machine_, 4_MiB, {.touch_deadline = 10s});
    if (!memory && (memory.error().code == ErrorCode::refused || memory.error().code == ErrorCode::unsupported))
      GTEST_SKIP() << "skipped: " << memory.error().message();
    ASSERT_TRUE(memory) << memory.error().message();
    memory_.emplace(std::move(*memory));
    engine_.emplace(*machine_->dma_engine("dma0"));
    target_.emplace(std::move(*machine_->provider("gpu1")->allocate(4_MiB)));
    for (std::size_t at = 0; at < memory_->bytes().size(); ++at) memory_->bytes()[at] = byte(at);
  }
  static std::byte byte(std::size_t at) { return static_cast<std::byte>(at * 13 + at / 4096 * 7); }
  [[nodiscard]] barter::Provider gpu() const { return *machine_->provider("gpu0"); }
  // The engine reads what is registered and writes it into the other accelerator's memory, by pointers on both sides.
  void expect_moves(barter::Registration& from) {
    auto into = barter::register_memory(*engine_, target_->cpu_bytes(), {.access = Access::write});
    ASSERT_TRUE(into) << into.error().message();
    std::ranges::fill(target_->cpu_bytes(), std::byte{0});
    const auto sources = from.lease();
    const auto targets = into->lease();
    ASSERT_TRUE(sources && targets);
    const auto moved = barter::move_bytes(*engine_, *sources, *targets);
    ASSERT_TRUE(moved) << moved.error().message();
    const auto bytes = target_->cpu_bytes().first(from.memory().size());
    const auto first = static_cast<std::size_t>(from.memory().data() - memory_->bytes().data());
    for (std::size_t at = 0; at < bytes.size(); ++at) ASSERT_EQ(bytes[at], byte(first + at)) << at;
  }

  std::optional<barter::Machine> machine_;
  std::optional<barter::ManagedMemory> memory_;
  std::optional<barter::DmaEngine> engine_;
  std::optional<barter::Region> target_;
};

TEST_P(RegistrationTest, WhereverItsPagesAreAndAfterTheyHaveMoved) {
  // Every second page in the device: more pieces than one command of the engine takes.
  for (std::uint64_t page = 0; page < 512; page += 2)
    ASSERT_TRUE(memory_->move_to(gpu(), {.offset = page * kPage, .bytes = kPage}));
  auto registered =
      barter::register_memory(*engine_, memory_->bytes().subspan(100, 4_MiB - 300), {.access = Access::read});
  ASSERT_TRUE(registered) << registered.error().message();
  EXPECT_EQ(registered->importer(), engine_->bdf());
  const auto where = registered->where();
  ASSERT_EQ(where.size(), 512u);
  EXPECT_EQ(where[0].range, (barter::MemoryRange{0, kPage - 100}));
  EXPECT_EQ(where[0].state, PageState::device);
  EXPECT_EQ(where[0].device, gpu().bdf());
  EXPECT_EQ(where[1].state, PageState::host);
  expect_moves(*registered);

  EXPECT_FALSE(registered->is_stale());
  ASSERT_TRUE(memory_->move_to(gpu(), {.offset = 1_MiB, .bytes = 1_MiB}));
  EXPECT_TRUE(registered->is_stale());
  expect_moves(*registered);
  EXPECT_FALSE(registered->is_stale());
  ASSERT_TRUE(memory_->move_to_host());
  expect_moves(*registered);
  EXPECT_EQ(registered->where().size(), 1u);
}

TEST_P(RegistrationTest, PinnedIsInHostMemoryAndStaysThere) {
  ASSERT_TRUE(memory_->move_to(gpu(), {.offset = 1_MiB, .bytes = 1_MiB}));
  {
    auto pinned = barter::register_memory(*engine_, memory_->bytes(), {.access = Access::read, .hold = Hold::pinned});
    ASSERT_TRUE(pinned) << pinned.error().message();
    EXPECT_EQ(memory_->where()->size(), 1u);
    EXPECT_EQ(memory_->where()->front().state, PageState::host);
    const auto moved = memory_->move_to(gpu(), {.offset = 0, .bytes = kPage});
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().code, ErrorCode::pinned);
    expect_moves(*pinned);
  }
  EXPECT_TRUE(memory_->move_to(gpu(), {.offset = 0, .bytes = kPage}));
}

TEST_P(RegistrationTest, OwnersDecideAndTakeBack) {
  const auto bytes = target_->cpu_bytes();
  auto dynamic = barter::register_memory(*engine_, bytes, {.access = Access::write});
  auto pinned = barter::register_memory(*engine_, bytes, {.access = Access::write, .hold = Hold::pinned});
  ASSERT_TRUE(dynamic && pinned);
  auto gpu1 = *machine_->provider("gpu1");
  EXPECT_EQ(target_->invalidate().error().code, ErrorCode::pinned) << "what was promised to stay";
  pinned = barter::register_memory(*machine_->drive("nvme0"), bytes);
  ASSERT_TRUE(target_->invalidate());
  EXPECT_TRUE(dynamic->is_stale());
  EXPECT_TRUE(dynamic->lease()) << "for now";
  gpu1.on_request([](const barter::Request&) { return barter::Answer::refuse("not today"); });
  ASSERT_TRUE(target_->invalidate());
  const auto refused = dynamic->lease();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("not today"));
  gpu1.on_request({});
  EXPECT_TRUE(dynamic->lease());
  ASSERT_TRUE(target_->revoke());
  EXPECT_EQ(dynamic->lease().error().code, ErrorCode::revoked);
}

// A region that is taken back for now again and again, by another thread: a lease is an error only when it is gone for good.
TEST_P(RegistrationTest, WhatIsTakenBackAtThisMomentIsWaitedFor) {
  if (!std::get<1>(GetParam())) GTEST_SKIP() << "skipped: one thread at a time uses a machine that is stepped";
  auto registered = barter::register_memory(*engine_, target_->cpu_bytes(), {.access = Access::write});
  ASSERT_TRUE(registered);
  std::atomic<bool> is_over = false;
  std::thread owner([&] {
    while (!is_over) EXPECT_TRUE(target_->invalidate());
  });
  for (int round = 0; round < 200; ++round) {
    const auto leases = registered->lease();
    EXPECT_TRUE(leases) << leases.error().message();
  }
  is_over = true;
  owner.join();
  ASSERT_TRUE(target_->revoke());
  EXPECT_EQ(registered->lease().error().code, ErrorCode::revoked);
}

TEST_P(RegistrationTest, DrivesTakeItAsOnePieceOfMemory) {
  ASSERT_TRUE(memory_->move_to(gpu(), {.offset = 64_KiB, .bytes = 64_KiB}));
  const barter::Drive drive = *machine_->drive("nvme0");
  auto registered = barter::register_memory(drive, memory_->bytes().first(256_KiB));
  ASSERT_TRUE(registered) << registered.error().message();
  ASSERT_EQ(registered->where().size(), 3u);
  const auto out = registered->lease();
  ASSERT_TRUE(out);
  const auto written = barter::write(drive, {.offset = 1_MiB}, *out);
  ASSERT_TRUE(written) << written.error().message();
  std::vector<std::byte> back(256_KiB);
  ASSERT_TRUE(barter::read(drive, {.offset = 1_MiB}, back));
  for (std::size_t at = 0; at < back.size(); ++at) ASSERT_EQ(back[at], byte(at)) << at;
}

TEST_P(RegistrationTest, WhatNoDeviceCanBeShownIsRefused) {
  std::vector<std::byte> ordinary(8192);
  const auto refused = barter::register_memory(*engine_, ordinary);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_THAT(refused.error().message(), HasSubstr("ordinary memory of the program"));
  EXPECT_EQ(barter::register_memory(*engine_, {}).error().code, ErrorCode::invalid_argument);
  // The region has gone, and another one lies there, at the same addresses.
  const auto bytes = target_->cpu_bytes();
  auto registered = barter::register_memory(*engine_, bytes, {.access = Access::read});
  ASSERT_TRUE(registered);
  target_.reset();
  EXPECT_EQ(registered->lease().error().code, ErrorCode::revoked);
  target_.emplace(std::move(*machine_->provider("gpu1")->allocate(4_MiB)));
  ASSERT_EQ(target_->cpu_bytes().data(), bytes.data());
  EXPECT_EQ(registered->lease().error().code, ErrorCode::revoked);
  EXPECT_TRUE(barter::register_memory(*engine_, bytes, {.access = Access::read}));
}

INSTANTIATE_TEST_SUITE_P(Machines, RegistrationTest,
                         testing::Combine(testing::Values("off", "translate"), testing::Bool()),
                         [](const auto& tested) {
                           return "Iommu_" + std::string(std::get<0>(tested.param)) +
                                  (std::get<1>(tested.param) ? "Threaded" : "Stepped");
                         });

}  // namespace
