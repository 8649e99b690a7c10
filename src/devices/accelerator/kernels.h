// What the compute engines compute, on plain memory. Words are little-endian and may lie anywhere.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace barter::devices::accelerator {

// into[i] = one[i] + other[i], modulo 2^32. `into` may be one of the others.
void add_words(const std::byte* one, const std::byte* other, std::byte* into, std::size_t words);
[[nodiscard]] std::uint64_t sum_words(const std::byte* at, std::size_t words);
void count_bytes(std::span<const std::byte> bytes, std::array<std::uint64_t, 256>& counts);

struct FilterWeights {
  std::array<std::int16_t, 9> weight{};  // row after row
  unsigned shift = 0;
};
// One row of the picture, out of the one above it, itself, and the one below it.
struct FilterRows {
  const std::byte* above = nullptr;
  const std::byte* middle = nullptr;
  const std::byte* below = nullptr;
};
void filter_row(const FilterWeights& weights, FilterRows rows, std::span<std::byte> into);

// XXH64 (Collet, "xxHash fast digest algorithm", version 0.1.1), in parts.
class Checksum {
 public:
  explicit Checksum(std::uint64_t seed = 0);
  // Every part but the last is a multiple of 32 bytes.
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

 private:
  std::array<std::uint64_t, 4> lanes_{};
  std::uint64_t seed_ = 0;
  std::uint64_t total_bytes_ = 0;
  std::array<std::byte, 32> rest_{};
  std::size_t rest_bytes_ = 0;
};

}  // namespace barter::devices::accelerator
