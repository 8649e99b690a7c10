// The NVMe model's PRP and SGL lists: one I/O command whose pointers and lists are the input. What is accepted must come to
// exactly the command's bytes, whatever the list says.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "devices/nvme/data_list.h"
#include "devices/nvme/fuzz_host.h"
#include "devices/nvme/prp.h"
#include "devices/nvme/sgl.h"

namespace nvme = barter::devices::nvme;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nvme::FuzzInput input(data, size);
  nvme::FuzzHost host(input);
  nvme::Bus bus;
  bus.attach(host);
  static std::array<std::byte, 0x4000> buffer;
  const auto flags = input.take<std::uint16_t>();
  if ((flags & 1) != 0) bus.claim({nvme::FuzzHost::kBytes, buffer});  // right behind the host's memory
  nvme::BufferAbilities abilities;
  abilities.lists = (flags & 2) != 0;
  abilities.read_data = (flags & 4) != 0;
  abilities.write_data = (flags & 8) != 0;
  abilities.lists_mixed = (flags & 0x10) != 0;
  abilities.list_apart_from_command = (flags & 0x20) != 0;
  abilities.data_mixed = (flags & 0x40) != 0;
  const auto direction = (flags & 0x80) != 0 ? nvme::Direction::to_host : nvme::Direction::from_host;
  static nvme::DataList list(600);
  list.start(abilities, direction, (flags & 0x100) != 0);
  const std::uint64_t bytes = 1 + input.take<std::uint32_t>() % (1 << 20);
  const auto first = input.take<std::uint64_t>();
  const auto second = input.take<std::uint64_t>();
  host.fill_from_input();
  input.fill(buffer);
  nvme::Status status;
  if ((flags & 0x200) != 0) {
    static nvme::PrpReader prps;
    const std::uint64_t page = std::uint64_t{4096} << (flags >> 10 & 3);
    status = prps.read(bus, {first % (2 * nvme::FuzzHost::kBytes), second % (2 * nvme::FuzzHost::kBytes)}, bytes, page,
                       list);
  } else {
    static nvme::SglReader sgls;
    status = sgls.read(bus, {first, static_cast<std::uint32_t>(second), static_cast<std::uint32_t>(second >> 32)},
                       bytes, list);
  }
  if (!status.is_success()) return 0;
  std::uint64_t total = 0;
  for (const nvme::DataSegment& segment : list.segments()) {
    total += segment.bytes;
    if (segment.bytes == 0) std::abort();
    if (segment.is_discarded) continue;
    if (segment.bytes > ~segment.address) std::abort();
    const nvme::Place place = bus.place(segment.address, segment.bytes);
    const bool may = direction == nvme::Direction::to_host ? abilities.read_data : abilities.write_data;
    if (place != nvme::Place::outside && !may) std::abort();
    if (place == nvme::Place::mixed && !abilities.data_mixed) std::abort();
  }
  if (total != bytes) std::abort();
  return 0;
}
