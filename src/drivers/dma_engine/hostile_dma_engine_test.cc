// Whatever the engine says is checked, every wait ends, and nothing that it could still reach is given back.
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/fake_dma_engine.h"
#include "drivers/ring_device/hostile_ring_device.h"

namespace barter::drivers::dma_engine {
namespace {

using namespace barter::literals;
using ring_device::testing::kLiesOfAll;
using ring_device::testing::Lie;
using testing::FakeCompletion;
using testing::FakeDmaEngine;

constexpr DmaSegment kOne{{0x10000}, 4096};
constexpr DmaSegment kTwo[] = {{{0x20000}, 4000}, {{0x30000}, 96}};

constexpr Command kMove{.from = {&kOne, 1}, .to = kTwo, .tag = 42};

class HostileDmaEngine
    : public ring_device::testing::HostileRingDevice<Engine, FakeDmaEngine, Channel, Command, CommandResult> {};

TEST_F(HostileDmaEngine, TheFakeIsHonestAtFirst) {
  {
    auto made = bring_up();
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ((*made)->facts().max_segments, 16u);
    auto channel = (*made)->create_channel({.entries = 4});
    ASSERT_TRUE(channel) << channel.error().message();
    for (int round = 0; round < 100; ++round) {
      const auto result = run(**channel, kMove);
      ASSERT_TRUE(result) << result.error().message();
      EXPECT_EQ(result->tag, 42u);
      EXPECT_EQ(result->moved_bytes, 4096u);
    }
  }
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileDmaEngine, BringUpBelievesNothingAbsurd) {
  const std::array<std::pair<std::uint64_t, std::uint64_t>, 14> lies = {{{0x00, 0x12345678},
                                                                         {0x00, 0xffffffff},
                                                                         {0x04, 0x00020000},
                                                                         {0x08, 0x00000800},
                                                                         {0x08, 0x00000811},
                                                                         {0x08, 0x00000002},
                                                                         {0x08, 0x00001002},
                                                                         {0x08, 0xffffffff},
                                                                         {0x0c, 0},
                                                                         {0x10, 0},
                                                                         {0x10, ~std::uint64_t{0}},
                                                                         {0x1c, 0xffffffff},
                                                                         {0x1c, 2},
                                                                         {0x1c, 3}}};
  for (const auto& [at, lie] : lies) {
    device_->lies = {{at, lie}};
    EXPECT_FALSE(bring_up()) << at << " " << lie;
    EXPECT_EQ(device_->lent_pieces(), 0u);
  }
  device_->lies.clear();
  device_->bar_bytes = 0x1000;
  EXPECT_EQ(trouble(), ErrorCode::device_failed);
  device_->bar_bytes = 0x4000;
  device_->class_revision = 0x12000001;
  EXPECT_EQ(trouble(), ErrorCode::unsupported);
}

TEST_F(HostileDmaEngine, EveryWaitEnds) {
  device_->never_resets = true;
  EXPECT_EQ(trouble(), ErrorCode::timed_out);
  device_->never_resets = false;
  device_->never_ready = true;
  EXPECT_EQ(trouble(), ErrorCode::timed_out);
  device_->never_ready = false;
  {
    auto made = bring_up();
    ASSERT_TRUE(made);
    device_->never_runs = true;
    EXPECT_EQ((*made)->create_channel({}).error().code, ErrorCode::timed_out);
  }
  device_->is_gone = true;
  EXPECT_EQ(trouble(), ErrorCode::device_gone);
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileDmaEngine, AChannelThatDoesNotStopCostsTheEngineItsBusMastering) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  auto channel = (*made)->create_channel({});
  ASSERT_TRUE(channel);
  device_->never_stops = device_->never_disabled = true;
  EXPECT_NE(device_->command & 4, 0);
  channel->reset();
  EXPECT_EQ(device_->command & 4, 0);
}

TEST_F(HostileDmaEngine, CompletionsAreNotFollowedBlindly) {
  const auto expect_disbelief_of = [&](Lie lie) {
    auto made = bring_up();
    ASSERT_TRUE(made);
    auto channel = (*made)->create_channel({.entries = 4});
    ASSERT_TRUE(channel);
    expect_disbelief(**channel, kMove, lie);
  };
  for (const Lie lie : kLiesOfAll) expect_disbelief_of(lie);
  expect_disbelief_of([](FakeCompletion& entry) { entry.word |= 0x00070000; });
  expect_disbelief_of([](FakeCompletion& entry) { entry.result = 4097; });
  expect_disbelief_of([](FakeCompletion& entry) { entry.result = 4095; });
}

TEST_F(HostileDmaEngine, LostCommandsTimeOutAndErrorsAreTold) {
  auto made = bring_up();
  auto channel = (*made)->create_channel({.entries = 4});
  ASSERT_TRUE(channel);
  const auto failed =
      run_with(**channel, kMove, [](FakeCompletion& entry) { entry.word |= 5 << 16, entry.result = 17; });
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->status, 5);
  EXPECT_EQ(failed->moved_bytes, 17u);
  device_->ignores_doorbells = true;
  EXPECT_EQ(run(**channel, kMove).error().code, ErrorCode::timed_out);
  auto other = (*made)->create_channel({.entries = 4});
  ASSERT_TRUE(other);
  device_->lies[0x1040 + 0x18] = 0x0202;
  EXPECT_EQ(run(**other, kMove).error().code, ErrorCode::device_failed);
  device_->lies.clear();
  EXPECT_EQ(describe_status(6), "the bus did not carry out a write of the destination (status 6)");
  EXPECT_EQ(describe_status(77), "status 77, which no specification has");
}

// What the engine would refuse never reaches it.
TEST_F(HostileDmaEngine, RefusesWhatTheEngineWould) {
  auto made = bring_up();
  auto channel = (*made)->create_channel({.entries = 2, .segments = 100});
  ASSERT_TRUE(channel);
  EXPECT_EQ((*channel)->max_segments(), 16u);
  const auto code = [&](const Command& command) {
    const auto sent = (*channel)->submit(command);
    return sent ? ErrorCode::cancelled : sent.error().code;
  };
  const std::vector<DmaSegment> many(17, {{0}, 1});
  const DmaSegment nothing{{0}, 0};
  const DmaSegment past{{~std::uint64_t{0}}, 2};
  const DmaSegment large{{0}, (1 << 20) + 1};
  EXPECT_EQ(code({.from = many, .to = many}), ErrorCode::out_of_range);
  EXPECT_EQ(code({.from = {&large, 1}, .to = {&large, 1}}), ErrorCode::out_of_range);
  EXPECT_EQ(code({.from = {&nothing, 1}, .to = {&nothing, 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.from = {&past, 1}, .to = {&past, 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.from = {&kOne, 1}, .to = {}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.from = {&kOne, 1}, .to = std::span(kTwo).first(1)}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({}), ErrorCode::invalid_argument) << "a move of nothing";
  EXPECT_EQ(code({.opcode = Opcode::fill, .from = {&kOne, 1}, .to = {&kOne, 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.opcode = Opcode::nop, .to = {&kOne, 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.opcode = static_cast<Opcode>(9), .to = {&kOne, 1}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.from = {&kOne, 1}, .to = kTwo}), ErrorCode::cancelled);
  EXPECT_EQ(code({.from = {&kOne, 1}, .to = kTwo}), ErrorCode::exhausted);
}

}  // namespace
}  // namespace barter::drivers::dma_engine
