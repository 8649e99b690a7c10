// The NIC's driver under a device whose registers and completions are the input. Whatever it says, the driver comes to an end,
// stays in its memory, and leaves nothing that the device could still reach.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "barter/units.hpp"
#include "drivers/nic/fake_nic.h"
#include "drivers/nic/nic.h"
#include "input.h"

namespace {

using namespace barter;
namespace nic = drivers::nic;

std::vector<DmaSegment> segments(Input& input) {
  std::vector<DmaSegment> all(input.take<std::uint8_t>() & 31);
  for (DmaSegment& segment : all) {
    segment.address.value = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
    segment.bytes = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint8_t>();
    if (input.chance()) segment.kind = static_cast<SegmentKind>(input.take<std::uint8_t>() & 3);
  }
  return all;
}

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
  device.on_completion = [&](nic::testing::FakeCompletion& entry) {
    if (input.chance()) entry.word ^= input.take<std::uint32_t>();
    if (input.chance()) entry.place ^= input.take<std::uint32_t>();
    if (input.chance()) entry.result = input.take<std::uint64_t>();
    return !input.chance();
  };
  nic::Channel* const channels[] = {&(*pair)->sends(), &(*pair)->receives()};
  for (int turn = 0; turn < 4000 && !input.is_empty(); ++turn) {
    const auto memory = segments(input);
    const nic::Opcode what = opcode(input);
    nic::Channel& channel = *channels[what == nic::Opcode::receive || input.chance() ? 1 : 0];
    (void)channel.submit({.opcode = what,
                          .memory = memory,
                          .key = {input.take<std::uint32_t>()},
                          .remote_access = static_cast<Access>(input.take<std::uint8_t>() & 7),
                          .tag = static_cast<std::uint64_t>(what)});
    channel.ring();
    if (input.chance()) device.lies[input.take<std::uint16_t>() & 0x10fcu] = input.take<std::uint64_t>();
    if (input.chance()) device.remote = input.take<std::uint32_t>();
    if (input.chance()) device.is_busy_for_ever = !device.is_busy_for_ever;
    if (input.chance()) device.is_gone = true;
    if (input.chance()) (void)made.withdraw({input.take<std::uint32_t>()});
    (void)made.is_wire_up();
    device.now_ns += 1000;
    device.step();
    if (!poll(*channels[0], made.facts()) || !poll(*channels[1], made.facts())) break;
  }
  device.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barter::literals;
  Input input({data, size});
  auto device = std::make_shared<nic::testing::FakeNic>();
  for (const std::uint64_t at : {0x00u, 0x04u, 0x08u, 0x0cu, 0x10u, 0x1cu, 0x28u})
    if (input.chance()) device->lies[at] = input.take<std::uint64_t>();
  if (input.chance()) device->bar_bytes = input.take<std::uint16_t>();
  device->never_resets = input.chance();
  device->never_ready = input.chance();
  device->never_disabled = input.chance();
  device->never_runs = input.chance();
  device->never_stops = input.chance();
  {
    auto made = nic::Nic::create(std::make_unique<drivers::testing::FakeFunction>(device),
                                 {.ready_timeout = 1ms, .command_timeout = 1ms});
    if (made) drive(**made, *device, input);
  }
  (void)nic::describe_status(size == 0 ? std::uint8_t{0} : data[0]);
  if (device->lent_pieces() != 0) std::abort();
  return 0;
}
