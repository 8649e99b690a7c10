#include "peer/segments.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <optional>

namespace barter::peer {
namespace {

bool are_possible(const SegmentLimits& limits) {
  return limits.max_segments > 0 && limits.address_bits > 0 && limits.address_bits <= 64 &&
         (limits.boundary_bytes == 0 || std::has_single_bit(limits.boundary_bytes)) &&
         std::has_single_bit(limits.alignment_bytes) && std::has_single_bit(limits.seam_bytes) &&
         limits.max_segment_bytes >= limits.alignment_bytes &&
         (limits.boundary_bytes == 0 || limits.boundary_bytes >= limits.alignment_bytes);
}

bool is_multiple(std::uint64_t value, std::uint64_t of) { return (value & (of - 1)) == 0; }

// The last byte, which unlike the end of a segment always has an address.
std::uint64_t last_of(const DmaSegment& segment) { return segment.address.value + (segment.bytes - 1); }

std::optional<SegmentProblem> trouble_with(const DmaSegment& segment) {
  if (segment.bytes == 0) return SegmentProblem::no_bytes;
  if (segment.bytes - 1 > ~std::uint64_t{0} - segment.address.value) return SegmentProblem::wraps_around;
  return std::nullopt;
}

bool goes_on(const DmaSegment& segment, const DmaSegment& next) {
  const std::uint64_t last = last_of(segment);
  return segment.kind == next.kind && last != ~std::uint64_t{0} && last + 1 == next.address.value &&
         segment.bytes <= ~std::uint64_t{0} - next.bytes;
}

bool is_too_high(const DmaSegment& segment, unsigned address_bits) {
  return address_bits < 64 && last_of(segment) >> address_bits != 0;
}

bool is_apart(std::uint64_t address, const SegmentLimits& limits) {
  return address - limits.apart.address.value < limits.apart.bytes;
}

// How many bytes a segment may have that begins there.
std::uint64_t room(std::uint64_t start, const SegmentLimits& limits) {
  std::uint64_t bytes = limits.max_segment_bytes;
  if (limits.boundary_bytes != 0)
    bytes = std::min(bytes, limits.boundary_bytes - (start & (limits.boundary_bytes - 1)));
  // To the next edge of what stands apart.
  const std::uint64_t into = start - limits.apart.address.value;
  if (limits.apart.bytes != 0) bytes = std::min(bytes, into < limits.apart.bytes ? limits.apart.bytes - into : -into);
  return bytes;
}

// Can a list go on with a segment that begins there?
bool is_seam(const DmaSegment& before, std::uint64_t start, const SegmentLimits& limits) {
  // An end at 2^64 is 0 here, which is a multiple of every power of two, as 2^64 is.
  return is_multiple((last_of(before) + 1) | start, limits.seam_bytes) &&
         is_apart(before.address.value, limits) == is_apart(start, limits);
}

// The least multiple of both; none if it is beyond 2^64.
std::optional<std::uint64_t> common_multiple(std::uint64_t granularity, std::uint64_t power_of_two) {
  const std::uint64_t shared = std::min(granularity & -granularity, power_of_two);
  if (granularity > ~std::uint64_t{0} / (power_of_two / shared)) return std::nullopt;
  return granularity * (power_of_two / shared);
}

// Adds what it can of a run, which does not go on where the piece ends, as one segment; says how many bytes that were. A
// problem: not one byte of it fits.
std::expected<std::uint64_t, SegmentProblem> add(SegmentList& piece, DmaSegment run, const SegmentLimits& limits) {
  const std::uint64_t start = run.address.value;
  if (is_too_high(run, limits.address_bits)) {
    // What lies below is still of use, if the run begins there.
    if (start >> limits.address_bits != 0) return std::unexpected(SegmentProblem::too_high);
    run.bytes = (std::uint64_t{1} << limits.address_bits) - start;
  }
  if (!is_multiple(start, limits.alignment_bytes)) return std::unexpected(SegmentProblem::misaligned);
  if (!piece.empty()) {
    if (!is_multiple(piece.back().bytes, limits.alignment_bytes)) return std::unexpected(SegmentProblem::misaligned);
    if (!is_seam(piece.back(), start, limits)) return std::unexpected(SegmentProblem::bad_seam);
    if (piece.size() >= limits.max_segments) return std::unexpected(SegmentProblem::too_many);
  }
  std::uint64_t bytes = std::min(run.bytes, room(start, limits));
  // A split that is ours to place is placed where the importer can go on.
  if (bytes < run.bytes) {
    const std::uint64_t step = std::max(limits.seam_bytes, limits.alignment_bytes);
    const std::uint64_t end = (start + bytes) & ~(step - 1);
    if (end > start) bytes = end - start;
  }
  piece.push_back({run.address, bytes, run.kind});
  return bytes;
}

// Takes bytes off the end.
void shorten(SegmentList& piece, std::uint64_t bytes) {
  while (bytes > 0) {
    const std::uint64_t off = std::min(bytes, piece.back().bytes);
    piece.back().bytes -= off;
    bytes -= off;
    if (piece.back().bytes == 0) piece.pop_back();
  }
}

}  // namespace

std::string_view explain(SegmentProblem problem) {
  switch (problem) {
    case SegmentProblem::no_bytes:
      return "a segment has no bytes";
    case SegmentProblem::wraps_around:
      return "a segment ends beyond the last address";
    case SegmentProblem::too_long:
      return "the segments together are longer than memory can be";
    case SegmentProblem::too_large:
      return "a segment is longer than the device takes, or crosses a boundary of it";
    case SegmentProblem::too_high:
      return "an address has more bits than the device takes";
    case SegmentProblem::misaligned:
      return "a segment begins or ends where the device can't";
    case SegmentProblem::bad_seam:
      return "two segments meet where the device can't go on from one to the other";
    case SegmentProblem::too_many:
      return "the memory is in more segments than the device takes";
    case SegmentProblem::beyond_end:
      return "the part is not within the memory";
    case SegmentProblem::bad_limits:
      return "the device's limits allow nothing at all";
  }
  return "?";
}

std::expected<std::uint64_t, SegmentProblem> size_of(std::span<const DmaSegment> list) {
  std::uint64_t total = 0;
  for (const DmaSegment& segment : list) {
    if (const auto trouble = trouble_with(segment)) return std::unexpected(*trouble);
    if (segment.bytes > ~std::uint64_t{0} - total) return std::unexpected(SegmentProblem::too_long);
    total += segment.bytes;
  }
  return total;
}

std::expected<void, SegmentProblem> check(std::span<const DmaSegment> list, const SegmentLimits& limits) {
  if (!are_possible(limits)) return std::unexpected(SegmentProblem::bad_limits);
  if (const auto size = size_of(list); !size) return std::unexpected(size.error());
  if (list.size() > limits.max_segments) return std::unexpected(SegmentProblem::too_many);
  for (std::size_t index = 0; index < list.size(); ++index) {
    const DmaSegment& segment = list[index];
    const std::uint64_t start = segment.address.value;
    if (is_too_high(segment, limits.address_bits)) return std::unexpected(SegmentProblem::too_high);
    if (segment.bytes > room(start, limits)) return std::unexpected(SegmentProblem::too_large);
    if (!is_multiple(start | segment.bytes, limits.alignment_bytes)) return std::unexpected(SegmentProblem::misaligned);
    if (index > 0 && !is_seam(list[index - 1], start, limits)) return std::unexpected(SegmentProblem::bad_seam);
  }
  return {};
}

void append(SegmentList& list, DmaSegment next) {
  if (!list.empty() && goes_on(list.back(), next))
    list.back().bytes += next.bytes;
  else
    list.push_back(next);
}

SegmentList merged(std::span<const DmaSegment> list) {
  SegmentList joined;
  for (const DmaSegment& segment : list) append(joined, segment);
  return joined;
}

std::expected<void, SegmentProblem> cut(std::span<const DmaSegment> list, SegmentRange range, SegmentList& part) {
  part.clear();
  const auto size = size_of(list);
  if (!size) return std::unexpected(size.error());
  if (range.offset > *size || range.bytes > *size - range.offset) return std::unexpected(SegmentProblem::beyond_end);
  for (const DmaSegment& segment : list) {
    if (range.bytes == 0) break;
    if (range.offset >= segment.bytes) {
      range.offset -= segment.bytes;
      continue;
    }
    const std::uint64_t taken = std::min(segment.bytes - range.offset, range.bytes);
    part.push_back({segment.address + range.offset, taken, segment.kind});
    range.bytes -= taken;
    range.offset = 0;
  }
  return {};
}

std::expected<void, SegmentProblem> fit(std::span<const DmaSegment> list, const SegmentLimits& limits,
                                        SegmentList& fitted) {
  fitted.clear();
  const auto size = size_of(list);
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return {};
  // As one piece that is nothing less than the whole.
  const auto taken = SegmentCutter(list).take({.max_bytes = *size, .granularity_bytes = *size}, limits, fitted);
  if (!taken) return std::unexpected(taken.error());
  return {};
}

SegmentCutter::SegmentCutter(std::span<const DmaSegment> list) : list_(list) {
  for (const DmaSegment& segment : list) left_bytes_ += segment.bytes;
}

// All that goes on without a break from there, at most so many bytes.
DmaSegment SegmentCutter::run_at(Place place, std::uint64_t most) const {
  const DmaSegment& first = list_[place.index];
  DmaSegment run{first.address + place.offset, first.bytes - place.offset, first.kind};
  for (std::size_t next = place.index + 1; run.bytes < most && next < list_.size() && goes_on(run, list_[next]); ++next)
    run.bytes += list_[next].bytes;
  run.bytes = std::min(run.bytes, most);
  return run;
}

void SegmentCutter::advance(Place& place, std::uint64_t bytes) const {
  while (bytes > 0) {
    const std::uint64_t here = std::min(bytes, list_[place.index].bytes - place.offset);
    place.offset += here;
    bytes -= here;
    if (place.offset == list_[place.index].bytes) place = {place.index + 1, 0};
  }
}

void SegmentCutter::skip(std::uint64_t bytes) {
  assert(bytes <= left_bytes_);
  left_bytes_ -= bytes;
  advance(place_, bytes);
}

// As much as fits into one piece, at most so many bytes, which are left. Takes nothing yet. What stopped it, if anything.
std::uint64_t SegmentCutter::gather(std::uint64_t most, const SegmentLimits& limits, SegmentList& piece,
                                    SegmentProblem& stopped_by) const {
  std::uint64_t bytes = 0;
  for (Place place = place_; bytes < most;) {
    DmaSegment run = run_at(place, most - bytes);
    const std::uint64_t before = bytes;
    while (run.bytes > 0) {
      const auto added = add(piece, run, limits);
      if (!added) {
        stopped_by = added.error();
        return bytes;
      }
      bytes += *added;
      run = {run.address + *added, run.bytes - *added, run.kind};
    }
    advance(place, bytes - before);
  }
  return bytes;
}

std::expected<std::uint64_t, SegmentProblem> SegmentCutter::take(Wanted wanted, const SegmentLimits& limits,
                                                                 SegmentList& piece) {
  piece.clear();
  if (!are_possible(limits) || wanted.granularity_bytes == 0) return std::unexpected(SegmentProblem::bad_limits);
  const std::optional<std::uint64_t> step = common_multiple(wanted.granularity_bytes, limits.alignment_bytes);
  const std::uint64_t most = std::min(wanted.max_bytes, left_bytes_);
  if (!step || most < *step)
    return std::unexpected(most < wanted.granularity_bytes ? SegmentProblem::beyond_end : SegmentProblem::misaligned);
  SegmentProblem stopped_by = SegmentProblem::misaligned;
  std::uint64_t bytes = gather(most, limits, piece, stopped_by);
  // The end of a piece is no seam: it can be anywhere that is aligned.
  shorten(piece, bytes % *step);
  bytes -= bytes % *step;
  if (bytes == 0) return std::unexpected(stopped_by);
  skip(bytes);
  return bytes;
}

}  // namespace barter::peer
