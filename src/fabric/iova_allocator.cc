#include "fabric/iova_allocator.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace barter::fabric {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMaxSlots = std::size_t{1} << 20;  // live mappings of one size class

// What the page table needs is a page's size; a device that asks for translations (ATS) is served with the largest power of
// two that fits.
constexpr std::uint64_t alignment_for(std::uint64_t bytes) {
  return std::clamp(std::bit_floor(bytes), kPage, std::uint64_t{1} << 30);
}

}  // namespace

std::optional<std::uint64_t> IovaAllocator::allocate(IovaRequest request) {
  const std::uint64_t lead = request.target % alignment_for(request.bytes);
  if (request.bytes == 0 || request.bytes > std::uint64_t{1} << kLargest) return std::nullopt;
  const std::uint64_t needed = lead + request.bytes;
  const unsigned bits = std::max<unsigned>(kSmallest, static_cast<unsigned>(std::bit_width(needed - 1)));
  if (bits > kLargest) return std::nullopt;
  Region& region = regions_[bits];
  std::uint32_t slot = 0;
  if (!region.free.empty()) {
    slot = region.free.back();
    region.free.pop_back();
  } else {
    const std::size_t most = std::min(kMaxSlots, std::size_t{1} << (kRegionBits - bits));
    if (region.slots.size() >= most) return std::nullopt;
    slot = static_cast<std::uint32_t>(region.slots.size());
    region.slots.emplace_back();
    region.free.reserve(region.slots.capacity());  // so that release() never allocates
  }
  region.slots[slot] = {static_cast<std::uint32_t>(lead / kPage), static_cast<std::uint32_t>(request.bytes / kPage)};
  return start_of({bits, slot}) + lead;
}

std::uint64_t IovaAllocator::start_of(Place place) {
  return kFirstIova + (std::uint64_t{place.bits - kSmallest} << kRegionBits) +
         (std::uint64_t{place.slot} << place.bits);
}

std::optional<IovaAllocator::Place> IovaAllocator::place_of(std::uint64_t iova) {
  if (iova < kFirstIova) return std::nullopt;
  const std::uint64_t region = (iova - kFirstIova) >> kRegionBits;
  if (region > kLargest - kSmallest) return std::nullopt;
  const unsigned bits = static_cast<unsigned>(region) + kSmallest;
  const std::uint64_t within = (iova - kFirstIova) & ((std::uint64_t{1} << kRegionBits) - 1);
  return Place{bits, static_cast<std::uint32_t>(within >> bits)};
}

std::optional<IovaAllocator::Range> IovaAllocator::find(std::uint64_t iova) const {
  const auto place = place_of(iova);
  if (!place || place->slot >= regions_[place->bits].slots.size()) return std::nullopt;
  const Slot slot = regions_[place->bits].slots[place->slot];
  const Range range{start_of(*place) + slot.first_page * kPage, slot.pages * kPage};
  if (iova < range.iova || iova - range.iova >= range.bytes) return std::nullopt;
  return range;
}

void IovaAllocator::release(std::uint64_t iova) {
  const auto place = place_of(iova);
  assert(place && place->slot < regions_[place->bits].slots.size());
  Region& region = regions_[place->bits];
  assert(region.slots[place->slot].pages != 0);
  region.slots[place->slot] = {};
  region.free.push_back(place->slot);
}

}  // namespace barter::fabric
