// What the caller of a transfer wants of peer-to-peer DMA. The four words are libfabric's (FI_HMEM_P2P_*).
#pragma once
#include <cstdint>
#include <string_view>

#include <barter/result.hpp>

namespace barter {

enum class P2p : std::uint8_t {
  required,   // direct, or an error that says why not and how to get it
  preferred,  // direct where a route is known to work, by way of host memory otherwise; every fallback is reported
  enabled,    // whichever the library expects to be faster
  disabled,   // by way of host memory
};
[[nodiscard]] std::string_view name_of(P2p policy);
[[nodiscard]] Result<P2p> parse_p2p(std::string_view text);

}  // namespace barter
