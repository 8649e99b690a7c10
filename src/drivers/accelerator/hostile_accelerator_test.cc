// Whatever the device says is checked, every wait ends, and nothing that it could still reach is given back.
#include <array>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/address_space.h"
#include "drivers/accelerator/fake_accelerator.h"
#include "drivers/accelerator/links.h"
#include "drivers/function_importer.h"
#include "drivers/ring_device/hostile_ring_device.h"
#include "peer/dma_domain.h"

namespace barter::drivers::accelerator {
namespace {

using namespace barter::literals;
using ring_device::testing::kLiesOfAll;
using ring_device::testing::Lie;
using testing::FakeAccelerator;
using testing::FakeCompletion;

constexpr Command kNop{.tag = 42};

class HostileAccelerator
    : public ring_device::testing::HostileRingDevice<Accelerator, FakeAccelerator, Channel, Command, CommandResult> {};

TEST_F(HostileAccelerator, TheFakeIsHonestAtFirst) {
  {
    auto made = bring_up();
    ASSERT_TRUE(made) << made.error().message();
    auto channel = (*made)->create_channel(Kind::copy, {.entries = 4});
    ASSERT_TRUE(channel) << channel.error().message();
    for (int round = 0; round < 100; ++round) {
      const auto result = run(**channel, kNop);
      ASSERT_TRUE(result) << result.error().message();
      EXPECT_EQ(result->tag, 42u);
    }
  }
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileAccelerator, BringUpBelievesNothingAbsurd) {
  const std::array<std::pair<std::uint64_t, std::uint64_t>, 18> lies = {{{0x00, 0x12345678},
                                                                         {0x00, 0xffffffff},
                                                                         {0x04, 0x00020000},
                                                                         {0x08, 0},
                                                                         {0x08, 0x12345},
                                                                         {0x08, ~std::uint64_t{0xffff}},
                                                                         {0x10, 0x10000},
                                                                         {0x10, 0},
                                                                         {0x18, 0x00080000},
                                                                         {0x18, 0x00082020},
                                                                         {0x18, 0x00000101},
                                                                         {0x18, 0x00100101},
                                                                         {0x18, 0xffffffff},
                                                                         {0x1c, 9},
                                                                         {0x1c, 0xffffffff},
                                                                         {0x24, 0xffffffff},
                                                                         {0x24, 2},
                                                                         {0x24, 3}}};
  for (const auto& [at, lie] : lies) {
    device_->lies = {{at, lie}};
    auto made = bring_up();
    EXPECT_FALSE(made) << at << " " << lie;
    EXPECT_EQ(device_->lent_pieces(), 0u);
  }
  device_->lies.clear();
  device_->memory.resize(0x30000);
  EXPECT_EQ(trouble(), ErrorCode::device_failed) << "a BAR that is no power of two";
  device_->memory.clear();
  EXPECT_EQ(trouble(), ErrorCode::not_found);
  device_->memory.resize(0x20000);
  device_->bar_bytes = 0x1000;
  EXPECT_EQ(trouble(), ErrorCode::device_failed);
  device_->bar_bytes = 0x10000;
  device_->class_revision = 0x01080201;
  EXPECT_EQ(trouble(), ErrorCode::unsupported);
}

TEST_F(HostileAccelerator, EveryWaitEnds) {
  device_->never_ready = true;
  EXPECT_EQ(trouble(), ErrorCode::timed_out);
  device_->never_ready = false;
  {
    auto made = bring_up();
    ASSERT_TRUE(made);
    device_->never_runs = true;
    EXPECT_EQ((*made)->create_channel(Kind::copy, {}).error().code, ErrorCode::timed_out);
    device_->never_runs = false;
    ASSERT_TRUE((*made)->address_space().map_local({.virtual_address = 0, .bytes = 4_KiB}, 0));
    device_->never_invalidates = true;
    EXPECT_EQ((*made)->address_space().unmap(0).error().code, ErrorCode::timed_out);
    device_->lies[0x28] = 0x30000;
    EXPECT_FALSE((*made)->move_window(0x10000)) << "the register does not keep what is written to it";
    device_->lies.clear();
  }
  device_->is_gone = true;
  EXPECT_EQ(trouble(), ErrorCode::device_gone);
}

TEST_F(HostileAccelerator, AChannelThatDoesNotStopCostsTheDeviceItsBusMastering) {
  {
    auto made = bring_up();
    ASSERT_TRUE(made);
    auto channel = (*made)->create_channel(Kind::copy, {});
    ASSERT_TRUE(channel);
    device_->never_stops = device_->never_disabled = true;
    EXPECT_NE(device_->command & 4, 0);
    channel->reset();
    EXPECT_EQ(device_->command & 4, 0);
  }
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileAccelerator, CompletionsAreNotFollowedBlindly) {
  const auto expect_disbelief_of = [&](Lie lie) {
    auto made = bring_up();
    ASSERT_TRUE(made);
    auto channel = (*made)->create_channel(Kind::copy, {.entries = 4});
    ASSERT_TRUE(channel);
    expect_disbelief(**channel, kNop, lie);
  };
  for (const Lie lie : kLiesOfAll) expect_disbelief_of(lie);
  expect_disbelief_of([](FakeCompletion& entry) { entry.word |= 0x00080000; });
}

TEST_F(HostileAccelerator, PageRequestsAreAnsweredOnceAndOnlyWhereTheyWereAskedFor) {
  {
    auto older = bring_up();
    ASSERT_TRUE(older);
    EXPECT_EQ((*older)->create_channel(Kind::copy, {.page_requests = true}).error().code, ErrorCode::unsupported);
  }
  device_->lies[0x04] = 0x00010002;
  auto made = bring_up();
  ASSERT_TRUE(made) << made.error().message();
  auto channel = (*made)->create_channel(Kind::copy, {.entries = 2, .page_requests = true});
  ASSERT_TRUE(channel) << channel.error().message();
  EXPECT_EQ((*channel)->capacity(), 3u) << "a request needs room too";
  EXPECT_EQ(device_->load(0x102c, 4), 1u);
  EXPECT_EQ((*channel)->answer(Channel::PageAnswer::there).error().code, ErrorCode::invalid_argument);
  device_->on_completion = [](FakeCompletion& entry) {
    entry.word |= 9 << 16;
    entry.result = 0x1234;
    return true;
  };
  ASSERT_TRUE((*channel)->submit({.tag = 42}));
  (*channel)->ring();
  std::array<CommandResult, 4> results;
  std::size_t found = 0;
  while (found == 0) {
    found = *(*channel)->poll(results);
    idle();
  }
  EXPECT_TRUE(results[0].is_page_request() && results[0].wants_to_write());
  EXPECT_EQ(results[0].result, 0x1234u);
  EXPECT_EQ(results[0].tag, 42u);
  EXPECT_EQ((*channel)->in_flight(), 1u) << "it has not ended";
  // As long as it waits for us it is not late.
  for (int turn = 0; turn < 100'000; ++turn) {
    ASSERT_EQ(*(*channel)->poll(results), 0u);
    idle();
  }
  ASSERT_TRUE((*channel)->answer(Channel::PageAnswer::there));
  EXPECT_EQ(device_->load(0x1030, 4) >> 16, 1u);
  EXPECT_EQ((*channel)->answer(Channel::PageAnswer::there).error().code, ErrorCode::invalid_argument) << "once";
  // From here on it is: the fake never ends the command.
  Result<std::size_t> last = 0;
  for (int turn = 0; last && turn < 100'000; ++turn) {
    last = (*channel)->poll(results);
    idle();
  }
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code, ErrorCode::timed_out);
}

TEST_F(HostileAccelerator, LostCommandsTimeOutAndErrorsAreTold) {
  auto made = bring_up();
  auto channel = (*made)->create_channel(Kind::copy, {.entries = 4});
  ASSERT_TRUE(channel);
  device_->ignores_doorbells = true;
  EXPECT_EQ(run(**channel, kNop).error().code, ErrorCode::timed_out);
  auto other = (*made)->create_channel(Kind::compute, {.entries = 4});
  ASSERT_TRUE(other);
  device_->lies[0x1080 + 0x20] = 2;
  EXPECT_EQ(run(**other, kNop).error().code, ErrorCode::device_failed);
  device_->lies.clear();
  EXPECT_EQ(describe_status(5), "the bus did not carry out a request (status 5)");
  EXPECT_EQ(describe_status(7), "the accelerator behind a link did not grant the access (status 7)");
  EXPECT_EQ(describe_status(77), "status 77, which no specification has");
}

TEST_F(HostileAccelerator, IsolationSaysWhetherItTook) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  peer::NoIommu none;
  FunctionImporter importer((*made)->function(), none);
  EXPECT_TRUE(importer.isolate());
  EXPECT_EQ(device_->command & 4, 0);
  device_->keeps_bus_master = true;
  device_->command |= 4;
  EXPECT_EQ(importer.isolate().error().code, ErrorCode::device_failed);
  device_->is_gone = true;
  EXPECT_TRUE(importer.isolate()) << "what is gone makes no requests";
}

TEST_F(HostileAccelerator, LinksAreNotBelievedBlindly) {
  device_->lies[0x1c] = 2;
  auto made = bring_up();
  ASSERT_TRUE(made) << made.error().message();
  Links& links = (*made)->links();
  ASSERT_EQ(links.count(), 2u);
  EXPECT_FALSE(links.state(0)->is_wired);
  EXPECT_TRUE(links.enable(1, true));
  device_->lies[0x844] = 0;
  EXPECT_EQ(links.enable(1, true).error().code, ErrorCode::device_failed);
  device_->lies[0x800] = 1;
  EXPECT_EQ(links.wait_until_down(0).error().code, ErrorCode::timed_out);
  // Grants: what does not read back is not granted, and what does not close is not used again.
  EXPECT_EQ(links.grant(0, {0x30000, 0x20000}, Access::read).error().code, ErrorCode::out_of_range);
  const auto first = links.grant(0, {0x1000, 0x1000}, Access::read_write);
  ASSERT_TRUE(first);
  EXPECT_EQ(device_->load(0x4008, 8), 0xc000'0000'0000'1000u);
  device_->lies[0x4018] = 0x1000;
  EXPECT_EQ(links.grant(0, {0x1000, 0x1000}, Access::read).error().code, ErrorCode::device_failed);
  device_->lies[0x4008] = 0xc000'0000'0000'1000;
  EXPECT_EQ(links.revoke(0, *first).error().code, ErrorCode::device_failed);
  EXPECT_EQ(links.granted(0), 1u);
  device_->lies.clear();
  EXPECT_EQ(*links.grant(0, {0, 1}, Access::write), 1u);
  for (std::size_t more = 2; more < kGrantsOfLink; ++more) EXPECT_TRUE(links.grant(0, {0, 1}, Access::write));
  EXPECT_EQ(links.grant(0, {0, 1}, Access::write).error().code, ErrorCode::exhausted);
  EXPECT_TRUE(links.grant(1, {0, 1}, Access::write)) << "each link has its own";
  // A command may name what is behind a port that is there, and no other.
  auto channel = (*made)->create_channel(Kind::copy, {.entries = 4});
  ASSERT_TRUE(channel);
  const auto to = [](std::uint32_t port, std::uint64_t offset) {
    return copy({.from = Operand::local(0), .to = Operand::link(Links::address(port, offset)), .bytes = 8});
  };
  EXPECT_TRUE((*channel)->submit(to(1, 0x123)));
  EXPECT_EQ((*channel)->submit(to(2, 0)).error().code, ErrorCode::out_of_range);
  EXPECT_EQ((*channel)->submit(to(0, 0xffff'ffff'fffc)).error().code, ErrorCode::out_of_range);
  device_->is_gone = true;
  EXPECT_EQ(links.state(0).error().code, ErrorCode::device_gone);
  EXPECT_TRUE(links.revoke(0, 1)) << "what is gone lets nobody in";
  EXPECT_TRUE(links.wait_until_down(0));
}

}  // namespace
}  // namespace barter::drivers::accelerator
