// Lists of segments: what every importer is given, and what its commands are made of. A list is memory in order; it may mix
// segments by bus address with others behind an IOMMU, as the routes of its parts are, and those are never joined.
//
//   SegmentCutter cutter(memory);                                   // of any number of leases, in order
//   while (cutter.left_bytes() > 0) {
//     auto bytes = cutter.take({.max_bytes = 1_MiB, .granularity_bytes = 512}, drive_limits, piece);
//     if (!bytes) return refuse(explain(bytes.error()));            // the memory can't be told to this device
//     submit(piece);                                                // PRPs, an SGL, or one descriptor for each segment
//   }
//
// Only the lists are cut and joined. The bytes that they name are never touched.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
#include <vector>

#include "barter/address.hpp"

namespace barter::peer {

using SegmentList = std::vector<DmaSegment>;

// What an importer can take in one of its commands. The defaults are no limit.
struct SegmentLimits {
  std::uint64_t max_segment_bytes = ~std::uint64_t{0};
  std::size_t max_segments = ~std::size_t{0};
  // No segment crosses a multiple of it; a power of two. 0: a segment may.
  std::uint64_t boundary_bytes = 0;
  // Every byte has an address of so many bits.
  unsigned address_bits = 64;
  // Every segment begins, and is long by, a multiple of it; a power of two.
  std::uint64_t alignment_bytes = 1;
  // Where one segment ends and the next one begins, both addresses are multiples of it; a power of two. A controller's page,
  // if it takes its memory as pages (NVMe's PRPs).
  std::uint64_t seam_bytes = 1;
  // Memory, by its addresses, that stands in no list together with other memory: a drive's own buffer, for NVMe. No bytes:
  // there is none.
  DmaSegment apart;
};

enum class SegmentProblem : std::uint8_t {
  no_bytes,      // a segment of none
  wraps_around,  // a segment ends beyond the last address
  too_long,      // all segments together are longer than 2^64 bytes
  too_large,     // a segment is longer than the importer takes, or crosses a boundary of it
  too_high,      // an address has more bits than the importer
  misaligned,    // a segment begins or ends where the importer can't
  bad_seam,      // two segments meet where the importer can't go on from one to the other
  too_many,      // more segments than the importer takes, even for the least that it moves
  beyond_end,    // not within the list
  bad_limits,    // the limits allow nothing at all
};
[[nodiscard]] std::string_view explain(SegmentProblem problem);

// Is it a list at all? How many bytes it has.
[[nodiscard]] std::expected<std::uint64_t, SegmentProblem> size_of(std::span<const DmaSegment> list);
// Is it one that this importer takes as it is?
[[nodiscard]] std::expected<void, SegmentProblem> check(std::span<const DmaSegment> list, const SegmentLimits& limits);

// Puts a segment at the end, as a part of the last one where it goes on where that ends and is of its kind.
void append(SegmentList& list, DmaSegment next);
// Neighbours joined.
[[nodiscard]] SegmentList merged(std::span<const DmaSegment> list);
// The part of a list, written over `part`, which is empty after an error.
struct SegmentRange {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};
[[nodiscard]] std::expected<void, SegmentProblem> cut(std::span<const DmaSegment> list, SegmentRange range,
                                                      SegmentList& part);
// All of it, joined and split as the importer needs it, written over `fitted`, which is empty after an error.
[[nodiscard]] std::expected<void, SegmentProblem> fit(std::span<const DmaSegment> list, const SegmentLimits& limits,
                                                      SegmentList& fitted);

// Walks a list from its start to its end, in pieces that an importer takes. A piece is as long as it can be: what another
// piece would begin with did not fit any more. Allocates nothing once `piece` has its capacity.
class SegmentCutter {
 public:
  // The list outlives the cutter, and is a list (size_of).
  explicit SegmentCutter(std::span<const DmaSegment> list);

  [[nodiscard]] std::uint64_t left_bytes() const { return left_bytes_; }
  // Goes on without a piece. At most left_bytes().
  void skip(std::uint64_t bytes);

  struct Wanted {
    std::uint64_t max_bytes = ~std::uint64_t{0};
    std::uint64_t granularity_bytes = 1;  // a piece is a multiple of it, as a drive's blocks are
  };
  // The next piece, written over `piece`, and how many bytes it has: never none. After an error nothing was taken.
  [[nodiscard]] std::expected<std::uint64_t, SegmentProblem> take(Wanted wanted, const SegmentLimits& limits,
                                                                  SegmentList& piece);

 private:
  struct Place {
    std::size_t index = 0;     // in the list
    std::uint64_t offset = 0;  // in that segment
  };
  [[nodiscard]] DmaSegment run_at(Place place, std::uint64_t most) const;
  void advance(Place& place, std::uint64_t bytes) const;
  [[nodiscard]] std::uint64_t gather(std::uint64_t most, const SegmentLimits& limits, SegmentList& piece,
                                     SegmentProblem& stopped_by) const;

  std::span<const DmaSegment> list_;
  Place place_;
  std::uint64_t left_bytes_ = 0;
};

}  // namespace barter::peer
