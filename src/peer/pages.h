// Pages as IOMMUs and owners of memory count them.
#pragma once
#include <cstdint>

namespace barter::peer {

inline constexpr std::uint64_t kPageBytes = 4096;

// Rounded up to whole pages. The bytes are at least a page short of 2^64.
[[nodiscard]] constexpr std::uint64_t whole_pages(std::uint64_t bytes) { return bytes + (-bytes % kPageBytes); }

}  // namespace barter::peer
