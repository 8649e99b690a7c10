// The seam to a function that does DMA to other functions' memory. The contract is tests/contract/importer_contract.h.
#pragma once
#include <cstdint>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "peer/dma_domain.h"

namespace barter::peer {

// Names a mapping for good: a slot that is used again gets a new generation, so a stale id never means a newer mapping.
struct MappingId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend constexpr auto operator<=>(MappingId, MappingId) = default;
};

class Importer {
 public:
  virtual ~Importer() = default;

  [[nodiscard]] virtual Bdf function() const = 0;

  // What stands between this importer and bus memory on the route through the host bridge.
  [[nodiscard]] virtual DmaDomain& domain() = 0;

  // Can its engines follow addresses of an interconnect (SegmentKind::link)? Where they can't, it is given none, whatever joins it
  // to the memory.
  [[nodiscard]] virtual bool takes_link_addresses() const { return false; }

  // How many bits the addresses have that its requests can carry. Memory that lies higher is not mapped for it.
  [[nodiscard]] virtual unsigned address_bits() const { return 64; }

  // The exporter wants the mapping back. Called on any thread, at any time, at most once for each mapping, with no lock
  // held; must return at once. From now on the importer gets no new lease; it finishes or cancels what is in flight and
  // drops its leases.
  virtual void invalidate(MappingId mapping) = 0;

  // Called again and again by the thread that waits for the leases, between its looks. An importer whose transfers are
  // driven by that very thread finishes what is in flight here; every other one has nothing to do.
  virtual void make_progress() {}

  // Last resort when leases outlive the deadline on a route that no IOMMU guards: take from the function the right to
  // do any DMA (Bus Master Enable). When it returns, no request of it reaches anything.
  [[nodiscard]] virtual Result<void> isolate() = 0;
};

}  // namespace barter::peer
