// What a pointer is: a look-up among 100,000 ranges, by addresses in no order.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <utility>
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
constexpr Rounds kRounds{.rounds = 301, .warm_ups = 10};
constexpr double kMostOfTree = 0.5;

std::vector<std::uintptr_t> addresses_among_ranges() {
  base::Random chance(1);
  std::vector<std::uintptr_t> addresses(1 << 16);  // half of them lie between two ranges
  for (std::uintptr_t& address : addresses) address = kStride + chance.below(kRanges * kStride);
  return addresses;
}

// Calls look_up with all of these in turn.
template <class LookUp>
Measure nanoseconds_of(const std::vector<std::uintptr_t>& addresses, LookUp look_up) {
  return [&addresses, look_up = std::move(look_up), next = std::size_t{0}]() mutable {
    return nanoseconds_per(kCallsInRound, [&] { look_up(addresses[next++ % addresses.size()]); });
  };
}

Row range_look_up() {
  peer::AddressMap<std::uintptr_t> map;
  for (std::uintptr_t index = 0; index < kRanges; ++index) {
    const std::uintptr_t start = (index + 1) * kStride;
    if (!map.insert({.start = start, .end = start + kRangeBytes, .value = index})) throw Broken("a range was refused");
  }
  const std::vector<std::uintptr_t> addresses = addresses_among_ranges();
  return row_against_limit({.name = "pointer look-up among 100,000 ranges",
                            .peer_name = "100 ns",
                            .unit = "ns",
                            .goal = 1,
                            .direction = Direction::at_most},
                           kRounds,
                           nanoseconds_of(addresses,
                                          [&](std::uintptr_t address) {
                                            auto range = map.at_or_after(address);
                                            benchmark::DoNotOptimize(range);
                                          }),
                           kMostNanoseconds);
}

// What most programs would write: a tree of the ends, with the same lock and the same hold on the owner.
class Tree {
 public:
  void add(std::uintptr_t start, std::weak_ptr<peer::RegionState> region) {
    ranges_.emplace(start + kRangeBytes, Range{start, std::move(region)});
  }
  [[nodiscard]] std::shared_ptr<peer::RegionState> find(std::uintptr_t address) const {
    const std::shared_lock lock(mutex_);
    const auto next = ranges_.upper_bound(address);
    if (next == ranges_.end() || next->second.start > address) return nullptr;
    return next->second.region.lock();
  }

 private:
  struct Range {
    std::uintptr_t start = 0;
    std::weak_ptr<peer::RegionState> region;
  };
  mutable std::shared_mutex mutex_;
  std::map<std::uintptr_t, Range> ranges_;  // by their ends
};

// As a transfer does it: with the lock, and with a hold on the owner.
Row owner_look_up() {
  peer::Pointers pointers;
  Tree tree;
  const auto owner = std::make_shared<int>();
  const std::shared_ptr<peer::RegionState> region(owner, reinterpret_cast<peer::RegionState*>(owner.get()));
  for (std::uintptr_t index = 0; index < kRanges; ++index) {
    const std::uintptr_t start = (index + 1) * kStride;
    if (!pointers.add({reinterpret_cast<const std::byte*>(start), kRangeBytes}, region))
      throw Broken("a range was refused");
    tree.add(start, region);
  }
  const std::vector<std::uintptr_t> addresses = addresses_among_ranges();
  return row_of({.name = "the same, and its owner held for a transfer",
                 .peer_name = "a std::map of the ranges",
                 .unit = "ns",
                 .goal = kMostOfTree,
                 .direction = Direction::at_most},
                kRounds,
                nanoseconds_of(addresses,
                               [&](std::uintptr_t address) {
                                 auto run = pointers.run_at({reinterpret_cast<const std::byte*>(address), 64}, 0);
                                 benchmark::DoNotOptimize(run);
                               }),
                nanoseconds_of(addresses, [&](std::uintptr_t address) {
                  auto held = tree.find(address);
                  benchmark::DoNotOptimize(held);
                }));
}

std::vector<Row> pointer_rows() { return {range_look_up(), owner_look_up()}; }

const bool registered = register_bench("pointer", pointer_rows);

}  // namespace
