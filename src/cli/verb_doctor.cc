#include "cli/verb_doctor.h"

#include <chrono>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/watchdog.h"

namespace barter::cli {
namespace {

Result<Machine> open(const DoctorArguments& arguments) {
  MachineOptions options{.seed = arguments.seed};
  for (const std::string& text : arguments.attach) {
    auto attachment = parse_attachment(text);
    if (!attachment) return std::unexpected(std::move(attachment.error()));
    options.attach.push_back(std::move(*attachment));
  }
  if (arguments.cpu) {
    auto cpu = parse_cpu(*arguments.cpu);
    if (!cpu) return std::unexpected(std::move(cpu.error()));
    options.cpu = std::move(*cpu);
  }
  return Machine::open(arguments.machine, options);
}

// A probe writes, so nothing of what it writes to is left to a default.
Result<DrivePart> parse_scratch(std::string_view text) {
  auto part = parse_drive_part(text);
  if (!part) return part;
  const bool has_offset = text.size() > part->drive.size() && text[part->drive.size()] == '@';
  if (has_offset && part->length) return part;
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "reading the scratch space of a probe",
               .subject = fmt::format("'{}'", text),
               .why = has_offset ? "it has no length" : "it has no offset",
               .cure = "a probe writes to it, so name both: DRIVE@OFFSET+LENGTH, such as nvme0@1GiB+1MiB"});
}

Result<Extent> open_scratch(const Machine& machine, const DrivePart& part) {
  auto drive = machine.drive(part.drive);
  if (!drive) return std::unexpected(std::move(drive.error()));
  return Extent(std::move(*drive), part.offset, part.length);
}

Result<std::vector<DrivePart>> parse_probe(const DoctorArguments& arguments) {
  std::vector<DrivePart> parts;
  for (const std::string& text : arguments.probe) {
    auto part = parse_scratch(text);
    if (!part) return std::unexpected(std::move(part.error()));
    parts.push_back(std::move(*part));
  }
  return parts;
}

Result<ProbeReport> run_probe(const Machine& machine, const std::vector<DrivePart>& parts,
                              const DoctorArguments& arguments) {
  auto first = open_scratch(machine, parts[0]);
  if (!first) return std::unexpected(std::move(first.error()));
  auto second = open_scratch(machine, parts[1]);
  if (!second) return std::unexpected(std::move(second.error()));
  return probe(machine, std::move(*first), std::move(*second),
               {.seed = arguments.seed, .deadline = std::chrono::seconds(arguments.deadline_s)});
}

// For a step in flight at the deadline, and for putting back what was there.
constexpr std::chrono::seconds kGrace{30};

// The thread that probes is stuck in a step, so that nobody can put anything back.
void give_up() {
  const int status =
      print({.code = ErrorCode::timed_out,
             .doing = "probing",
             .subject = "the two drives",
             .where = {},
             .why = "a step got no answer, long after the deadline",
             .cure = "the scratch space may hold the probe's pattern now; barter why tells about the route"});
  std::_Exit(status);
}

// A command that asks Barter has to ask about the same machine.
void name_machine(std::vector<Finding>& findings, const std::string& machine) {
  if (machine == "host") return;
  for (Finding& finding : findings)
    for (Remedy& remedy : finding.remedies)
      if (remedy.command.starts_with("barter why ") || remedy.command == "barter topo")
        remedy.command += fmt::format(" --machine {}", machine);
}

}  // namespace

int run_doctor(const DoctorArguments& arguments) {
  const auto parts = parse_probe(arguments);
  if (!parts) return print(parts.error());
  const auto machine = open(arguments);
  if (!machine) return print(machine.error());
  auto findings = examine(*machine);
  if (!findings) return print(findings.error());
  name_machine(*findings, arguments.machine);
  std::optional<Result<ProbeReport>> probed;
  if (!parts->empty()) {
    const Watchdog watchdog(std::chrono::seconds(arguments.deadline_s) + kGrace, give_up);
    probed = run_probe(*machine, *parts, arguments);
  }
  if (probed && !*probed) return print(probed->error());
  const ProbeReport* report = probed ? &**probed : nullptr;
  const Style style = Style::of_standard_output();
  if (arguments.json)
    fmt::print("{}", doctor_json(arguments.machine, *findings, report));
  else
    fmt::print("{}{}", findings_text(arguments.machine, *findings, style),
               report == nullptr ? "" : probe_text(*report, style));
  return report == nullptr || report->passed() ? 0 : 1;
}

}  // namespace barter::cli
