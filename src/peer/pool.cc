#include "peer/pool.h"

#include <bit>
#include <cassert>
#include <iterator>

#include <fmt/format.h>

namespace barter::peer {

namespace {

// Best-fitting extents that are tried before an extent that fits whatever its place.
constexpr int kProbes = 16;

}  // namespace

Pool::Pool(BusAddress start, std::uint64_t bytes) : start_(start) {
  const std::uint64_t lead = -start.value % kPageBytes;  // to the first page that begins in this memory
  if (bytes <= lead) return;
  size_bytes_ = free_bytes_ = (bytes - lead) / kPageBytes * kPageBytes;
  if (size_bytes_ > 0) insert(lead, size_bytes_);
}

Result<MemoryRange> Pool::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  const auto wrong = [](std::string why) {
    return fail({.code = ErrorCode::invalid_argument, .doing = "allocating device memory", .why = std::move(why)});
  };
  if (bytes == 0) return wrong("zero bytes were asked for");
  if (!std::has_single_bit(alignment)) return wrong(fmt::format("the alignment {} is not a power of two", alignment));
  const auto exhausted = [&](std::string why, std::string cure) {
    return fail({.code = ErrorCode::exhausted,
                 .doing = "allocating device memory",
                 .why = std::move(why),
                 .cure = std::move(cure)});
  };
  if (allocated_count_ >= kMaxRegionsInPool)
    return exhausted(fmt::format("there are {} regions already, the most there can be", kMaxRegionsInPool),
                     "free some, or allocate fewer and larger ones");
  if (alignment < kPageBytes) alignment = kPageBytes;
  auto place = by_size_.end();
  if (bytes <= free_bytes_) {  // this also keeps the rounding from overflowing
    bytes = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    for (const std::uint64_t superpage : kSuperpageBytes) {
      if (bytes < superpage || alignment >= superpage) continue;
      place = find(bytes, superpage);
      if (place == by_size_.end()) continue;
      alignment = superpage;
      break;
    }
    if (place == by_size_.end()) place = find(bytes, alignment);
  }
  if (place == by_size_.end())
    return exhausted(
        fmt::format("{} bytes at a multiple of {} do not fit: {} of {} bytes are free, the largest extent has {}",
                    bytes, alignment, free_bytes_, size_bytes_, largest_free_bytes()),
        "free some regions, or ask for less");

  const BySize extent = *place;
  const std::uint64_t offset = *place_in(extent, bytes, alignment);
  by_size_.erase(place);
  by_offset_.erase(extent.offset);
  if (offset > extent.offset) insert(extent.offset, offset - extent.offset);
  const std::uint64_t end = offset + bytes;
  const std::uint64_t extent_end = extent.offset + extent.bytes;
  if (end < extent_end) insert(end, extent_end - end);
  free_bytes_ -= bytes;
  ++allocated_count_;
  return MemoryRange{offset, bytes};
}

void Pool::free(MemoryRange range) {
  std::uint64_t offset = range.offset;
  std::uint64_t bytes = (range.bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  free_bytes_ += bytes;
  assert(allocated_count_ > 0 && free_bytes_ <= size_bytes_);
  --allocated_count_;
  const auto after = by_offset_.lower_bound(offset);
  assert((after == by_offset_.end() || offset + bytes <= after->first) && "a region is freed once");
  if (after != by_offset_.begin()) {
    const auto before = std::prev(after);
    assert(before->first + before->second <= offset && "a region is freed once");
    if (before->first + before->second == offset) {
      offset = before->first;
      bytes += before->second;
      by_size_.erase({before->second, before->first});
      by_offset_.erase(before);
    }
  }
  if (after != by_offset_.end() && offset + bytes == after->first) {
    bytes += after->second;
    by_size_.erase({after->second, after->first});
    by_offset_.erase(after);
  }
  insert(offset, bytes);
}

std::uint64_t Pool::largest_free_bytes() const { return by_size_.empty() ? 0 : std::prev(by_size_.end())->bytes; }

std::optional<std::uint64_t> Pool::place_in(const BySize& extent, std::uint64_t bytes, std::uint64_t alignment) const {
  const std::uint64_t padding = -(start_.value + extent.offset) & (alignment - 1);
  if (extent.bytes < bytes || extent.bytes - bytes < padding) return std::nullopt;
  return extent.offset + padding;
}

std::set<Pool::BySize>::iterator Pool::find(std::uint64_t bytes, std::uint64_t alignment) const {
  auto candidate = by_size_.lower_bound({bytes, 0});
  for (int probe = 0; probe < kProbes && candidate != by_size_.end(); ++probe, ++candidate)
    if (place_in(*candidate, bytes, alignment)) return candidate;
  if (candidate == by_size_.end()) return candidate;
  // Every extent begins at a page, so none needs more padding than this.
  const std::uint64_t padding = alignment - kPageBytes;
  if (bytes + padding >= bytes) {
    const auto certain = by_size_.lower_bound({bytes + padding, 0});
    if (certain != by_size_.end()) return certain;
  }
  while (candidate != by_size_.end() && !place_in(*candidate, bytes, alignment)) ++candidate;
  return candidate;
}

void Pool::insert(std::uint64_t offset, std::uint64_t bytes) {
  by_offset_.emplace(offset, bytes);
  by_size_.insert({bytes, offset});
}

}  // namespace barter::peer
