// The table of workloads.
#include "barter/workloads.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "workloads/workload.h"

namespace barter {
namespace {

struct Entry {
  WorkloadInfo info;
  Result<WorkloadReport> (*run)(const Machine& machine, const WorkloadOptions& options);
};

const std::array<Entry, 3>& entries() {
  static const std::array<Entry, 3> all = {{
      {{.name = "load",
        .about = "many files of mixed sizes from drives into accelerators, and back as a checkpoint",
        .bytes = workloads::kLoadBytes},
       workloads::run_load},
      {{.name = "migrate",
        .about =
            "managed memory moves between host and two accelerators while a DMA engine reads it and the CPU touches it",
        .bytes = workloads::kMigrateBytes},
       workloads::run_migrate},
      {{.name = "neighbour",
        .about = "an application works on host memory while files are loaded, direct and by way of host memory",
        .bytes = workloads::kNeighbourBytes},
       workloads::run_neighbour},
  }};
  return all;
}

}  // namespace

std::vector<WorkloadInfo> known_workloads() {
  std::vector<WorkloadInfo> all;
  for (const Entry& entry : entries()) all.push_back(entry.info);
  return all;
}

Result<WorkloadReport> run_workload(std::string_view name, const Machine& machine, const WorkloadOptions& options) {
  const auto found = std::ranges::find_if(entries(), [&](const Entry& entry) { return entry.info.name == name; });
  if (found == entries().end()) {
    std::string names;
    for (const Entry& entry : entries()) names += (names.empty() ? "" : ", ") + entry.info.name;
    return fail({.code = ErrorCode::not_found,
                 .doing = "running the workload",
                 .subject = fmt::format("'{}'", name),
                 .why = "there is no workload of this name",
                 .cure = "there is " + names});
  }
  WorkloadOptions with = options;
  if (with.bytes == 0) with.bytes = found->info.bytes;
  auto report = found->run(machine, with);
  if (report) report->workload = found->info.name;
  return report;
}

}  // namespace barter
