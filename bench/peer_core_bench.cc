// What the peer core costs by itself: exporting and mapping device memory of any size, taking it back from a thousand
// importers, and the lease of each transfer. Nothing is behind the addresses, because nothing is moved.
#include <malloc.h>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "barter/units.hpp"
#include "bench.h"
#include "peer/exchange.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::uint64_t kLarge = 128_GiB;
constexpr std::uint64_t kSmall = 4_KiB;
constexpr std::size_t kImporters = 1000;

class Memory final : public peer::Exporter {
 public:
  [[nodiscard]] Bdf function() const override { return {.bus = 1}; }
  // Room for a thousand large regions at a time.
  [[nodiscard]] std::uint64_t size_bytes() const override { return 256 * 1024_GiB; }
  [[nodiscard]] BusAddress bus_address() const override { return {1024_GiB}; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }
};

// Has nothing in flight, and lets go of everything by having no lease.
class Idle final : public peer::Importer {
 public:
  explicit Idle(std::size_t number) : number_(number) {}
  [[nodiscard]] Bdf function() const override {
    return Bdf::from_requester_id(1, static_cast<std::uint16_t>(256 + number_));
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return none_; }
  void invalidate(peer::MappingId) override { ++told_; }
  [[nodiscard]] Result<void> isolate() override { return {}; }

 private:
  std::size_t number_;
  std::uint64_t told_ = 0;
  peer::NoIommu none_;
};

template <class T>
T need(Result<T> result) {
  if (!result) throw Broken(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class Bench {
 public:
  explicit Bench(std::size_t importers)
      : exchange_(clock_,
                  [](Bdf, Bdf) { return peer::RouteAnswer{.read = Route::bus_address, .write = Route::bus_address}; }) {
    need(exchange_.add(memory_));
    for (std::size_t number = 0; number < importers; ++number) {
      importers_.push_back(std::make_unique<Idle>(number));
      need(exchange_.add(*importers_.back()));
    }
  }
  [[nodiscard]] Region allocate(std::uint64_t bytes) { return need(exchange_.allocate(memory_, bytes)); }
  [[nodiscard]] Mapping map(std::size_t importer, const Region& region) {
    auto mapping = exchange_.try_map(*importers_[importer], region);
    if (!mapping) throw Broken(mapping.error().error.message());
    return std::move(*mapping);
  }

 private:
  base::SystemClock clock_;
  Memory memory_;
  std::vector<std::unique_ptr<Idle>> importers_;
  peer::Exchange exchange_;  // goes before its devices
};

// Bytes that the program has in use, of the heap.
double heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

// Of one region with one mapping: the share of each of a thousand that are held at a time, of a machine of their own, so that
// the tables that they are the first to need count too.
double bookkeeping_bytes(std::uint64_t bytes) {
  constexpr std::size_t kHeld = 1000;
  Bench bench(1);
  std::vector<std::pair<Region, Mapping>> held;
  held.reserve(kHeld);
  const double before = heap_bytes();
  while (held.size() < kHeld) {
    Region region = bench.allocate(bytes);
    Mapping mapping = bench.map(0, region);
    held.emplace_back(std::move(region), std::move(mapping));
  }
  return (heap_bytes() - before) / kHeld;
}

std::vector<Row> export_and_map() {
  Bench bench(1);
  const auto time = [&](std::uint64_t bytes) {
    return processor_nanoseconds_per(4000, [&] {
      const Region region = bench.allocate(bytes);
      const Mapping mapping = bench.map(0, region);
      benchmark::DoNotOptimize(mapping.size_bytes());
    });
  };
  const Question in_time{.name = "export, map, unmap, free 128 GiB",
                         .peer_name = "4 KiB",
                         .unit = "ns",
                         .goal = 1.2,
                         .direction = Direction::at_most};
  const Question in_memory{.name = "bookkeeping of 128 GiB, mapped",
                           .peer_name = "4 KiB",
                           .unit = "bytes",
                           .goal = 1.2,
                           .direction = Direction::at_most};
  const Question limit{.name = "bookkeeping of 128 GiB, mapped, limit",
                       .peer_name = "1 KiB",
                       .unit = "bytes",
                       .goal = 1,
                       .direction = Direction::at_most};
  return {
      row_of(
          in_time, {.rounds = 41, .warm_ups = 2}, [&] { return time(kLarge); }, [&] { return time(kSmall); }),
      row_of(
          in_memory, {.rounds = 5}, [] { return bookkeeping_bytes(kLarge); }, [] { return bookkeeping_bytes(kSmall); }),
      row_against_limit(limit, {.rounds = 5}, [] { return bookkeeping_bytes(kLarge); }, 1024)};
}

std::vector<Row> revoke() {
  Bench bench(kImporters);
  const auto for_each = [&] {
    Region region = bench.allocate(1_MiB);
    std::vector<Mapping> mappings;
    for (std::size_t importer = 0; importer < kImporters; ++importer) mappings.push_back(bench.map(importer, region));
    return processor_nanoseconds_per(1,
                                     [&] {
                                       if (need(region.revoke()).mappings != kImporters)
                                         throw Broken("not all mappings were taken back");
                                     }) /
           kImporters;
  };
  return {row_against_limit({.name = "revoke from 1,000 idle importers, each",
                             .peer_name = "2 us",
                             .unit = "ns",
                             .goal = 1,
                             .direction = Direction::at_most},
                            {.rounds = 41, .warm_ups = 2}, for_each, 2000)};
}

constexpr std::size_t kLeases = 200000;

// The same while another thread does the like; that one stops with this one.
template <class Mine, class Other>
double beside(Mine&& mine, Other&& other) {
  std::atomic<int> state = 0;  // 1: the other is at work, 2: it may stop
  std::jthread neighbour([&] {
    state = 1;
    while (state.load(std::memory_order_relaxed) == 1)
      for (int count = 0; count < 100; ++count) other();
  });
  while (state != 1) std::this_thread::yield();
  const double taken = processor_nanoseconds_per(kLeases, mine);
  state = 2;
  return taken;
}

struct alignas(128) OwnLine {
  std::atomic<std::uint64_t> count = 0;
  void take_and_drop() {
    std::uint64_t seen = count.load(std::memory_order_relaxed);
    while (!count.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire)) {
    }
    seen = count.load(std::memory_order_relaxed);
    while (!count.compare_exchange_weak(seen, seen - 1, std::memory_order_release)) {
    }
  }
};

std::vector<Row> lease() {
  Bench bench(2);
  const Region region = bench.allocate(1_MiB);
  const Mapping mine = bench.map(0, region);
  const Mapping others = bench.map(1, region);
  const auto take = [](const Mapping& mapping) {
    const auto lease = mapping.lease();
    benchmark::DoNotOptimize(lease.has_value());
  };
  OwnLine first, second;
  return {
      row_against_limit(
          {.name = "a lease taken and dropped",
           .peer_name = "10 ns",
           .unit = "ns",
           .goal = 1,
           .direction = Direction::at_most},
          {.rounds = 41, .warm_ups = 2}, [&] { return processor_nanoseconds_per(kLeases, [&] { take(mine); }); }, 10),
      // If the two mappings shared a line, the left figure were several times the right one.
      row_of(
          {.name = "the same, while another importer does it",
           .peer_name = "counters in lines of their own",
           .unit = "ns",
           .goal = 2,
           .direction = Direction::at_most},
          {.rounds = 21, .warm_ups = 1}, [&] { return beside([&] { take(mine); }, [&] { take(others); }); },
          [&] { return beside([&] { first.take_and_drop(); }, [&] { second.take_and_drop(); }); })};
}

const bool registered = register_bench("peer_export", export_and_map) && register_bench("peer_revoke", revoke) &&
                        register_bench("peer_lease", lease);

}  // namespace
