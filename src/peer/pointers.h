// What the pointers of this process are: device memory that a region shows the CPU, managed memory, or anything else, which is
// host memory. One table for each exchange, for transfers that take any pointer.
//
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <vector>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "peer/address_map.h"

namespace barter::peer {

class ManagedPages;
class RegionState;

// A piece of memory of one kind. Neither owner: host memory.
struct PointerRun {
  MemoryRange range;  // of what was asked about
  std::shared_ptr<RegionState> region;
  std::shared_ptr<ManagedPages> managed;
  std::uint64_t offset = 0;  // within the region or the managed memory
};

class Pointers {
 public:
  [[nodiscard]] Result<void> add(std::span<const std::byte> memory, std::weak_ptr<RegionState> region);
  [[nodiscard]] Result<void> add(std::span<const std::byte> memory, std::weak_ptr<ManagedPages> managed);
  void remove(const std::byte* start);
  // The piece that begins at this offset, which lies within the memory. Takes no room, so that a small transfer can afford it.
  [[nodiscard]] PointerRun run_at(std::span<const std::byte> memory, std::uint64_t offset) const;
  // The pieces of this memory, in order, without gaps. Each is what it was when it was looked up.
  [[nodiscard]] std::vector<PointerRun> runs(std::span<const std::byte> memory) const;

 private:
  struct Owner {
    std::weak_ptr<RegionState> region;
    std::weak_ptr<ManagedPages> managed;
  };
  mutable std::shared_mutex mutex_;
  AddressMap<Owner> map_;
};

}  // namespace barter::peer
