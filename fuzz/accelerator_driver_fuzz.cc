// The accelerator's driver under a device whose registers and completions are the input. Whatever it says, the driver comes to
// an end, stays in its memory, and leaves nothing that the device could still reach.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "barter/units.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/address_space.h"
#include "drivers/accelerator/fake_accelerator.h"
#include "drivers/accelerator/links.h"
#include "drivers/accelerator/memory_exporter.h"
#include "input.h"
#include "ring_driver.h"

namespace {

using namespace barter;
namespace gpu = drivers::accelerator;

gpu::Operand operand(Input& input) {
  const auto what = input.take<std::uint8_t>();
  const std::uint64_t at = (what & 0x80) != 0 ? input.take<std::uint64_t>() : input.take<std::uint16_t>() * 8u;
  if ((what & 3) == 0) return gpu::Operand::local(at);
  if ((what & 3) == 1) return (what & 4) != 0 ? gpu::Operand::link({at}) : gpu::Operand::bus({at});
  return (what & 3) == 2 ? gpu::Operand::virtual_memory(at) : gpu::Operand{};
}

void drive(gpu::Accelerator& accelerator, gpu::testing::FakeAccelerator& device, Input& input) {
  if (input.chance()) (void)accelerator.move_window(input.take<std::uint16_t>() * 0x10000u);
  const std::uint64_t page = input.take<std::uint16_t>();
  (void)accelerator.address_space().map_local({.virtual_address = page * 4096, .bytes = 8192}, (page & 15) * 4096);
  (void)accelerator.address_space().unmap(page * 4096);
  for (std::uint32_t port = 0; port < accelerator.links().count(); ++port) {
    (void)accelerator.links().enable(port, true);
    (void)accelerator.links().state(port);
    const auto grant =
        accelerator.links().grant(port, {input.take<std::uint16_t>(), input.take<std::uint16_t>()}, Access::read);
    if (grant) (void)accelerator.links().revoke(port, *grant);
  }
  gpu::MemoryExporter exporter(accelerator);
  (void)exporter.cpu_bytes({input.take<std::uint16_t>(), input.take<std::uint32_t>()});
  auto channel = accelerator.create_channel(input.chance() ? gpu::Kind::compute : gpu::Kind::copy,
                                            {.entries = input.take<std::uint8_t>()});
  if (!channel) return;
  spoil_completions(device, input);
  std::array<gpu::CommandResult, 8> results;
  for (int turn = 0; turn < 4000 && (!input.is_empty() || (*channel)->in_flight() != 0); ++turn) {
    (void)(*channel)->submit({.opcode = static_cast<gpu::Opcode>(input.take<std::uint8_t>() % 24),
                              .source = operand(input),
                              .second = operand(input),
                              .destination = operand(input),
                              .count = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint8_t>(),
                              .parameter = input.take<std::uint8_t>()});
    (*channel)->ring();
    pass_time(device, input);
    if (!(*channel)->poll(results)) break;
    (void)(*channel)->progress();
  }
  device.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barter::literals;
  Input input({data, size});
  auto device = std::make_shared<gpu::testing::FakeAccelerator>();
  lie_at(*device, input, {0x00, 0x04, 0x08, 0x10, 0x18, 0x1c, 0x24, 0x800, 0x804, 0x4008});
  if (input.chance()) device->memory.resize(input.take<std::uint32_t>() & 0x3ffffu);
  if (input.chance()) device->bar_bytes = input.take<std::uint16_t>();
  choose_habits(*device, input);
  device->never_invalidates = input.chance();
  {
    auto made = gpu::Accelerator::create(std::make_unique<drivers::testing::FakeFunction>(device),
                                         {.ready_timeout = 1ms, .command_timeout = 1ms});
    if (made) drive(**made, *device, input);
  }
  (void)gpu::describe_status(size == 0 ? std::uint8_t{0} : data[0]);
  if (device->lent_pieces() != 0) std::abort();
  return 0;
}
