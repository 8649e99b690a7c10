#include "cli/verb_copy.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/progress_bar.h"
#include "cli/render.h"

namespace barter::cli {
namespace {

Result<MachineOptions> machine_options(const CopyArguments& arguments) {
  MachineOptions options{.seed = arguments.seed, .threaded = arguments.threaded};
  for (const std::string& text : arguments.attach) {
    auto attachment = parse_attachment(text);
    if (!attachment) return std::unexpected(std::move(attachment.error()));
    options.attach.push_back(std::move(*attachment));
  }
  return options;
}

Result<CopyOptions> copy_options(const CopyArguments& arguments) {
  const auto policy = parse_p2p(arguments.policy);
  if (!policy) return std::unexpected(policy.error());
  std::optional<std::uint64_t> chunk_bytes;
  if (arguments.chunk) {
    const auto chunk = parse_size(*arguments.chunk);
    if (!chunk) return std::unexpected(chunk.error());
    chunk_bytes = *chunk;
  }
  return CopyOptions{.policy = *policy,
                     .via = arguments.via,
                     .queue_depth = arguments.queue_depth,
                     .chunk_bytes = chunk_bytes,
                     .verify = arguments.verify};
}

Result<Extent> open_extent(const Machine& machine, std::string_view text) {
  auto part = parse_drive_part(text);
  if (!part) return std::unexpected(std::move(part.error()));
  auto drive = machine.drive(part->drive);
  if (!drive) return std::unexpected(std::move(drive.error()));
  return Extent(std::move(*drive), part->offset, part->length);
}

Result<CopyReport> run(const CopyArguments& arguments) {
  auto options = copy_options(arguments);
  if (!options) return std::unexpected(std::move(options.error()));
  auto with = machine_options(arguments);
  if (!with) return std::unexpected(std::move(with.error()));
  auto machine = Machine::open(arguments.machine, *with);
  if (!machine) return std::unexpected(std::move(machine.error()));
  ProgressBar bar(!arguments.json);
  options->progress = [&bar](CopyProgress progress) { bar.show(progress.done_bytes, progress.total_bytes); };
  return copy(open_extent(*machine, arguments.source), open_extent(*machine, arguments.destination), *options);
}

double gigabytes_per_second(const CopyReport& report) {
  return report.seconds > 0 ? static_cast<double>(report.bytes) / report.seconds / 1e9 : 0;
}

}  // namespace

int run_copy(const CopyArguments& arguments) {
  const auto report = run(arguments);
  if (!report) return print(report.error());
  fmt::print("{}", arguments.json ? copy_report_json(*report) : copy_report_text(arguments, *report));
  return report->verified == false ? 1 : 0;
}

std::string copy_report_text(const CopyArguments& arguments, const CopyReport& report) {
  std::string text = fmt::format("copied {} from {} to {} in {:.3f} s: {:.2f} GB/s\n", format_size(report.bytes),
                                 arguments.source, arguments.destination, report.seconds, gigabytes_per_second(report));
  const auto row = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<12} {}\n", name, value);
  };
  row("route", report.provider ? fmt::format("peer, through the memory of {} ({})", printable(*report.provider),
                                             report.provider_bdf->to_string())
                               : "host, by way of host memory");
  row("host memory",
      fmt::format("{} bytes of data, {}", report.host_memory_bytes,
                  report.control_bytes ? fmt::format("{} bytes of queues and lists", *report.control_bytes)
                                       : "the kernel's queues and lists not counted"));
  for (const Fallback& fallback : report.fallbacks)
    row("fallback", fmt::format("{} chunks ({}) by way of host memory: {}", fallback.chunks,
                                format_size(fallback.bytes), printable(fallback.reason)));
  for (const std::string& reason : report.reasons) row("because", printable(reason));
  if (report.verified)
    row("verified", *report.verified ? "byte for byte the same"
                                     : fmt::format("DIFFERENT from byte {} on", *report.first_difference));
  return text;
}

std::string copy_report_json(const CopyReport& report) {
  using Json = nlohmann::ordered_json;
  Json fallbacks = Json::array();
  for (const Fallback& fallback : report.fallbacks)
    fallbacks.push_back(
        {{"reason", fallback.reason}, {"code", fallback.code}, {"chunks", fallback.chunks}, {"bytes", fallback.bytes}});
  const Json json{
      {"route", name_of(report.route)},
      {"provider", report.provider ? Json(*report.provider) : Json()},
      {"provider_bdf", report.provider_bdf ? Json(report.provider_bdf->to_string()) : Json()},
      {"bytes", report.bytes},
      {"seconds", report.seconds},
      {"gigabytes_per_second", gigabytes_per_second(report)},
      {"host_memory_bytes", report.host_memory_bytes},
      {"control_bytes", report.control_bytes ? Json(*report.control_bytes) : Json()},
      {"fallbacks", fallbacks},
      {"reasons", report.reasons},
      {"verified", report.verified ? Json(*report.verified) : Json()},
      {"first_difference", report.first_difference ? Json(*report.first_difference) : Json()},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace barter::cli
