#include "devices/nic/memory_list.h"

namespace barter::devices::nic {

bool MemoryList::can_be(const Segment& segment) const {
  if (segment.bytes == 0 || segment.bytes - 1 > ~segment.address) return false;
  const std::uint64_t last = segment.address + (segment.bytes - 1);
  if (fixed_.address_bits < 64 && last >> fixed_.address_bits != 0) return false;
  return fixed_.boundary_log2 == 0 || segment.address >> fixed_.boundary_log2 == last >> fixed_.boundary_log2;
}

CommandStatus MemoryList::load(fabric::Requester& requester, const Descriptor& descriptor) {
  at_ = 0;
  offset_ = 0;
  const std::uint16_t segments = descriptor.dword1.get(DescriptorDword1::segments);
  if (segments == 0) {
    count_ = 1;
    segments_[0] = {.address = descriptor.address, .bytes = descriptor.bytes};
    return can_be(segments_[0]) ? CommandStatus::done : CommandStatus::invalid_list;
  }
  count_ = segments;
  const auto list = std::span(segments_).first(segments);
  if (requester.read({descriptor.address}, std::as_writable_bytes(list)) != fabric::Completion::successful)
    return CommandStatus::list_unreadable;
  std::uint64_t rest = descriptor.bytes;
  for (const Segment& segment : list) {
    // Past its bits there are reserved ones.
    if (segment.bytes >> kSegmentBits != 0 || segment.bytes > rest || !can_be(segment))
      return CommandStatus::invalid_list;
    rest -= segment.bytes;
  }
  return rest == 0 ? CommandStatus::done : CommandStatus::invalid_list;
}

}  // namespace barter::devices::nic
