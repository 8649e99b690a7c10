// Two models of the NIC and their wire under two hosts that write registers, descriptors and lists as they like, on buses that fail.
// Nothing may crash or run for ever.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bus_host.h"
#include "devices/nic/nic.h"
#include "fabric/device.h"
#include "input.h"
#include "segment_lists.h"

namespace {

using namespace barter;

constexpr std::size_t kChannels = 4;

struct End {
  explicit End(std::uint8_t mood) : host(mood) {
    auto made = devices::nic::create_nic(
        {.pairs = 2, .ring_log2 = 4, .segments = 8, .address_bits = 40, .message_bytes = 0x40000, .keys = 3});
    if (!made) std::abort();
    device = std::move(*made);
    device->attach(host);
  }
  void start() {
    tails = {};
    device->write_register(0, {0x18}, 4, 1);
    (void)device->step();
    for (std::uint64_t channel = 0; channel < kChannels; ++channel) {
      const std::uint64_t at = 0x1000 + channel * 0x40;
      device->write_register(0, {at}, 8, channel * 0x1000);
      device->write_register(0, {at + 0x08}, 8, channel * 0x1000 + 0x800);
      device->write_register(0, {at + 0x10}, 4, 4);
      device->write_register(0, {at + 0x14}, 4, 1);
    }
    (void)device->step();
  }
  BusHost host;
  std::unique_ptr<fabric::Device> device;
  std::array<std::uint32_t, kChannels> tails{};
};

void push(End& end, Input& input, std::uint32_t channel) {
  struct {
    std::uint32_t word, lists;
    std::uint64_t address, bytes;
    std::uint32_t key, behind_key;
    std::uint64_t offset, reserved[3];
  } command{};
  constexpr std::array<std::uint32_t, 4> kOfSends = {1, 2, 3, 4};
  const auto what = input.take<std::uint8_t>();
  const bool receives = channel % 2 != 0;
  command.word = (receives ? 0x10 : kOfSends[what & 3]) | static_cast<std::uint32_t>(input.take<std::uint8_t>()) << 16;
  command.bytes = (what & 4) != 0 ? input.take<std::uint32_t>() & 0x7ffff : input.take<std::uint16_t>();
  command.address = take_address(input);
  if ((what & 8) != 0) {
    command.lists = lay_out(end.host, input, 0x10000, command.bytes);
    command.address = 0x10000;
  }
  if (command.word % 256 == 4) command.lists |= (input.take<std::uint8_t>() & 3u) << 16;
  // Keys are guessed: three indices, and their first numbers.
  if (command.word % 256 == 2 || command.word % 256 == 3) {
    const auto guess = input.take<std::uint8_t>();
    command.key = (guess & 3u) | static_cast<std::uint32_t>(guess >> 2 & 7) << 16;
    command.offset = input.take<std::uint16_t>();
  }
  if ((what & 32) != 0) command.word ^= input.take<std::uint32_t>();
  if ((what & 64) != 0) command.lists ^= input.take<std::uint32_t>();
  if (what == 255) command.reserved[0] = input.take<std::uint64_t>();
  std::uint32_t& tail = end.tails[channel];
  std::memcpy(end.host.memory.data() + channel * 0x1000 + tail * 64, &command, sizeof command);
  tail = (tail + 1) % 16;
  end.device->write_register(0, {0x101c + channel * 0x40}, 4, tail);
}

void act(End& end, Input& input, std::uint8_t what) {
  fabric::Device& device = *end.device;
  const std::uint32_t channel = input.take<std::uint8_t>() % kChannels;
  const unsigned width = 1u << (what >> 4 & 3);
  switch (what & 7) {
    case 0:
      (void)device.read_register(0, {input.take<std::uint16_t>() % 0x1200u / width * width}, width);
      break;
    case 1: {
      const auto place = input.take<std::uint16_t>();
      const std::uint64_t at = (place % 2 == 0 ? place % 0x38u : 0x1000 + place % 0x100u) / width * width;
      device.write_register(0, {at}, width, input.take<std::uint64_t>());
      break;
    }
    case 2:
      device.write_register(0, {0x1020 + channel * 0x40}, 4, input.take<std::uint8_t>() & 15u);
      break;
    case 3:
      if ((what & 0x30) == 0x30) device.reset(), end.start();
      if ((what & 0x30) == 0x20) device.write_register(0, {0x18}, 4, 2), (void)device.step(), end.start();
      if ((what & 0x30) == 0x10) device.write_register(0, {0x2c}, 4, input.take<std::uint32_t>() & 0x70003);
      break;
    default:
      push(end, input, channel);
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input({data, size});
  std::array ends = {std::make_unique<End>(input.take<std::uint8_t>()),
                     std::make_unique<End>(input.take<std::uint8_t>())};
  if (!devices::nic::join(*ends[0]->device, *ends[1]->device)) std::abort();
  for (const auto& end : ends) end->start();
  for (int round = 0; round < 200 && !input.is_empty(); ++round) {
    const auto what = input.take<std::uint8_t>();
    act(*ends[what >> 7], input, what);
    // A step's: of four channels, and of the responder for two pairs.
    const std::uint64_t most = 6 * ((std::uint64_t{1} << 20) + 0x10000 + 32 * 16);
    for (int step = 0; step < 4; ++step)
      for (const auto& end : ends) {
        const std::uint64_t before = end->host.written;
        (void)end->device->step();
        if (end->host.written - before > most) std::abort();
      }
  }
  // What is left comes to an end, whatever it waits for.
  bool has_worked = true;
  for (int step = 0; has_worked; ++step) {
    if (step == 100'000) std::abort();
    has_worked = ends[0]->device->step();
    if (ends[1]->device->step()) has_worked = true;
  }
  if (input.take<std::uint8_t>() % 2 == 0) ends[0].reset();  // either end may go first
  return 0;
}
