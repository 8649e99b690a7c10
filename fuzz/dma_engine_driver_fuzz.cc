// The DMA engine's driver under a device whose registers and completions are the input. Whatever it says, the driver comes to an
// end, stays in its memory, and leaves nothing that the device could still reach.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "barter/units.hpp"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/fake_dma_engine.h"
#include "input.h"
#include "ring_driver.h"

namespace {

using namespace barter;
namespace dma = drivers::dma_engine;

void drive(dma::Engine& engine, dma::testing::FakeDmaEngine& device, Input& input) {
  auto channel = engine.create_channel({.entries = input.take<std::uint8_t>(), .segments = input.take<std::uint8_t>()});
  if (!channel) return;
  spoil_completions(device, input);
  std::array<dma::CommandResult, 8> results;
  for (int turn = 0; turn < 4000 && (!input.is_empty() || (*channel)->in_flight() != 0); ++turn) {
    const auto from = take_segments(input);
    const auto to = input.chance() ? take_segments(input) : from;
    (void)(*channel)->submit({.opcode = static_cast<dma::Opcode>(input.take<std::uint8_t>() % 4),
                              .from = from,
                              .pattern = 7,
                              .to = to,
                              .tag = 1});
    (*channel)->ring();
    pass_time(device, input);
    if (!(*channel)->poll(results)) break;
  }
  device.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barter::literals;
  Input input({data, size});
  auto device = std::make_shared<dma::testing::FakeDmaEngine>();
  lie_at(*device, input, {0x00, 0x04, 0x08, 0x0c, 0x10, 0x1c});
  if (input.chance()) device->bar_bytes = input.take<std::uint16_t>();
  device->never_resets = input.chance();
  choose_habits(*device, input);
  {
    auto made = dma::Engine::create(std::make_unique<drivers::testing::FakeFunction>(device),
                                    {.ready_timeout = 1ms, .command_timeout = 1ms});
    if (made) drive(**made, *device, input);
  }
  (void)dma::describe_status(size == 0 ? std::uint8_t{0} : data[0]);
  if (device->lent_pieces() != 0) std::abort();
  return 0;
}
