#include "transfer/staging.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"

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

}  // namespace

void cut(std::span<const DmaSegment> whole, std::uint64_t offset, std::uint64_t bytes, std::vector<DmaSegment>& part) {
  part.clear();
  for (const DmaSegment& segment : whole) {
    if (bytes == 0) break;
    if (offset >= segment.bytes) {
      offset -= segment.bytes;
      continue;
    }
    const std::uint64_t taken = std::min(segment.bytes - offset, bytes);
    part.push_back({segment.address + offset, taken});
    bytes -= taken;
    offset = 0;
  }
  assert(bytes == 0);
}

Result<std::unique_ptr<DirectStaging>> DirectStaging::create(machine::State& machine, machine::DriveUnit& source,
                                                             machine::DriveUnit& destination,
                                                             machine::DriveUnit& provider, StagingShape shape) {
  auto region = allocate_slots(machine, provider, shape);
  if (!region) return std::unexpected(std::move(region.error()));
  auto for_source = machine.exchange().map(*source.importer, *region, {.access = Access::write});
  if (!for_source) return std::unexpected(std::move(for_source.error()));
  auto for_destination = machine.exchange().map(*destination.importer, *region, {.access = Access::read});
  if (!for_destination) return std::unexpected(std::move(for_destination.error()));
  std::unique_ptr<DirectStaging> staging(
      new DirectStaging(std::move(*region), std::move(*for_source), std::move(*for_destination)));
  const auto source_lease = staging->lease_for_source();
  if (!source_lease) return std::unexpected(source_lease.error());
  const auto destination_lease = staging->lease_for_destination();
  if (!destination_lease) return std::unexpected(destination_lease.error());
  staging->source_views_ = cut_into_slots(source_lease->segments(), shape);
  staging->destination_views_ = cut_into_slots(destination_lease->segments(), shape);
  return staging;
}

Result<std::unique_ptr<HostStaging>> HostStaging::create(machine::Endpoint& source, machine::Endpoint& destination,
                                                         StagingShape shape) {
  auto staging = std::make_unique<HostStaging>();
  auto buffer = source.allocate(shape.slots * shape.chunk_bytes);
  if (!buffer) return std::unexpected(std::move(buffer.error()));
  staging->buffer_ = std::move(*buffer);
  auto shared = destination.share(staging->buffer_);
  if (!shared) return std::unexpected(std::move(shared.error()));
  staging->shared_ = std::move(*shared);
  staging->chunk_bytes_ = shape.chunk_bytes;
  for (std::uint32_t slot = 0; slot < shape.slots; ++slot) {
    const std::uint64_t offset = slot * shape.chunk_bytes;
    staging->source_views_.push_back({staging->buffer_.address() + offset, shape.chunk_bytes});
    staging->destination_views_.push_back({staging->shared_.address() + offset, shape.chunk_bytes});
  }
  return staging;
}

}  // namespace barter::transfer
