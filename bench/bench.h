// Benchmarks as ratios. A bare number says little about a program on somebody else's computer, so each row runs Barter
// and a stated peer (or a stated limit) alternately in one process and reports how they compare.
//
//   namespace {
//   using namespace barter::bench;
//
//   std::vector<Row> map_cost() {
//     return {row_of({.name = "map 1 GiB", .peer_name = "map 4 KiB", .unit = "ns", .goal = 1.2,
//                     .direction = Direction::at_most},
//                    {.rounds = 11}, [&] { return nanoseconds_per(1000, map_big); },
//                    [&] { return nanoseconds_per(1000, map_small); })};
//   }
//   const bool registered = register_bench("map", map_cost);
//   }  // namespace
//
// Put that into bench/NAME_bench.cc; the build finds it. The ratio is always barter / peer, so a bandwidth has a goal
// that must be reached (`at_least`) and a time has one that must be kept (`at_most`). Each round measures both, in
// turns, and gives one ratio; the row's figures are the medians of all rounds, its spread the smallest and the largest
// ratio. A limit that isn't measured ("under 1 us") is a row whose peer is that constant, with the goal 1.
//
// Use benchmark::DoNotOptimize and benchmark::ClobberMemory (<benchmark/benchmark.h>) to keep the compiler honest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace barter::bench {

enum class Direction : std::uint8_t {
  at_least,  // ratio >= goal: barter / peer of a bandwidth or a rate
  at_most,   // ratio <= goal: barter / peer of a time or a size
};

// One line of the table, and one object of `--json`.
struct Row {
  std::string name;   // no other row has it
  double barter = 0;  // median, in `unit`
  std::string peer_name;
  double peer = 0;  // median, in `unit`
  std::string unit;
  double ratio = 0;  // median of the rounds' barter / peer; not the ratio of the two medians
  double goal = 0;
  Direction direction = Direction::at_least;
  bool met = false;
  double spread_low = 0;  // of the ratio: the smallest and the largest of all rounds
  double spread_high = 0;
};

// What a row says before anything is measured.
struct Question {
  std::string name;
  std::string peer_name;
  std::string unit;
  double goal = 0;
  Direction direction = Direction::at_least;
};

struct Rounds {
  std::size_t rounds = 11;   // odd, so that the median is one of them
  std::size_t warm_ups = 1;  // rounds that are run and thrown away
};

// Runs one measurement and returns its figure in the row's unit.
using Measure = std::function<double()>;

// Barter, peer, barter, peer, ... for that many rounds; even rounds start with the peer, so that neither always finds
// the caches as the other left them.
[[nodiscard]] Row row_of(const Question& question, Rounds rounds, const Measure& barter, const Measure& peer);

// The same against a constant.
[[nodiscard]] Row row_against_limit(const Question& question, Rounds rounds, const Measure& barter, double limit);

// Seconds that one call of `work` takes, by the steady clock.
[[nodiscard]] double seconds_of(const std::function<void()>& work);

// Nanoseconds per call of `work`, averaged over `calls` calls. The loop is here, so `Work` should be a lambda that the
// compiler can put into it.
template <class Work>
[[nodiscard]] double nanoseconds_per(std::size_t calls, Work&& work) {
  const double seconds = seconds_of([&] {
    for (std::size_t call = 0; call < calls; ++call) work();
  });
  return seconds * 1e9 / static_cast<double>(calls);
}

// Nanoseconds that this thread has spent on a processor. The difference of two of them leaves out what others did meanwhile.
[[nodiscard]] double processor_nanoseconds();

// The same as nanoseconds_per, on the processor: for short work that waits for nothing.
template <class Work>
[[nodiscard]] double processor_nanoseconds_per(std::size_t calls, Work&& work) {
  const double before = processor_nanoseconds();
  for (std::size_t call = 0; call < calls; ++call) work();
  return (processor_nanoseconds() - before) / static_cast<double>(calls);
}

// GB/s (10^9 bytes) for that many bytes moved by one call of `work`.
[[nodiscard]] double gigabytes_per_second(std::uint64_t bytes, const std::function<void()>& work);

// Says that this benchmark could not be measured and why ("skipped: ..."): printed, and the program exits 2.
class Broken {
 public:
  explicit Broken(std::string why) : why_(std::move(why)) {}
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  std::string why_;
};

using Bench = std::function<std::vector<Row>()>;

// Call it from a namespace-scope initialiser of bench/NAME_bench.cc. Benchmarks run in the order of their names. A
// benchmark that can't be set up throws Broken; this program is not part of the library, so that it may.
bool register_bench(std::string name, Bench bench);

}  // namespace barter::bench
