// The IOMMU as one function sees it: its domain, and its context entry's word on Address Translation Services. A function
// with ATS keeps translations of its own, which unmap() has to take back too (ats.cc).
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "barter/address.hpp"
#include "barter/topology.hpp"
#include "base/random.h"
#include "fabric/iova_allocator.h"
#include "fabric/page_table.h"
#include "fabric/translation_cache.h"
#include "peer/dma_domain.h"

namespace barter::fabric {

class System;
struct Node;

// Where the host bridge maps devices' requests for interrupts (Intel 64 SDM volume 3, 11.11: 0xFEExxxxx).
inline constexpr std::uint64_t kInterruptRangeStart = 0xfee00000;
inline constexpr std::uint64_t kInterruptRangeEnd = 0xfef00000;

class Domain final : public peer::DmaDomain {
 public:
  Domain(System& system, Node& node);

  [[nodiscard]] bool translates() const override;
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override;
  void unmap(DmaAddress address, std::uint64_t bytes) override;
  [[nodiscard]] bool device_translates() const override;
  [[nodiscard]] bool is_defied() const override { return defied_.load(std::memory_order_acquire); }

  // Where an address leads, and the whole mapping it is part of. System's mutex is held, here and from here on.
  struct Mapped {
    std::uint64_t target = 0;
    std::uint64_t mapping_start = 0;  // in DMA addresses
    std::uint64_t mapping_end = 0;
    Access access = Access::read;
  };
  [[nodiscard]] std::optional<Mapped> translate(std::uint64_t address) const;

  // The context entry: may the function send Translation Requests and translated requests at all?
  [[nodiscard]] bool ats_allowed() const { return ats_allowed_; }
  void allow_ats(bool allowed) { ats_allowed_ = ats_wanted_ = allowed; }
  // The answer to a Translation Request that the context entry allows. None: neither reads nor writes.
  [[nodiscard]] std::optional<Translation> answer(std::uint64_t address) const;
  // The function holds no translations any more, so it may have new ones.
  void function_was_reset();
  void ignore_invalidations(bool ignores) { ignores_invalidations_ = ignores; }

 private:
  [[nodiscard]] bool invalidate(const IovaAllocator::Range& range);
  void cut_off(const IovaAllocator::Range& range, bool was_asked);

  System& system_;
  Node& node_;
  PageTable table_;
  IovaAllocator allocator_;
  bool ats_allowed_ = false;
  bool ats_wanted_ = false;  // what the context entry says unless the function has been cut off
  bool ignores_invalidations_ = false;
  base::Random chance_;                  // of faults
  std::vector<std::uint64_t> retiring_;  // unmapped ranges that the device may still know, by start
  std::atomic<bool> defied_ = false;
};

}  // namespace barter::fabric
