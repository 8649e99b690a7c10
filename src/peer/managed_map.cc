// Mappings of managed memory: where the pages are is looked up, mapped there, and looked up again. If nothing has moved
// meanwhile the mapping is good; and from then on a page that moves takes its mapping back itself.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "peer/managed_pages.h"

namespace barter::peer {

namespace {

constexpr const char* kMapping = "mapping";

}  // namespace

struct ManagedPages::PlannedRun {
  MemoryRange range;  // within the managed memory
  PageRun pages;
  std::optional<std::uint8_t> device;
  std::uint32_t place = 0;
  std::shared_ptr<DeviceChunk> chunk;  // of the device
};

class ManagedPages::Turn {
 public:
  Turn(ManagedPages& pages, PageRun mapped) : pages_(pages), number_(line_up(pages, mapped)) {}
  ~Turn() {
    const Lock lock(pages_.mutex_);
    pages_.mappers_.erase(number_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  static std::uint64_t line_up(ManagedPages& pages, PageRun mapped) {
    const Lock lock(pages.mutex_);
    const std::uint64_t number = pages.next_turn_++;
    pages.mappers_.emplace(number, Mapper{mapped, std::this_thread::get_id()});
    return number;
  }

  ManagedPages& pages_;
  std::uint64_t number_;
};

// Where the pages of a range are, run by run. Waits for those that move.
Result<ManagedPages::Plan> ManagedPages::plan(MemoryRange range, base::TimePoint deadline) const {
  const auto pages = pages_of(range, kMapping);
  if (!pages) return std::unexpected(pages.error());
  if (range.bytes == 0) range.bytes = pages_.size() * kPageBytes - range.offset;
  Result<Plan> found;
  const bool in_time = base::wait_until(clock_, deadline, [&] {
    Plan runs;
    const Lock lock(mutex_);
    for (std::uint64_t number = pages->first; number < pages->first + pages->count; ++number) {
      const Page& page = pages_[number];
      if (page.state == PageState::moving) return false;
      if (page.state == PageState::lost) {
        found = fail(refusal(ErrorCode::device_gone, kMapping,
                             fmt::format("its page {} is lost: {} has left with it", number,
                                         devices_[page.device]->exporter().function().to_string()),
                             "take new pages in its place (renew)"));
        return true;
      }
      const auto device = page.state == PageState::device ? std::optional(page.device) : std::nullopt;
      if (!runs.empty() && runs.back().device == device) {
        const std::uint32_t next = runs.back().place + static_cast<std::uint32_t>(runs.back().pages.count);
        if (!device || (page.place == next && next / kMaxPagesInChunk == runs.back().place / kMaxPagesInChunk)) {
          ++runs.back().pages.count;
          continue;
        }
      }
      runs.push_back({.range = {}, .pages = {number, 1}, .device = device, .place = page.place, .chunk = nullptr});
      if (device) runs.back().chunk = devices_[*device]->chunk_of(page.place);
    }
    found = std::move(runs);
    return true;
  });
  if (!in_time)
    return fail(refusal(ErrorCode::timed_out, kMapping, "pages of it still move at the deadline", "try again"));
  if (!found) return found;
  for (PlannedRun& run : *found) {
    const std::uint64_t start = std::max(range.offset, run.pages.first * kPageBytes);
    const std::uint64_t end = std::min(range.offset + range.bytes, (run.pages.first + run.pages.count) * kPageBytes);
    run.range = {start, end - start};
  }
  return found;
}

bool ManagedPages::still_holds(const Plan& plan) const {
  const Lock lock(mutex_);
  return std::ranges::all_of(plan, [&](const PlannedRun& run) {
    for (std::uint64_t index = 0; index < run.pages.count; ++index) {
      const Page& page = pages_[run.pages.first + index];
      const bool is_there =
          run.device ? page.state == PageState::device && page.device == *run.device && page.place == run.place + index
                     : page.state == PageState::host;
      if (!is_there) return false;
    }
    return true;
  });
}

// An importer did not get a run of pages where they are: they go to host memory, or the error is for good.
Result<void> ManagedPages::after_refusal(const PlannedRun& run, NotMapped refused, base::TimePoint deadline) {
  const Region& region = run.device ? run.chunk->region : *host_region_;
  // Just taken back for now, because some page of the same region moves: asked again.
  if (refused.reason == Refusal::revoked && !region.is_revoked()) return {};
  if (!run.device || refused.reason == Refusal::owner_refused) return fail(std::move(refused.error));
  auto moved = move(run.range, std::nullopt, std::max(deadline - clock_.now(), Duration::zero()));
  const Lock lock(mutex_);
  if (moved) counters_.pages_by_refusal += run.pages.count;
  return moved;
}

// None: pages have moved meanwhile.
Result<std::optional<ManagedMapping>> ManagedPages::try_map(Importer& importer, const MapOptions& options,
                                                            base::TimePoint deadline, std::optional<DmaAddress> at) {
  const auto runs = plan({options.offset, options.bytes}, deadline);
  if (!runs) return std::unexpected(runs.error());
  std::vector<ManagedPart> parts;
  for (const PlannedRun& run : *runs) {
    // A touch must always be able to bring a page back, so what is pinned is in host memory.
    if (run.device && options.hold == Hold::pinned) {
      auto moved = move(run.range, std::nullopt, std::max(deadline - clock_.now(), Duration::zero()));
      if (!moved) return std::unexpected(std::move(moved.error()));
      return std::nullopt;
    }
    MapOptions here = options;
    here.bytes = run.range.bytes;
    here.offset = run.range.offset;
    if (run.device)
      here.offset = DeviceRun{run.place, 1}.offset_bytes() + (run.range.offset - run.pages.first * kPageBytes);
    RegionState& region = *(run.device ? run.chunk->region : *host_region_).state();
    auto mapping = at ? exchange_.try_map_at(*at + (run.range.offset - options.offset), importer, region, here)
                      : exchange_.try_map(importer, region, here);
    if (!mapping) {
      auto cured = after_refusal(run, std::move(mapping.error()), deadline);
      if (!cured) return std::unexpected(std::move(cured.error()));
      return std::nullopt;
    }
    parts.push_back({.range = run.range,
                     .is_direct = run.device.has_value(),
                     .exporter = run.device ? devices_[*run.device]->exporter().function() : kHostMemory,
                     .mapping = std::move(*mapping)});
  }
  if (!still_holds(*runs)) return std::nullopt;
  return ManagedMapping(std::move(parts));
}

Result<ManagedMapping> ManagedPages::map(Importer& importer, MapOptions options, Duration deadline,
                                         std::optional<DmaAddress> at) {
  const auto pages = pages_of({options.offset, options.bytes}, kMapping);
  if (!pages) return std::unexpected(pages.error());
  const Turn turn(*this, *pages);
  const base::TimePoint end = clock_.now() + deadline;
  Result<std::optional<ManagedMapping>> mapped;
  const bool in_time = base::wait_until(clock_, end, [&] {
    mapped = try_map(importer, options, end, at);
    return !mapped || *mapped;
  });
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  if (in_time) return std::move(**mapped);
  return fail(refusal(ErrorCode::timed_out, kMapping, "its pages moved again and again until the deadline",
                      "map a smaller part, or try again"));
}

}  // namespace barter::peer

namespace barter {

Result<std::vector<Lease>> ManagedMapping::lease() const {
  std::vector<Lease> leases;
  leases.reserve(parts_.size());
  for (const ManagedPart& part : parts_) {
    auto lease = part.mapping.lease();
    if (!lease) return std::unexpected(std::move(lease.error()));
    leases.push_back(std::move(*lease));
  }
  return leases;
}

}  // namespace barter
