// The workload `load` with both ways it can go, on the threaded software machine: many files from two drives into two accelerators,
// and back. Both ways share all code but for where the drives' DMA goes, and both are checked.
#include <utility>
#include <vector>

#include "barter/barter.hpp"
#include "bench.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::uint64_t kBytes = 256_MiB;  // more than any cache holds

double gigabytes_per_second_by(const Machine& machine, P2p policy) {
  const auto report = run_workload("load", machine, {.bytes = kBytes, .policy = policy});
  if (!report) throw Broken(report.error().message());
  if (!report->verified) throw Broken("bytes are wrong");
  if ((report->route == CopyRoute::peer) != (policy == P2p::required) ||
      (report->host_memory_bytes == 0) != (policy == P2p::required))
    throw Broken("it went the other way");
  return static_cast<double>(report->bytes) / report->seconds / 1e9;
}

std::vector<Row> load_by_both_ways() {
  const auto machine = Machine::open("training", {.threaded = true});
  if (!machine) throw Broken(machine.error().message());
  return {row_of(
      {.name = "load, direct, threaded machine",
       .peer_name = "by way of host memory",
       .unit = "GB/s",
       .goal = 1.6,
       .direction = Direction::at_least},
      {.rounds = 21, .warm_ups = 1}, [&] { return gigabytes_per_second_by(*machine, P2p::required); },
      [&] { return gigabytes_per_second_by(*machine, P2p::disabled); })};
}

const bool registered = register_bench("load", load_by_both_ways);

}  // namespace
