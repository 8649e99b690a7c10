#include "drivers/nvme/data_pointer.h"

#include <algorithm>
#include <optional>

namespace barter::drivers::nvme {
namespace {

// Section 4.1.2.1, figure 114: the identifier byte of a descriptor, type 7:4 and sub type 3:0 (0: an address).
constexpr std::uint64_t kSglDataBlock = 0x00;
constexpr std::uint64_t kSglLastSegment = 0x30;

// The second quadword of a descriptor: length 31:0, identifier 63:56.
constexpr std::uint64_t sgl_tail(std::uint64_t length, std::uint64_t identifier) { return identifier << 56 | length; }
constexpr std::uint64_t kMaxSglLength = 0xffffffff;

struct Shape {
  bool is_prp = true;             // every inner edge is on a page, the start is dword-aligned
  bool is_dword_granular = true;  // addresses and lengths
  std::uint64_t pages = 0;        // PRP entries, if is_prp
};

std::expected<Shape, DataProblem> measure(std::span<const DmaSegment> segments, std::uint64_t bytes,
                                          unsigned page_log2) {
  const std::uint64_t in_page = (std::uint64_t{1} << page_log2) - 1;
  Shape shape;
  std::uint64_t total = 0;
  for (std::size_t index = 0; index < segments.size(); ++index) {
    const std::uint64_t start = segments[index].address.value;
    const std::uint64_t length = segments[index].bytes;
    if (length == 0) return std::unexpected(DataProblem::no_segment);
    if (length - 1 > ~std::uint64_t{0} - start) return std::unexpected(DataProblem::wraps_around);
    if (length > bytes - total) return std::unexpected(DataProblem::wrong_length);
    total += length;
    const std::uint64_t offset = start & in_page;
    if (index > 0 ? offset != 0 : (offset & 3) != 0) shape.is_prp = false;
    // start + length may be 2^64, which wraps to 0 and is on a page as it should be.
    if (index + 1 < segments.size() && ((start + length) & in_page) != 0) shape.is_prp = false;
    if (((start | length) & 3) != 0) shape.is_dword_granular = false;
    shape.pages += (offset + length + in_page) >> page_log2;
  }
  if (total != bytes || bytes == 0) return std::unexpected(DataProblem::wrong_length);
  return shape;
}

// Calls take(address) for the second and each later page of the data.
template <class Take>
void for_each_page_but_first(std::span<const DmaSegment> segments, unsigned page_log2, Take&& take) {
  const std::uint64_t in_page = (std::uint64_t{1} << page_log2) - 1;
  bool is_first = true;
  for (const DmaSegment& segment : segments) {
    const std::uint64_t start = segment.address.value & ~in_page;
    const std::uint64_t pages = ((segment.address.value & in_page) + segment.bytes + in_page) >> page_log2;
    for (std::uint64_t page = is_first ? 1 : 0; page < pages; ++page) take(start + (page << page_log2));
    is_first = false;
  }
}

std::expected<DataPointer, DataProblem> as_prp(std::span<const DmaSegment> segments, const Shape& shape,
                                               unsigned page_log2, const ListPage& list) {
  DataPointer pointer{.first = segments.front().address.value};
  if (shape.pages - 1 > kListPrpEntries) return std::unexpected(DataProblem::too_scattered);
  if (shape.pages <= 2) {
    for_each_page_but_first(segments, page_log2, [&](std::uint64_t page) { pointer.second = page; });
  } else {
    std::size_t entry = 0;
    for_each_page_but_first(segments, page_log2, [&](std::uint64_t page) { list.words[entry++] = page; });
    pointer.second = list.address.value;
  }
  return pointer;
}

std::expected<DataPointer, DataProblem> as_sgl(std::span<const DmaSegment> segments, const ListPage& list) {
  if (segments.size() > kListSglDescriptors) return std::unexpected(DataProblem::too_scattered);
  for (const DmaSegment& segment : segments)
    if (segment.bytes > kMaxSglLength) return std::unexpected(DataProblem::too_scattered);
  if (segments.size() == 1)
    return DataPointer{segments[0].address.value, sgl_tail(segments[0].bytes, kSglDataBlock), true};
  for (std::size_t index = 0; index < segments.size(); ++index) {
    list.words[index * 2] = segments[index].address.value;
    list.words[index * 2 + 1] = sgl_tail(segments[index].bytes, kSglDataBlock);
  }
  return DataPointer{list.address.value, sgl_tail(segments.size() * 16, kSglLastSegment), true};
}

// Most commands: one segment that lies in one page or in two, by the same rules as below and in a tenth of the time.
std::optional<DataPointer> as_two_pages(std::span<const DmaSegment> segments, std::uint64_t bytes, unsigned page_log2) {
  if (segments.size() != 1 || segments[0].bytes != bytes || bytes == 0) return std::nullopt;
  const std::uint64_t page_bytes = std::uint64_t{1} << page_log2;
  const std::uint64_t start = segments[0].address.value;
  const std::uint64_t offset = start & (page_bytes - 1);
  const std::uint64_t last = start + (bytes - 1);
  if (last < start || (start & 3) != 0 || bytes > 2 * page_bytes - offset) return std::nullopt;
  return DataPointer{.first = start, .second = offset + bytes > page_bytes ? start - offset + page_bytes : 0};
}

}  // namespace

std::string_view explain(DataProblem problem) {
  switch (problem) {
    case DataProblem::wrong_length:
      return "the segments are not as long as the blocks";
    case DataProblem::no_segment:
      return "a segment has no bytes";
    case DataProblem::wraps_around:
      return "a segment ends beyond the last address";
    case DataProblem::not_aligned:
      return "the segments don't meet at page boundaries, and the controller takes no such SGL";
    case DataProblem::too_scattered:
      return "the data is in more pieces than a list holds";
  }
  return "?";
}

peer::SegmentLimits data_limits(const DataPointerRules& rules) {
  switch (rules.sgl) {
    case SglSupport::any_alignment:
      return {.max_segment_bytes = kMaxSglLength, .max_segments = kListSglDescriptors};
    case SglSupport::dword_alignment:
      return {.max_segment_bytes = kMaxSglLength & ~std::uint64_t{3},
              .max_segments = kListSglDescriptors,
              .alignment_bytes = 4};
    case SglSupport::none:
      break;
  }
  return {.alignment_bytes = 4, .seam_bytes = rules.page_bytes()};
}

std::expected<DataPointer, DataProblem> describe_data(std::span<const DmaSegment> segments, std::uint64_t bytes,
                                                      const DataPointerRules& rules, const ListPage& list) {
  if (const auto pointer = as_two_pages(segments, bytes, rules.page_log2)) [[likely]]
    return *pointer;
  const auto shape = measure(segments, bytes, rules.page_log2);
  if (!shape) return std::unexpected(shape.error());
  if (shape->is_prp && shape->pages <= 2) return as_prp(segments, *shape, rules.page_log2, list);

  const bool sgl_can =
      rules.sgl == SglSupport::any_alignment || (rules.sgl == SglSupport::dword_alignment && shape->is_dword_granular);
  const bool sgl_fits = sgl_can && segments.size() <= kListSglDescriptors;
  const bool sgl_is_shorter = segments.size() * 2 < shape->pages;  // a descriptor is as long as two PRP entries
  if (sgl_fits && (!shape->is_prp || sgl_is_shorter || shape->pages - 1 > kListPrpEntries))
    return as_sgl(segments, list);
  if (shape->is_prp) return as_prp(segments, *shape, rules.page_log2, list);
  return std::unexpected(sgl_can ? DataProblem::too_scattered : DataProblem::not_aligned);
}

}  // namespace barter::drivers::nvme
