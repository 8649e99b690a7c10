// What the two ends of a wire owe each other, by the NIC's driver on its model: regions and their keys, keys that are taken back,
// and a wire that goes down.
#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nic_machine.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using nic::Opcode;

class NicWireOnModel : public NicsOnModel {
 protected:
  NicWireOnModel() : NicsOnModel({.pairs = 2, .segments = 64, .keys = 4, .bytes_per_step = 8192}) {}
  nic::CommandResult remote(Opcode opcode, nic::RemoteKey key, std::uint64_t offset, DmaSegment memory) {
    return run(here_.pair->sends(), {.opcode = opcode, .memory = {&memory, 1}, .key = key, .remote_offset = offset});
  }
};

TEST_P(NicWireOnModel, WritesAndReadsTheOtherEndsRegion) {
  const auto far = there_.memory(1_MiB);
  const auto near = here_.memory(1_MiB);
  // A region of three parts, which lie in memory in another order.
  const DmaSegment parts[] = {
      {far.address() + 512_KiB, 100'000}, {far.address() + 1, 7}, {far.address() + 4096, 300'000}};
  const auto key = expose(there_, parts, Access::read_write);
  std::vector<std::byte> region(400'007);
  std::ranges::copy(nic_pattern(350'000), near.bytes().begin());
  std::ranges::copy(nic_pattern(350'000), region.begin() + 50'000);
  const auto written = remote(Opcode::write, key, 50'000, {near.address(), 350'000});
  EXPECT_TRUE(written.ok()) << nic::describe_status(written.status);
  EXPECT_EQ(written.value, 350'000u);
  EXPECT_EQ(here_.pair->sends().moved_bytes(), 350'000u);
  EXPECT_EQ(there_.pair->receives().moved_bytes(), 0u) << "no channel of the other end has a part in it";
  std::vector<std::byte> found;
  for (const DmaSegment& part : parts)
    std::ranges::copy(far.bytes().subspan(part.address - far.address(), part.bytes), std::back_inserter(found));
  EXPECT_TRUE(found == region);

  const auto read = remote(Opcode::read, key, 49'990, {near.address() + 400'000, 300'000});
  EXPECT_TRUE(read.ok()) << nic::describe_status(read.status);
  EXPECT_EQ(read.value, 300'000u);
  EXPECT_EQ(here_.pair->sends().moved_bytes(), 650'000u);
  EXPECT_TRUE(std::ranges::equal(near.bytes().subspan(400'000, 300'000), std::span(region).subspan(49'990, 300'000)));
}

TEST_P(NicWireOnModel, RefusesWhatTheRegionDoesNotPermit) {
  const auto far = there_.memory(8192);
  const auto near = here_.memory(8192);
  const DmaSegment where{far.address(), 5000};
  const DmaSegment what{near.address(), 1000};
  const auto for_reads = expose(there_, {&where, 1}, Access::read);
  const auto for_writes = expose(there_, {&where, 1}, Access::write);
  EXPECT_NE(for_reads, for_writes);
  EXPECT_TRUE(remote(Opcode::read, for_reads, 0, what).ok());
  EXPECT_TRUE(remote(Opcode::write, for_writes, 4000, what).ok()) << "to its very end";
  const auto refused = [&](Opcode opcode, nic::RemoteKey key, std::uint64_t offset) {
    const auto result = remote(opcode, key, offset, what);
    EXPECT_EQ(result.value, 0u);
    return result.status;
  };
  EXPECT_EQ(refused(Opcode::write, for_reads, 0), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, for_writes, 0), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, for_reads, 4001), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, for_reads, 5000), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, for_reads, ~std::uint64_t{0}), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, for_reads, ~std::uint64_t{0} - 999), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, {for_reads.value ^ 0x10000}, 0), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, {for_reads.value ^ 0x8000}, 0), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, {0xffffffff}, 0), nic::kRemoteRefused);
  EXPECT_EQ(refused(Opcode::read, {0}, 0), nic::kRemoteRefused) << "it was never given";
}

TEST_P(NicWireOnModel, AKeyThatWasWithdrawnNamesNothing) {
  const auto far = there_.memory(8192);
  const auto near = here_.memory(8192);
  const DmaSegment where{far.address(), 4096};
  const DmaSegment what{near.address(), 4096};
  std::vector<nic::RemoteKey> keys;
  for (int count = 0; count < 4; ++count) keys.push_back(expose(there_, {&where, 1}, Access::read_write));
  const auto full =
      run(there_.pair->sends(), {.opcode = Opcode::expose, .memory = {&where, 1}, .remote_access = Access::read});
  EXPECT_EQ(full.status, 12) << nic::describe_status(full.status);
  EXPECT_TRUE(there_.nic->withdraw(keys[2]));
  EXPECT_EQ(remote(Opcode::write, keys[2], 0, what).status, nic::kRemoteRefused);
  EXPECT_TRUE(remote(Opcode::write, keys[1], 0, what).ok());
  for (const nic::RemoteKey nothing : {keys[2], nic::RemoteKey{0xffffffff}, nic::RemoteKey{keys[1].value ^ 0x10000}})
    EXPECT_TRUE(there_.nic->withdraw(nothing));
  // The index is used again, and each time the key is another one.
  std::vector<nic::RemoteKey> old{keys[2]};
  for (int round = 0; round < 20; ++round) {
    const auto next = expose(there_, {&where, 1}, Access::read_write);
    EXPECT_EQ(next.value & 0xffff, keys[2].value & 0xffff);
    for (const nic::RemoteKey one : old) {
      EXPECT_NE(next, one);
      EXPECT_EQ(remote(Opcode::read, one, 0, what).status, nic::kRemoteRefused);
    }
    EXPECT_TRUE(remote(Opcode::read, next, 0, what).ok());
    EXPECT_TRUE(there_.nic->withdraw(next));
    old.push_back(next);
  }
  EXPECT_TRUE(remote(Opcode::write, keys[0], 0, what).ok());
}

// In the middle of a long write, from another thread where there are any: from then on nothing changes.
TEST_P(NicWireOnModel, WithdrawnInMidCommandNotOneByteMoreMoves) {
  constexpr std::uint64_t kBytes = 4_MiB;
  const auto far = there_.memory(kBytes);
  const auto near = here_.memory(kBytes);
  const DmaSegment what = near.segment();
  const DmaSegment where = far.segment();
  std::ranges::fill(near.bytes(), std::byte{0x77});
  for (const Opcode opcode : {Opcode::write, Opcode::read})
    for (int round = 0; round < 20; ++round) {
      std::ranges::fill(far.bytes(), std::byte{0});
      const auto key = expose(there_, {&where, 1}, Access::read_write);
      const std::uint64_t before = here_.pair->sends().moved_bytes();
      post(here_.pair->sends(), {.opcode = opcode, .memory = {&what, 1}, .key = key});
      EXPECT_TRUE(
          wait([&] { return here_.pair->sends().moved_bytes() - before > static_cast<unsigned>(round) * 8192u; }));
      const auto withdrawn = there_.nic->withdraw(key);
      ASSERT_TRUE(withdrawn) << withdrawn.error().message();
      std::vector<std::byte> at_once(far.bytes().begin(), far.bytes().end());
      const auto ended = take(here_.pair->sends());
      const bool was_over = ended.ok() && !is_stepped();
      EXPECT_TRUE(was_over || ended.status == nic::kRemoteRefused) << nic::describe_status(ended.status);
      EXPECT_TRUE(std::ranges::equal(far.bytes(), at_once));
    }
  expect_messages();
}

// How a wire goes down, at the far end.
struct WayDown {
  const char* name;
  void (*down)(NicMachine&, NicEnd&);
  void (*up)(NicMachine&, NicEnd&);
};
void bring_up_anew(NicMachine& machine, NicEnd& end) {
  end.go_down();
  end = NicEnd(machine, "b");
}
constexpr WayDown kWaysDown[] = {
    {"destroyed", [](NicMachine&, NicEnd& end) { end.go_down(); }, bring_up_anew},
    {"disabled",
     [](NicMachine& machine, NicEnd& end) {
       const auto bar = end.nic->function().map_bar(0).value();
       bar->store32({0x18}, 0);
       base::Clock& clock = machine.fabric->clock();
       EXPECT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] { return (bar->load32({0x1c}) & 1) == 0; }));
     },
     bring_up_anew},
    {"reset by itself",
     [](NicMachine& machine, NicEnd& end) {
       const auto bar = end.nic->function().map_bar(0).value();
       bar->store32({0x18}, 2);
       base::Clock& clock = machine.fabric->clock();
       EXPECT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] { return (bar->load32({0x18}) & 2) == 0; }));
     },
     bring_up_anew},
    {"reset as a function", [](NicMachine&, NicEnd& end) { EXPECT_TRUE(end.nic->function().reset()); }, bring_up_anew},
    {"without bus mastering",
     [](NicMachine& machine, NicEnd&) { machine.fabric->set_bus_master(machine.bdf("b"), false); },
     [](NicMachine& machine, NicEnd&) { machine.fabric->set_bus_master(machine.bdf("b"), true); }},
    {"removed", [](NicMachine& machine, NicEnd&) { machine.fabric->remove(machine.bdf("b")); },
     [](NicMachine& machine, NicEnd& end) {
       end.go_down();
       machine.fabric->put_back(machine.bdf("b"));
       end = NicEnd(machine, "b");
     }}};

TEST_P(NicWireOnModel, GoesDownAndUpAgain) {
  for (const WayDown& way : kWaysDown) {
    SCOPED_TRACE(way.name);
    const auto near = here_.memory(4096);
    const DmaSegment what{near.address(), 64};
    const DmaSegment where{near.address() + 1024, 64};
    post(here_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}, .tag = 6});
    EXPECT_TRUE(here_.nic->is_wire_up());
    way.down(machine_, there_);
    EXPECT_FALSE(here_.nic->is_wire_up());
    for (const Opcode opcode : {Opcode::send, Opcode::write, Opcode::read}) {
      const auto ended = run(here_.pair->sends(), {.opcode = opcode, .memory = {&what, 1}});
      EXPECT_EQ(ended.status, nic::kWireDown) << nic::describe_status(ended.status);
      EXPECT_EQ(ended.value, 0u);
    }
    EXPECT_TRUE(run(here_.pair->sends(), {.opcode = Opcode::nop}).ok());
    // A receive that no message has begun to fill goes on waiting.
    way.up(machine_, there_);
    EXPECT_TRUE(wait([&] { return here_.nic->is_wire_up() && there_.nic->is_wire_up(); }));
    EXPECT_EQ(here_.pair->receives().in_flight(), 1u);
    const auto far = there_.memory(4096);
    const DmaSegment message{far.address(), 64};
    const auto sent = run(there_.pair->sends(), {.memory = {&message, 1}});
    EXPECT_TRUE(sent.ok()) << nic::describe_status(sent.status);
    const auto received = take(here_.pair->receives());
    EXPECT_TRUE(received.ok()) << nic::describe_status(received.status);
    EXPECT_EQ(received.tag, 6u);
    expect_messages();
  }
}

// What is under way between the ends ends with status 7, on both sides: on that which can tell.
TEST_P(NicWireOnModel, GoesDownInMidMessage) {
  constexpr std::uint64_t kBytes = 16_MiB;
  for (const WayDown& way : kWaysDown)
    for (const bool far_sends : {false, true}) {
      SCOPED_TRACE(std::string(way.name) + (far_sends ? ", sending" : ", receiving"));
      NicEnd& from = far_sends ? there_ : here_;
      NicEnd& to = far_sends ? here_ : there_;
      nic::Channel& near = far_sends ? here_.pair->receives() : here_.pair->sends();
      {
        const auto out = from.memory(kBytes);
        const auto in = to.memory(kBytes);
        const DmaSegment what = out.segment();
        const DmaSegment where = in.segment();
        const std::uint64_t before = near.moved_bytes();
        post(to.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}, .tag = 1});
        post(from.pair->sends(), {.memory = {&what, 1}, .tag = 2});
        EXPECT_TRUE(wait([&] { return near.moved_bytes() - before >= 64_KiB; }));
        const bool was_over = near.moved_bytes() - before == kBytes;
        way.down(machine_, there_);
        const auto ended = take(near);
        // Who destroys a pair stops its channels first, and the other end learns of that or of what comes next.
        const bool is_stopped = std::string_view(way.name) == "destroyed" && ended.status == 10;
        EXPECT_TRUE(was_over || is_stopped || ended.status == nic::kWireDown) << nic::describe_status(ended.status);
        EXPECT_LE(ended.value, kBytes);
        if (std::string_view(way.name) == "without bus mastering") {
          way.up(machine_, there_);
          const auto other = take(far_sends ? there_.pair->sends() : there_.pair->receives());
          EXPECT_EQ(other.status, nic::kWireDown) << nic::describe_status(other.status);
        }
      }
      way.up(machine_, there_);
      EXPECT_TRUE(wait([&] { return here_.nic->is_wire_up() && there_.nic->is_wire_up(); }));
      expect_messages();
    }
}

TEST_P(NicWireOnModel, ADriverSeesItsOwnNicLeave) {
  const auto out = here_.memory(16_MiB);
  const auto in = there_.memory(16_MiB);
  const DmaSegment what = out.segment();
  const DmaSegment where = in.segment();
  post(here_.pair->receives(), {.opcode = Opcode::receive, .memory = {&what, 1}});
  post(there_.pair->receives(), {.opcode = Opcode::receive, .memory = {&where, 1}});
  post(here_.pair->sends(), {.memory = {&what, 1}});
  machine_.fabric->remove(machine_.bdf("a"));
  std::array<nic::CommandResult, 1> results;
  for (nic::Channel* channel : {&here_.pair->sends(), &here_.pair->receives()}) {
    Result<std::size_t> last = 0;
    ASSERT_TRUE(wait([&] {
      last = channel->poll(results);
      return !last;
    }));
    EXPECT_EQ(last.error().code, ErrorCode::device_gone) << last.error().message();
  }
  EXPECT_FALSE(here_.nic->is_wire_up());
  EXPECT_TRUE(here_.nic->withdraw({1}));
  EXPECT_TRUE(there_.nic->withdraw({1}));
}

INSTANTIATE_TEST_SUITE_P(Fabric, NicWireOnModel, testing::ValuesIn(kNicWays),
                         [](const auto& way) { return way.param.name; });

}  // namespace
}  // namespace barter::contract
