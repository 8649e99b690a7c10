// The DMA engine's model under a host that writes registers, descriptors and lists as it likes, on a bus that fails. Nothing may
// crash or run for ever, and no byte may change that a descriptor does not name.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bus_host.h"
#include "devices/dma_engine/dma_engine.h"
#include "fabric/device.h"
#include "input.h"
#include "segment_lists.h"

namespace {

using namespace barter;

void push(fabric::Device& device, BusHost& host, Input& input, std::uint32_t channel, std::uint32_t& tail) {
  struct {
    std::uint32_t word, lists;
    std::uint64_t source, destination, bytes, reserved[4];
  } command{};
  const auto what = input.take<std::uint8_t>();
  command.word = (what & 3) | static_cast<std::uint32_t>(input.take<std::uint8_t>()) << 16;
  command.bytes = (what & 4) != 0 ? input.take<std::uint32_t>() : input.take<std::uint16_t>();
  command.source = take_address(input);
  command.destination = take_address(input);
  if ((what & 8) != 0) {
    command.lists = lay_out(host, input, 0x10000, command.bytes);
    command.source = 0x10000;
  }
  if ((what & 16) != 0) {
    command.lists |= static_cast<std::uint32_t>(lay_out(host, input, 0x11000, command.bytes)) << 16;
    command.destination = 0x11000;
  }
  if ((what & 32) != 0) command.word ^= input.take<std::uint32_t>();
  if ((what & 64) != 0) command.lists ^= input.take<std::uint32_t>();
  if (what == 255) command.reserved[what & 3] = input.take<std::uint64_t>();
  std::memcpy(host.memory.data() + channel * 0x2000 + tail * 64, &command, sizeof command);
  tail = (tail + 1) % 16;
  device.write_register(0, {0x101c + channel * 0x40}, 4, tail);
}

void start(fabric::Device& device) {
  device.write_register(0, {0x18}, 4, 1);
  (void)device.step();
  for (std::uint64_t channel = 0; channel < 2; ++channel) {
    const std::uint64_t at = 0x1000 + channel * 0x40;
    device.write_register(0, {at}, 8, channel * 0x2000);
    device.write_register(0, {at + 0x08}, 8, channel * 0x2000 + 0x1000);
    device.write_register(0, {at + 0x10}, 4, 4);
    device.write_register(0, {at + 0x14}, 4, 1);
  }
  (void)device.step();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input({data, size});
  BusHost host(input.take<std::uint8_t>());
  auto made =
      devices::dma_engine::create_dma_engine({.channels = 2, .ring_log2 = 6, .segments = 8, .transfer_bytes = 0x40000});
  if (!made) std::abort();
  fabric::Device& device = **made;
  device.attach(host);
  start(device);
  std::array<std::uint32_t, 2> tails{};
  for (int round = 0; round < 200 && !input.is_empty(); ++round) {
    const auto what = input.take<std::uint8_t>();
    const std::uint32_t channel = what >> 3 & 1;
    const unsigned width = 1u << (what >> 4 & 3);
    switch (what & 7) {
      case 0:
        (void)device.read_register(0, {input.take<std::uint16_t>() % 0x1100u / width * width}, width);
        break;
      case 1: {
        const auto place = input.take<std::uint16_t>();
        const std::uint64_t at = (place % 2 == 0 ? place % 0x28u : 0x1000 + place % 0x80u) / width * width;
        device.write_register(0, {at}, width, input.take<std::uint64_t>());
        break;
      }
      case 2:
        device.write_register(0, {0x1020 + channel * 0x40}, 4, input.take<std::uint8_t>() & 15u);
        break;
      case 3:
        if ((what & 0xf0) == 0xf0) device.reset(), start(device), tails = {};
        if ((what & 0xf0) == 0xe0)
          device.write_register(0, {0x18}, 4, 2), (void)device.step(), start(device), tails = {};
        break;
      default:
        push(device, host, input, channel, tails[channel]);
        break;
    }
    const std::uint64_t before = host.written;
    const std::uint64_t most = 2 * ((std::uint64_t{1} << 20) + 0x10000 + 32 * 16);  // a step's, of two channels
    for (int step = 0; step < 4 && device.step(); ++step) {
    }
    if (host.written - before > 4 * most) std::abort();
  }
  return 0;
}
