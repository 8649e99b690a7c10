// Sizes and times as one writes them: 64_MiB, 10ms.
//
//   using namespace barter::literals;
//   auto region = gpu.allocate(64_MiB);
//   auto report = region->revoke({.deadline = 10ms});
#pragma once
#include <chrono>
#include <cstdint>

namespace barter {

using Duration = std::chrono::nanoseconds;

namespace literals {
using namespace std::chrono_literals;
constexpr std::uint64_t operator""_KiB(unsigned long long count) { return std::uint64_t{count} << 10; }
constexpr std::uint64_t operator""_MiB(unsigned long long count) { return std::uint64_t{count} << 20; }
constexpr std::uint64_t operator""_GiB(unsigned long long count) { return std::uint64_t{count} << 30; }
constexpr std::uint64_t operator""_TiB(unsigned long long count) { return std::uint64_t{count} << 40; }
}  // namespace literals
}  // namespace barter
