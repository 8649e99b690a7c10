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

PointerRun Pointers::run_at(std::span<const std::byte> memory, std::uint64_t offset) const {
  const auto at = reinterpret_cast<std::uintptr_t>(memory.data()) + offset;
  const std::uint64_t left = memory.size() - offset;
  const std::shared_lock lock(mutex_);
  const auto next = map_.at_or_after(at);
  if (!next || next.start() > at) {
    const std::uint64_t bytes = next ? std::min<std::uint64_t>(left, next.start() - at) : left;
    return {.range = {offset, bytes}, .region = nullptr, .managed = nullptr, .offset = 0};
  }
  // An owner that is just going is none any more.
  return {.range = {offset, std::min<std::uint64_t>(left, next.end() - at)},
          .region = next.value().region.lock(),
          .managed = next.value().managed.lock(),
          .offset = at - next.start()};
}

std::vector<PointerRun> Pointers::runs(std::span<const std::byte> memory) const {
  std::vector<PointerRun> found;
  for (std::uint64_t at = 0; at < memory.size(); at = found.back().range.offset + found.back().range.bytes)
    found.push_back(run_at(memory, at));
  return found;
}

}  // namespace barter::peer
