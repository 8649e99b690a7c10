// Any pointer on drives that Linux drives, in a guest: managed memory whose pages move into a drive's controller memory buffer and
// back, and the program's own memory. SOURCE's buffer is PROVIDER's; what DESTINATION holds is overwritten.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"

namespace barter {
namespace {

using namespace barter::literals;

constexpr std::uint64_t kBytes = 2_MiB;

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

std::byte expected(std::size_t at) { return static_cast<std::byte>(at * 7 + at / 4096); }

class AnyPointer : public testing::Test {
 protected:
  void SetUp() override {
    auto machine = Machine::open("host");
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(std::move(*machine));
    auto memory = ManagedMemory::create(*machine_, kBytes);
    ASSERT_TRUE(memory) << memory.error().message();
    memory_.emplace(std::move(*memory));
    for (std::size_t at = 0; at < kBytes; ++at) memory_->bytes()[at] = expected(at);
  }
  std::optional<Machine> machine_;
  std::optional<ManagedMemory> memory_;
};

TEST_F(AnyPointer, ManagedPagesLiveInAControllerMemoryBuffer) {
  const auto provider = machine_->provider(setting("PROVIDER"));
  ASSERT_TRUE(provider) << provider.error().message();
  const auto drive = machine_->drive(setting("DESTINATION"));
  ASSERT_TRUE(drive) << drive.error().message();
  ASSERT_TRUE(memory_->move_to(*provider, {.offset = 0, .bytes = 1_MiB}));
  EXPECT_EQ(memory_->where()->front().state, PageState::device);

  // Half of it there, half here: the kernel's driver reaches both, and nobody copies.
  const auto written = write(*drive, {}, memory_->bytes());
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(written->direct_bytes, 1_MiB);
  EXPECT_EQ(written->host_bytes, 1_MiB);
  EXPECT_EQ(written->copied_bytes, 0u);

  // A touch brings its page back; the others stay.
  EXPECT_EQ(memory_->bytes()[4096 * 3 + 5], expected(4096 * 3 + 5));
  EXPECT_EQ(memory_->counters().pages_by_touch, 1u);
  EXPECT_EQ(memory_->where({.offset = 4096 * 4, .bytes = 4096})->front().state, PageState::device);

  std::vector<std::byte> found(kBytes);
  ASSERT_TRUE(read(*drive, {}, found));
  for (std::size_t at = 0; at < kBytes; ++at) ASSERT_EQ(found[at], expected(at)) << at;

  // And into them: what the drive wrote is there when they come back.
  std::ranges::reverse(found);
  ASSERT_TRUE(write(*drive, {}, found));
  ASSERT_TRUE(memory_->move_to(*provider, {.offset = 1_MiB, .bytes = 512_KiB}));
  const auto read_back = read(*drive, {}, memory_->bytes());
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_EQ(read_back->copied_bytes, 0u);
  EXPECT_GE(read_back->direct_bytes, 1_MiB);
  EXPECT_TRUE(std::ranges::equal(memory_->bytes(), found));
}

TEST_F(AnyPointer, MemoryOfTheProgramIsReachedWhereItLies) {
  const auto drive = machine_->drive(setting("DESTINATION"));
  ASSERT_TRUE(drive) << drive.error().message();
  const std::unique_ptr<std::byte, void (*)(void*)> room(static_cast<std::byte*>(std::aligned_alloc(4096, 1_MiB)),
                                                         [](void* pointer) { std::free(pointer); });
  const std::span<std::byte> aligned(room.get(), 1_MiB);
  for (std::size_t at = 0; at < aligned.size(); ++at) aligned[at] = expected(at + 1);
  const auto written = write(*drive, {.offset = 4096}, aligned);
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(written->host_bytes, 1_MiB);
  EXPECT_EQ(written->copied_bytes, 0u);
  std::vector<std::byte> odd(1_MiB + 1);
  const auto read_back = read(*drive, {.offset = 4096}, std::span(odd).subspan(1));
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_EQ(read_back->copied_bytes, 1_MiB) << "what is not aligned goes by way of a buffer";
  EXPECT_TRUE(std::ranges::equal(std::span(odd).subspan(1), aligned));
}

}  // namespace
}  // namespace barter
