// Bytes that tell where they come from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace barter::lifetime {

inline std::vector<std::byte> pattern(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(seed * 31 + at * 7 + at / 251);
  return all;
}

}  // namespace barter::lifetime
