// load: many files of mixed sizes go from drives into accelerators, and back as a checkpoint (docs/workloads/load.md).
#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "workloads/dataset.h"
#include "workloads/workload.h"

namespace barter::workloads {
namespace {

using machine::Direction;
using Seconds = std::chrono::duration<double>;

class Load {
 public:
  Load(const Machine& machine, const WorkloadOptions& options, Dataset data)
      : state_(*machine.state()), options_(options), data_(std::move(data)) {
    for (const File& file : data_.files())
      parts_.push_back({.name = file.name,
                        .from = data_.pairs()[file.pair].drive->name,
                        .to = data_.pairs()[file.pair].accelerator->name,
                        .bytes = file.bytes,
                        .route = CopyRoute::peer,
                        .verified = true});
  }

  Result<WorkloadReport> run();

 private:
  struct Leg {
    Direction direction = Direction::from_endpoint;  // of the drives
    bool in_checkpoint = false;
  };
  // Moves all files, and notes what host memory saw of it and which way each went. Gives the seconds that it took.
  [[nodiscard]] Result<double> measure(const Leg& leg);
  [[nodiscard]] Result<void> check();
  [[nodiscard]] WorkloadReport report() const;

  machine::State& state_;
  const WorkloadOptions options_;
  const base::SystemClock wall_;  // real time, also on a stepped machine
  const Dataset data_;
  std::vector<WorkloadPart> parts_;  // by file
  std::uint64_t host_memory_bytes_ = 0;
  double load_seconds_ = 0;
  double checkpoint_seconds_ = 0;
  double check_seconds_ = 0;
};

Result<double> Load::measure(const Leg& leg) {
  auto hauls = data_.hauls(leg.direction, leg.in_checkpoint);
  const auto lanes = data_.lanes(hauls, options_.policy);
  if (!lanes) return std::unexpected(lanes.error());
  const std::uint64_t host_before = host_data_bytes(state_);
  const base::TimePoint begin = wall_.now();
  if (auto run = run_lanes(*lanes, state_.backend().clock()); !run) return std::unexpected(std::move(run.error()));
  const double seconds = Seconds(wall_.now() - begin).count();
  host_memory_bytes_ += host_data_bytes(state_) - host_before;
  std::vector<std::size_t> next(data_.pairs().size());
  for (std::size_t index = 0; index < parts_.size(); ++index) {
    const std::size_t pair = data_.files()[index].pair;
    const Haul& haul = hauls[pair][next[pair]++];
    if (!haul.by_host) continue;
    parts_[index].route = CopyRoute::host;
    parts_[index].reason = haul.why_host;
  }
  return seconds;
}

Result<void> Load::check() {
  const base::TimePoint begin = wall_.now();
  const auto right = data_.right_files();
  if (!right) return std::unexpected(right.error());
  for (std::size_t index = 0; index < parts_.size(); ++index)
    parts_[index].verified = parts_[index].verified && (*right)[index];
  check_seconds_ += Seconds(wall_.now() - begin).count();
  return {};
}

WorkloadReport Load::report() const {
  const bool any_direct =
      std::ranges::any_of(parts_, [](const WorkloadPart& part) { return part.route == CopyRoute::peer; });
  const std::uint64_t bytes = 2 * options_.bytes;
  const double seconds = load_seconds_ + checkpoint_seconds_;
  return {.workload = {},
          .route = any_direct ? CopyRoute::peer : CopyRoute::host,
          .bytes = bytes,
          .host_memory_bytes = host_memory_bytes_,
          .verified = std::ranges::all_of(parts_, &WorkloadPart::verified),
          .seconds = seconds,
          .parts = parts_,
          .measures = {{"files", static_cast<double>(parts_.size())},
                       {"load_seconds", load_seconds_},
                       {"checkpoint_seconds", checkpoint_seconds_},
                       {"check_seconds", check_seconds_},
                       {"gigabytes_per_second", seconds > 0 ? static_cast<double>(bytes) / seconds / 1e9 : 0}}};
}

Result<WorkloadReport> Load::run() {
  const auto loaded = measure({.direction = Direction::from_endpoint});
  if (!loaded) return std::unexpected(loaded.error());
  if (auto checked = check(); !checked) return std::unexpected(std::move(checked.error()));
  const auto saved = measure({.direction = Direction::to_endpoint, .in_checkpoint = true});
  if (!saved) return std::unexpected(saved.error());
  load_seconds_ = *loaded;
  checkpoint_seconds_ = *saved;
  // The checkpoint is right if the memory, cleared and loaded from it, has the same checksums. That is not measured.
  const std::uint64_t host_bytes = host_memory_bytes_;
  if (auto cleared = data_.clear(); !cleared) return std::unexpected(std::move(cleared.error()));
  const auto reloaded = measure({.direction = Direction::from_endpoint, .in_checkpoint = true});
  if (!reloaded) return std::unexpected(reloaded.error());
  host_memory_bytes_ = host_bytes;
  if (auto checked = check(); !checked) return std::unexpected(std::move(checked.error()));
  return report();
}

}  // namespace

Result<WorkloadReport> run_load(const Machine& machine, const WorkloadOptions& options) {
  auto data = Dataset::create(machine, options);
  if (!data) return std::unexpected(std::move(data.error()));
  return Load(machine, options, std::move(*data)).run();
}

}  // namespace barter::workloads
