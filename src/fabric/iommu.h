// The IOMMU domain of one function, and the log of what the IOMMU refused. There is no ATS: devices hold no translations
// of their own, so taking an entry out of the table and out of the requester's range cache is all that unmap() has to do.
#pragma once
#include <cstdint>
#include <optional>

#include "barter/address.hpp"
#include "barter/topology.hpp"
#include "fabric/iova_allocator.h"
#include "fabric/page_table.h"
#include "peer/dma_domain.h"

namespace barter::fabric {

class System;
struct Node;

// Where the host bridge maps devices' requests for interrupts (Intel 64 SDM volume 3, 11.11: 0xFEExxxxx).
inline constexpr std::uint64_t kInterruptRangeStart = 0xfee00000;
inline constexpr std::uint64_t kInterruptRangeEnd = 0xfef00000;

class Domain final : public peer::DmaDomain {
 public:
  Domain(System& system, Node& node) : system_(system), node_(node) {}

  [[nodiscard]] bool translates() const override;
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override;
  void unmap(DmaAddress address, std::uint64_t bytes) override;

  // Where an address leads, and the whole mapping it is part of. System's mutex is held.
  struct Translation {
    std::uint64_t target = 0;
    std::uint64_t mapping_start = 0;  // in DMA addresses
    std::uint64_t mapping_end = 0;
    Access access = Access::read;
  };
  [[nodiscard]] std::optional<Translation> translate(std::uint64_t address) const;

 private:
  System& system_;
  Node& node_;
  PageTable table_;
  IovaAllocator allocator_;
};

}  // namespace barter::fabric
