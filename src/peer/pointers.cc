#include "peer/pointers.h"

#include <algorithm>
#include <utility>

namespace barter::peer {

Result<void> Pointers::add(std::span<const std::byte> memory, std::weak_ptr<RegionState> region) {
  const std::unique_lock lock(mutex_);
  return map_.insert(memory, {.region = std::move(region), .managed = {}});
}

Result<void> Pointers::add(std::span<const std::byte> memory, std::weak_ptr<ManagedPages> managed) {
  const std::unique_lock lock(mutex_);
  return map_.insert(memory, {.region = {}, .managed = std::move(managed)});
}

void Pointers::remove(const std::byte* start) {
  const std::unique_lock lock(mutex_);
  map_.erase(start);
}

std::vector<PointerRun> Pointers::runs(std::span<const std::byte> memory) const {
  std::vector<PointerRun> found;
  const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t end = start + memory.size();
  const std::shared_lock lock(mutex_);
  for (std::uintptr_t at = start; at < end;) {
    const auto next = map_.at_or_after(at);
    if (!next || next.start() > at) {
      const std::uintptr_t until = next ? std::min(end, next.start()) : end;
      found.push_back({.range = {at - start, until - at}, .region = nullptr, .managed = nullptr, .offset = 0});
      at = until;
      continue;
    }
    const std::uintptr_t until = std::min(end, next.end());
    // An owner that is just going is none any more.
    found.push_back({.range = {at - start, until - at},
                     .region = next.value().region.lock(),
                     .managed = next.value().managed.lock(),
                     .offset = at - next.start()});
    at = until;
  }
  return found;
}

}  // namespace barter::peer
