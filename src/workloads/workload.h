// What each workload is, and what they have in common.
#pragma once
#include <cstdint>

#include "barter/workloads.hpp"
#include "machine/state.h"

namespace barter::workloads {

// The bytes are never 0 here.
[[nodiscard]] Result<WorkloadReport> run_load(const Machine& machine, const WorkloadOptions& options);
[[nodiscard]] Result<WorkloadReport> run_neighbour(const Machine& machine, const WorkloadOptions& options);
[[nodiscard]] Result<WorkloadReport> run_migrate(const Machine& machine, const WorkloadOptions& options);

inline constexpr std::uint64_t kLoadBytes = std::uint64_t{256} << 20;
inline constexpr std::uint64_t kNeighbourBytes = std::uint64_t{256} << 20;
inline constexpr std::uint64_t kMigrateBytes = std::uint64_t{4} << 20;
inline constexpr std::uint64_t kMigrateMoves = 10000;

// Data that devices have moved to and from host memory so far; 0 where the machine does not count.
[[nodiscard]] inline std::uint64_t host_data_bytes(machine::State& state) {
  const auto traffic = state.backend().traffic();
  return traffic ? traffic->data_bytes : 0;
}

}  // namespace barter::workloads
