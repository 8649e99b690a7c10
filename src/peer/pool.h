// Hands out contiguous pieces of one exporter's memory.
//
// Sizes are rounded up to whole 4 KiB pages and no two pieces share one. That is a matter of safety and not of taste: an
// IOMMU maps whole pages, so an importer that may reach one piece reaches all of its last page.
//
// A piece of 2 MiB or more, or of 1 GiB or more, begins at a multiple of that where there is room: those are the superpages
// of IOMMUs, and mapping 1 GiB is then one entry and not 262,144.
//
// Only free extents are recorded, by place and by size: the cost depends on how many pieces there are, never on how large
// the memory is. Best fit, with neighbours joined again when a piece comes back. O(log n); only a request that is aligned
// to more than a page and about to fail looks at every extent that might still hold it.
//
// Threads: one at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "peer/pages.h"

namespace barter::peer {

inline constexpr std::uint64_t kSuperpageBytes[] = {std::uint64_t{1} << 30, std::uint64_t{1} << 21};
inline constexpr std::size_t kMaxRegionsInPool = 65536;

class Pool {
 public:
  // Memory of `bytes` that begins at `start` on the bus. Parts of pages at either end are left out.
  Pool(BusAddress start, std::uint64_t bytes);

  // A range within the exporter's memory: `bytes` rounded up to whole pages, at a bus address that is a multiple of
  // `alignment`, a power of two, and of a superpage's size if it can be had. Errors: invalid_argument, exhausted (which tells the largest free extent).
  [[nodiscard]] Result<MemoryRange> allocate(std::uint64_t bytes, std::uint64_t alignment = kPageBytes);
  // Takes back what allocate() gave, whole.
  void free(MemoryRange range);

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] std::uint64_t free_bytes() const { return free_bytes_; }
  [[nodiscard]] std::uint64_t largest_free_bytes() const;
  [[nodiscard]] std::size_t allocated_count() const { return allocated_count_; }
  [[nodiscard]] std::size_t free_extent_count() const { return by_offset_.size(); }

 private:
  struct BySize {
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0;
    friend auto operator<=>(const BySize&, const BySize&) = default;
  };
  // Where a piece would begin in this extent, if it fits.
  [[nodiscard]] std::optional<std::uint64_t> place_in(const BySize& extent, std::uint64_t bytes,
                                                      std::uint64_t alignment) const;
  // The best extent for this alignment, or the end.
  [[nodiscard]] std::set<BySize>::iterator find(std::uint64_t bytes, std::uint64_t alignment) const;
  void insert(std::uint64_t offset, std::uint64_t bytes);

  BusAddress start_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t free_bytes_ = 0;
  std::size_t allocated_count_ = 0;
  std::map<std::uint64_t, std::uint64_t> by_offset_;  // free extents: offset to bytes
  std::set<BySize> by_size_;                          // the same extents
};

}  // namespace barter::peer
