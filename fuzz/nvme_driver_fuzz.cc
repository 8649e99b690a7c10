// The NVMe driver under a controller whose registers, Identify data and completions are the input. Whatever it says,
// the driver comes to an end, stays in its memory, and leaves nothing that the controller could still reach.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "barter/units.hpp"
#include "drivers/nvme/commands/identify.h"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/fake_controller.h"
#include "input.h"

namespace {

using namespace barter;
namespace nvme = drivers::nvme;

// Mostly a controller that can be, so that the input gets past bring-up.
nvme::testing::FakeSetup setup_from(Input& input) {
  nvme::testing::FakeSetup setup;
  setup.cap = 0x0200'0020'0100'003f;
  setup.cmb_bytes = 0x8000;
  setup.namespaces = {{.id = 1, .blocks = 64}};
  if (input.chance()) setup.cap = input.take<std::uint64_t>();
  if (input.chance()) setup.version = input.take<std::uint32_t>();
  if (input.chance()) setup.bar_bytes = input.take<std::uint16_t>();
  if (input.chance()) setup.cmbsz = input.take<std::uint32_t>();
  if (input.chance()) setup.cmbloc = input.take<std::uint32_t>();
  if (input.chance()) setup.mdts = input.take<std::uint8_t>();
  if (input.chance()) setup.sqes = input.take<std::uint8_t>();
  if (input.chance()) setup.cqes = input.take<std::uint8_t>();
  if (input.chance()) setup.queue_pairs = input.take<std::uint16_t>();
  if (input.chance()) setup.never_ready = true;
  if (input.chance()) setup.never_shut_down = true;
  if (input.chance()) setup.never_disabled = true;
  if (input.chance()) setup.namespace_list = {input.take<std::uint32_t>(), input.take<std::uint32_t>()};
  if (input.chance()) setup.namespaces[0].block_log2 = input.take<std::uint8_t>();
  if (input.chance()) setup.namespaces[0].blocks = input.take<std::uint64_t>();
  if (input.chance()) setup.namespaces[0].flbas = input.take<std::uint8_t>();
  setup.sgls = input.take<std::uint8_t>();
  return setup;
}

void drive(nvme::Controller& controller, nvme::testing::FakeController& device, Input& input) {
  auto queue =
      controller.create_queue_pair({.entries = static_cast<std::uint16_t>(2 + input.take<std::uint8_t>() % 16)});
  auto memory = controller.function().allocate_dma(8192, pci::DmaUse::data);
  if (!queue || !memory) return;
  device.setup.on_completion = [&](nvme::testing::FakeCompletion& completion) {
    if (input.chance()) completion.command_id = input.take<std::uint16_t>();
    if (input.chance()) completion.queue_head = input.take<std::uint16_t>();
    if (input.chance()) completion.queue_id = input.take<std::uint16_t>();
    if (input.chance()) completion.status = input.take<std::uint16_t>();
    return !input.chance();
  };
  std::array<nvme::CommandResult, 8> results;
  for (int turn = 0; turn < 4000 && (!input.is_empty() || (*queue)->in_flight() != 0); ++turn) {
    const std::uint64_t at = input.take<std::uint16_t>() % 4096;
    const std::array segments = {DmaSegment{memory->address() + at, input.take<std::uint16_t>() % 4096u},
                                 DmaSegment{memory->address() + 4096, 512}};
    const auto count = static_cast<std::size_t>(1 + input.take<std::uint8_t>() % 2);
    (void)(*queue)->submit({.opcode = static_cast<nvme::Opcode>(input.take<std::uint8_t>() % 3),
                            .namespace_id = input.chance() ? input.take<std::uint32_t>() : 1,
                            .block = input.take<std::uint8_t>(),
                            .blocks = input.take<std::uint8_t>(),
                            .data = std::span(segments).first(count)});
    (*queue)->ring();
    if (input.chance()) device.is_gone = true;
    device.step();
    auto taken = (*queue)->poll(results);
    if (!taken) break;
  }
  device.setup.on_completion = {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)nvme::parse_controller(bytes);
  (void)nvme::parse_active_namespaces(bytes, 0);
  (void)nvme::parse_namespace(bytes, 1);
  if (size != 0) (void)nvme::describe_status(data[0]);

  Input input({data, size});
  auto device = std::make_shared<nvme::testing::FakeController>(setup_from(input));
  {
    using namespace barter::literals;
    auto controller = nvme::Controller::create(std::make_unique<nvme::testing::FakeFunction>(device),
                                               {.ready_timeout = 1ms, .command_timeout = 1ms, .shutdown_timeout = 1ms});
    if (controller) drive(**controller, *device, input);
  }
  if (device->dma_bytes_allocated != 0) std::abort();
  for (const std::string& violation : device->violations)
    if (violation == "memory in use was freed") std::abort();
  return 0;
}
