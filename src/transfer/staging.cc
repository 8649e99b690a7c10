#include "transfer/staging.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "peer/pages.h"
#include "peer/segments.h"

namespace barter::transfer {
namespace {

// So many slots keep both drives at work at the same time.
constexpr std::uint64_t kSlotsAtWork = 2;

constexpr std::size_t kMaxPassedOver = 8;

std::vector<std::vector<DmaSegment>> cut_into_slots(std::span<const DmaSegment> whole, StagingShape shape) {
  std::vector<std::vector<DmaSegment>> views(shape.slots);
  for (std::uint32_t slot = 0; slot < shape.slots; ++slot)
    cut(whole, slot * shape.chunk_bytes, shape.chunk_bytes, views[slot]);
  return views;
}

std::uint64_t whole_units(std::uint64_t bytes, std::uint64_t unit) { return bytes / unit * unit; }

// An error of the memory's own words, with what the caller of the copy can do about it.
Error does_not_fit(Error error, machine::State& machine, const machine::DriveUnit& provider,
                   const StagingNeeds& needs) {
  if (error.code == ErrorCode::exhausted && needs.is_chunk_fixed &&
      room_for(machine, provider, needs.most.chunk_bytes) >= needs.block_bytes)
    error.cure = "use smaller chunks (--chunk), or name no size: they are cut to fit then";
  return error;
}

// As much of what the copy needs as is to be had; each further try is for half.
Result<Region> allocate_slots(machine::State& machine, machine::DriveUnit& provider, const StagingNeeds& needs,
                              StagingShape& shape) {
  std::optional<StagingShape> next = fit(needs.most.slots * needs.most.chunk_bytes, needs);
  while (true) {
    shape = *next;
    const std::uint64_t bytes = shape.slots * shape.chunk_bytes;
    auto region = machine.exchange().allocate(*provider.exporter, bytes);
    if (region) return region;
    next = fit(bytes / 2, needs);
    if (!next || region.error().code == ErrorCode::device_gone)
      return std::unexpected(does_not_fit(std::move(region.error()), machine, provider, needs));
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

std::uint64_t room_for(machine::State& machine, const machine::DriveUnit& provider, std::uint64_t bytes) {
  while (bytes > 0 && !machine.exchange().allocate(*provider.exporter, bytes)) bytes /= 2;
  return bytes;
}

std::optional<StagingShape> fit(std::uint64_t room_bytes, const StagingNeeds& needs) {
  const auto chunks = [&](std::uint64_t chunk_bytes) { return (needs.bytes - 1) / chunk_bytes + 1; };
  const auto shape_of = [&](std::uint64_t chunk_bytes) {
    return StagingShape{.slots = static_cast<std::uint32_t>(
                            std::min<std::uint64_t>({needs.most.slots, room_bytes / chunk_bytes, chunks(chunk_bytes)})),
                        .chunk_bytes = chunk_bytes};
  };
  const std::uint64_t whole_chunks = room_bytes / needs.most.chunk_bytes;
  const std::uint64_t slots_wanted =
      needs.is_chunk_fixed ? 1
                           : std::min<std::uint64_t>({kSlotsAtWork, needs.most.slots, chunks(needs.most.chunk_bytes)});
  if (whole_chunks >= slots_wanted) return shape_of(needs.most.chunk_bytes);
  if (needs.is_chunk_fixed) return std::nullopt;
  const std::uint64_t unit_bytes = (peer::kPageBytes - 1) / needs.block_bytes * needs.block_bytes + needs.block_bytes;
  if (needs.most.slots >= kSlotsAtWork)
    if (const std::uint64_t half = whole_units(room_bytes / kSlotsAtWork, unit_bytes); half > 0) return shape_of(half);
  const std::uint64_t all = std::min(whole_units(room_bytes, needs.block_bytes), needs.most.chunk_bytes);
  if (all == 0) return std::nullopt;
  return shape_of(all);
}

DirectStagingResult DirectStaging::create(machine::State& machine, machine::DriveUnit& source,
                                          machine::DriveUnit& destination, machine::DriveUnit& provider,
                                          const StagingNeeds& needs) {
  StagingShape shape;
  auto region = allocate_slots(machine, provider, needs, shape);
  if (!region) return not_staged(std::move(region.error()));
  auto for_source = machine.exchange().try_map(*source.importer, *region, {.access = Access::write});
  if (!for_source) return not_staged(std::move(for_source.error()));
  auto for_destination = machine.exchange().try_map(*destination.importer, *region, {.access = Access::read});
  if (!for_destination) return not_staged(std::move(for_destination.error()));
  std::unique_ptr<DirectStaging> staging(
      new DirectStaging(provider, shape, std::move(*region), std::move(*for_source), std::move(*for_destination)));
  auto source_lease = staging->lease_for_source();
  if (!source_lease) return not_staged(std::move(source_lease.error()));
  auto destination_lease = staging->lease_for_destination();
  if (!destination_lease) return not_staged(std::move(destination_lease.error()));
  staging->source_views_ = cut_into_slots(source_lease->segments(), shape);
  staging->destination_views_ = cut_into_slots(destination_lease->segments(), shape);
  base::log::debug("{} chunks of {} bytes in the memory of {}, {} from {}, {} to {}", shape.slots, shape.chunk_bytes,
                   provider.name, name_of(staging->for_source_.route()), source.name,
                   name_of(staging->for_destination_.route()), destination.name);
  return staging;
}

DirectStagingResult Stager::stage() {
  std::optional<NotStaged> refused;
  std::string all;
  for (machine::DriveUnit* provider : providers_) {
    auto staging = DirectStaging::create(machine_, source_, destination_, *provider, needs_);
    if (staging) {
      // Once for each sentence: they come again with each try.
      if (refused && passed_over_.size() < kMaxPassedOver && std::ranges::find(passed_over_, all) == passed_over_.end())
        passed_over_.push_back(std::move(all));
      return staging;
    }
    NotStaged& why = staging.error();
    all += fmt::format("{}the memory of {} was passed over: {}", all.empty() ? "" : "; ", provider->name,
                       why.error.message());
    if (!refused)
      refused = std::move(why);
    else
      refused->error = Error{.code = refused->error.code, .why = all};
  }
  assert(refused);
  return std::unexpected(std::move(*refused));
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
