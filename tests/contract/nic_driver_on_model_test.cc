// The NIC's driver on the NIC's model: two transcriptions of one specification meet, once at each end of a wire.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/function_importer.h"
#include "importer_contract.h"
#include "nic_machine.h"
#include "peer/segments.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using nic::Opcode;
using testing::IsEmpty;

class NicDriverOnModel : public NicsOnModel {
 protected:
  NicDriverOnModel() : NicsOnModel({.pairs = 2, .ring_log2 = 6, .segments = 32, .message_bytes = 64_MiB, .keys = 4}) {}
};

TEST_P(NicDriverOnModel, SaysWhatItIs) {
  const nic::NicFacts& facts = here_.nic->facts();
  EXPECT_EQ(facts.pairs, 2u);
  EXPECT_EQ(facts.max_ring_entries, 64u);
  EXPECT_EQ(facts.max_segments, 32u);
  EXPECT_EQ(facts.address_bits, 64u);
  EXPECT_EQ(facts.boundary_bytes, 0u);
  EXPECT_EQ(facts.max_message_bytes, 64_MiB);
  EXPECT_EQ(facts.keys, 4u);
  EXPECT_TRUE(here_.nic->is_wire_up());
  EXPECT_TRUE(there_.nic->is_wire_up());
  EXPECT_TRUE(run(here_.pair->sends(), {.opcode = Opcode::nop, .tag = 5}).ok());
  EXPECT_TRUE(run(here_.pair->receives(), {.opcode = Opcode::nop, .tag = 5}).ok());
}

TEST_P(NicDriverOnModel, SendsMessagesBothWaysBetweenListsThatAreNotCutAlike) {
  std::array<pci::DmaBuffer, 2> out{here_.memory(3_MiB), there_.memory(3_MiB)};
  std::array<pci::DmaBuffer, 2> in{here_.memory(4_MiB), there_.memory(4_MiB)};
  NicEnd* const ends[] = {&here_, &there_};
  for (unsigned end = 0; end < 2; ++end) {
    std::ranges::copy(nic_pattern(3_MiB, 7 + end), out[end].bytes().begin());
    std::vector<DmaSegment> into;
    for (std::uint64_t at = 0; at < 4_MiB; at += 256_KiB) into.push_back({in[end].address() + at, 256_KiB});
    std::ranges::reverse(into);
    post(ends[end]->pair->receives(), {.opcode = Opcode::receive, .memory = into, .tag = 100 + end});
  }
  for (unsigned end = 0; end < 2; ++end) {
    std::vector<DmaSegment> from;
    for (std::uint64_t at = 0, next = 1; at < 3_MiB; at += next, next = std::min(3 * next, 3_MiB - at))
      from.push_back({out[end].address() + at, next});
    post(ends[end]->pair->sends(), {.memory = from, .tag = 200 + end});
  }
  for (unsigned end = 0; end < 2; ++end) {
    const auto sent = take(ends[end]->pair->sends());
    EXPECT_TRUE(sent.ok()) << nic::describe_status(sent.status);
    EXPECT_EQ(sent.tag, 200 + end);
    EXPECT_EQ(sent.value, 3_MiB);
    EXPECT_EQ(ends[end]->pair->sends().moved_bytes(), 3_MiB);
    const auto received = take(ends[end]->pair->receives());
    EXPECT_TRUE(received.ok()) << nic::describe_status(received.status);
    EXPECT_EQ(received.tag, 100 + end);
    EXPECT_EQ(received.value, 3_MiB);
    EXPECT_EQ(ends[end]->pair->receives().moved_bytes(), 3_MiB);
    const auto expected = nic_pattern(3_MiB, 8 - end);
    for (std::uint64_t piece = 0; piece < 12; ++piece)
      EXPECT_TRUE(std::ranges::equal(in[end].bytes().subspan((15 - piece) * 256_KiB, 256_KiB),
                                     std::span(expected).subspan(piece * 256_KiB, 256_KiB)))
          << piece;
  }
}

// On two pairs at once, each in order, and every one comes back once.
TEST_P(NicDriverOnModel, ManyMessagesInFlight) {
  constexpr std::size_t kMessages = 500;
  auto here = here_.nic->create_pair({.number = 1, .entries = 8});
  auto there = there_.nic->create_pair({.entries = 16});
  ASSERT_TRUE(here && there);
  EXPECT_EQ((*there)->number(), 1u);
  EXPECT_FALSE(here_.nic->create_pair({})) << "both are in use";
  const auto out = here_.memory(4096);
  const auto in = there_.memory(2 * kMessages * 8);
  const auto words = [](const pci::DmaBuffer& memory, std::size_t index) { return memory.bytes().data() + 8 * index; };
  for (std::size_t index = 0; index < 512; ++index) std::memcpy(words(out, index), &index, 8);
  struct Flow {
    nic::Channel& sends;
    nic::Channel& receives;
    std::size_t sent = 0, done = 0, posted = 0, received = 0;
  };
  Flow flows[] = {{here_.pair->sends(), there_.pair->receives()}, {(*here)->sends(), (*there)->receives()}};
  std::array<nic::CommandResult, 8> results;
  const auto turn = [&](std::size_t number) {
    Flow& flow = flows[number];
    for (; flow.posted < kMessages && flow.receives.in_flight() < flow.receives.capacity(); ++flow.posted) {
      const DmaSegment where{in.address() + 8 * (number * kMessages + flow.posted), 8};
      EXPECT_TRUE(flow.receives.submit({.opcode = Opcode::receive, .memory = {&where, 1}, .tag = flow.posted}));
    }
    flow.receives.ring();
    // Never more than there are receives for.
    for (; flow.sent < flow.posted && flow.sends.in_flight() < flow.sends.capacity(); ++flow.sent) {
      const DmaSegment what{out.address() + 8 * flow.sent, 8};
      EXPECT_TRUE(flow.sends.submit({.memory = {&what, 1}, .tag = flow.sent}));
    }
    flow.sends.ring();
    for (const bool is_send : {true, false}) {
      const auto count = (is_send ? flow.sends : flow.receives).poll(results);
      ASSERT_TRUE(count) << count.error().message();
      for (const auto& result : std::span(results).first(*count)) {
        EXPECT_TRUE(result.ok()) << nic::describe_status(result.status);
        EXPECT_EQ(result.tag, is_send ? flow.done++ : flow.received++);
      }
    }
  };
  EXPECT_TRUE(wait([&] {
    turn(0);
    turn(1);
    return HasFatalFailure() || std::ranges::all_of(flows, [](const Flow& flow) {
             return flow.done == kMessages && flow.received == kMessages;
           });
  }));
  for (std::size_t index = 0; index < 2 * kMessages; ++index) {
    const std::size_t expected = index % kMessages;
    EXPECT_EQ(std::memcmp(words(in, index), &expected, 8), 0) << index;
  }
}

TEST_P(NicDriverOnModel, AMessageThatNobodyReceivesEndsAtOnceAndTheNextOneArrives) {
  const auto out = here_.memory(4096);
  const DmaSegment what{out.address(), 64};
  const auto refused = run(here_.pair->sends(), {.memory = {&what, 1}, .tag = 1});
  EXPECT_EQ(refused.status, nic::kNoReceive) << nic::describe_status(refused.status);
  EXPECT_EQ(refused.value, 0u);
  expect_messages();
  auto first = here_.nic->create_pair({.number = 1});
  ASSERT_TRUE(first);
  EXPECT_EQ(run((*first)->sends(), {.memory = {&what, 1}}).status, nic::kNoReceive) << "the channel there does not run";
  there_.pair.reset();
  EXPECT_EQ(run(here_.pair->sends(), {.memory = {&what, 1}}).status, nic::kNoReceive) << "nor does this one any more";
  there_.pair = std::move(*there_.nic->create_pair({}));
  expect_messages();
}

TEST_P(NicDriverOnModel, AMessageThatIsTooLongEndsBoth) {
  const auto out = here_.memory(8192);
  const auto in = there_.memory(8192);
  std::ranges::copy(nic_pattern(8192), out.bytes().begin());
  const DmaSegment where{in.address(), 4096};
  const DmaSegment longer{out.address(), 4097};
  const DmaSegment all{out.address(), 4096};
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}, .tag = 1});
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}, .tag = 2});
  const auto sent = run(here_.pair->sends(), {.memory = {&longer, 1}});
  EXPECT_EQ(sent.status, nic::kMessageTooLong) << nic::describe_status(sent.status);
  EXPECT_EQ(sent.value, 0u);
  const auto received = take(there_.pair->receives());
  EXPECT_EQ(received.status, nic::kMessageTooLong);
  EXPECT_EQ(received.tag, 1u);
  EXPECT_EQ(received.value, 4097u);
  EXPECT_EQ(in.bytes()[0], std::byte{0}) << "nothing is moved";
  EXPECT_TRUE(run(here_.pair->sends(), {.memory = {&all, 1}}).ok());
  const auto next = take(there_.pair->receives());
  EXPECT_TRUE(next.ok());
  EXPECT_EQ(next.tag, 2u);
  EXPECT_EQ(next.value, 4096u);
}

TEST_P(NicDriverOnModel, MemoryThatTheBusDoesNotReach) {
  const auto out = here_.memory(8192);
  const auto in = there_.memory(8192);
  const DmaSegment what{out.address(), 4096};
  const DmaSegment where{in.address(), 4096};
  const DmaSegment nowhere{kNowhere, 4096};
  const DmaSegment half[] = {{out.address(), 96}, {kNowhere, 4000}};
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}});
  EXPECT_EQ(run(here_.pair->sends(), {.memory = half}).status, 5);
  const auto cut_short = take(there_.pair->receives());
  EXPECT_FALSE(cut_short.ok()) << "what the other end could not read did not arrive";
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&nowhere, 1}});
  EXPECT_EQ(run(here_.pair->sends(), {.memory = {&what, 1}}).status, 10);
  EXPECT_EQ(take(there_.pair->receives()).status, 6);

  const auto bad = expose(there_, {&nowhere, 1}, Access::read_write);
  EXPECT_EQ(run(here_.pair->sends(), {.opcode = Opcode::write, .memory = {&what, 1}, .key = bad}).status, 10);
  EXPECT_EQ(run(here_.pair->sends(), {.opcode = Opcode::read, .memory = {&what, 1}, .key = bad}).status, 10);
  const auto good = expose(there_, {&where, 1}, Access::read_write);
  EXPECT_EQ(run(here_.pair->sends(), {.opcode = Opcode::write, .memory = {&nowhere, 1}, .key = good}).status, 5);
  EXPECT_EQ(run(here_.pair->sends(), {.opcode = Opcode::read, .memory = {&nowhere, 1}, .key = good}).status, 6);
  expect_messages();
}

// From memory of a device, to memory of a device, by way of the wire and of no host memory.
TEST_P(NicDriverOnModel, SendsFromAnAcceleratorToAnAccelerator) {
  auto accelerator = machine_.bring_up("c");
  auto& from_domain = machine_.fabric->domain(machine_.bdf("a"));
  auto& to_domain = machine_.fabric->domain(machine_.bdf("b"));
  const auto from = from_domain.map(accelerator->window_address(), 2_MiB, Access::read);
  const auto to = to_domain.map(accelerator->window_address(), 2_MiB, Access::write);
  ASSERT_TRUE(from && to);
  std::ranges::copy(nic_pattern(1_MiB), accelerator->window_bytes({0, 1_MiB}).begin());
  const DmaSegment what{*from, 1_MiB};
  const DmaSegment where{*to + 1_MiB, 1_MiB};
  const fabric::Counters before = machine_.fabric->counters();
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}});
  EXPECT_TRUE(run(here_.pair->sends(), {.memory = {&what, 1}}).ok());
  EXPECT_TRUE(take(there_.pair->receives()).ok());
  const fabric::Counters after = machine_.fabric->counters();
  EXPECT_TRUE(std::ranges::equal(accelerator->window_bytes({1_MiB, 1_MiB}), nic_pattern(1_MiB)));
  EXPECT_EQ(after.host_data_read_bytes + after.host_data_written_bytes,
            before.host_data_read_bytes + before.host_data_written_bytes);
  EXPECT_EQ(after.peer_read_bytes - before.peer_read_bytes, 1_MiB);
  EXPECT_EQ(after.peer_written_bytes - before.peer_written_bytes, 1_MiB);
  from_domain.unmap(*from, 2_MiB);
  to_domain.unmap(*to, 2_MiB);
}

TEST_P(NicDriverOnModel, KeepsTheImportersContract) {
  auto accelerator = machine_.bring_up("c");
  drivers::FunctionImporter importer(there_.nic->function(), machine_.fabric->domain(machine_.bdf("b")));
  const auto out = here_.memory(4096);
  std::uint64_t word = 0;
  check_importer(importer, accelerator->window_address(), [&](DmaAddress at) {
    std::memcpy(out.bytes().data(), &++word, sizeof word);
    const DmaSegment what{out.address(), 8};
    const DmaSegment where{at, 8};
    post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}});
    // It is done when the other end has written it, and without that end's bus mastering the wire is down.
    (void)run(here_.pair->sends(), {.memory = {&what, 1}});
    return std::memcmp(accelerator->window_bytes({0, 8}).data(), &word, sizeof word) == 0;
  });
}

TEST_P(NicDriverOnModel, BringingItUpAnewForgetsTheOldUser) {
  const auto memory = here_.memory(4096);
  const DmaSegment where = memory.segment();
  const auto key = expose(here_, {&where, 1}, Access::read_write);
  auto bar = here_.nic->function().map_bar(0);
  ASSERT_TRUE(bar);
  (*bar)->store32({0x20}, 7);
  // An earlier user that went without a word.
  auto second = nic::Nic::create(machine_.function("a"), {});
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ((*bar)->load32({0x20}), 0u);
  const auto out = there_.memory(4096);
  const DmaSegment what{out.address(), 8};
  EXPECT_TRUE(wait([&] { return there_.nic->is_wire_up(); }));
  EXPECT_EQ(run(there_.pair->sends(), {.opcode = Opcode::write, .memory = {&what, 1}, .key = key}).status,
            nic::kRemoteRefused);
  auto pair = (*second)->create_pair({});
  ASSERT_TRUE(pair);
  EXPECT_TRUE(run((*pair)->sends(), {.opcode = Opcode::nop}).ok());
}

TEST_P(NicDriverOnModel, SendsInterrupts) {
  here_.go_down();
  here_ = NicEnd(machine_, "a", {.use_interrupts = true});
  for (nic::Channel* channel : {&here_.pair->sends(), &here_.pair->receives()}) {
    EXPECT_TRUE(run(*channel, {.opcode = Opcode::nop}).ok());
    EXPECT_FALSE(channel->take_interrupt());
    EXPECT_TRUE(run(*channel, {.opcode = Opcode::nop, .interrupt = true}).ok());
    EXPECT_TRUE(wait([&] { return channel->take_interrupt(); }));
  }
}

INSTANTIATE_TEST_SUITE_P(Fabric, NicDriverOnModel, testing::ValuesIn(kNicWays),
                         [](const auto& way) { return way.param.name; });

// One that takes little: what is cut as it says is taken.
class NarrowNicOnModel : public NicsOnModel {
 protected:
  NarrowNicOnModel()
      : NicsOnModel({.pairs = 1,
                     .ring_log2 = 1,
                     .segments = 8,
                     .address_bits = 48,
                     .boundary_log2 = 12,
                     .message_bytes = 20'000,
                     .keys = 1}) {}
};

TEST_P(NarrowNicOnModel, TakesWhatIsCutAsItSays) {
  EXPECT_EQ(here_.pair->sends().capacity(), 1u);
  EXPECT_EQ(here_.pair->sends().max_segments(), 8u);
  const peer::SegmentLimits limits = here_.nic->segment_limits();
  EXPECT_EQ(limits.boundary_bytes, 4096u);
  const auto out = here_.memory(64_KiB);
  const auto in = there_.memory(64_KiB);
  std::ranges::copy(nic_pattern(20'000), out.bytes().subspan(1000).begin());
  const DmaSegment all{out.address() + 1000, 20'000};
  const DmaSegment room{in.address() + 77, 20'000};
  EXPECT_EQ(here_.pair->sends().submit({.memory = {&all, 1}}).error().code, ErrorCode::out_of_range);
  peer::SegmentList what, where;
  ASSERT_TRUE(peer::fit({&all, 1}, limits, what));
  ASSERT_TRUE(peer::fit({&room, 1}, limits, where));
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = where});
  const auto sent = run(here_.pair->sends(), {.memory = what});
  EXPECT_TRUE(sent.ok()) << nic::describe_status(sent.status);
  EXPECT_TRUE(take(there_.pair->receives()).ok());
  EXPECT_TRUE(std::ranges::equal(in.bytes().subspan(77, 20'000), nic_pattern(20'000)));
}

TEST_P(NarrowNicOnModel, HasOneKeyAtATime) {
  const auto memory = there_.memory(4096);
  const DmaSegment where = memory.segment();
  const auto key = expose(there_, {&where, 1}, Access::read);
  const auto full = run(there_.pair->sends(), {.opcode = Opcode::expose, .memory = {&where, 1}});
  EXPECT_EQ(full.status, 12);
  EXPECT_EQ(full.value, 0u);
  EXPECT_TRUE(there_.nic->withdraw(key));
  EXPECT_NE(expose(there_, {&where, 1}, Access::read), key);
}

INSTANTIATE_TEST_SUITE_P(Fabric, NarrowNicOnModel, testing::ValuesIn(kNicWays),
                         [](const auto& way) { return way.param.name; });

}  // namespace
}  // namespace barter::contract
