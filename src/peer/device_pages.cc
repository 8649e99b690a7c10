#include "peer/device_pages.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "peer/region.h"

namespace barter::peer {

namespace {

constexpr std::size_t kMaxChunks = std::size_t{1} << 23;  // what the number of a page has room for

}  // namespace

// The first free run of `most` pages of this chunk, or else the longest.
DeviceRun DevicePages::longest_run(std::size_t index, std::uint32_t most) const {
  const Place& place = places_[index];
  DeviceRun best;
  // What the owner took back for good, nobody could map: every importer would send its pages home.
  if (!place.chunk || place.used == place.pages || place.chunk->region.is_revoked()) return best;
  for (std::uint32_t page = 0; page < place.pages && best.count < most;) {
    std::uint32_t end = page;
    while (end < place.pages && end - page < most && !place.in_use[end]) ++end;
    if (end - page > best.count) best = {static_cast<std::uint32_t>(index * kMaxPagesInChunk) + page, end - page};
    page = end + 1;
  }
  return best;
}

DeviceRun DevicePages::take(DeviceRun run) {
  Place& place = places_[run.chunk()];
  for (std::uint32_t page = 0; page < run.count; ++page) place.in_use.set(run.first % kMaxPagesInChunk + page);
  place.used += run.count;
  return run;
}

// As large as it can be had, in halves.
Result<void> DevicePages::add_chunk(std::uint32_t most_pages) {
  const auto free_place = std::ranges::find_if(places_, [](const Place& place) { return !place.chunk; });
  if (free_place == places_.end() && places_.size() == kMaxChunks)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "taking pages of",
                 .subject = exporter_.function().to_string(),
                 .why = fmt::format("{} pieces of its memory are in use, the most there can be", kMaxChunks)});
  for (std::uint32_t pages = most_pages;; pages /= 2) {
    auto region = exchange_.allocate(exporter_, pages * kPageBytes);
    if (!region && (region.error().code != ErrorCode::exhausted || pages == 1))
      return std::unexpected(std::move(region.error()));
    if (!region) continue;
    const std::span<std::byte> bytes = region->state()->cpu_bytes();
    Place& place = free_place == places_.end() ? places_.emplace_back() : *free_place;
    place = {
        .chunk = std::make_shared<DeviceChunk>(std::move(*region), bytes), .pages = pages, .used = 0, .in_use = {}};
    return {};
  }
}

Result<DeviceRun> DevicePages::allocate(std::uint32_t count) {
  const std::uint32_t most = std::clamp<std::uint32_t>(count, 1, kMaxPagesInChunk);
  const std::lock_guard lock(mutex_);
  DeviceRun best;
  for (std::size_t index = 0; index < places_.size() && best.count < most; ++index)
    if (const DeviceRun run = longest_run(index, most); run.count > best.count) best = run;
  if (best.count == most) return take(best);
  if (auto added = add_chunk(kMaxPagesInChunk); !added) {
    if (best.count != 0) return take(best);
    return std::unexpected(std::move(added.error()));
  }
  for (std::size_t index = 0; index < places_.size() && best.count < most; ++index)
    if (const DeviceRun run = longest_run(index, most); run.count > best.count) best = run;
  return take(best);
}

void DevicePages::free(DeviceRun run) {
  std::shared_ptr<DeviceChunk> emptied;  // dropped without the lock: its end is a revocation
  const std::lock_guard lock(mutex_);
  Place& place = places_[run.chunk()];
  for (std::uint32_t page = 0; page < run.count; ++page) place.in_use.reset(run.first % kMaxPagesInChunk + page);
  place.used -= run.count;
  if (place.used != 0) return;
  const bool is_spare = !place.chunk->region.is_revoked() && std::ranges::none_of(places_, [&](const Place& other) {
    return &other != &place && other.chunk && other.used == 0;
  });
  if (!is_spare) emptied = std::exchange(place.chunk, nullptr);
}

std::shared_ptr<DeviceChunk> DevicePages::chunk_of(std::uint32_t page) const {
  const std::lock_guard lock(mutex_);
  return places_[page / kMaxPagesInChunk].chunk;
}

std::uint64_t DevicePages::pages_in_use() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t pages = 0;
  for (const Place& place : places_) pages += place.used;
  return pages;
}

}  // namespace barter::peer
