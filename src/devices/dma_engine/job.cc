#include "devices/dma_engine/job.h"

#include <algorithm>
#include <cstring>

namespace barter::devices::dma_engine {

using fabric::Completion;

Job::Job(std::uint32_t number, RegisterFile& registers)
    : number_(number),
      registers_(registers),
      fixed_(registers.fixed()),
      slice_(std::make_unique<std::byte[]>(kSliceBytes)) {
  source_.segments.resize(fixed_.segments);
  destination_.segments.resize(fixed_.segments);
}

MoveStatus Job::begin(const Descriptor& descriptor) {
  descriptor_ = descriptor;
  moved_bytes_ = 0;
  const std::uint8_t opcode = descriptor.dword0.get(DescriptorDword0::opcode);
  if (opcode > static_cast<std::uint8_t>(Opcode::fill)) return MoveStatus::invalid_opcode;
  if (const auto checked = check_fields(); checked != MoveStatus::done) return checked;
  if (opcode == static_cast<std::uint8_t>(Opcode::nop)) return MoveStatus::done;
  if (opcode == static_cast<std::uint8_t>(Opcode::move))
    if (const auto read =
            read_list(source_, descriptor.source, descriptor.dword1.get(DescriptorDword1::source_segments));
        read != MoveStatus::done)
      return read;
  return read_list(destination_, descriptor.destination, descriptor.dword1.get(DescriptorDword1::destination_segments));
}

MoveStatus Job::check_fields() const {
  const bool has_reserved = (descriptor_.dword0.raw & DescriptorDword0::kReserved) != 0 ||
                            std::ranges::any_of(descriptor_.reserved, [](std::uint64_t word) { return word != 0; });
  if (has_reserved) return MoveStatus::invalid_field;
  const auto opcode = static_cast<Opcode>(descriptor_.dword0.get(DescriptorDword0::opcode));
  const std::uint16_t from = descriptor_.dword1.get(DescriptorDword1::source_segments);
  const std::uint16_t to = descriptor_.dword1.get(DescriptorDword1::destination_segments);
  if (opcode == Opcode::nop) {
    const bool is_empty = descriptor_.dword1.raw == 0 && descriptor_.source == 0 && descriptor_.destination == 0 &&
                          descriptor_.bytes == 0;
    return is_empty ? MoveStatus::done : MoveStatus::invalid_field;
  }
  if (descriptor_.bytes == 0 || descriptor_.bytes > fixed_.transfer_bytes) return MoveStatus::invalid_field;
  if (from > fixed_.segments || to > fixed_.segments) return MoveStatus::invalid_field;
  if (opcode == Opcode::fill && from != 0) return MoveStatus::invalid_field;
  if (from != 0 && descriptor_.source % kListAlignment != 0) return MoveStatus::invalid_field;
  if (to != 0 && descriptor_.destination % kListAlignment != 0) return MoveStatus::invalid_field;
  return MoveStatus::done;
}

MoveStatus Job::read_list(Side& side, std::uint64_t address, std::uint16_t segments) {
  side.at = 0;
  side.offset = 0;
  side.count = segments;
  side.is_list = segments != 0;
  side.piece = address;
  if (!side.is_list) return descriptor_.bytes - 1 > ~address ? MoveStatus::invalid_list : MoveStatus::done;
  const auto list = std::span(side.segments).first(segments);
  if (requester_->read({address}, std::as_writable_bytes(list)) != Completion::successful)
    return MoveStatus::list_unreadable;
  std::uint64_t rest = descriptor_.bytes;
  for (const Segment& segment : list) {
    if (segment.bytes == 0 || segment.reserved != 0 || segment.bytes > rest || segment.bytes - 1 > ~segment.address)
      return MoveStatus::invalid_list;
    rest -= segment.bytes;
  }
  return rest == 0 ? MoveStatus::done : MoveStatus::invalid_list;
}

template <class Part>
bool Job::walk(Side& side, std::span<std::byte> bytes, Part&& part) {
  if (!side.is_list) {
    const bool moved = part(DmaAddress{side.piece}, bytes);
    side.piece += bytes.size();
    return moved;
  }
  while (!bytes.empty()) {
    const Segment& segment = side.segments[side.at];
    const std::size_t most = std::min<std::size_t>(bytes.size(), segment.bytes - side.offset);
    if (!part(DmaAddress{segment.address + side.offset}, bytes.first(most))) return false;
    bytes = bytes.subspan(most);
    side.offset += static_cast<std::uint32_t>(most);
    if (side.offset == segment.bytes) {
      ++side.at;
      side.offset = 0;
    }
  }
  return true;
}

MoveStatus Job::move_slice(std::uint64_t bytes) {
  const std::span slice(slice_.get(), bytes);
  if (static_cast<Opcode>(descriptor_.dword0.get(DescriptorDword0::opcode)) == Opcode::fill) {
    // Slices are multiples of 8 bytes but for the last, so that each begins with the pattern.
    for (std::size_t at = 0; at < slice.size(); at += sizeof descriptor_.source)
      std::memcpy(slice.data() + at, &descriptor_.source, std::min(sizeof descriptor_.source, slice.size() - at));
  } else {
    const bool was_read = walk(source_, slice, [&](DmaAddress from, std::span<std::byte> into) {
      return requester_->read(from, into) == Completion::successful;
    });
    if (!was_read) return MoveStatus::source_error;
  }
  const bool was_written = walk(destination_, slice, [&](DmaAddress to, std::span<std::byte> from) {
    if (requester_->write(to, from) != Completion::successful) return false;
    moved_bytes_ += from.size();
    return true;
  });
  return was_written ? MoveStatus::done : MoveStatus::destination_error;
}

MoveStatus Job::advance(std::uint64_t budget_bytes) {
  constexpr std::uint64_t kPatternBytes = sizeof descriptor_.source;
  std::uint64_t budget = std::max(budget_bytes, kPatternBytes) / kPatternBytes * kPatternBytes;
  while (!is_finished() && budget != 0) {
    const std::uint64_t bytes = std::min({std::uint64_t{kSliceBytes}, descriptor_.bytes - moved_bytes_, budget});
    if (const auto moved = move_slice(bytes); moved != MoveStatus::done) return moved;
    budget -= std::min(budget, bytes);
  }
  return MoveStatus::done;
}

ring_device::JobEnd Job::end(MoveStatus status) const {
  // What the bus refuses is nobody's mistake here; all else is the host's.
  const bool is_mistake =
      status == MoveStatus::invalid_opcode || status == MoveStatus::invalid_field || status == MoveStatus::invalid_list;
  return {.result = moved_bytes_, .is_mistake = is_mistake};
}

}  // namespace barter::devices::dma_engine
