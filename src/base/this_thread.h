// A number for each thread, never given twice and never 0; kUncounted for all threads after the first 2^32 - 2.
#pragma once
#include <cstdint>

namespace barter::base {

inline constexpr std::uint32_t kUncounted = 0xffffffff;

namespace detail {
extern constinit thread_local std::uint32_t thread_number;
std::uint32_t number_thread();
}  // namespace detail

inline std::uint32_t this_thread() {
  return detail::thread_number != 0 ? detail::thread_number : detail::number_thread();
}

}  // namespace barter::base
