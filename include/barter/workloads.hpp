// Whole programs in small, which show what direct transfers are worth. `barter run` runs them; docs/workloads/ has a page for each.
//
//   auto machine = barter::Machine::open("training", {.threaded = true});
//   auto direct = barter::run_workload("load", *machine, {.bytes = 256_MiB});
//   auto by_host = barter::run_workload("load", *machine, {.bytes = 256_MiB, .policy = barter::P2p::disabled});
//   fmt::print("{} times as fast\n", by_host->seconds / direct->seconds);
//
// A workload writes over the drives and the accelerators' memory of its machine. One thread at a time uses a machine.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <barter/copy.hpp>
#include <barter/machine.hpp>
#include <barter/policy.hpp>
#include <barter/result.hpp>

namespace barter {

struct WorkloadInfo {
  std::string name;
  std::string about;                 // one line
  std::string machine = "training";  // a built-in machine that it runs on
  std::uint64_t bytes = 0;           // how much it moves, unless told
};
[[nodiscard]] std::vector<WorkloadInfo> known_workloads();

struct WorkloadOptions {
  std::uint64_t bytes = 0;  // 0: as known_workloads() says
  P2p policy = P2p::preferred;
  std::uint64_t seed = 1;  // of what is moved: the same seed, the same files
};

// A piece of the work that went one way: a file, for one.
struct WorkloadPart {
  std::string name;
  std::string from;
  std::string to;
  std::uint64_t bytes = 0;
  CopyRoute route = CopyRoute::host;
  std::string reason;  // of `host`: why; empty if the caller wished it so
  bool verified = false;
};

// What a workload measures besides; the unit is last in the name.
struct WorkloadMeasure {
  std::string name;
  double value = 0;
};

struct WorkloadReport {
  std::string workload;
  CopyRoute route = CopyRoute::host;    // `peer` if any part went direct
  std::uint64_t bytes = 0;              // moved, each time that they were
  std::uint64_t host_memory_bytes = 0;  // of data, written plus read by devices meanwhile
  bool verified = false;
  double seconds = 0;  // of what is measured, without preparing and verifying
  std::vector<WorkloadPart> parts;
  std::vector<WorkloadMeasure> measures;
};

// An error is a machine that can't run it, a missing route under P2p::required, or a device that failed. Bytes that are wrong are
// no error but `verified == false`.
[[nodiscard]] Result<WorkloadReport> run_workload(std::string_view name, const Machine& machine,
                                                  const WorkloadOptions& options = {});

}  // namespace barter
