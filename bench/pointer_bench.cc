// What a pointer is: a look-up among 100,000 ranges, by addresses in no order.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "bench.h"
#include "peer/address_map.h"

namespace {

using namespace barter;
using namespace barter::bench;

constexpr std::uintptr_t kRanges = 100000;
constexpr std::uintptr_t kStride = 1 << 20;
constexpr std::uintptr_t kRangeBytes = kStride / 2;
constexpr double kMostNanoseconds = 100;
// Short rounds, and many: one that another process interrupts is then one of many.
constexpr std::size_t kCallsInRound = 1000;

std::vector<Row> pointer_look_up() {
  peer::AddressMap<std::uintptr_t> map;
  for (std::uintptr_t index = 0; index < kRanges; ++index) {
    const std::uintptr_t start = (index + 1) * kStride;
    if (!map.insert({.start = start, .end = start + kRangeBytes, .value = index})) throw Broken("a range was refused");
  }
  base::Random chance(1);
  std::vector<std::uintptr_t> addresses(1 << 16);  // half of them lie between two ranges
  for (std::uintptr_t& address : addresses) address = kStride + chance.below(kRanges * kStride);
  std::size_t next = 0;
  return {row_against_limit(
      {.name = "pointer look-up among 100,000 ranges",
       .peer_name = "100 ns",
       .unit = "ns",
       .goal = 1,
       .direction = Direction::at_most},
      {.rounds = 301, .warm_ups = 10},
      [&] {
        return nanoseconds_per(kCallsInRound, [&] {
          auto range = map.find(addresses[next++ % addresses.size()]);
          benchmark::DoNotOptimize(range);
        });
      },
      kMostNanoseconds)};
}

const bool registered = register_bench("pointer", pointer_look_up);

}  // namespace
