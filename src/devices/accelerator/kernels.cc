#include "devices/accelerator/kernels.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace barter::devices::accelerator {
namespace {

template <class Word>
Word load(const std::byte* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The specification's five primes.
constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr std::uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr std::uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr std::uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr std::uint64_t kPrime5 = 0x27D4EB2F165667C5;
constexpr std::size_t kStripe = 32;

std::uint64_t round(std::uint64_t lane, std::uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }
std::uint64_t merge(std::uint64_t value, std::uint64_t lane) { return (value ^ round(0, lane)) * kPrime1 + kPrime4; }

}  // namespace

void add_words(const std::byte* one, const std::byte* other, std::byte* into, std::size_t words) {
  for (std::size_t index = 0; index < words; ++index) {
    const std::uint32_t sum = load<std::uint32_t>(one + index * 4) + load<std::uint32_t>(other + index * 4);
    std::memcpy(into + index * 4, &sum, sizeof sum);
  }
}

std::uint64_t sum_words(const std::byte* at, std::size_t words) {
  std::uint64_t sum = 0;
  for (std::size_t index = 0; index < words; ++index) sum += load<std::uint32_t>(at + index * 4);
  return sum;
}

void count_bytes(std::span<const std::byte> bytes, std::array<std::uint64_t, 256>& counts) {
  for (const std::byte byte : bytes) ++counts[static_cast<std::size_t>(byte)];
}

void filter_row(const FilterWeights& weights, FilterRows rows, std::span<std::byte> into) {
  const std::size_t width = into.size();
  const std::array<const std::byte*, 3> lines = {rows.above, rows.middle, rows.below};
  for (std::size_t x = 0; x < width; ++x) {
    const std::array<std::size_t, 3> columns = {x == 0 ? 0 : x - 1, x, x + 1 == width ? x : x + 1};
    std::int32_t sum = 0;
    for (std::size_t row = 0; row < 3; ++row)
      for (std::size_t column = 0; column < 3; ++column)
        sum += weights.weight[row * 3 + column] * static_cast<std::int32_t>(lines[row][columns[column]]);
    into[x] = static_cast<std::byte>(std::clamp(sum >> weights.shift, 0, 255));
  }
}

Checksum::Checksum(std::uint64_t seed)
    : lanes_{seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1}, seed_(seed) {}

void Checksum::add(std::span<const std::byte> bytes) {
  assert(rest_bytes_ == 0);
  total_bytes_ += bytes.size();
  auto [a, b, c, d] = lanes_;
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size() / kStripe * kStripe;
  for (; at != end; at += kStripe) {
    a = round(a, load<std::uint64_t>(at));
    b = round(b, load<std::uint64_t>(at + 8));
    c = round(c, load<std::uint64_t>(at + 16));
    d = round(d, load<std::uint64_t>(at + 24));
  }
  lanes_ = {a, b, c, d};
  rest_bytes_ = bytes.size() % kStripe;
  std::copy_n(at, rest_bytes_, rest_.begin());
}

std::uint64_t Checksum::value() const {
  std::uint64_t value = seed_ + kPrime5;
  if (total_bytes_ >= kStripe) {
    value = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) value = merge(value, lane);
  }
  value += total_bytes_;
  std::size_t at = 0;
  for (; at + 8 <= rest_bytes_; at += 8)
    value = std::rotl(value ^ round(0, load<std::uint64_t>(&rest_[at])), 27) * kPrime1 + kPrime4;
  if (at + 4 <= rest_bytes_) {
    value = std::rotl(value ^ load<std::uint32_t>(&rest_[at]) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < rest_bytes_; ++at)
    value = std::rotl(value ^ static_cast<std::uint64_t>(rest_[at]) * kPrime5, 11) * kPrime1;
  value = (value ^ value >> 33) * kPrime2;
  value = (value ^ value >> 29) * kPrime3;
  return value ^ value >> 32;
}

}  // namespace barter::devices::accelerator
