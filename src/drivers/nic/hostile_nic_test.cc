// Whatever the NIC says is checked, every wait ends, and nothing that it could still reach is given back.
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/nic/fake_nic.h"
#include "drivers/nic/nic.h"
#include "drivers/ring_device/hostile_ring_device.h"

namespace barter::drivers::nic {
namespace {

using namespace barter::literals;
using ring_device::testing::kLiesOfAll;
using ring_device::testing::Lie;
using testing::FakeCompletion;
using testing::FakeNic;

constexpr DmaSegment kOne[] = {{{0x10000}, 4096}};
constexpr DmaSegment kTwo[] = {{{0x20000}, 4000}, {{0x30000}, 96}};

class HostileNic : public ring_device::testing::HostileRingDevice<Nic, FakeNic, Channel, Command, CommandResult> {
 protected:
  template <class T>
  T in_descriptor(std::size_t at) {
    T value{};
    std::memcpy(&value, device_->last_descriptor.data() + at, sizeof value);
    return value;
  }
};

TEST_F(HostileNic, TheFakeIsHonestAtFirst) {
  {
    auto made = bring_up();
    ASSERT_TRUE(made) << made.error().message();
    const NicFacts& facts = (*made)->facts();
    EXPECT_EQ(facts.pairs, 2u);
    EXPECT_EQ(facts.max_ring_entries, 256u);
    EXPECT_EQ(facts.max_segments, 16u);
    EXPECT_EQ(facts.address_bits, 48u);
    EXPECT_EQ(facts.boundary_bytes, 65536u);
    EXPECT_EQ(facts.max_message_bytes, 1_MiB);
    EXPECT_EQ(facts.keys, 8u);
    const peer::SegmentLimits limits = (*made)->segment_limits();
    EXPECT_EQ(limits.max_segments, 16u);
    EXPECT_EQ(limits.boundary_bytes, 65536u);
    EXPECT_EQ(limits.address_bits, 48u);
    EXPECT_LE(limits.max_segment_bytes, 0xffffffffu);
    EXPECT_TRUE((*made)->is_wire_up());
    auto pair = (*made)->create_pair({.entries = 4});
    ASSERT_TRUE(pair) << pair.error().message();
    EXPECT_EQ((*pair)->sends().capacity(), 3u);
    for (int round = 0; round < 100; ++round) {
      const auto sent = run((*pair)->sends(), {.opcode = Opcode::send, .memory = kTwo, .tag = 42});
      ASSERT_TRUE(sent) << sent.error().message();
      EXPECT_TRUE(sent->ok());
      EXPECT_EQ(sent->tag, 42u);
      EXPECT_EQ(sent->value, 4096u);
      const auto received = run((*pair)->receives(), {.opcode = Opcode::receive, .memory = kOne, .tag = 43});
      ASSERT_TRUE(received) << received.error().message();
      EXPECT_EQ(received->tag, 43u);
      EXPECT_EQ(received->value, 4096u);
    }
  }
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileNic, WritesDescriptorsAsThePageHasThem) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 4});
  ASSERT_TRUE(pair);
  Channel& sends = (*pair)->sends();
  ASSERT_TRUE(run(sends, {.opcode = Opcode::write,
                          .memory = kTwo,
                          .key = {0x12345678},
                          .remote_offset = 0x99887766554433,
                          .remote_access = Access::read_write,
                          .interrupt = true}));
  EXPECT_EQ(in_descriptor<std::uint16_t>(0), 0x0102);
  EXPECT_EQ(in_descriptor<std::uint32_t>(4), 2u) << "the access is no business of a write";
  const auto list = device_->lent(in_descriptor<std::uint64_t>(8), 32);
  ASSERT_EQ(list.size(), 32u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(8) % 16, 0u);
  constexpr std::uint64_t kList[] = {0x20000, 4000, 0x30000, 96};
  EXPECT_EQ(std::memcmp(list.data(), kList, 32), 0);
  EXPECT_EQ(in_descriptor<std::uint64_t>(16), 4096u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(24), 0x12345678u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(32), 0x99887766554433u);
  for (std::size_t at = 40; at < 64; at += 8) EXPECT_EQ(in_descriptor<std::uint64_t>(at), 0u);

  ASSERT_TRUE(run(sends, {.opcode = Opcode::expose, .memory = kOne, .key = {7}, .remote_access = Access::write}));
  EXPECT_EQ(in_descriptor<std::uint16_t>(0), 0x0004);
  EXPECT_EQ(in_descriptor<std::uint32_t>(4), 0x20000u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(8), 0x10000u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(16), 4096u);
  EXPECT_EQ(in_descriptor<std::uint64_t>(24), 0u) << "the key is no business of a registration";
  ASSERT_TRUE(run(sends, {.opcode = Opcode::expose, .memory = kOne, .remote_access = Access::read_write}));
  EXPECT_EQ(in_descriptor<std::uint32_t>(4), 0x30000u);
  ASSERT_TRUE(run(sends, {.opcode = Opcode::nop}));
  EXPECT_EQ(in_descriptor<std::uint16_t>(0), 0);
  for (std::size_t at = 4; at < 64; at += 4) EXPECT_EQ(in_descriptor<std::uint32_t>(at), 0u);
}

TEST_F(HostileNic, BringUpBelievesNothingAbsurd) {
  const std::array<std::pair<std::uint64_t, std::uint64_t>, 21> lies = {{{0x00, 0x12345678},
                                                                         {0x00, 0xffffffff},
                                                                         {0x04, 0x00020000},
                                                                         {0x08, 0x00000800},
                                                                         {0x08, 0x00000811},
                                                                         {0x08, 0x00000002},
                                                                         {0x08, 0x00001002},
                                                                         {0x08, 0xffffffff},
                                                                         {0x0c, 0x10300000},
                                                                         {0x0c, 0x101f0010},
                                                                         {0x0c, 0x10410010},
                                                                         {0x0c, 0x0b300010},
                                                                         {0x0c, 0x40300010},
                                                                         {0x0c, 0xffffffff},
                                                                         {0x10, 0},
                                                                         {0x10, (std::uint64_t{1} << 62) + 1},
                                                                         {0x10, ~std::uint64_t{0}},
                                                                         {0x28, 0},
                                                                         {0x28, 0x00010000},
                                                                         {0x1c, 0xffffffff},
                                                                         {0x1c, 2}}};
  for (const auto& [at, lie] : lies) {
    device_->lies = {{at, lie}};
    EXPECT_FALSE(bring_up()) << at << " " << lie;
    EXPECT_EQ(device_->lent_pieces(), 0u);
  }
  // The last that can be.
  for (const auto& [at, truth] : std::array<std::pair<std::uint64_t, std::uint64_t>, 8>{{{0x08, 0x00000f10},
                                                                                         {0x08, 0x00000101},
                                                                                         {0x0c, 0x0c200001},
                                                                                         {0x0c, 0x3f40ffff},
                                                                                         {0x0c, 0x00400001},
                                                                                         {0x10, 1},
                                                                                         {0x10, std::uint64_t{1} << 62},
                                                                                         {0x28, 0xffff}}}) {
    device_->lies = {{at, truth}};
    EXPECT_TRUE(bring_up()) << at << " " << truth;
  }
  device_->lies.clear();
  device_->bar_bytes = 0x1000;
  EXPECT_EQ(trouble(), ErrorCode::device_failed);
  device_->bar_bytes = 0x4000;
  device_->class_revision = 0x08800001;
  EXPECT_EQ(trouble(), ErrorCode::unsupported);
}

TEST_F(HostileNic, EveryWaitEnds) {
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
    EXPECT_EQ((*made)->create_pair({}).error().code, ErrorCode::timed_out);
    device_->never_runs = false;
    EXPECT_TRUE((*made)->create_pair({.number = 0})) << "nothing of it is in use";
    // Only the second of its two channels does not start.
    device_->lies[0x1000 + 0x18] = 0x0102;
    EXPECT_FALSE((*made)->create_pair({.number = 0}));
    device_->lies.clear();
  }
  device_->is_gone = true;
  EXPECT_EQ(trouble(), ErrorCode::device_gone);
  EXPECT_EQ(device_->lent_pieces(), 0u);
}

TEST_F(HostileNic, PairsAreUsedByOneAtATime) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  auto second = (*made)->create_pair({.number = 1});
  ASSERT_TRUE(second);
  EXPECT_EQ((*second)->number(), 1u);
  EXPECT_EQ((*made)->create_pair({.number = 1}).error().code, ErrorCode::exhausted);
  EXPECT_EQ((*made)->create_pair({.number = 2}).error().code, ErrorCode::out_of_range);
  EXPECT_EQ((*made)->create_pair({.number = 0xffffffff}).error().code, ErrorCode::out_of_range);
  auto first = (*made)->create_pair({.entries = 1000, .segments = 1000});
  ASSERT_TRUE(first);
  EXPECT_EQ((*first)->number(), 0u);
  EXPECT_EQ((*first)->receives().capacity(), 255u);
  EXPECT_EQ((*first)->receives().max_segments(), 16u);
  EXPECT_EQ((*made)->create_pair({}).error().code, ErrorCode::exhausted);
  second->reset();
  auto again = (*made)->create_pair({});
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->number(), 1u);
}

TEST_F(HostileNic, APairThatDoesNotStopCostsTheNicItsBusMastering) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  auto pair = (*made)->create_pair({});
  ASSERT_TRUE(pair);
  device_->never_stops = device_->never_disabled = true;
  EXPECT_NE(device_->command & 4, 0);
  pair->reset();
  EXPECT_EQ(device_->command & 4, 0);
  EXPECT_EQ((*made)->create_pair({.number = 0}).error().code, ErrorCode::exhausted) << "it may run still";
}

// Each command is the first of a pair of its own.
class LyingCompletions : public HostileNic {
 protected:
  void expect_disbelief(const Command& command, Lie lie) {
    auto made = bring_up();
    ASSERT_TRUE(made);
    auto pair = (*made)->create_pair({.entries = 4});
    ASSERT_TRUE(pair);
    HostileNic::expect_disbelief(channel_of(**pair, command), command, lie);
  }
  CommandResult expect_belief(const Command& command, Lie change) {
    auto made = bring_up();
    auto pair = (*made)->create_pair({.entries = 4});
    const auto answer = run_with(channel_of(**pair, command), command, change);
    EXPECT_TRUE(answer) << answer.error().message();
    return answer.value_or(CommandResult{.status = 255});
  }

 private:
  static Channel& channel_of(Pair& pair, const Command& command) {
    return command.opcode == Opcode::receive ? pair.receives() : pair.sends();
  }
};

TEST_F(LyingCompletions, OfEveryCommand) {
  for (const Opcode opcode : {Opcode::send, Opcode::write, Opcode::read, Opcode::expose, Opcode::receive}) {
    SCOPED_TRACE(static_cast<int>(opcode));
    const Command command{.opcode = opcode, .memory = kTwo};
    for (const Lie lie : kLiesOfAll) expect_disbelief(command, lie);
    expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 0x000d0000; });
  }
}

TEST_F(LyingCompletions, OfWhatWasMoved) {
  for (const Opcode opcode : {Opcode::send, Opcode::write, Opcode::read}) {
    const Command command{.opcode = opcode, .memory = kOne, .tag = 4};
    expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 4097; });
    expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 4095; });
    expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 7 << 16, entry.result = 4097; });
    EXPECT_EQ(expect_belief(command, [](FakeCompletion& entry) { entry.word |= 7 << 16, entry.result = 17; }).value,
              17u);
  }
  expect_disbelief({.opcode = Opcode::nop}, [](FakeCompletion& entry) { entry.result = 1; });
}

TEST_F(LyingCompletions, OfMessages) {
  const Command command{.opcode = Opcode::receive, .memory = kOne, .tag = 4};
  expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 4097; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 0; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 6 << 16, entry.result = 4097; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 9 << 16, entry.result = 4096; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 9 << 16, entry.result = ~std::uint64_t{0}; });
  EXPECT_EQ(expect_belief(command, [](FakeCompletion& entry) { entry.result = 1; }).value, 1u);
  const CommandResult late =
      expect_belief(command, [](FakeCompletion& entry) { entry.word |= 9 << 16, entry.result = 4097; });
  EXPECT_EQ(late.status, kMessageTooLong);
  EXPECT_EQ(late.value, 4097u);
}

TEST_F(LyingCompletions, OfKeys) {
  const Command command{.opcode = Opcode::expose, .memory = kOne};
  EXPECT_EQ(expect_belief(command, [](FakeCompletion&) {}).value, 0x00070003u);
  EXPECT_EQ(expect_belief(command, [](FakeCompletion& entry) { entry.result = 0xffff0007; }).value, 0xffff0007u);
  EXPECT_EQ(expect_belief(command, [](FakeCompletion& entry) { entry.word |= 12 << 16, entry.result = 0; }).status, 12);
  expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 0x00070008; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.result = 0x0000ffff; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.result |= std::uint64_t{1} << 32; });
  expect_disbelief(command, [](FakeCompletion& entry) { entry.word |= 12 << 16, entry.result = 3; });
}

TEST_F(HostileNic, CompletionsThatComeTwiceOrUnaskedAreNotFollowed) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 8});
  ASSERT_TRUE(pair);
  device_->entries_per_command = 2;
  Channel& sends = (*pair)->sends();
  const auto first = run(sends, {.opcode = Opcode::send, .memory = kOne, .tag = 1});
  ASSERT_TRUE(first) << "what came before the lie is delivered";
  EXPECT_EQ(first->tag, 1u);
  EXPECT_EQ(wait_for(sends).error().code, ErrorCode::device_failed);
  device_->entries_per_command = 1;
  // In each place of a ring, for a command that was never sent.
  for (std::uint32_t id = 0; id < 8; ++id) {
    auto other = (*made)->create_pair({.number = 1, .entries = 8});
    ASSERT_TRUE(other);
    device_->on_completion = [&](FakeCompletion& entry) {
      if (const std::uint32_t truth = entry.word & 0xffff; truth == id) return false;
      entry.word = (entry.word & 0xffff0000) | id;
      return true;
    };
    const auto answer = run((*other)->receives(), {.opcode = Opcode::receive, .memory = kOne});
    EXPECT_TRUE(!answer &&
                (answer.error().code == ErrorCode::device_failed || answer.error().code == ErrorCode::cancelled))
        << id;
    device_->on_completion = {};
  }
}

TEST_F(HostileNic, LostCommandsTimeOutAndErrorsAreTold) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 4});
  ASSERT_TRUE(pair);
  device_->ignores_doorbells = true;
  EXPECT_EQ(run((*pair)->sends(), {.opcode = Opcode::send, .memory = kOne}).error().code, ErrorCode::timed_out);
  EXPECT_EQ(run((*pair)->sends(), {.opcode = Opcode::send, .memory = kOne}).error().code, ErrorCode::timed_out)
      << "it is of no more use";
  auto other = (*made)->create_pair({.entries = 4});
  ASSERT_TRUE(other);
  device_->lies[0x1080 + 0x18] = 0x0202;
  EXPECT_EQ(run((*other)->sends(), {.opcode = Opcode::send, .memory = kOne}).error().code, ErrorCode::device_failed);
}

// What a receive waits for is not the NIC's to give. Only one that does not run it any more is late.
TEST_F(HostileNic, AReceiveWaitsForAsLongAsItTakes) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 4});
  ASSERT_TRUE(pair);
  Channel& receives = (*pair)->receives();
  device_->ignores_doorbells = true;
  EXPECT_EQ(run(receives, {.opcode = Opcode::receive, .memory = kOne, .tag = 9}).error().code, ErrorCode::cancelled);
  EXPECT_EQ(receives.in_flight(), 1u);
  device_->ignores_doorbells = false;
  const auto received = wait_for(receives);
  ASSERT_TRUE(received) << received.error().message();
  EXPECT_EQ(received->tag, 9u);

  device_->ignores_doorbells = true;
  const std::array<std::pair<std::map<std::uint64_t, std::uint64_t>, ErrorCode>, 6> ends = {{
      {{{0x1c, 0}}, ErrorCode::timed_out},             // not READY
      {{{0x1c, 3}}, ErrorCode::device_failed},         // FATAL
      {{{0x1058, 0}}, ErrorCode::timed_out},           // not RUNNING
      {{{0x1058, 0x0302}}, ErrorCode::device_failed},  // ERROR
      {{{0x1058, 0xffffffff}}, ErrorCode::timed_out},  // gone, it says, and yet there
      {{{0x1058, 0xffffffff}, {0x1c, 0xffffffff}, {0x1068, ~std::uint64_t{0}}}, ErrorCode::device_gone},
  }};
  for (const auto& [lies, code] : ends) {
    pair->reset();
    pair = (*made)->create_pair({.number = 0, .entries = 4});
    ASSERT_TRUE(pair) << pair.error().message();
    ASSERT_TRUE((*pair)->receives().submit({.opcode = Opcode::receive, .memory = kOne}));
    (*pair)->receives().ring();
    device_->lies = lies;
    EXPECT_EQ(wait_for((*pair)->receives()).error().code, code) << &lies - &ends[0].first;
    device_->lies.clear();
  }
}

TEST_F(HostileNic, LeavesInMidCommand) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 4});
  ASSERT_TRUE(pair);
  device_->ignores_doorbells = true;
  ASSERT_TRUE((*pair)->sends().submit({.opcode = Opcode::send, .memory = kOne}));
  ASSERT_TRUE((*pair)->receives().submit({.opcode = Opcode::receive, .memory = kOne}));
  (*pair)->sends().ring();
  (*pair)->receives().ring();
  device_->is_gone = true;
  EXPECT_EQ(wait_for((*pair)->sends()).error().code, ErrorCode::device_gone);
  EXPECT_EQ(wait_for((*pair)->receives()).error().code, ErrorCode::device_gone);
  EXPECT_FALSE((*made)->is_wire_up());
  EXPECT_TRUE((*made)->withdraw({5})) << "what is gone reaches nothing";
}

TEST_F(HostileNic, TheWireIsWhatItSays) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  device_->wire = 0;
  EXPECT_FALSE((*made)->is_wire_up());
  device_->wire = 1;
  EXPECT_TRUE((*made)->is_wire_up());
  device_->wire = 0xffffffff;
  EXPECT_FALSE((*made)->is_wire_up());
}

TEST_F(HostileNic, WithdrawsWhenNothingIsUnderWayAnyMore) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  const auto withdraw = [&](std::uint32_t remote) {
    device_->remote = remote;
    return (*made)->withdraw({0xabcd0001});
  };
  EXPECT_TRUE(withdraw(0));
  EXPECT_TRUE(withdraw(0xfffffffe)) << "not busy";
  EXPECT_TRUE(withdraw(0x11)) << "over with the next step";
  device_->is_busy_again_at_once = true;
  EXPECT_TRUE(withdraw(0x11)) << "busy again, and with something else";
  EXPECT_TRUE(withdraw(0xffffffff)) << "the last count there is";
  EXPECT_EQ(device_->withdrawn, (std::vector<std::uint32_t>(5, 0xabcd0001)));
}

TEST_F(HostileNic, WithdrawFromOneThatStaysBusyTimesOut) {
  auto made = bring_up();
  ASSERT_TRUE(made);
  device_->is_busy_for_ever = true;
  for (const std::uint32_t remote : {0x11u, 0xffffffffu}) {
    device_->remote = remote;
    const std::int64_t before_ns = device_->now_ns;
    const auto withdrawn = (*made)->withdraw({1});
    ASSERT_FALSE(withdrawn);
    EXPECT_EQ(withdrawn.error().code, ErrorCode::timed_out) << withdrawn.error().message();
    EXPECT_GE(device_->now_ns - before_ns, 1'000'000);
    EXPECT_LT(device_->now_ns - before_ns, 2'000'000);
  }
  device_->lies[0x1c] = 3;
  EXPECT_EQ((*made)->withdraw({1}).error().code, ErrorCode::device_failed) << "FATAL";
  device_->lies.clear();
  device_->is_gone = true;
  EXPECT_TRUE((*made)->withdraw({1}));
}

// What the NIC would refuse never reaches it.
TEST_F(HostileNic, RefusesWhatTheNicWould) {
  auto made = bring_up();
  auto pair = (*made)->create_pair({.entries = 2, .segments = 100});
  ASSERT_TRUE(pair);
  Channel& sends = (*pair)->sends();
  EXPECT_EQ(sends.max_segments(), 16u);
  const auto code = [](Channel& channel, const Command& command) {
    const auto sent = channel.submit(command);
    return sent ? ErrorCode::cancelled : sent.error().code;
  };
  const auto code_of_memory = [&](std::vector<DmaSegment> memory) {
    return code(sends, {.opcode = Opcode::send, .memory = memory});
  };
  EXPECT_EQ(code_of_memory({}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory({{{0}, 0}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory({{{0}, 1}, {{0}, 0}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory({{{~std::uint64_t{0}}, 2}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory({{{0x1000}, 1, SegmentKind::link}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory({{{0x1000}, 1, SegmentKind::pointer}}), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of_memory(std::vector<DmaSegment>(17, {{0}, 1})), ErrorCode::out_of_range);
  EXPECT_EQ(code_of_memory({{{0xffff}, 2}}), ErrorCode::out_of_range) << "across the boundary";
  EXPECT_EQ(code_of_memory({{{0}, 1}, {{0xffff}, 2}}), ErrorCode::out_of_range);
  EXPECT_EQ(code_of_memory({{{0x1'0000'0000'0000}, 1}}), ErrorCode::out_of_range) << "more than 48 bits";
  EXPECT_EQ(code_of_memory({{{0}, 1}, {{0xffff'ffff'ffff}, 2}}), ErrorCode::out_of_range);
  std::vector<DmaSegment> most(16, {{0}, 65536});
  for (const Opcode opcode : {Opcode::send, Opcode::receive})
    EXPECT_EQ(code(opcode == Opcode::send ? sends : (*pair)->receives(), {.opcode = opcode, .memory = most}),
              ErrorCode::cancelled)
        << "1 MiB is a message";

  auto next = (*made)->create_pair({.entries = 2});
  ASSERT_TRUE(next);
  Channel& more = (*next)->sends();
  EXPECT_EQ(code(more, {.opcode = Opcode::nop, .memory = kOne}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(more, {.opcode = Opcode::receive, .memory = kOne}), ErrorCode::invalid_argument);
  EXPECT_EQ(code(more, {.opcode = static_cast<Opcode>(5), .memory = kOne}), ErrorCode::invalid_argument);
  for (const Opcode opcode : {Opcode::send, Opcode::write, Opcode::read, Opcode::expose})
    EXPECT_EQ(code((*next)->receives(), {.opcode = opcode, .memory = kOne}), ErrorCode::invalid_argument);
  for (const unsigned access : {0u, 4u})
    EXPECT_EQ(code(more, {.opcode = Opcode::expose, .memory = kOne, .remote_access = static_cast<Access>(access)}),
              ErrorCode::invalid_argument);
  EXPECT_EQ(code(more, {.opcode = Opcode::send, .memory = kTwo}), ErrorCode::cancelled);
  EXPECT_EQ(code(more, {.opcode = Opcode::send, .memory = kTwo}), ErrorCode::exhausted);
}

// One piece may be as long as a message, or a region, is. The segments of a list have 32 bits for their length.
TEST_F(HostileNic, LengthsBeyond32Bits) {
  device_->lies[0x0c] = 0x00400010;
  device_->lies[0x10] = std::uint64_t{1} << 40;
  auto made = bring_up();
  auto pair = (*made)->create_pair({});
  ASSERT_TRUE(pair);
  EXPECT_EQ((*made)->facts().boundary_bytes, 0u);
  const auto code = [&](Opcode opcode, std::vector<DmaSegment> memory) {
    const auto sent = (*pair)->sends().submit({.opcode = opcode, .memory = memory});
    return sent ? ErrorCode::cancelled : sent.error().code;
  };
  constexpr std::uint64_t kMessage = std::uint64_t{1} << 40;
  constexpr std::uint64_t kRegion = std::uint64_t{1} << 62;
  EXPECT_EQ(code(Opcode::send, {{{0}, kMessage}}), ErrorCode::cancelled);
  EXPECT_EQ(code(Opcode::send, {{{0}, kMessage + 1}}), ErrorCode::out_of_range);
  EXPECT_EQ(code(Opcode::expose, {{{0}, kRegion}}), ErrorCode::cancelled);
  EXPECT_EQ(code(Opcode::expose, {{{0}, kRegion + 1}}), ErrorCode::out_of_range);
  EXPECT_EQ(code(Opcode::send, {{{0}, 0xffffffff}, {{0}, 1}}), ErrorCode::cancelled);
  EXPECT_EQ(code(Opcode::send, {{{0}, 0x100000000}, {{0}, 1}}), ErrorCode::out_of_range);
}

TEST(NicStatus, HasWords) {
  for (std::uint8_t status = 0; status <= 12; ++status)
    EXPECT_EQ(describe_status(status).find("which no specification has"), std::string::npos);
  EXPECT_EQ(describe_status(kNoReceive), "the other end has no receive for the message (status 8)");
  EXPECT_EQ(describe_status(13), "status 13, which no specification has");
}

}  // namespace
}  // namespace barter::drivers::nic
