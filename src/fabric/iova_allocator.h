// Hands out IOVA ranges of one domain, placed so that the page table can use superpages: a range is congruent to its
// target modulo the largest power of two that fits into it, up to 1 GiB.
//
// The upper half of the 48 bits is cut into one region for each power of two; a range takes a slot of its region. So an
// address tells its slot by itself, giving back is a push on a list, and nothing ever has to be searched or joined. No
// IOVA equals any bus address (those lie below kFirstIova), so that a switch never mistakes one for a peer's BAR.
// Not thread-safe: System's mutex guards it.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace barter::fabric {

inline constexpr std::uint64_t kFirstIova = std::uint64_t{1} << 47;

// Whole pages.
struct IovaRequest {
  std::uint64_t target = 0;
  std::uint64_t bytes = 0;
};

class IovaAllocator {
 public:
  // None when the region of that size is full, or `bytes` is above 4 TiB.
  [[nodiscard]] std::optional<std::uint64_t> allocate(IovaRequest request);

  // A range that is handed out at present.
  struct Range {
    std::uint64_t iova = 0;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::optional<Range> find(std::uint64_t iova) const;
  // `iova` is one that allocate() gave and that has not been released since.
  void release(std::uint64_t iova);

 private:
  static constexpr unsigned kSmallest = 12;
  static constexpr unsigned kRegionBits = 42;
  static constexpr unsigned kLargest = kRegionBits;

  struct Slot {
    std::uint32_t first_page = 0;  // from the slot's start, in pages
    std::uint32_t pages = 0;       // 0: free
  };
  struct Region {
    std::vector<Slot> slots;
    std::vector<std::uint32_t> free;
  };
  struct Place {
    unsigned bits = 0;
    std::uint32_t slot = 0;
  };
  [[nodiscard]] static std::optional<Place> place_of(std::uint64_t iova);
  [[nodiscard]] static std::uint64_t start_of(Place place);

  std::array<Region, kLargest + 1> regions_;
};

}  // namespace barter::fabric
