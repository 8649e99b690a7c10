// What a pointer is: a look-up among 100,000 ranges, by addresses in no order.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "bench.h"
#include "peer/address_map.h"
#include "peer/pointers.h"

namespace {

using namespace barter;
using namespace barter::bench;

constexpr std::uintptr_t kRanges = 100000;
constexpr std::uintptr_t kStride = 1 << 20;
constexpr std::uintptr_t kRangeBytes = kStride / 2;
constexpr double kMostNanoseconds = 100;
// Short rounds, and many: one that another process interrupts is then one of many.
constexpr std::size_t kCallsInRound = 1000;

std::vector<std::uintptr_t> addresses_among_ranges() {
  base::Random chance(1);
  std::vector<std::uintptr_t> addresses(1 << 16);  // half of them lie between two ranges
  for (std::uintptr_t& address : addresses) address = kStride + chance.below(kRanges * kStride);
  return addresses;
}

template <class LookUp>
Row row_of(const char* name, LookUp&& look_up) {
  const std::vector<std::uintptr_t> addresses = addresses_among_ranges();
  std::size_t next = 0;
  return row_against_limit(
      {.name = name, .peer_name = "100 ns", .unit = "ns", .goal = 1, .direction = Direction::at_most},
      {.rounds = 301, .warm_ups = 10},
      [&] { return nanoseconds_per(kCallsInRound, [&] { look_up(addresses[next++ % addresses.size()]); }); },
      kMostNanoseconds);
}

Row pointer_look_up() {
  peer::AddressMap<std::uintptr_t> map;
  for (std::uintptr_t index = 0; index < kRanges; ++index) {
    const std::uintptr_t start = (index + 1) * kStride;
    if (!map.insert({.start = start, .end = start + kRangeBytes, .value = index})) throw Broken("a range was refused");
  }
  return row_of("pointer look-up among 100,000 ranges", [&](std::uintptr_t address) {
    auto range = map.find(address);
    benchmark::DoNotOptimize(range);
  });
}

// As a transfer does it: with the lock, and with a hold on the owner.
Row owner_look_up() {
  peer::Pointers pointers;
  const auto owner = std::make_shared<int>();
  const std::shared_ptr<peer::RegionState> region(owner, reinterpret_cast<peer::RegionState*>(owner.get()));
  for (std::uintptr_t index = 0; index < kRanges; ++index) {
    auto* const start = reinterpret_cast<const std::byte*>((index + 1) * kStride);
    if (!pointers.add({start, kRangeBytes}, region)) throw Broken("a range was refused");
  }
  return row_of("the same, held for a transfer", [&](std::uintptr_t address) {
    auto runs = pointers.runs({reinterpret_cast<const std::byte*>(address), 64});
    benchmark::DoNotOptimize(runs);
  });
}

std::vector<Row> pointer_rows() { return {pointer_look_up(), owner_look_up()}; }

const bool registered = register_bench("pointer", pointer_rows);

}  // namespace
