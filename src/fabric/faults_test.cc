// Everything that can be told to go wrong does, and in a stepped machine the same seed gives the same run.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/test_machines.h"

namespace barter::fabric {
namespace {

using namespace std::chrono_literals;

Options with(Faults faults, std::uint64_t seed = 1) {
  return {.seed = seed, .faults = faults, .host_memory_bytes = 1 << 20};
}

TEST(Faults, LostAndPoisonedReadsSaySo) {
  TestMachine lossy(one_switch(), with({.lost_completion = 1}));
  TestMachine poisoned(one_switch(), with({.poisoned_completion = 1}));
  std::vector<std::byte> bytes(64);
  const auto target = [](TestMachine& machine) { return as_dma(TestMachine::bar(*machine.devices[1], 2)); };
  EXPECT_EQ(lossy.devices[0]->bus().read(target(lossy), bytes), Completion::lost);
  EXPECT_EQ(poisoned.devices[0]->bus().read(target(poisoned), bytes), Completion::poisoned);
  EXPECT_EQ(poisoned.devices[0]->bus().run(target(poisoned), 64, Access::read).status, Completion::poisoned);
  EXPECT_EQ(lossy.fabric->counters().lost_completions, 1u);
  EXPECT_EQ(poisoned.fabric->counters().poisoned_completions, 2u);
  // A posted write has no completion that could be lost.
  EXPECT_EQ(lossy.devices[0]->bus().write(target(lossy), bytes), Completion::successful);
}

TEST(Faults, LateCompletionsTakeTheMachinesTime) {
  TestMachine machine(one_switch(), with({.late_completion = 1}));
  std::vector<std::byte> bytes(64);
  const auto before = machine.fabric->clock().now();
  EXPECT_EQ(machine.devices[0]->bus().read(as_dma(TestMachine::bar(*machine.devices[1], 2)), bytes),
            Completion::successful);
  EXPECT_GT(machine.fabric->clock().now(), before);
  EXPECT_LE(machine.fabric->clock().now(), before + 50ms);
}

TEST(Faults, ARemovedDeviceTakesNoMoreSteps) {
  TestMachine machine(one_switch(), with({.surprise_removal = 1}));
  int steps = 0;
  for (ScratchDevice* device : machine.devices) device->on_step = [&] { return ++steps > 0; };
  for (int round = 0; round < 10; ++round) machine.fabric->clock().idle();
  EXPECT_EQ(steps, 0);
  EXPECT_EQ(machine.function("a")->read_config(0, 2).value(), 0xffffu);
  // The ports above see that the slots are empty: Presence Detect State.
  EXPECT_EQ(machine.function("sw0.0")->read_config(0x60 + 0x1a, 2).value() & 0x40, 0u);
  std::vector<std::byte> bytes(4);
  EXPECT_EQ(machine.devices[0]->bus().read({0x100000000}, bytes), Completion::unsupported_request);
}

TEST(Faults, ADeviceThatIsPutBackIsAsAfterPowerOn) {
  TestMachine machine(one_switch());
  const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[1], 2));
  std::vector<std::byte> bytes(4);
  machine.fabric->remove(machine.bdf("b"));
  EXPECT_EQ(machine.devices[0]->bus().read(target, bytes), Completion::unsupported_request);
  machine.fabric->put_back(machine.bdf("b"));
  machine.fabric->put_back(machine.bdf("b"));  // it is there already
  EXPECT_EQ(machine.devices[1]->resets, 1);
  EXPECT_EQ(machine.function("b")->read_config(0, 2).value(), 0x1b36u);
  EXPECT_NE(machine.function("sw0.1")->read_config(0x60 + 0x1a, 2).value() & 0x40, 0u);
  // It answers again when its driver says so.
  EXPECT_EQ(machine.devices[0]->bus().read(target, bytes), Completion::unsupported_request);
  ASSERT_TRUE(machine.function("b")->write_config(4, 2, 6));
  EXPECT_EQ(machine.devices[0]->bus().read(target, bytes), Completion::successful);
}

TEST(Faults, ADroppedLinkTrainsAgain) {
  TestMachine machine(one_switch(), with({.link_down = 1}));
  base::Clock& clock = machine.fabric->clock();
  auto port = machine.function("rp1");
  const auto link_is_active = [&] { return (port->read_config(0x60 + 0x12, 2).value() & 0x2000) != 0; };
  ASSERT_TRUE(link_is_active());
  EXPECT_TRUE(base::wait_until(clock, clock.now() + 1ms, [&] { return !link_is_active(); }));
  EXPECT_EQ(machine.function("c")->read_config(0, 2).value(), 0xffffu);
  EXPECT_TRUE(base::wait_until(clock, clock.now() + 10ms, link_is_active));
  EXPECT_EQ(machine.devices[2]->resets, 1);
  EXPECT_EQ(machine.function("c")->read_config(0, 2).value(), 0x1b36u);
  EXPECT_EQ(machine.function("c")->read_config(4, 2).value() & 6, 0u) << "a right that its driver did not give it";
}

// A whole run in one line of text.
std::string history(std::uint64_t seed) {
  TestMachine machine(one_switch(), with({.lost_completion = 0.1,
                                          .poisoned_completion = 0.1,
                                          .late_completion = 0.1,
                                          .surprise_removal = 0.0005,
                                          .link_down = 0.01},
                                         seed));
  std::string text;
  for (std::size_t which = 0; which < 3; ++which) {
    machine.devices[which]->on_step = [&, which] {
      std::vector<std::byte> bytes(8);
      const auto status = machine.devices[which]->bus().read(as_dma(TestMachine::bar(*machine.devices[1], 2)), bytes);
      text += static_cast<char>('a' + which);
      text += static_cast<char>('0' + static_cast<int>(status));
      return which != 2;
    };
  }
  for (int round = 0; round < 3000; ++round) machine.fabric->clock().idle();
  return text + std::to_string(machine.fabric->clock().now().time_since_epoch().count());
}

TEST(Faults, TheSameSeedGivesTheSameRun) {
  EXPECT_EQ(history(7), history(7));
  EXPECT_NE(history(7), history(8));
  // Everything has happened: lost, poisoned, refused and successful reads.
  for (const char* what : {"a0", "a1", "a3", "a4"}) EXPECT_NE(history(7).find(what), std::string::npos) << what;
}

// Two functions of one device lose their link together, and what was below a port that is removed is gone with it.
TEST(Faults, WhatIsBelowGoesToo) {
  auto description = one_switch();
  auto second = test_function("c1", "rp1");
  second.function = 1;
  description.functions.push_back(second);
  TestMachine machine(description);
  machine.fabric->set_link(machine.bdf("c1"), false);
  EXPECT_EQ(machine.function("c")->read_config(0, 2).value(), 0xffffu);
  machine.fabric->set_link(machine.bdf("rp1"), true);
  EXPECT_EQ(machine.function("c")->read_config(0, 2).value(), 0x1b36u);
  EXPECT_EQ(machine.devices[3]->resets, 1);
  machine.fabric->remove(machine.bdf("sw0"));
  std::vector<std::byte> bytes(4);
  EXPECT_EQ(machine.devices[0]->bus().write(as_dma(TestMachine::bar(*machine.devices[2], 2)), bytes),
            Completion::unsupported_request);
  EXPECT_EQ(machine.function("b")->read_config(0, 2).value(), 0xffffu);
  EXPECT_EQ(machine.fabric->topology().functions.size(), 5u);  // host bridge, two root ports, c and c1
}

}  // namespace
}  // namespace barter::fabric
