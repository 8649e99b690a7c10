// The DMA engine's driver under a device whose registers and completions are the input. Whatever it says, the driver comes to an
// end, stays in its memory, and leaves nothing that the device could still reach.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "barter/units.hpp"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/fake_dma_engine.h"
#include "input.h"

namespace {

using namespace barter;
namespace dma = drivers::dma_engine;

std::vector<DmaSegment> segments(Input& input) {
  std::vector<DmaSegment> all(input.take<std::uint8_t>() & 31);
  for (DmaSegment& segment : all) {
    segment.address.value = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
    segment.bytes = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint8_t>();
  }
  return all;
}

void drive(dma::Engine& engine, dma::testing::FakeDmaEngine& device, Input& input) {
  auto channel = engine.create_channel({.entries = input.take<std::uint8_t>(), .segments = input.take<std::uint8_t>()});
  if (!channel) return;
  device.on_completion = [&](dma::testing::FakeCompletion& entry) {
    if (input.chance()) entry.word ^= input.take<std::uint32_t>();
    if (input.chance()) entry.place ^= input.take<std::uint32_t>();
    if (input.chance()) entry.result = input.take<std::uint64_t>();
    return !input.chance();
  };
  std::array<dma::CommandResult, 8> results;
  for (int turn = 0; turn < 4000 && (!input.is_empty() || (*channel)->in_flight() != 0); ++turn) {
    const auto from = segments(input);
    const auto to = input.chance() ? segments(input) : from;
    (void)(*channel)->submit({.opcode = static_cast<dma::Opcode>(input.take<std::uint8_t>() % 4),
                              .from = from,
                              .pattern = 7,
                              .to = to,
                              .tag = 1});
    (*channel)->ring();
    if (input.chance()) device.lies[input.take<std::uint16_t>() & 0x10fcu] = input.take<std::uint64_t>();
    if (input.chance()) device.is_gone = true;
    device.now_ns += 1000;
    device.step();
    if (!(*channel)->poll(results)) break;
  }
  device.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barter::literals;
  Input input({data, size});
  auto device = std::make_shared<dma::testing::FakeDmaEngine>();
  for (const std::uint64_t at : {0x00u, 0x04u, 0x08u, 0x0cu, 0x10u, 0x1cu})
    if (input.chance()) device->lies[at] = input.take<std::uint64_t>();
  if (input.chance()) device->bar_bytes = input.take<std::uint16_t>();
  device->never_resets = input.chance();
  device->never_ready = input.chance();
  device->never_disabled = input.chance();
  device->never_runs = input.chance();
  device->never_stops = input.chance();
  {
    auto made = dma::Engine::create(std::make_unique<drivers::testing::FakeFunction>(device),
                                    {.ready_timeout = 1ms, .command_timeout = 1ms});
    if (made) drive(**made, *device, input);
  }
  (void)dma::describe_status(size == 0 ? std::uint8_t{0} : data[0]);
  if (device->lent_pieces() != 0) std::abort();
  return 0;
}
