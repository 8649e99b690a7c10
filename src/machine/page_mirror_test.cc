// What an accelerator asks for is checked: an accelerator that asks for pages that it can't miss is told apart, at once.
#include "machine/page_mirror.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/accelerator/fake_accelerator.h"
#include "peer/test_devices.h"

namespace barter::machine {
namespace {

using namespace barter::literals;
using drivers::accelerator::testing::FakeAccelerator;
using drivers::ring_device::testing::FakeCompletion;
namespace gpu = drivers::accelerator;

constexpr std::uint32_t kReadRequest = 8 << 16;
constexpr std::uint32_t kWriteRequest = 9 << 16;
constexpr std::uint32_t kPageFault = 4 << 16;

// Device memory that the CPU sees too.
class VisibleMemory final : public peer::Exporter {
 public:
  [[nodiscard]] Bdf function() const override { return {.bus = 7}; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] BusAddress bus_address() const override { return {std::uint64_t{1} << 40}; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override {
    return std::span(bytes_).subspan(range.offset, range.bytes);
  }
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }

 private:
  alignas(4096) std::array<std::byte, 16384> bytes_{};
};

class PageMirrorOfALiar : public ::testing::Test {
 protected:
  void SetUp() override {
    device_->lies[0x04] = 0x00010002;
    below_.keeps = true;
    auto made = gpu::Accelerator::create(std::make_unique<drivers::testing::FakeFunction>(device_),
                                         {.ready_timeout = 1ms, .command_timeout = 5ms});
    ASSERT_TRUE(made) << made.error().message();
    accelerator_ = std::move(*made);
    mirror_ = std::make_unique<PageMirror>(*accelerator_, below_);
    ASSERT_TRUE(exchange_.add(memory_));
    ASSERT_TRUE(exchange_.add(mirror_->importer()));
    auto region = exchange_.allocate(memory_, 8_KiB);
    ASSERT_TRUE(region) << region.error().message();
    region_.emplace(std::move(*region));
    shown_ = region_->cpu_bytes();
    ASSERT_EQ(shown_.size(), 8_KiB);
  }
  void asks_for(std::uint32_t request, const void* where) {
    device_->on_completion = [request, where](FakeCompletion& entry) {
      entry.word |= request;
      entry.result = reinterpret_cast<std::uintptr_t>(where);
      return true;
    };
  }
  [[nodiscard]] Result<gpu::CommandResult> read() {
    const std::array<PageMirror::Wanted, 1> wanted{{{shown_, Access::read}}};
    return mirror_->run(exchange_, {.command = {}, .wanted = wanted, .deadline = 1ms});
  }

  std::shared_ptr<FakeAccelerator> device_ = std::make_shared<FakeAccelerator>();
  std::unique_ptr<gpu::Accelerator> accelerator_;
  peer::test::CountingDomain below_{true};
  VisibleMemory memory_;
  peer::test::WaitingClock clock_;
  peer::Exchange exchange_{clock_, [](Bdf, Bdf) {
                             return peer::RouteAnswer{.read = Route::through_host_bridge,
                                                      .write = Route::through_host_bridge};
                           }};
  std::unique_ptr<PageMirror> mirror_;
  std::optional<Region> region_;
  std::span<std::byte> shown_;
};

TEST_F(PageMirrorOfALiar, IsHonestAtFirst) {
  const auto done = read();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(done->ok());
  EXPECT_EQ(below_.maps, 1u);
  EXPECT_TRUE(read());
  EXPECT_EQ(below_.maps, 1u) << "what was shown stays shown";
}

TEST_F(PageMirrorOfALiar, MayNotAskForWhatTheCommandDoesNotUse) {
  for (const void* elsewhere :
       {static_cast<const void*>(shown_.data() - 1), static_cast<const void*>(shown_.data() + shown_.size()),
        static_cast<const void*>(nullptr)}) {
    asks_for(kReadRequest, elsewhere);
    const auto done = read();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::device_failed);
    EXPECT_THAT(done.error().message(), testing::HasSubstr("a page that its command has nothing to do with"));
  }
  asks_for(kWriteRequest, shown_.data());
  const auto done = read();
  ASSERT_FALSE(done) << "the command only reads it";
  EXPECT_THAT(done.error().message(), testing::HasSubstr("a page that its command has nothing to do with"));
  device_->on_completion = nullptr;
  EXPECT_TRUE(read()) << "the channel was made anew";
}

TEST_F(PageMirrorOfALiar, MayNotAskForWhatItWasShown) {
  asks_for(kReadRequest, shown_.data() + 4096);
  const auto done = read();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::device_failed);
  EXPECT_THAT(done.error().message(), testing::HasSubstr("a page that is in its page tables"));
}

TEST_F(PageMirrorOfALiar, IsShownWhatWasTakenBackAndIsToldWhenItIsNoMore) {
  // It asks once, when the memory has just been taken back for others to move, and then ends its command.
  std::uint32_t entries = 0;
  const auto ask_when = [&](auto&& take_back) {
    entries = 0;
    device_->entries_per_command = 2;
    device_->on_completion = [&, take_back](FakeCompletion& entry) {
      if (++entries == 1) {
        take_back();
        entry.word |= kReadRequest;
        entry.result = reinterpret_cast<std::uintptr_t>(shown_.data());
      }
      return true;
    };
  };
  ask_when([&] { ASSERT_TRUE(region_->invalidate()); });
  const auto done = read();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(done->ok());
  EXPECT_EQ(below_.maps, 2u);
  EXPECT_EQ(below_.unmaps, 1u);

  ask_when([&] { ASSERT_TRUE(region_->revoke()); });
  const auto gone = read();
  ASSERT_FALSE(gone);
  EXPECT_EQ(below_.unmaps, 2u);
  EXPECT_EQ(gone.error().code, ErrorCode::revoked) << gone.error().message();
}

TEST_F(PageMirrorOfALiar, ThatFaultsAllTheSameHasItsResultReturned) {
  device_->on_completion = [](FakeCompletion& entry) {
    entry.word |= kPageFault;
    return true;
  };
  const auto done = read();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->status, 4);
}

}  // namespace
}  // namespace barter::machine
