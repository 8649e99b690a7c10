#include "devices/nic/register_file.h"

namespace barter::devices::nic {

using ring_device::key;
using ring_device::kKey;

std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  if (const auto value = read_common(at, width_bytes)) return *value;
  switch (key(at, width_bytes)) {
    case kKey<Pairs>:
      return Pairs{}.with(Pairs::ring_log2, fixed_.ring_log2).with(Pairs::count, fixed_.pairs).raw;
    case kKey<Lists>:
      return Lists{}
          .with(Lists::boundary_log2, fixed_.boundary_log2)
          .with(Lists::address_bits, fixed_.address_bits)
          .with(Lists::segments, fixed_.segments)
          .raw;
    case kKey<Message>:
      return fixed_.message_bytes;
    case kKey<WireStatus>:
      return WireStatus{}.with(WireStatus::up, port_.is_up()).raw;
    case kKey<KeyCount>:
      return KeyCount{}.with(KeyCount::count, fixed_.keys).raw;
    case kKey<Withdraw>:
      return 0;
    case kKey<Remote>:
      return keys_.remote().raw;
    default:
      report("a read of no register", at, width_bytes);
      return 0;
  }
}

void RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  if (key(at, width_bytes) == kKey<Withdraw>)
    keys_.withdraw(Key::from(static_cast<std::uint32_t>(value)));
  else if (!write_common(at, width_bytes, value))
    report("a write to no register, or to one that can't be written", at, width_bytes);
}

}  // namespace barter::devices::nic
