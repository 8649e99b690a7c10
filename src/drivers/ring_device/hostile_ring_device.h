// For tests: what the tests of the drivers of devices with rings share, under devices that lie.
#pragma once
#include <array>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "barter/result.hpp"
#include "barter/units.hpp"
#include "drivers/fake_function.h"
#include "drivers/ring_device/fake_ring_device.h"

namespace barter::drivers::ring_device::testing {

using Lie = void (*)(FakeCompletion&);

// What no completion of any of them can say: of a command that was never sent, of a status that none of them has, of another place.
inline constexpr std::array<Lie, 7> kLiesOfAll = {
    +[](FakeCompletion& entry) { entry.word ^= 0x0001; },  +[](FakeCompletion& entry) { entry.word ^= 0x1000; },
    +[](FakeCompletion& entry) { entry.word ^= 0x0fff; },  +[](FakeCompletion& entry) { entry.word |= 0x01000000; },
    +[](FakeCompletion& entry) { entry.place |= 0x8000; }, +[](FakeCompletion& entry) { entry.place ^= 0x00010000; },
    +[](FakeCompletion& entry) { entry.word = ~0u; }};

// A driver, the fake that it drives, and what its channels take and give.
template <class Driver, class Fake, class Channel, class Command, class CommandResult>
class HostileRingDevice : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Driver>> bring_up() {
    using namespace barter::literals;
    return Driver::create(std::make_unique<drivers::testing::FakeFunction>(device_),
                          {.ready_timeout = 1ms, .command_timeout = 5ms});
  }
  // Of bringing it up, which must fail.
  ErrorCode trouble() {
    auto made = bring_up();
    EXPECT_FALSE(made);
    return made ? ErrorCode::cancelled : made.error().code;
  }
  void idle() { drivers::testing::FakeClock(device_).idle(); }
  // How polling ends, if it does: `cancelled` if not.
  Result<CommandResult> wait_for(Channel& channel) {
    std::array<CommandResult, 4> results;
    for (int turn = 0; turn < 100'000; ++turn) {
      auto count = channel.poll(results);
      if (!count) return fail(std::move(count.error()));
      if (*count != 0) {
        EXPECT_EQ(*count, 1u);
        return results[0];
      }
      idle();
    }
    return fail({.code = ErrorCode::cancelled, .why = "polling never ended"});
  }
  Result<CommandResult> run(Channel& channel, const Command& command) {
    if (auto sent = channel.submit(command); !sent) return fail(std::move(sent.error()));
    channel.ring();
    return wait_for(channel);
  }
  Result<CommandResult> run_with(Channel& channel, const Command& command, Lie lie) {
    device_->on_completion = [lie](FakeCompletion& entry) {
      lie(entry);
      return true;
    };
    auto answer = run(channel, command);
    device_->on_completion = {};
    return answer;
  }
  // A channel of which a completion has lied once is of no more use.
  void expect_disbelief(Channel& channel, const Command& command, Lie lie) {
    const auto answer = run_with(channel, command, lie);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::device_failed) << answer.error().message();
    EXPECT_FALSE(channel.submit(command));
  }

  std::shared_ptr<Fake> device_ = std::make_shared<Fake>();
};

}  // namespace barter::drivers::ring_device::testing
