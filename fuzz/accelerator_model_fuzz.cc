// The accelerator model under a host that writes registers, page tables and rings as it likes, moves the window and resets the
// function, on a bus that fails. Nothing may crash, run for ever or reach past the memory.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bus_host.h"
#include "devices/accelerator/accelerator.h"
#include "fabric/device.h"
#include "input.h"

namespace {

using namespace barter;

// An address that is somewhere, most of the time: in the memory, on the bus, or in the pages at 0 and 40000000h.
std::uint64_t address(Input& input) {
  const auto where = input.take<std::uint32_t>();
  if ((where & 0x3f) == 5) return std::uint64_t{1 + (where >> 30)} << 48 | (where >> 6 & 0x3ffff);  // behind a link
  if ((where & 7) == 7) return input.take<std::uint64_t>();
  if ((where & 7) == 6) return 0x40000000 + (where >> 3 & 0x1fff);
  return where >> 3 & 0x3ffff;
}

// A command that could be, with a few bits of it changed.
void push(fabric::Device& device, BusHost& host, Input& input, std::uint32_t channel, std::uint32_t& tail) {
  constexpr std::array<std::uint32_t, 8> kOpcodes = {0x00, 0x01, 0x02, 0x10, 0x11, 0x12, 0x13, 0x14};
  struct {
    std::uint32_t word, spaces;
    std::uint64_t source, second, destination, count, parameter, reserved[2];
  } command{};
  const auto what = input.take<std::uint16_t>();
  command.word = kOpcodes[what & 7] | static_cast<std::uint32_t>(input.take<std::uint8_t>()) << 16;
  command.spaces = what >> 3 & 0x3f;
  command.source = address(input);
  command.second = address(input);
  command.destination = address(input);
  command.count = (what & 0x200) != 0 ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
  command.parameter = input.take<std::uint8_t>();
  if ((what & 0x400) != 0) command.word ^= input.take<std::uint32_t>();
  std::memcpy(host.memory.data() + channel * 0x2000 + tail * 64, &command, sizeof command);
  tail = (tail + 1) % 16;
  device.write_register(0, {0x1024 + channel * 0x80}, 4, tail);
}

// A register that is there, most of the time: of the device, of a link, of a channel, or a grant.
std::uint64_t readable_place(std::uint16_t place) {
  return place >= 0xc000 ? 0x4000 + place % 0x1000u : place % 0x1200u;
}
std::uint64_t writable_place(std::uint16_t place) {
  switch (place % 4) {
    case 0:
      return place / 4 % 0x58u;
    case 1:
      return 0x800 + place / 4 % 0x80u;
    case 2:
      return 0x4000 + place / 4 % 0x840u;
    default:
      return 0x1000 + place / 4 % 0x100u;
  }
}

void start(fabric::Device& device) {
  device.write_register(0, {0x20}, 4, 1);
  (void)device.step();
  for (std::uint64_t channel = 0; channel < 2; ++channel) {
    const std::uint64_t at = 0x1000 + channel * 0x80;
    device.write_register(0, {at}, 8, channel * 0x2000);
    device.write_register(0, {at + 0x08}, 8, channel * 0x2000 + 0x1000);
    device.write_register(0, {at + 0x10}, 8, 0x3fff8 | channel);
    device.write_register(0, {at + 0x18}, 4, 4);
    device.write_register(0, {at + 0x1c}, 4, 1);
  }
  // Tables at 10000h of the memory: a page of 1 GiB at 0, and a table of small pages at 40000000h, all zeros so far.
  auto memory = device.windows()[0].bytes;
  const auto entry = [&](std::size_t at, std::uint64_t value) { std::memcpy(memory.data() + at, &value, 8); };
  entry(0x10000, 0x11001);
  entry(0x11000, 0x83);
  entry(0x11008, 0x12001);
  entry(0x12000, 0x13001);
  device.write_register(0, {0x30}, 8, 0x10001);
  (void)device.step();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input({data, size});
  BusHost host(input.take<std::uint8_t>());
  auto made = devices::accelerator::create_accelerator({.memory_bytes = 0x40000,
                                                        .window_bytes = 0x20000,
                                                        .copy_channels = 1,
                                                        .compute_channels = 1,
                                                        .ring_log2 = 6,
                                                        .links = 2});
  // At the other end of its first link: it does as it is told at its registers, and runs no command.
  auto peer = devices::accelerator::create_accelerator({.memory_bytes = 0x20000, .links = 1});
  if (!made || !peer) std::abort();
  fabric::Device& device = **made;
  if (!devices::accelerator::connect({device, 0}, {**peer, 0})) std::abort();
  device.attach(host);
  BusHost other(0);
  (*peer)->attach(other);
  (*peer)->write_register(0, {0x804}, 4, 1);
  device.write_register(0, {0x804}, 4, 1);
  start(device);
  std::array<std::uint32_t, 2> tails{};
  for (int round = 0; round < 200 && !input.is_empty(); ++round) {
    const auto what = input.take<std::uint8_t>();
    const std::uint32_t channel = what >> 3 & 1;
    const unsigned width = 1u << (what >> 4 & 3);
    switch (what & 7) {
      case 0: {
        const auto at = readable_place(input.take<std::uint16_t>()) / width * width;
        (void)device.read_register((what & 0x80) != 0 ? 2 : 0, {at}, width);
        break;
      }
      case 1: {
        const auto place = input.take<std::uint16_t>();
        const std::uint64_t at = writable_place(place) / width * width;
        device.write_register((what & 0x80) != 0 ? 2 : 0, {at}, width, input.take<std::uint64_t>());
        break;
      }
      case 2:
        device.write_register(0, {0x1028 + channel * 0x80}, 4, input.take<std::uint8_t>() & 15u);
        break;
      case 3: {  // page table entries
        const auto value = input.take<std::uint32_t>();
        const std::uint64_t entry = (value & 0x3f000) | (value & 0x87) | ((what & 0x80) != 0 ? value & 0x178 : 0);
        auto memory = device.windows()[0].bytes;
        const std::size_t at = 0x13000 + (value >> 18 & 3) * 8;
        if (at + 8 <= memory.size()) std::memcpy(memory.data() + at, &entry, 8);
        device.write_register(0, {0x44}, 4, 1);
        break;
      }
      case 4:
        if ((what & 0xf0) == 0xf0) device.reset(), start(device), tails = {};
        if ((what & 0xf0) == 0xe0) (*peer)->reset();
        if ((what & 0xf0) == 0xd0) devices::accelerator::set_link({device, 0}, (what & 0x08) != 0);
        if ((what & 0xf0) == 0xc0) {  // what the peer grants
          const std::uint64_t grant = 0x4000 + (what & 0x08) * 2;
          (*peer)->write_register(0, {grant + 8}, 8, 0);
          (*peer)->write_register(0, {grant}, 8, input.take<std::uint16_t>());
          (*peer)->write_register(0, {grant + 8}, 8, input.take<std::uint16_t>() | std::uint64_t{0xc0} << 56);
          (*peer)->write_register(0, {0x804}, 4, 1);
        }
        break;
      default:
        push(device, host, input, channel, tails[channel]);
        break;
    }
    for (int step = 0; step < 4 && device.step(); ++step) {
    }
    for (const auto& window : device.windows())
      if (window.bytes.size() > 0x20000) std::abort();
  }
  return 0;
}
