// The NIC's driver under a device whose registers and completions are the input. Whatever it says, the driver comes to an end,
// stays in its memory, and leaves nothing that the device could still reach.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "barter/units.hpp"
#include "drivers/nic/fake_nic.h"
#include "drivers/nic/nic.h"
#include "input.h"
#include "ring_driver.h"

namespace {

using namespace barter;
namespace nic = drivers::nic;

nic::Opcode opcode(Input& input) {
  const auto any = input.take<std::uint8_t>();
  return static_cast<nic::Opcode>(any < 128 ? any % 5 : any < 192 ? 0x10 : any);
}

// Polls, and says whether the channel is of use still. What is believed is what the device may say.
bool poll(nic::Channel& channel, const nic::NicFacts& facts) {
  std::array<nic::CommandResult, 8> results;
  const auto count = channel.poll(results);
  if (!count) return false;
  for (const nic::CommandResult& result : std::span(results).first(*count))
    if (result.status > 12 || (result.tag == 4 && result.ok() && (result.value & 0xffff) >= facts.keys)) std::abort();
  return true;
}

void drive(nic::Nic& made, nic::testing::FakeNic& device, Input& input) {
  auto pair = made.create_pair({.entries = input.take<std::uint8_t>(), .segments = input.take<std::uint8_t>()});
  if (!pair) return;
  spoil_completions(device, input);
  nic::Channel* const channels[] = {&(*pair)->sends(), &(*pair)->receives()};
  for (int turn = 0; turn < 4000 && !input.is_empty(); ++turn) {
    const auto memory = take_segments(input);
    const nic::Opcode what = opcode(input);
    nic::Channel& channel = *channels[what == nic::Opcode::receive || input.chance() ? 1 : 0];
    (void)channel.submit({.opcode = what,
                          .memory = memory,
                          .key = {input.take<std::uint32_t>()},
                          .remote_access = static_cast<Access>(input.take<std::uint8_t>() & 7),
                          .tag = static_cast<std::uint64_t>(what)});
    channel.ring();
    if (input.chance()) device.remote = input.take<std::uint32_t>();
    if (input.chance()) device.is_busy_for_ever = !device.is_busy_for_ever;
    if (input.chance()) (void)made.withdraw({input.take<std::uint32_t>()});
    (void)made.is_wire_up();
    pass_time(device, input);
    if (!poll(*channels[0], made.facts()) || !poll(*channels[1], made.facts())) break;
  }
  device.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barter::literals;
  Input input({data, size});
  auto device = std::make_shared<nic::testing::FakeNic>();
  lie_at(*device, input, {0x00, 0x04, 0x08, 0x0c, 0x10, 0x1c, 0x28});
  if (input.chance()) device->bar_bytes = input.take<std::uint16_t>();
  device->never_resets = input.chance();
  choose_habits(*device, input);
  {
    auto made = nic::Nic::create(std::make_unique<drivers::testing::FakeFunction>(device),
                                 {.ready_timeout = 1ms, .command_timeout = 1ms});
    if (made) drive(**made, *device, input);
  }
  (void)nic::describe_status(size == 0 ? std::uint8_t{0} : data[0]);
  if (device->lent_pieces() != 0) std::abort();
  return 0;
}
