// Where the bytes of a copy lie between the source and the destination: device memory, or host memory. Both are cut into
// slots of one chunk each.
#pragma once
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "machine/endpoint.h"
#include "machine/state.h"
#include "pci/function.h"
#include "peer/bounce.h"
#include "peer/fallback.h"

namespace barter::transfer {

struct StagingShape {
  std::uint32_t slots = 0;
  std::uint64_t chunk_bytes = 0;
};

// Why there is no direct staging: the reason for counters, the error for people.
struct NotStaged {
  peer::FallbackReason reason = peer::FallbackReason::no_route;
  Error error;
};
using DirectStagingResult = std::expected<std::unique_ptr<class DirectStaging>, NotStaged>;

// Device memory that both drives have mapped: the source to write into, the destination to read from.
class DirectStaging {
 public:
  // Takes as many slots as the provider has room for, at most shape.slots and at least one.
  [[nodiscard]] static DirectStagingResult create(machine::State& machine, machine::DriveUnit& source,
                                                  machine::DriveUnit& destination, machine::DriveUnit& provider,
                                                  StagingShape shape);

  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(source_views_.size()); }
  // The right to use the memory for one phase of one chunk; revoked once the owner has taken it back.
  [[nodiscard]] Result<Lease> lease_for_source() const { return for_source_.lease(); }
  [[nodiscard]] Result<Lease> lease_for_destination() const { return for_destination_.lease(); }
  // A slot as each drive's DMA sees it. Only under a lease.
  [[nodiscard]] std::span<const DmaSegment> source_view(std::uint32_t slot) const { return source_views_[slot]; }
  [[nodiscard]] std::span<const DmaSegment> destination_view(std::uint32_t slot) const {
    return destination_views_[slot];
  }

 private:
  DirectStaging(Region region, Mapping for_source, Mapping for_destination)
      : region_(std::move(region)), for_source_(std::move(for_source)), for_destination_(std::move(for_destination)) {}

  Region region_;
  Mapping for_source_;
  Mapping for_destination_;
  std::vector<std::vector<DmaSegment>> source_views_;
  std::vector<std::vector<DmaSegment>> destination_views_;
};

// Host memory for one chunk that both drives reach: a bounce buffer.
struct HostBuffer {
  pci::DmaBuffer buffer;  // as the source's DMA sees it
  pci::DmaBuffer shared;  // the same bytes as the destination's DMA sees them; goes before `buffer`
  DmaSegment source_view;
  DmaSegment destination_view;
};
using HostPool = peer::BouncePool<HostBuffer>;
[[nodiscard]] Result<std::unique_ptr<HostPool>> create_host_pool(machine::Endpoint& source,
                                                                 machine::Endpoint& destination, StagingShape shape);

// The part [offset, offset + bytes) of a list of segments, written over `part`. It lies within the list.
void cut(std::span<const DmaSegment> whole, std::uint64_t offset, std::uint64_t bytes, std::vector<DmaSegment>& part);

}  // namespace barter::transfer
