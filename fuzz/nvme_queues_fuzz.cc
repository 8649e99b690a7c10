// The NVMe model under a host whose queues hold anything: admin and I/O commands of every kind, with doorbells rung in
// between, queues that lie in the memory buffer or over each other, and a bus that fails.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "devices/nvme/fuzz_host.h"

namespace nvme = barter::devices::nvme;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nvme::FuzzInput input(data, size);
  nvme::FuzzHost host(input);
  auto controller = nvme::make_fuzz_controller(input);
  controller->attach(host);
  nvme::start_fuzz_controller(*controller);
  std::uint32_t tails[4] = {};
  for (int round = 0; round < 100 && !input.is_empty(); ++round) {
    const auto what = input.take<std::uint8_t>();
    const std::uint32_t queue = what >> 4 & 3;
    if ((what & 3) == 0) {
      controller->write_register(0, {0x1000u + 4 * (what >> 2 & 7)}, 4, input.take<std::uint8_t>());
    } else {
      // A plausible command into the queue's next slot. Queue 0 is where start_fuzz_controller has put it, the others
      // where most inputs create them.
      std::array<std::byte, 64> entry{};
      const auto opcode = static_cast<std::uint8_t>(input.take<std::uint8_t>() % 16);
      entry[0] = static_cast<std::byte>(opcode);
      input.fill(std::span(entry).subspan(1, 7));
      input.fill(std::span(entry).subspan(24, 36));
      if ((what & 4) != 0) entry[1] = std::byte{0};
      if ((what & 8) != 0) nvme::point_into_memory(entry, input);
      host.place(queue * 0x1000 + tails[queue] * 64, entry);
      tails[queue] = (tails[queue] + 1) % 16;
      controller->write_register(0, {0x1000u + 8 * queue}, 4, tails[queue]);
    }
    for (int step = 0; step < 4 && controller->step(); ++step) {
    }
    // Takes all admin completions, so that the queue doesn't stay full.
    if ((what & 0x40) != 0) controller->write_register(0, {0x1004}, 4, input.take<std::uint8_t>() % 16);
  }
  return 0;
}
