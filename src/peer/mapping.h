// One place in the table of mappings. A place's life, again and again:
//
//   free     no handle. The word says closed, so that no lease can be taken by a stale id.
//   live     map() has filled in the fields and opened the word; leases come and go without a lock.
//   closing  the handle was dropped, or the exporter takes the range back: the word is closed, leases only go.
//   gone     unmapped: the domain has forgotten it. By the last lease, or, past the deadline, under it.
//   free     once it is gone, its handle dropped and its last lease ended. The generation is one higher.
//
// Leases come in two kinds. One at a time sits in the mapping's seat: both taking it and leaving it are plain stores, because
// only one thread, the first that has taken a lease, ever takes the seat. All other leases are counted in the word, which while
// it is open changes by compare-and-swap alone, and once it is closed only with the Core's lock held. So whoever ends the last
// counted lease of a closed mapping knows that it is the last, and exactly one thread unmaps.
//
// The plain stores have a price of their own. Whoever closes the word does not see at once that the seat has just been taken,
// and has to pass a fence that all threads pass with it, before it believes that the seat is free. Whoever leaves the seat in
// the very moment in which the word is closed may not see that. So whoever closes it looks for itself: a revocation goes on
// looking until the seat is free, and a dropped handle leaves a note for the next call of the Exchange (Core::left_). The order
// of things is rule 13 of docs/memory-order.md.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"
#include "base/asymmetric_fence.h"
#include "base/this_thread.h"
#include "peer/importer.h"
#include "peer/pages.h"

namespace barter::peer {

class Core;
class RegionState;
struct ImporterState;

// Each has cache lines of its own, and taking or dropping a lease writes nothing but the word: importers that use different
// mappings never write the same line.
class alignas(64) MappingState {
 public:
  [[nodiscard]] MappingId id() const { return {slot_, generation_of(word_.load(std::memory_order_relaxed))}; }
  [[nodiscard]] Route route() const { return route_; }
  [[nodiscard]] Access access() const { return access_; }
  [[nodiscard]] Hold hold() const { return hold_; }
  [[nodiscard]] Bdf importer() const { return importer_function_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return segment_.bytes; }
  // A region is contiguous, and so is what an IOMMU makes of it: one segment. Does not change while leased.
  [[nodiscard]] std::span<const DmaSegment> segments() const { return {&segment_, 1}; }
  [[nodiscard]] bool is_closed() const { return (word_.load(std::memory_order_acquire) & kClosed) != 0; }

  // Who calls this holds the handle.
  [[nodiscard]] Result<Lease> lease() {
    if (sitter_.load(std::memory_order_relaxed) != base::this_thread() && !become_sitter()) [[unlikely]]
      return lease_by_count();
    if (seat_.load(std::memory_order_acquire) != kFree) [[unlikely]]
      return lease_by_count();
    seat_.store(kTaken, std::memory_order_relaxed);
    base::light_fence();
    if ((word_.load(std::memory_order_seq_cst) & kClosed) == 0) [[likely]]
      return Lease(this, true);
    leave_seat();
    return lease_by_count();
  }
  // Who calls this has only an id, whose generation may be long past.
  [[nodiscard]] Result<Lease> lease(std::uint32_t generation);
  void end_lease();
  // Touches nothing after the store: the place, and the whole table with it, may be gone.
  void leave_seat() {
    if ((word_.load(std::memory_order_acquire) & kClosed) == 0) [[likely]]
      leave_seat_unseeing();
    else
      leave_closed_seat();
  }
  // What the lease in the seat does when it has not seen that the mapping is closed.
  void leave_seat_unseeing() { seat_.store(kFree, std::memory_order_release); }
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

  // The pages that this mapping touches. An address of a domain has the same place in its page as its target has.
  [[nodiscard]] std::uint64_t lead_bytes() const { return segment_.address.value % kPageBytes; }
  [[nodiscard]] std::uint64_t whole_pages_bytes() const { return whole_pages(lead_bytes() + segment_.bytes); }
  // What the owner was asked about.
  [[nodiscard]] MemoryRange asked() const {
    if (!translated_) return {offset_, segment_.bytes};
    return {offset_ - lead_bytes(), whole_pages_bytes()};
  }

  // States of seat_.
  static constexpr std::uint8_t kFree = 0;
  static constexpr std::uint8_t kTaken = 1;
  static constexpr std::uint8_t kShut = 2;
  // May a thread other than this one take the seat?
  [[nodiscard]] bool is_another_threads_seat() const;
  [[nodiscard]] bool become_sitter();
  // Of a closed mapping, once nobody can take its seat unseen (Core::is_idle): is no lease left? Then none can come any more.
  [[nodiscard]] bool shut_if_idle();

  void leave_closed_seat();
  [[nodiscard]] Result<Lease> lease_by_count();

  enum class Taken : std::uint8_t { yes, closed, stale, too_many };
  [[nodiscard]] Taken take(const std::uint32_t* generation);
  [[nodiscard]] Result<Lease> lease_or_error(Taken taken);
  [[nodiscard]] std::uint64_t leases() const { return word_.load(std::memory_order_acquire) & kLeases; }

  std::atomic<std::uint64_t> word_{word_of(1) | kClosed};
  DmaSegment segment_;
  Bdf importer_function_;
  std::uint32_t slot_ = 0;
  std::atomic<std::uint32_t> sitter_{0};   // base::this_thread() of who may take the seat; 0: nobody has tried
  std::atomic<std::uint8_t> seat_{kShut};  // in the word's cache line
  Route route_ = Route::unknown;
  Access access_ = Access::read;
  Hold hold_ = Hold::dynamic;
  bool in_domain_ = false;   // the address came from the importer's domain, which must forget it
  bool translated_ = false;  // and that domain is an IOMMU's, which maps whole pages
  // Unmapping cuts DMA off: in a domain that translates, unless the device defies it, and always at the guard of an
  // interconnect.
  bool guarded_ = false;

  // From here on only with the Core's lock held.
  std::uint32_t next_free_ = 0;
  std::uint32_t closed_at_ = 0;  // Core::fences_ when the word was closed
  bool has_handle_ = false;
  bool told_ = false;     // the importer has been told to let go
  bool claimed_ = false;  // some thread unmaps, or has unmapped
  bool gone_ = true;
  bool has_parts_ = false;             // the owner granted it in parts, which the Core keeps
  std::uint8_t interconnect_ = 0;      // 1 + the place of the one that must close it; 0: it goes by PCIe
  std::uint64_t offset_ = 0;           // within the exporter's memory
  ImporterState* importer_ = nullptr;  // until gone
  RegionState* region_ = nullptr;      // until gone
  MappingState* next_in_region_ = nullptr;
  MappingState* previous_in_region_ = nullptr;
  std::shared_ptr<Core> core_;  // a place in use keeps the table alive
};
static_assert(sizeof(MappingState) == 128);

}  // namespace barter::peer
