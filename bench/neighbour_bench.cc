// The workload `neighbour`: how much an application is held up that works on host memory beside transfers, by both ways they can
// go, at the same pace.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "barter/barter.hpp"
#include "bench.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::uint64_t kBytes = 128_MiB;

double measure_of(const WorkloadReport& report, std::string_view name) {
  const auto found = std::ranges::find(report.measures, name, &WorkloadMeasure::name);
  if (found == report.measures.end()) throw Broken("the workload has not measured it");
  return found->value;
}

WorkloadReport run_on(const Machine& machine) {
  auto report = run_workload("neighbour", machine, {.bytes = kBytes, .policy = P2p::required});
  if (!report) throw Broken(report.error().message());
  if (!report->verified) throw Broken("bytes are wrong");
  if (report->host_memory_bytes != 0) throw Broken("direct transfers went through host memory");
  return std::move(*report);
}

// A run measures both ways in turns, so that a round of the row is one run.
std::vector<Row> slowdown_by_both_ways() {
  const auto machine = Machine::open("training", {.threaded = true});
  if (!machine) throw Broken(machine.error().message());
  std::vector<WorkloadReport> runs;
  const auto slowdown_of = [&](std::string_view name) {
    return [&runs, &machine, name, round = std::size_t{0}]() mutable {
      if (round == runs.size()) runs.push_back(run_on(*machine));
      return measure_of(runs[round++], name);
    };
  };
  return {row_of({.name = "an application's slowdown beside direct transfers",
                  .peer_name = "by way of host memory",
                  .unit = "times",
                  .goal = 1,
                  .direction = Direction::at_most},
                 {.rounds = 11, .warm_ups = 1}, slowdown_of("slowdown"), slowdown_of("slowdown_by_host"))};
}

const bool registered = register_bench("neighbour", slowdown_by_both_ways);

}  // namespace
