// What a requester remembers of the answers it got: for each range of addresses, where it leads. One cache for reads and
// one for writes. A look-up is a table access and two comparisons.
//
// `slots_` is indexed by a few bits of the page number and remembers which range answered last there; a range of many
// pages comes to own all the slots it needs. What is not found there is looked for in the list of ranges sorted by
// address. When the list is full everything is forgotten: the ranges that are in use come back by themselves.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "fabric/route.h"

namespace barter::fabric {

struct CachedRange {
  std::uint64_t start = 0;
  std::uint64_t bytes = 0;
  std::byte* memory = nullptr;  // of `start`; null when the target is not memory
  Route* route = nullptr;
  Node* target = nullptr;
  std::uint64_t bar_offset = 0;  // of `start`
  TargetKind kind = TargetKind::none;
  std::uint8_t bar = 0;
};

class RangeCache {
  // How the sorted list is searched. Ahead of its users, because its type is deduced.
  [[nodiscard]] auto starts_after() const {
    return [this](std::uint64_t address, std::uint16_t number) { return address < ranges_[number].start; };
  }

 public:
  static constexpr std::size_t kMaxRanges = 1024;
  static constexpr std::size_t kSlots = 256;

  [[nodiscard]] const CachedRange* find(std::uint64_t address) {
    std::uint16_t& slot = slots_[slot_of(address)];
    const CachedRange& recent = ranges_[slot];
    if (address - recent.start < recent.bytes) return &recent;
    return find_slowly(address, slot);
  }

  const CachedRange* insert(const CachedRange& range) {
    if (count_ == kMaxRanges) clear();
    const auto number = static_cast<std::uint16_t>(count_ + 1);
    ranges_[number] = range;
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto place = std::upper_bound(order_.begin(), end, range.start, starts_after());
    std::copy_backward(place, end, end + 1);
    *place = number;
    ++count_;
    slots_[slot_of(range.start)] = number;
    return &ranges_[number];
  }

  void clear() {
    slots_.fill(0);
    count_ = 0;
  }

 private:
  static std::size_t slot_of(std::uint64_t address) { return (address >> 12 ^ address >> 20) % kSlots; }
  [[nodiscard]] const CachedRange* find_slowly(std::uint64_t address, std::uint16_t& slot) {
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(count_);
    const auto after = std::upper_bound(order_.begin(), end, address, starts_after());
    if (after == order_.begin()) return nullptr;
    const std::uint16_t number = *(after - 1);
    if (address - ranges_[number].start >= ranges_[number].bytes) return nullptr;
    slot = number;
    return &ranges_[number];
  }

  std::array<std::uint16_t, kSlots> slots_{};
  std::size_t count_ = 0;
  std::array<std::uint16_t, kMaxRanges> order_{};     // numbers of ranges, by start
  std::array<CachedRange, kMaxRanges + 1> ranges_{};  // number 0 is empty and never found
};

}  // namespace barter::fabric
