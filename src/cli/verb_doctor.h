// barter doctor
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "barter/doctor.hpp"
#include "cli/render.h"

namespace barter::cli {

// As typed; run_doctor makes sense of it.
struct DoctorArguments {
  std::string machine = "host";
  std::optional<std::string> cpu;   // VENDOR:FAMILY
  std::vector<std::string> attach;  // DRIVE=FILE
  std::vector<std::string> probe;   // none, or two of DRIVE@OFFSET+LENGTH
  std::uint64_t seed = 1;
  std::uint64_t deadline_s = 60;
  bool json = false;
};

// 0: examined, whatever was found. 1: a probe failed or found wrong bytes. 2: an error, printed.
[[nodiscard]] int run_doctor(const DoctorArguments& arguments);

[[nodiscard]] std::string findings_text(const std::string& machine, const std::vector<Finding>& findings,
                                        const Style& style);
[[nodiscard]] std::string probe_text(const ProbeReport& report, const Style& style);
// `report` is null without a probe.
[[nodiscard]] std::string doctor_json(const std::string& machine, const std::vector<Finding>& findings,
                                      const ProbeReport* report);

}  // namespace barter::cli
