#include "devices/nvme/sgl.h"

#include <algorithm>
#include <span>

namespace barter::devices::nvme {

Status SglReader::read(const Bus& bus, SglDescriptor first, std::uint64_t bytes, DataList& into) {
  descriptors_read_ = 0;
  if (first.type() == SglType::segment || first.type() == SglType::last_segment) {
    Segment segment;
    if (const Status valid = check_segment(first, segment); !valid.is_success()) return valid;
    while (segment.descriptors != 0) {
      if (const Status done = read_segment(bus, segment, into); !done.is_success()) return done;
      if (into.size_bytes() > bytes) return status::kSglLengthInvalid;
    }
  } else if (const Status added = add(bus, first, into); !added.is_success()) {
    return added;
  }
  // Identify's SGLS does not announce buffers longer than the data.
  return into.size_bytes() == bytes ? status::kSuccess : status::kSglLengthInvalid;
}

Status SglReader::check_segment(const SglDescriptor& descriptor, Segment& next) {
  if (descriptor.subtype() != 0) return status::kSglTypeInvalid;
  const bool is_whole = descriptor.bytes != 0 && descriptor.bytes % sizeof(SglDescriptor) == 0;
  if (!is_whole || descriptor.address % 8 != 0) return status::kInvalidSglSegment;
  next = {descriptor.address, descriptor.bytes / sizeof(SglDescriptor), descriptor.type() == SglType::last_segment};
  return status::kSuccess;
}

Status SglReader::add(const Bus& bus, const SglDescriptor& descriptor, DataList& into) {
  if (descriptor.subtype() != 0) return status::kSglTypeInvalid;
  switch (descriptor.type()) {
    case SglType::data_block:
      return into.add(bus, descriptor.address, descriptor.bytes);
    case SglType::bit_bucket:
      return into.add_discarded(descriptor.bytes);
    case SglType::segment:
    case SglType::last_segment:
      return status::kInvalidSglSegment;  // where only data may be
    default:
      return status::kSglTypeInvalid;
  }
}

// Reads one segment and leaves the one that follows it in `segment`: none after a last segment.
Status SglReader::read_segment(const Bus& bus, Segment& segment, DataList& into) {
  if (segment.descriptors > kMaxSglDescriptors - descriptors_read_) return status::kInvalidSglCount;
  descriptors_read_ += segment.descriptors;
  const std::uint64_t segment_bytes = segment.descriptors * sizeof(SglDescriptor);
  if (const Status allowed = into.check_list(bus, segment.address, segment_bytes); !allowed.is_success())
    return allowed;
  Segment next;
  for (std::uint64_t done = 0; done < segment.descriptors;) {
    const std::span part(descriptors_.data(), std::min(kAtOnce, segment.descriptors - done));
    const std::uint64_t at = segment.address + done * sizeof(SglDescriptor);
    if (bus.read(at, std::as_writable_bytes(part)) != fabric::Completion::successful) return status::kDataTransferError;
    done += part.size();
    const bool names_next = done == segment.descriptors && !segment.is_last;
    for (const SglDescriptor& descriptor : part.first(part.size() - (names_next ? 1 : 0))) {
      if (const Status added = add(bus, descriptor, into); !added.is_success()) return added;
    }
    if (!names_next) continue;
    // A segment that is not the last one ends with the descriptor of the next one.
    const SglType type = part.back().type();
    if (type != SglType::segment && type != SglType::last_segment) return status::kInvalidSglSegment;
    if (const Status valid = check_segment(part.back(), next); !valid.is_success()) return valid;
  }
  segment = next;
  return status::kSuccess;
}

}  // namespace barter::devices::nvme
