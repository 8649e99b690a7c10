// barter run NAME
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "barter/workloads.hpp"

namespace barter::cli {

// As typed; run_run makes sense of it.
struct RunArguments {
  std::string name;
  std::optional<std::string> machine;  // none: the one that the workload runs on by itself
  std::optional<std::string> size;     // none: what the workload moves by itself
  std::string policy = "preferred";
  std::uint64_t seed = 1;
  bool stepped = false;
  bool json = false;
};

// 0: done. 1: done, but bytes are wrong. 2: an error, printed.
[[nodiscard]] int run_run(const RunArguments& arguments);

// What run_run prints.
[[nodiscard]] std::string workload_report_text(const WorkloadReport& report);
[[nodiscard]] std::string workload_report_json(const WorkloadReport& report);

}  // namespace barter::cli
