// Many threads at once: mappings, leases, revocations and drops, with nothing to hold on to but the contract. Run it under
// ThreadSanitizer (the preset tsan).
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "base/random.h"
#include "peer/exchange.h"
#include "peer/mapping.h"
#include "peer/test_devices.h"

namespace barter::peer {
namespace {

using namespace barter::literals;
using test::Memory;

// An importer that keeps the leases of its transfers and drops them when it is told to, from any thread.
class Worker final : public Importer {
 public:
  Worker(Bdf function, bool iommu) : function_(function), domain_(iommu) {}
  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] DmaDomain& domain() override { return domain_; }
  void invalidate(MappingId) override {
    std::vector<Lease> letting_go;
    const std::lock_guard lock(mutex_);
    letting_go.swap(leases_);
  }
  [[nodiscard]] Result<void> isolate() override {
    ++isolated;
    return {};
  }
  void keep(Lease lease) {
    const std::lock_guard lock(mutex_);
    if (leases_.size() < 4) leases_.push_back(std::move(lease));
  }
  std::atomic<std::uint64_t> isolated = 0;

 private:
  Bdf function_;
  test::CountingDomain domain_;
  std::mutex mutex_;
  std::vector<Lease> leases_;
};

constexpr int kRounds = 300;

std::vector<std::jthread> run(int threads, const std::function<void(base::Random&)>& work) {
  std::vector<std::jthread> all;
  for (int thread = 0; thread < threads; ++thread)
    all.emplace_back([&work, thread] {
      base::Random random(static_cast<std::uint64_t>(thread) + 1);
      for (int round = 0; round < kRounds; ++round) work(random);
    });
  return all;
}

class Stress : public testing::TestWithParam<Route> {};

// What a lease's user does happens before revoke() returns: the users write plain variables, and the revoker reads them.
TEST_P(Stress, Point4_no_lease_lives_when_revoke_has_returned) {
  base::SystemClock clock;
  Memory memory{{.bus = 1}, 64_MiB};
  Worker worker{{.bus = 2}, true};
  Exchange exchange(clock, [](Bdf, Bdf) { return RouteAnswer{.read = GetParam(), .write = GetParam()}; });
  ASSERT_TRUE(exchange.add(memory));
  ASSERT_TRUE(exchange.add(worker));
  constexpr RevokeOptions kPatient{.deadline = std::chrono::seconds(60)};
  std::uint64_t leased = 0;
  for (int round = 0; round < 10; ++round) {
    auto region = exchange.allocate(memory, 1_MiB);
    ASSERT_TRUE(region);
    std::array<std::uint64_t, 3> used{};  // plain on purpose
    std::atomic<bool> done = false;
    std::atomic<bool> has_leased = false;  // orders nothing: the plain variables are to be ordered by revoke() alone
    std::vector<std::jthread> users;
    for (std::uint64_t& mine : used)
      users.emplace_back([&] {
        while (!done) {
          const auto mapping = exchange.try_map(worker, *region);
          if (!mapping) continue;
          for (int count = 0; count < 10; ++count) {
            const auto lease = mapping->lease();
            if (!lease) break;
            mine += lease->segments()[0].bytes / 1_MiB;
            has_leased.store(true, std::memory_order_relaxed);
          }
        }
      });
    EXPECT_TRUE(base::wait_until(clock, clock.now() + kPatient.deadline,
                                 [&] { return has_leased.load(std::memory_order_relaxed); }));
    for (int count = 0; count < 10; ++count) {
      const auto report = region->invalidate(kPatient);
      ASSERT_TRUE(report && report->late.empty());
      std::this_thread::yield();
    }
    const auto report = region->revoke(kPatient);
    ASSERT_TRUE(report && report->late.empty());
    const std::array<std::uint64_t, 3> before = used;
    EXPECT_FALSE(exchange.try_map(worker, *region));
    std::this_thread::yield();
    EXPECT_EQ(used, before);
    done = true;
    for (const std::uint64_t one : before) leased += one;
  }
  EXPECT_GT(leased, 0u);
  const PeerCounters counters = exchange.counters();
  EXPECT_EQ(counters.mapped, counters.unmapped);
  EXPECT_EQ(counters.late_importers, 0u);
}

// The seat is taken by plain stores: whoever takes memory back must not miss one that is on its way.
TEST_P(Stress, Point4_a_lease_that_begins_as_the_memory_is_taken_back_is_waited_for) {
  base::SystemClock clock;
  Memory memory{{.bus = 1}, 1_MiB};
  test::Client client{{.bus = 2}, true};
  Exchange exchange(clock, [](Bdf, Bdf) { return RouteAnswer{.read = GetParam(), .write = GetParam()}; });
  ASSERT_TRUE(exchange.add(memory));
  ASSERT_TRUE(exchange.add(client));
  auto region = exchange.allocate(memory, 64_KiB);
  ASSERT_TRUE(region);
  constexpr RevokeOptions kPatient{.deadline = std::chrono::seconds(60)};
  constexpr Duration kTime = std::chrono::milliseconds(500);  // without the heavy fence, hundreds are missed in it
  constexpr std::uint64_t kMoments = 100;                     // that one of the two comes later than the other, at most
  enum class Stage : std::uint8_t { nothing, mapped, seated, go, left, over };
  std::atomic<Stage> stage = Stage::nothing;
  std::atomic<bool> is_told = false;
  std::atomic<bool> is_in_use = false;
  client.on_told = [&] { is_told = true; };
  std::optional<Mapping> mapping;
  // What the one has written last is slow to be written by the other, and its stores to the seat come after that.
  struct alignas(64) Line {
    std::atomic<int> value = 0;
  };
  std::array<Line, 40> lines;
  const auto await = [&](Stage wanted) {
    while (stage != wanted && stage != Stage::over) std::this_thread::yield();
  };
  const auto spin = [&](std::uint64_t moments) {
    for (; moments > 0; --moments) static_cast<void>(is_told.load());
  };
  std::jthread sitter([&] {
    base::Random random(8);
    while (true) {
      await(Stage::mapped);
      if (stage == Stage::over) return;
      EXPECT_TRUE(mapping->lease()) << "from here on the seat is this thread's";
      stage = Stage::seated;
      while (stage != Stage::go) {
      }
      spin(random.below(kMoments));
      for (Line& line : lines) line.value.store(1, std::memory_order_relaxed);
      if (const auto lease = mapping->lease()) {
        is_in_use = true;
        while (!is_told) std::this_thread::yield();
        spin(kMoments);
        is_in_use = false;
      }
      stage = Stage::left;
    }
  });
  base::Random random(7);
  int missed = 0;
  for (const base::TimePoint end = clock.now() + kTime; clock.now() < end;) {
    auto mapped = exchange.try_map(client, *region);
    ASSERT_TRUE(mapped);
    mapping.emplace(std::move(*mapped));
    is_told = false;
    for (Line& line : lines) line.value.store(0, std::memory_order_relaxed);
    stage = Stage::mapped;
    await(Stage::seated);
    stage = Stage::go;
    spin(random.below(kMoments));
    const auto report = region->invalidate(kPatient);
    if (is_in_use) ++missed;
    ASSERT_TRUE(report && report->late.empty());
    await(Stage::left);
    mapping.reset();
  }
  stage = Stage::over;
  EXPECT_EQ(missed, 0);
}

// The lease sits in the mapping's seat and may not see that the handle goes: then it is unmapped by the next call.
TEST_P(Stress, Point6_handle_and_last_lease_dropped_in_the_same_instant) {
  base::SystemClock clock;
  Memory memory{{.bus = 1}, 1_MiB};
  Worker worker{{.bus = 2}, true};
  Exchange exchange(clock, [](Bdf, Bdf) { return RouteAnswer{.read = GetParam(), .write = GetParam()}; });
  ASSERT_TRUE(exchange.add(memory));
  ASSERT_TRUE(exchange.add(worker));
  const auto region = exchange.allocate(memory, 64_KiB);
  ASSERT_TRUE(region);
  constexpr int kTimes = 3000;
  std::optional<Lease> lease;
  std::atomic<int> round = 0;  // even: set up; odd: both drop
  std::atomic<bool> dropped = false;
  std::jthread other([&] {
    for (int mine = 1; mine < 2 * kTimes; mine += 2) {
      while (round.load() != mine) std::this_thread::yield();
      lease.reset();
      dropped = true;
    }
  });
  for (int time = 0; time < kTimes; ++time) {
    std::optional<Mapping> mapping = std::move(*exchange.try_map(worker, *region));
    lease = std::move(*mapping->lease());
    dropped = false;
    ++round;
    mapping.reset();
    while (!dropped) std::this_thread::yield();
    ++round;
    const PeerCounters counters = exchange.counters();
    EXPECT_EQ(counters.mapped, counters.unmapped);
    EXPECT_EQ(counters.mapped, static_cast<std::uint64_t>(time) + 1);
  }
}

// Everything at once, with handles passed between threads and devices that come and go.
TEST_P(Stress, Point6_everything_at_once) {
  base::SystemClock clock;
  Memory memory{{.bus = 1}, 64_MiB}, fleeting{{.bus = 4}, 64_MiB};
  Worker guarded{{.bus = 2}, true}, open{{.bus = 3}, false}, visitor{{.bus = 5}, true};
  std::mutex mutex;
  std::deque<Mapping> mappings;
  std::deque<Lease> leases;
  std::deque<MappingId> ids;
  {
    Exchange exchange(clock, [](Bdf, Bdf) { return RouteAnswer{.read = GetParam(), .write = GetParam()}; });
    ASSERT_TRUE(exchange.add(memory));
    ASSERT_TRUE(exchange.add(guarded));
    ASSERT_TRUE(exchange.add(open));
    std::mutex coming_and_going;
    run(4, [&](base::Random& random) {
      Worker& worker = random.chance(0.4) ? guarded : random.chance(0.8) ? open : visitor;
      auto region = exchange.allocate(random.chance(0.8) ? memory : fleeting, 4_KiB << random.below(4));
      if (region) {
        for (std::uint64_t count = random.below(4); count > 0; --count) {
          auto mapping = exchange.try_map(worker, *region);
          if (!mapping) continue;
          auto lease = mapping->lease();
          if (lease && random.chance(0.5)) worker.keep(std::move(*lease));
          const std::lock_guard lock(mutex);
          ids.push_back(mapping->state().id());
          mappings.push_back(std::move(*mapping));
          if (lease && random.chance(0.5)) leases.push_back(std::move(*lease));
        }
        const RevokeOptions soon{.deadline = std::chrono::microseconds(200)};
        EXPECT_TRUE(random.chance(0.3) ? region->invalidate(soon) : region->revoke(soon));
        EXPECT_TRUE(region->revoke(soon));  // dropping it would give them longer
      }
      std::optional<Mapping> mapping;
      std::optional<Lease> lease;
      std::optional<MappingId> id;
      {
        const std::lock_guard lock(mutex);
        if (mappings.size() > random.below(16)) mapping = std::move(mappings.front()), mappings.pop_front();
        if (leases.size() > random.below(4)) lease = std::move(leases.front()), leases.pop_front();
        if (ids.size() > 64) id = ids.front(), ids.pop_front();
      }
      if (id) static_cast<void>(exchange.lease(*id));
      if (random.chance(0.5)) lease.reset();
      mapping.reset();
      if (random.chance(0.1)) {
        const std::lock_guard lock(coming_and_going);
        static_cast<void>(exchange.add(visitor));
        static_cast<void>(exchange.add(fleeting));
      } else if (random.chance(0.1)) {
        const std::lock_guard lock(coming_and_going);
        EXPECT_TRUE(exchange.remove(visitor, {.deadline = std::chrono::microseconds(100)}));
        EXPECT_TRUE(exchange.withdraw(fleeting, {.deadline = std::chrono::microseconds(100)}));
      }
      exchange.readmit(open);
      exchange.readmit(guarded);
    });
    EXPECT_TRUE(exchange.allocate(memory, 64_MiB)) << "all of the memory came back";
    EXPECT_GT(exchange.counters().mapped, 500u);
    EXPECT_GT(exchange.counters().late_importers, 0u);
    EXPECT_EQ(exchange.counters().mapped, exchange.counters().unmapped);
  }
  // The rest outlives the Exchange.
  for (const Mapping& mapping : mappings) EXPECT_FALSE(mapping.lease());
}

INSTANTIATE_TEST_SUITE_P(Routes, Stress, testing::Values(Route::bus_address, Route::through_host_bridge),
                         [](const auto& param) { return std::string(name_of(param.param)); });

}  // namespace
}  // namespace barter::peer
