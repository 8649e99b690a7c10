// A range of numbers: addresses on some bus, or offsets in a BAR.
#pragma once
#include <cstdint>

namespace barter::fabric {

// From start to end, end not included.
struct Span {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  [[nodiscard]] constexpr bool contains(std::uint64_t value) const { return value >= start && value < end; }
};

}  // namespace barter::fabric
