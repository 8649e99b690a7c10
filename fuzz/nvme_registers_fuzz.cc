// The NVMe model under a host that reads and writes registers as it likes, in any order, and may reset the function. The
// bus answers at random. Nothing may crash, run for ever or reach past a buffer.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "devices/nvme/fuzz_host.h"

namespace nvme = barter::devices::nvme;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nvme::FuzzInput input(data, size);
  nvme::FuzzHost host(input);
  auto controller = nvme::make_fuzz_controller(input);
  controller->attach(host);
  constexpr std::array<std::uint16_t, 14> kPlaces = {0x00, 0x08, 0x0c, 0x14, 0x1c, 0x20, 0x24,
                                                     0x28, 0x30, 0x38, 0x3c, 0x50, 0x54, 0x58};
  for (int round = 0; round < 200 && !input.is_empty(); ++round) {
    const auto what = input.take<std::uint8_t>();
    const unsigned width = 1u << (what >> 3 & 3);
    const auto place = input.take<std::uint16_t>();
    std::uint64_t at = place % 3 == 0 ? kPlaces[place / 3 % kPlaces.size()] : place % 0x2000;
    at = at / width * width;  // the fabric only passes on what is aligned
    const unsigned bar = (what & 0x60) == 0x60 ? 4 : 0;
    switch (what & 7) {
      case 0:
        static_cast<void>(controller->read_register(bar, {at}, width));
        break;
      case 1:
      case 2:
      case 3:
        controller->write_register(bar, {at}, width, input.take<std::uint64_t>());
        break;
      case 4:
        controller->write_register(0, {0x14}, 4, 0x00460000 | (input.take<std::uint32_t>() & 0xc001));
        break;
      case 5:
        controller->reset();
        break;
      default:
        static_cast<void>(controller->step());
        break;
    }
    static_cast<void>(controller->windows());
  }
  return 0;
}
