// neighbour: an application works on host memory while transfers run, direct and by way of host memory
// (docs/workloads/neighbour.md).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "workloads/application.h"
#include "workloads/dataset.h"
#include "workloads/workload.h"

namespace barter::workloads {
namespace {

using machine::Direction;
using Seconds = std::chrono::duration<double>;

constexpr int kRounds = 5;
constexpr double kShareOfHostWay = 0.5;  // of what the way through host memory can do
constexpr double kShortest = 0.1;        // seconds that the application works at a time
constexpr double kLongest = 3;

// One way for the bytes to go, and what it cost the application: how many times as long it took for its work.
struct Way {
  P2p policy = P2p::preferred;
  std::vector<double> slowdowns;  // by round
  std::uint64_t moved_bytes = 0;
  std::uint64_t host_memory_bytes = 0;
  double seconds = 0;
  // Least, median and most of the rounds.
  [[nodiscard]] std::array<double, 3> slowdown() const {
    std::vector<double> sorted = slowdowns;
    std::ranges::sort(sorted);
    return {sorted.front(), sorted[sorted.size() / 2], sorted.back()};
  }
};

class Neighbour {
 public:
  Neighbour(const Machine& machine, const WorkloadOptions& options, Dataset data)
      : state_(*machine.state()), options_(options), data_(std::move(data)) {}
  Result<WorkloadReport> run();

 private:
  [[nodiscard]] Result<void> choose_pace();
  // The application works while files are loaded by this way, again and again.
  [[nodiscard]] Result<void> work_beside(Way& way, double alone);
  [[nodiscard]] Result<void> check();
  [[nodiscard]] WorkloadReport report(const Way& own, const Way& by_host) const;

  machine::State& state_;
  const WorkloadOptions options_;
  const base::SystemClock wall_;
  const Dataset data_;
  double pace_ = 0;             // bytes a second, the same for both ways
  double stretch_seconds_ = 0;  // that the application works at a time
  Application application_;
  double alone_ = 0;  // rounds a second, the best
  bool files_are_right_ = true;
};

// Loads all files once by way of host memory, as fast as that goes.
Result<void> Neighbour::choose_pace() {
  auto hauls = data_.hauls(Direction::from_endpoint, false);
  const auto lanes = data_.lanes(hauls, P2p::disabled);
  if (!lanes) return std::unexpected(lanes.error());
  const base::TimePoint begin = wall_.now();
  if (auto run = run_lanes(*lanes, state_.backend().clock()); !run) return run;
  const double bytes = static_cast<double>(options_.bytes);
  pace_ = kShareOfHostWay * bytes / std::max(Seconds(wall_.now() - begin).count(), 1e-6);
  stretch_seconds_ = std::clamp(bytes / pace_, kShortest, kLongest);
  return {};
}

Result<void> Neighbour::work_beside(Way& way, double alone) {
  std::atomic<bool> is_over = false;
  const auto stop = [&] { return is_over.load(std::memory_order_acquire); };
  double rate = 0;
  const std::uint64_t host_before = host_data_bytes(state_);
  const base::TimePoint begin = wall_.now();
  std::thread application([&] {
    rate = application_.work_for(stretch_seconds_);
    is_over.store(true, std::memory_order_release);
  });
  Result<void> moved;
  while (moved && !stop()) {
    auto hauls = data_.hauls(Direction::from_endpoint, false);
    const auto lanes = data_.lanes(hauls, way.policy);
    moved = lanes ? run_lanes(*lanes, state_.backend().clock(), {.bytes_per_second = pace_, .stop = stop})
                  : Result<void>(std::unexpected(lanes.error()));
    if (!lanes) break;
    for (const auto& lane : *lanes) way.moved_bytes += lane->started_bytes();
  }
  application.join();
  if (!moved) return moved;
  way.seconds += Seconds(wall_.now() - begin).count();
  way.host_memory_bytes += host_data_bytes(state_) - host_before;
  way.slowdowns.push_back(alone / rate);
  return {};
}

// What is in the memory after all of that, loaded once more, direct if it may be.
Result<void> Neighbour::check() {
  if (auto cleared = data_.clear(); !cleared) return cleared;
  auto hauls = data_.hauls(Direction::from_endpoint, false);
  const auto lanes = data_.lanes(hauls, options_.policy);
  if (!lanes) return std::unexpected(lanes.error());
  if (auto run = run_lanes(*lanes, state_.backend().clock()); !run) return run;
  const auto right = data_.right_files();
  if (!right) return std::unexpected(right.error());
  files_are_right_ = std::ranges::all_of(*right, [](bool is_right) { return is_right; });
  return {};
}

WorkloadReport Neighbour::report(const Way& own, const Way& by_host) const {
  WorkloadReport report{.bytes = own.moved_bytes,
                        .host_memory_bytes = own.host_memory_bytes,
                        .verified = files_are_right_ && application_.is_right(),
                        .seconds = own.seconds};
  for (std::size_t index = 0; index < data_.pairs().size(); ++index) {
    const Pair& pair = data_.pairs()[index];
    if (!pair.region) continue;
    const bool is_direct = pair.mapping && options_.policy != P2p::disabled;
    if (is_direct) report.route = CopyRoute::peer;
    report.parts.push_back({.name = "load",
                            .from = pair.drive->name,
                            .to = pair.accelerator->name,
                            .bytes = pair.region->size_bytes(),
                            .route = is_direct ? CopyRoute::peer : CopyRoute::host,
                            .reason = pair.why_host,
                            .verified = report.verified});
  }
  const auto [least, median, most] = own.slowdown();
  report.measures = {{"slowdown", median},
                     {"slowdown_least", least},
                     {"slowdown_most", most},
                     {"application_rounds_per_second", alone_},
                     {"paced_bytes_per_second", pace_},
                     {"moved_bytes_per_second", static_cast<double>(own.moved_bytes) / own.seconds}};
  if (!by_host.slowdowns.empty()) {
    const auto [least_by_host, median_by_host, most_by_host] = by_host.slowdown();
    report.measures.push_back({"slowdown_by_host", median_by_host});
    report.measures.push_back({"slowdown_least_by_host", least_by_host});
    report.measures.push_back({"slowdown_most_by_host", most_by_host});
    report.measures.push_back(
        {"moved_bytes_per_second_by_host", static_cast<double>(by_host.moved_bytes) / by_host.seconds});
    report.measures.push_back({"host_memory_bytes_by_host", static_cast<double>(by_host.host_memory_bytes)});
  }
  return report;
}

Result<WorkloadReport> Neighbour::run() {
  if (auto chosen = choose_pace(); !chosen) return std::unexpected(std::move(chosen.error()));
  (void)application_.work_for(kShortest);  // its memory is there from here on
  Way own{.policy = options_.policy};
  Way by_host{.policy = P2p::disabled};
  for (int round = 0; round < kRounds; ++round) {
    const double alone = application_.work_for(stretch_seconds_);
    alone_ = std::max(alone_, alone);
    if (auto worked = work_beside(own, alone); !worked) return std::unexpected(std::move(worked.error()));
    if (options_.policy == P2p::disabled) continue;
    if (auto worked = work_beside(by_host, alone); !worked) return std::unexpected(std::move(worked.error()));
  }
  if (auto checked = check(); !checked) return std::unexpected(std::move(checked.error()));
  return report(own, by_host);
}

}  // namespace

Result<WorkloadReport> run_neighbour(const Machine& machine, const WorkloadOptions& options) {
  if (machine.state()->can_move() && !machine.state()->backend().runs_by_itself())
    return fail({.code = ErrorCode::unsupported,
                 .doing = "running the workload 'neighbour' on",
                 .subject = machine.name(),
                 .why = "its devices run in the thread that waits for them, so that nothing runs beside an application",
                 .cure = "leave --stepped out"});
  auto data = Dataset::create(machine, options);
  if (!data) return std::unexpected(std::move(data.error()));
  return Neighbour(machine, options, std::move(*data)).run();
}

}  // namespace barter::workloads
