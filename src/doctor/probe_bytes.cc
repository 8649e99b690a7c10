#include "doctor/probe_bytes.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace barter::doctor {

std::vector<std::byte> probe_pattern(std::uint64_t seed, std::uint64_t number, std::uint64_t bytes) {
  // SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function that maps no two counters to one word.
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  std::vector<std::byte> data(bytes);
  std::uint64_t counter = (seed * kStep) ^ (number << 40);
  for (std::size_t at = 0; at < data.size(); at += sizeof counter) {
    counter += kStep;
    std::uint64_t word = counter;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    word ^= word >> 31;
    std::memcpy(data.data() + at, &word, std::min(sizeof word, data.size() - at));
  }
  return data;
}

Difference compare_bytes(std::span<const std::byte> sent, std::span<const std::byte> arrived) {
  assert(sent.size() == arrived.size());
  Difference difference;
  for (std::size_t at = 0; at < sent.size(); ++at) {
    if (sent[at] == arrived[at]) continue;
    if (!difference.first) difference.first = at;
    ++difference.wrong_bytes;
  }
  return difference;
}

}  // namespace barter::doctor
