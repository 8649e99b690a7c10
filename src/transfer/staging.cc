#include "transfer/staging.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "peer/segments.h"

namespace barter::transfer {
namespace {

std::vector<std::vector<DmaSegment>> cut_into_slots(std::span<const DmaSegment> whole, StagingShape shape) {
  std::vector<std::vector<DmaSegment>> views(shape.slots);
  for (std::uint32_t slot = 0; slot < shape.slots; ++slot)
    cut(whole, slot * shape.chunk_bytes, shape.chunk_bytes, views[slot]);
  return views;
}

// The largest region that is to be had, of at most `shape.slots` chunks. Each failed try costs a look at the pool.
Result<Region> allocate_slots(machine::State& machine, machine::DriveUnit& provider, StagingShape& shape) {
  while (true) {
    auto region = machine.exchange().allocate(*provider.exporter, shape.slots * shape.chunk_bytes);
    if (region || shape.slots == 1) return region;
    shape.slots = (shape.slots + 1) / 2;
  }
}

std::unexpected<NotStaged> not_staged(Error error) {
  const peer::FallbackReason reason = error.code == ErrorCode::exhausted ? peer::FallbackReason::exhausted
                                      : error.code == ErrorCode::revoked ? peer::FallbackReason::revoked
                                                                         : peer::FallbackReason::transfer_failed;
  return std::unexpected(NotStaged{.reason = reason, .error = std::move(error)});
}

std::unexpected<NotStaged> not_staged(peer::NotMapped refusal) {
  return std::unexpected(NotStaged{.reason = peer::reason_of(refusal.reason), .error = std::move(refusal.error)});
}

}  // namespace

void cut(std::span<const DmaSegment> whole, std::uint64_t offset, std::uint64_t bytes, std::vector<DmaSegment>& part) {
  [[maybe_unused]] const auto done = peer::cut(whole, {.offset = offset, .bytes = bytes}, part);
  assert(done);
}

DirectStagingResult DirectStaging::create(machine::State& machine, machine::DriveUnit& source,
                                          machine::DriveUnit& destination, machine::DriveUnit& provider,
                                          StagingShape shape) {
  auto region = allocate_slots(machine, provider, shape);
  if (!region) return not_staged(std::move(region.error()));
  auto for_source = machine.exchange().try_map(*source.importer, *region, {.access = Access::write});
  if (!for_source) return not_staged(std::move(for_source.error()));
  auto for_destination = machine.exchange().try_map(*destination.importer, *region, {.access = Access::read});
  if (!for_destination) return not_staged(std::move(for_destination.error()));
  std::unique_ptr<DirectStaging> staging(
      new DirectStaging(std::move(*region), std::move(*for_source), std::move(*for_destination)));
  auto source_lease = staging->lease_for_source();
  if (!source_lease) return not_staged(std::move(source_lease.error()));
  auto destination_lease = staging->lease_for_destination();
  if (!destination_lease) return not_staged(std::move(destination_lease.error()));
  staging->source_views_ = cut_into_slots(source_lease->segments(), shape);
  staging->destination_views_ = cut_into_slots(destination_lease->segments(), shape);
  return staging;
}

Result<std::unique_ptr<HostPool>> create_host_pool(machine::Endpoint& source, machine::Endpoint& destination,
                                                   StagingShape shape) {
  return HostPool::create(shape.chunk_bytes, shape.slots, [&](std::uint64_t bytes) -> Result<HostBuffer> {
    auto buffer = source.allocate(bytes);
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    auto shared = destination.share(*buffer);
    if (!shared) return std::unexpected(std::move(shared.error()));
    const DmaSegment source_view{buffer->address(), bytes};
    const DmaSegment destination_view{shared->address(), bytes};
    return HostBuffer{.buffer = std::move(*buffer),
                      .shared = std::move(*shared),
                      .source_view = source_view,
                      .destination_view = destination_view};
  });
}

}  // namespace barter::transfer
