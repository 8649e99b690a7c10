#include "peer/core.h"

#include <utility>

#include <fmt/format.h>

namespace barter::peer {

std::string_view name_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::no_route:
      return "no_route";
    case Refusal::route_unknown:
      return "route_unknown";
    case Refusal::routes_differ:
      return "routes_differ";
    case Refusal::hardware_access:
      return "hardware_access";
    case Refusal::owner_asks_host:
      return "owner_asks_host";
    case Refusal::owner_refused:
      return "owner_refused";
    case Refusal::revoked:
      return "revoked";
    case Refusal::device_gone:
      return "device_gone";
    case Refusal::exhausted:
      return "exhausted";
    case Refusal::iommu_failed:
      return "iommu_failed";
    case Refusal::out_of_range:
      return "out_of_range";
    case Refusal::pin_limit:
      return "pin_limit";
    case Refusal::late_importer:
      return "late_importer";
    case Refusal::address_bits:
      return "address_bits";
  }
  return "?";
}

ImporterState* Core::find(const Importer& importer) {
  const auto found = importers_.find(&importer);
  return found == importers_.end() ? nullptr : found->second.get();
}

ExporterState* Core::find(const Exporter& exporter) {
  const auto found = exporters_.find(&exporter);
  return found == exporters_.end() ? nullptr : found->second.get();
}

Result<void> Core::add(Exporter& exporter) {
  const Bdf function = exporter.function();
  auto state = std::make_unique<ExporterState>(exporter, function, exporter.bus_address(), exporter.size_bytes());
  Lock lock(mutex_);
  if (exporters_.size() >= kMaxExporters)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "adding the memory of",
                 .subject = function.to_string(),
                 .why = fmt::format("there are {} exporters already, the most there can be", kMaxExporters)});
  if (!exporters_.emplace(&exporter, std::move(state)).second)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "adding the memory of",
                 .subject = function.to_string(),
                 .why = "it was added before"});
  return {};
}

Result<void> Core::add(Importer& importer) {
  auto state = std::make_unique<ImporterState>();
  state->importer = &importer;
  state->function = importer.function();
  const Bdf function = state->function;
  Lock lock(mutex_);
  if (importers_.size() >= kMaxImporters)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "adding the importer",
                 .subject = function.to_string(),
                 .why = fmt::format("there are {} importers already, the most there can be", kMaxImporters)});
  if (!importers_.emplace(&importer, std::move(state)).second)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "adding the importer",
                 .subject = function.to_string(),
                 .why = "it was added before"});
  return {};
}

Result<Region> Core::allocate(Exporter& exporter, std::uint64_t bytes, std::uint64_t alignment) {
  Lock lock(mutex_);
  ExporterState* const state = find(exporter);
  if (state == nullptr || state->going)
    return fail({.code = ErrorCode::device_gone,
                 .doing = "allocating device memory",
                 .why = "the device that owns the memory is not, or no longer, part of this machine"});
  auto range = state->pool.allocate(bytes, alignment);
  if (!range) {
    range.error().subject = "of " + state->function.to_string();
    return fail(std::move(range.error()));
  }
  const MemoryRange pages = {range->offset, whole_pages(bytes)};
  // The pages are ours now, so the exporter can be asked without the lock: it may have to ask somebody else.
  ++state->busy;
  lock.unlock();
  auto acquired = exporter.acquire(pages);
  lock.lock();
  --state->busy;
  if (!acquired || state->going) {
    if (acquired) {
      acquired =
          fail({.code = ErrorCode::device_gone, .doing = "allocating device memory", .why = "its device has left"});
    } else {
      state->pool.free(*range);
    }
    return std::unexpected(std::move(acquired.error()));
  }
  range->bytes = bytes;  // what was asked for; the rest of its last page belongs to nobody
  auto region = std::make_shared<RegionState>(shared_from_this(), *state, state->function, *range);
  region->index_in_exporter_ = state->regions.size();
  state->regions.push_back(region.get());
  return Region(std::move(region));
}

void Core::unlist(RegionState& region) {
  auto& regions = region.exporter_->regions;
  regions.back()->index_in_exporter_ = region.index_in_exporter_;
  std::swap(regions[region.index_in_exporter_], regions.back());
  regions.pop_back();
  region.exporter_ = nullptr;
}

// The result of the revocation is in the counters; a late importer that could not be cut off keeps the memory quarantined.
void Core::release(RegionState& region) {
  if (const std::byte* const shown = region.shown_.load()) pointers_.remove(shown);
  static_cast<void>(take_back(region, true, {}));
  Lock lock(mutex_);
  ExporterState* const state = region.exporter_;
  if (state == nullptr) return;
  unlist(region);
  if (region.quarantined_) {
    counters_.quarantined_bytes += region.range_.bytes;
    return;
  }
  if (!state->going) {
    const std::uint64_t bytes = region.range_.bytes;
    ++state->busy;
    lock.unlock();
    state->exporter->release({region.range_.offset, whole_pages(bytes)});
    lock.lock();
    --state->busy;
  }
  state->pool.free(region.range_);
}

std::span<std::byte> Core::cpu_bytes(RegionState& region) {
  Lock lock(mutex_);
  ExporterState* const state = region.exporter_;
  if (state == nullptr || state->going) return {};
  ++state->busy;
  lock.unlock();
  const std::span<std::byte> bytes = state->exporter->cpu_bytes(region.range_);
  lock.lock();
  --state->busy;
  return bytes;
}

bool Core::is_revoked(const RegionState& region) const {
  Lock lock(mutex_);
  return region.revoked_;
}

void Core::readmit(Importer& importer) {
  Lock lock(mutex_);
  ImporterState* const state = find(importer);
  if (state == nullptr) return;
  state->isolated = false;
  state->late.clear();
}

PeerCounters Core::counters() {
  Lock lock(mutex_);
  look_after_left(lock);
  return counters_;
}

void Core::routes_changed() {
  Lock lock(mutex_);
  routes_.clear();
  ++routes_epoch_;
}

// The end of the Exchange: every device leaves. What can't be cut off now can't be reported to anyone either; the devices'
// code is not called afterwards.
void Core::shut() {
  while (true) {
    Exporter* exporter = nullptr;
    Importer* importer = nullptr;
    {
      Lock lock(mutex_);
      if (!exporters_.empty())
        exporter = exporters_.begin()->second->exporter;
      else if (!importers_.empty())
        importer = importers_.begin()->second->importer;
      else
        return;
    }
    if (exporter != nullptr)
      static_cast<void>(withdraw(*exporter, {}));
    else
      static_cast<void>(remove(*importer, {}));
  }
}

}  // namespace barter::peer
