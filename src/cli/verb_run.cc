#include "cli/verb_run.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/render.h"

namespace barter::cli {
namespace {

// Parts of one pair of devices that went one way, for the same reason, are one line.
struct Line {
  std::string from;
  std::string to;
  CopyRoute route = CopyRoute::host;
  std::string reason;
  std::uint64_t parts = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wrong = 0;
};

std::vector<Line> lines_of(const WorkloadReport& report) {
  std::vector<Line> lines;
  for (const WorkloadPart& part : report.parts) {
    auto line = std::ranges::find_if(lines, [&](const Line& other) {
      return other.from == part.from && other.to == part.to && other.route == part.route && other.reason == part.reason;
    });
    if (line == lines.end())
      line = lines.insert(lines.end(), {.from = part.from, .to = part.to, .route = part.route, .reason = part.reason});
    ++line->parts;
    line->bytes += part.bytes;
    line->wrong += part.verified ? 0 : 1;
  }
  return lines;
}

std::string words(std::string name) {
  std::ranges::replace(name, '_', ' ');
  return name;
}

Result<WorkloadReport> run(const RunArguments& arguments) {
  const auto policy = parse_p2p(arguments.policy);
  if (!policy) return std::unexpected(policy.error());
  std::uint64_t bytes = 0;
  if (arguments.size) {
    const auto size = parse_size(*arguments.size);
    if (!size) return std::unexpected(size.error());
    if (*size == 0)
      return fail({.code = ErrorCode::invalid_argument,
                   .doing = "running the workload",
                   .subject = arguments.name,
                   .why = "a size of 0 moves nothing",
                   .cure = "leave --size out for its own"});
    bytes = *size;
  }
  std::string machine_name = WorkloadInfo{}.machine;
  for (const WorkloadInfo& info : known_workloads())
    if (info.name == arguments.name) machine_name = info.machine;
  auto machine =
      Machine::open(arguments.machine.value_or(machine_name), {.seed = arguments.seed, .threaded = !arguments.stepped});
  if (!machine) return std::unexpected(std::move(machine.error()));
  return run_workload(arguments.name, *machine, {.bytes = bytes, .policy = *policy, .seed = arguments.seed});
}

// A count is written as the whole number that it is.
nlohmann::ordered_json number(double value) {
  constexpr double kMostWhole = 9007199254740992;  // 2^53
  if (std::trunc(value) == value && std::abs(value) < kMostWhole) return static_cast<std::int64_t>(value);
  return value;
}

}  // namespace

int run_run(const RunArguments& arguments) {
  const auto report = run(arguments);
  if (!report) return print(report.error());
  fmt::print("{}", arguments.json ? workload_report_json(*report) : workload_report_text(*report));
  return report->verified ? 0 : 1;
}

std::string workload_report_text(const WorkloadReport& report) {
  std::string text =
      fmt::format("{}: {} moved in {:.3f} s\n", report.workload, format_size(report.bytes), report.seconds);
  const auto row = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<12} {}\n", name, value);
  };
  row("route", report.route == CopyRoute::peer ? "peer" : "host, by way of host memory");
  row("host memory", fmt::format("{} bytes of data", report.host_memory_bytes));
  for (const Line& line : lines_of(report)) {
    row(printable(fmt::format("{} - {}", line.from, line.to)),
        fmt::format("{} parts, {}: {}{}{}", line.parts, format_size(line.bytes), name_of(line.route),
                    line.reason.empty() ? "" : ", because " + printable(line.reason),
                    line.wrong == 0 ? "" : fmt::format("; {} WRONG", line.wrong)));
  }
  row("verified", report.verified ? "all bytes are right" : "BYTES ARE WRONG");
  for (const WorkloadMeasure& measure : report.measures)
    text += fmt::format("  {:<28} {:.6g}\n", words(measure.name), measure.value);
  return text;
}

std::string workload_report_json(const WorkloadReport& report) {
  using Json = nlohmann::ordered_json;
  Json json{
      {"workload", report.workload}, {"route", name_of(report.route)},
      {"bytes", report.bytes},       {"host_memory_bytes", report.host_memory_bytes},
      {"verified", report.verified}, {"seconds", report.seconds},
  };
  for (const WorkloadMeasure& measure : report.measures) json[measure.name] = number(measure.value);
  Json parts = Json::array();
  for (const WorkloadPart& part : report.parts)
    parts.push_back({{"name", part.name},
                     {"from", part.from},
                     {"to", part.to},
                     {"bytes", part.bytes},
                     {"route", name_of(part.route)},
                     {"reason", part.reason},
                     {"verified", part.verified}});
  json["parts"] = parts;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace barter::cli
