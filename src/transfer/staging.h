// Where the bytes of a copy lie between the source and the destination: device memory, or host memory. Both are cut into
// slots of one chunk each.
#pragma once
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
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

// What a copy asks of device memory.
struct StagingNeeds {
  std::uint64_t bytes = 0;        // of the whole copy
  StagingShape most;              // with chunks of whole blocks
  std::uint64_t block_bytes = 0;  // that both drives take
  bool is_chunk_fixed = false;    // the size of a chunk is the caller's own choice: that one, or none
};
// Whether a device would hand out so many contiguous bytes now, or a half, or a quarter of them...; 0: none at all. Asked by
// taking them and giving them back, because a kernel that lends its memory to others too does not tell otherwise.
[[nodiscard]] std::uint64_t room_for(machine::State& machine, const machine::DriveUnit& provider, std::uint64_t bytes);
// The best use of this much memory: fewer slots first, as long as two are left, so that one drive works while the other does;
// then smaller chunks, of whole pages as long as that gives two slots. None if not a single chunk fits.
[[nodiscard]] std::optional<StagingShape> fit(std::uint64_t room_bytes, const StagingNeeds& needs);

// Why there is no direct staging: the reason for counters, the error for people.
struct NotStaged {
  peer::FallbackReason reason = peer::FallbackReason::no_route;
  Error error;
};
using DirectStagingResult = std::expected<std::unique_ptr<class DirectStaging>, NotStaged>;

// Device memory that both drives have mapped: the source to write into, the destination to read from.
class DirectStaging {
 public:
  [[nodiscard]] static DirectStagingResult create(machine::State& machine, machine::DriveUnit& source,
                                                  machine::DriveUnit& destination, machine::DriveUnit& provider,
                                                  const StagingNeeds& needs);

  [[nodiscard]] const machine::DriveUnit& provider() const { return *provider_; }
  [[nodiscard]] std::uint32_t slots() const { return shape_.slots; }
  [[nodiscard]] std::uint64_t chunk_bytes() const { return shape_.chunk_bytes; }
  // The right to use the memory for one phase of one chunk; revoked once the owner has taken it back.
  [[nodiscard]] Result<Lease> lease_for_source() const { return for_source_.lease(); }
  [[nodiscard]] Result<Lease> lease_for_destination() const { return for_destination_.lease(); }
  // A slot as each drive's DMA sees it. Only under a lease.
  [[nodiscard]] std::span<const DmaSegment> source_view(std::uint32_t slot) const { return source_views_[slot]; }
  [[nodiscard]] std::span<const DmaSegment> destination_view(std::uint32_t slot) const {
    return destination_views_[slot];
  }

 private:
  DirectStaging(const machine::DriveUnit& provider, StagingShape shape, Region region, Mapping for_source,
                Mapping for_destination)
      : provider_(&provider),
        shape_(shape),
        region_(std::move(region)),
        for_source_(std::move(for_source)),
        for_destination_(std::move(for_destination)) {}

  const machine::DriveUnit* provider_;
  StagingShape shape_;
  Region region_;
  Mapping for_source_;
  Mapping for_destination_;
  std::vector<std::vector<DmaSegment>> source_views_;
  std::vector<std::vector<DmaSegment>> destination_views_;
};

// Asks one provider after the other. It outlives nothing that it was given.
class Stager {
 public:
  Stager(machine::State& machine, machine::DriveUnit& source, machine::DriveUnit& destination,
         std::span<machine::DriveUnit* const> providers, StagingNeeds needs)
      : machine_(machine), source_(source), destination_(destination), providers_(providers), needs_(needs) {}

  // In the memory of the first that serves now; else why none of them does.
  [[nodiscard]] DirectStagingResult stage();
  // Why others had to serve than the first, a sentence each; bounded.
  [[nodiscard]] const std::vector<std::string>& passed_over() const { return passed_over_; }

 private:
  machine::State& machine_;
  machine::DriveUnit& source_;
  machine::DriveUnit& destination_;
  std::span<machine::DriveUnit* const> providers_;
  StagingNeeds needs_;
  std::vector<std::string> passed_over_;
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
