// One place in the table of mappings. A place's life, again and again:
//
//   free     no handle. The word says closed, so that no lease can be taken by a stale id.
//   live     map() has filled in the fields and opened the word; leases come and go without a lock.
//   closing  the handle was dropped, or the exporter takes the range back: the word is closed, leases only go.
//   gone     unmapped: the domain has forgotten it. By the last lease, or, past the deadline, under it.
//   free     once it is gone, its handle dropped and its last lease ended. The generation is one higher.
//
// While the word is open, it changes by compare-and-swap alone; once it is closed, only with the Core's lock held. So
// whoever ends the last lease of a closed mapping knows that it is the last, and exactly one thread unmaps.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"
#include "peer/importer.h"

namespace barter::peer {

class Core;
class RegionState;
struct ImporterState;

class alignas(64) MappingState {
 public:
  [[nodiscard]] MappingId id() const { return {slot_, generation_of(word_.load(std::memory_order_relaxed))}; }
  [[nodiscard]] Route route() const { return route_; }
  [[nodiscard]] Access access() const { return access_; }
  [[nodiscard]] Bdf importer() const { return importer_function_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return segment_.bytes; }
  // A region is contiguous, and so is what an IOMMU makes of it: one segment. Does not change while leased.
  [[nodiscard]] std::span<const DmaSegment> segments() const { return {&segment_, 1}; }
  [[nodiscard]] bool is_closed() const { return (word_.load(std::memory_order_acquire) & kClosed) != 0; }

  // Who calls this holds the handle.
  [[nodiscard]] Result<Lease> lease();
  // Who calls this has only an id, whose generation may be long past.
  [[nodiscard]] Result<Lease> lease(std::uint32_t generation);
  void end_lease();
  void drop_handle();

 private:
  friend class Core;

  // The word: generation 63:32, closed 31, leases 30:0.
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 31;
  static constexpr std::uint64_t kLeases = kClosed - 1;
  static constexpr std::uint32_t generation_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }
  static constexpr std::uint64_t word_of(std::uint32_t generation) { return std::uint64_t{generation} << 32; }

  // Does it reach a page of this part of the exporter's memory? An IOMMU maps whole pages.
  [[nodiscard]] bool touches(MemoryRange part) const {
    constexpr std::uint64_t kInPage = 4095;
    const std::uint64_t start = offset_ & ~kInPage;
    const std::uint64_t end = (offset_ + segment_.bytes + kInPage) & ~kInPage;
    return start < part.offset + part.bytes && part.offset < end;
  }

  enum class Taken : std::uint8_t { yes, closed, stale, too_many };
  [[nodiscard]] Taken take(const std::uint32_t* generation);
  [[nodiscard]] Result<Lease> lease_or_error(Taken taken);
  [[nodiscard]] std::uint64_t leases() const { return word_.load(std::memory_order_acquire) & kLeases; }

  std::atomic<std::uint64_t> word_{word_of(1) | kClosed};
  DmaSegment segment_;
  Bdf importer_function_;
  std::uint32_t slot_ = 0;
  Route route_ = Route::unknown;
  Access access_ = Access::read;
  bool in_domain_ = false;  // the address came from the importer's domain, which must forget it
  bool guarded_ = false;    // and that domain translates: unmapping there cuts DMA off, unless the device defies it

  // From here on only with the Core's lock held.
  bool has_handle_ = false;
  bool told_ = false;     // the importer has been told to let go
  bool claimed_ = false;  // some thread unmaps, or has unmapped
  bool gone_ = true;
  std::uint64_t offset_ = 0;           // within the exporter's memory
  ImporterState* importer_ = nullptr;  // until gone
  RegionState* region_ = nullptr;      // until gone
  MappingState* next_in_region_ = nullptr;
  MappingState* previous_in_region_ = nullptr;
  std::uint32_t next_free_ = 0;
  std::shared_ptr<Core> core_;  // a place in use keeps the table alive
};

}  // namespace barter::peer
