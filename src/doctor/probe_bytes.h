// The bytes of a probe: what is sent, and how what arrived is compared with it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace barter::doctor {

// Every eight bytes are others, for every number: data that arrives late, twice, elsewhere or not at all is seen. Never all
// zeros or ones, which is what a fabric answers that has lost a request.
[[nodiscard]] std::vector<std::byte> probe_pattern(std::uint64_t seed, std::uint64_t number, std::uint64_t bytes);

struct Difference {
  std::uint64_t wrong_bytes = 0;
  std::optional<std::uint64_t> first;
};
// Both must have one length.
[[nodiscard]] Difference compare_bytes(std::span<const std::byte> sent, std::span<const std::byte> arrived);

}  // namespace barter::doctor
