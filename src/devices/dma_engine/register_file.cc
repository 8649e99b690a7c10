#include "devices/dma_engine/register_file.h"

namespace barter::devices::dma_engine {

using ring_device::key;
using ring_device::kKey;

std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  if (const auto value = read_common(at, width_bytes)) return *value;
  switch (key(at, width_bytes)) {
    case kKey<Channels>:
      return Channels{}.with(Channels::ring_log2, fixed_.ring_log2).with(Channels::count, fixed_.channels).raw;
    case kKey<Segments>:
      return Segments{}.with(Segments::most, fixed_.segments).raw;
    case kKey<Transfer>:
      return fixed_.transfer_bytes;
    default:
      report("a read of no register", at, width_bytes);
      return 0;
  }
}

void RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  if (!write_common(at, width_bytes, value))
    report("a write to no register, or to one that can't be written", at, width_bytes);
}

}  // namespace barter::devices::dma_engine
