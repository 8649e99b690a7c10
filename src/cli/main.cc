// The barter command: what can be typed. Each verb is a file of its own.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "barter/machine.hpp"
#include "cli/output.h"
#include "cli/verb_bind.h"
#include "cli/verb_copy.h"
#include "cli/verb_doctor.h"
#include "cli/verb_run.h"
#include "cli/verb_topo.h"
#include "cli/verb_why.h"

namespace {

using barter::cli::BindArguments;
using barter::cli::CopyArguments;
using barter::cli::DoctorArguments;
using barter::cli::put;
using barter::cli::RunArguments;
using barter::cli::TopoArguments;
using barter::cli::WhyArguments;

constexpr const char* kAbout =
    "Moves data straight between PCIe devices, and says which pair can do so and why another can't.";
constexpr const char* kExitCodes =
    "Exit status: 0 done, whatever was found; 1 done, but bytes differ (copy --verify, run) or a probe failed (doctor "
    "--probe);\n"
    "2 an error, which is printed; one is that standard output can't be written.\n";
constexpr const char* kCopyExamples =
    "Examples:\n"
    "  barter copy nvme0 nvme1 --machine two-nvme --attach nvme0=disk.img --verify\n"
    "  barter copy nvme0@1MiB+256MiB nvme1 --machine ai-server --policy required\n"
    "  barter copy nvme0 nvme1 --machine rack.toml --via nvme2 --queue-depth 16 --chunk 256KiB --json\n";

constexpr const char* kBindExamples =
    "Needs root. A drive that is mounted or otherwise in use is refused.\n"
    "Examples:\n"
    "  barter bind 0000:03:00.0 vfio-pci --dry-run\n"
    "  barter bind 0000:03:00.0 vfio-pci; barter copy 0000:03:00.0 0000:04:00.0\n"
    "  barter bind 0000:03:00.0 nvme\n";
constexpr const char* kTopoExamples =
    "Examples:\n"
    "  barter topo --machine two-nvme\n"
    "  sudo lspci -Dnnvvv > server.txt; barter topo --machine lspci:server.txt --cpu amd:25\n"
    "  barter topo --machine hwloc:server.xml --json\n";
constexpr const char* kWhyExamples =
    "Examples:\n"
    "  barter why nvme1 nvme0 --machine acs\n"
    "  barter why 0000:41:00.0 0000:81:00.0 --machine lspci:server.txt --cpu intel:6 --json\n"
    "  barter why --all --json --machine ai-server\n";

constexpr const char* kDoctorExamples =
    "Examples:\n"
    "  sudo barter doctor\n"
    "  barter doctor --machine lspci:server.txt --cpu amd:25 --json\n"
    "  sudo barter doctor --probe nvme0n1@1GiB+1MiB nvme1n1@1GiB+1MiB   writes there, and puts back what was there\n"
    "  barter doctor --machine two-nvme --probe nvme0@0+1MiB nvme1@0+1MiB\n";

constexpr const char* kRunExamples =
    "It writes over the drives and the memory of its machine. --policy disabled is its twin by way of host memory.\n"
    "Examples:\n"
    "  barter run load\n"
    "  barter run load --size 1GiB --policy disabled --json\n"
    "  barter run load --machine ai-server --policy required\n";

std::string machines_help() {
  std::string names = "host";
  for (const std::string& name : barter::Machine::builtin_names()) names += ", " + name;
  return fmt::format("the machine: {}, a .toml file, lspci:FILE, sysfs:DIR or hwloc:FILE", names);
}

// What the parser itself says of a number that is none does not tell what may be written.
CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
  const std::string range = fmt::format("{} to {}", least, most);
  return {[=](std::string& text) {
            std::uint64_t value = 0;
            // The parser takes -1 for the largest number.
            const bool is_number = !text.starts_with('-') && CLI::detail::lexical_cast(text, value);
            return is_number && least <= value && value <= most
                       ? std::string()
                       : fmt::format("'{}' is no whole number from {}", text, range);
          },
          range};
}
constexpr std::uint64_t kAnySeed = std::numeric_limits<std::uint64_t>::max();

void add_copy(CLI::App& app, CopyArguments& arguments, std::function<int()>& verb) {
  CLI::App* copy = app.add_subcommand("copy", "copy from drive to drive, straight through device memory where it can");
  copy->add_option("source", arguments.source, "DRIVE[@OFFSET][+LENGTH]")->required();
  copy->add_option("destination", arguments.destination, "DRIVE[@OFFSET][+LENGTH]")->required();
  copy->add_option("--machine", arguments.machine, machines_help())->capture_default_str();
  copy->add_option("--attach", arguments.attach, "DRIVE=FILE: the file becomes the drive's first namespace");
  copy->add_option("--policy", arguments.policy, "required, preferred, enabled or disabled")->capture_default_str();
  copy->add_option("--via", arguments.via, "the device whose memory to go through (default: the nearest with room)");
  copy->add_option("--queue-depth", arguments.queue_depth, "chunks in flight at most")
      ->capture_default_str()
      ->check(whole_number(1, 256));  // as copy.hpp has it
  copy->add_option(
      "--chunk", arguments.chunk,
      "bytes in a chunk, such as 256KiB: those, or not direct (default: 1MiB, or less where the copy or the "
      "device memory is smaller)");
  copy->add_option("--seed", arguments.seed, "of a software machine's run")
      ->capture_default_str()
      ->check(whole_number(0, kAnySeed));
  copy->add_flag("--threaded", arguments.threaded, "a software machine with a thread for each device");
  copy->add_flag("--verify", arguments.verify, "read both back and compare every byte");
  copy->add_flag("--json", arguments.json, "for programs");
  copy->footer(kCopyExamples);
  copy->callback([&arguments, &verb] { verb = [&arguments] { return run_copy(arguments); }; });
}

void add_topo(CLI::App& app, TopoArguments& arguments, std::function<int()>& verb) {
  CLI::App* topo = app.add_subcommand("topo", "show what is plugged in where, and who can reach whom");
  topo->add_option("--machine", arguments.machine, machines_help())->capture_default_str();
  topo->add_option("--cpu", arguments.cpu, "VENDOR:FAMILY, in place of what the machine says");
  topo->add_flag("--json", arguments.json, "for programs");
  topo->footer(kTopoExamples);
  topo->callback([&arguments, &verb] { verb = [&arguments] { return run_topo(arguments); }; });
}

void add_why(CLI::App& app, WhyArguments& arguments, std::function<int()>& verb) {
  CLI::App* why = app.add_subcommand("why", "say whether one device's DMA reaches another's memory, and why");
  why->add_option("client", arguments.client, "the device that starts the DMA: a name or an address");
  why->add_option("provider", arguments.provider, "the device whose memory it is");
  why->add_flag("--all", arguments.all, "every pair of devices whose second one has a memory BAR");
  why->add_option("--machine", arguments.machine, machines_help())->capture_default_str();
  why->add_option("--cpu", arguments.cpu, "VENDOR:FAMILY, in place of what the machine says");
  why->add_flag("--json", arguments.json, "for programs");
  why->footer(kWhyExamples);
  why->callback([&arguments, &verb] { verb = [&arguments] { return run_why(arguments); }; });
}

void add_bind(CLI::App& app, BindArguments& arguments, std::function<int()>& verb) {
  CLI::App* bind = app.add_subcommand("bind", "give a device of this computer to user space, or back to Linux");
  bind->add_option("function", arguments.function, "its address: 0000:03:00.0")->required();
  bind->add_option("driver", arguments.driver, "vfio-pci for user space; nvme, or another driver, for Linux")
      ->required();
  bind->add_flag("--dry-run", arguments.dry_run, "show what would happen");
  bind->add_flag("--with-group", arguments.with_group, "take the other functions of its IOMMU group along");
  bind->footer(kBindExamples);
  bind->callback([&arguments, &verb] { verb = [&arguments] { return run_bind(arguments); }; });
}

void add_doctor(CLI::App& app, DoctorArguments& arguments, std::function<int()>& verb) {
  CLI::App* doctor =
      app.add_subcommand("doctor", "say what stands between a machine and direct transfers, and what changes it");
  doctor->add_option("--machine", arguments.machine, machines_help())->capture_default_str();
  doctor->add_option("--cpu", arguments.cpu, "VENDOR:FAMILY, in place of what the machine says");
  doctor
      ->add_option(
          "--probe", arguments.probe,
          "DRIVE@OFFSET+LENGTH twice: scratch space to move a pattern between, both ways, comparing every byte")
      ->expected(2);
  doctor->add_option("--deadline", arguments.deadline_s, "seconds after which a probe begins no further step")
      ->capture_default_str()
      ->check(whole_number(1, 86400));
  doctor->add_option("--attach", arguments.attach, "DRIVE=FILE: the file becomes the drive's first namespace")
      ->expected(1);
  doctor->add_option("--seed", arguments.seed, "of the probe's pattern and of a software machine's run")
      ->capture_default_str()
      ->check(whole_number(0, kAnySeed));
  doctor->add_flag("--json", arguments.json, "for programs");
  doctor->footer(kDoctorExamples);
  doctor->callback([&arguments, &verb] { verb = [&arguments] { return run_doctor(arguments); }; });
}

void add_run(CLI::App& app, RunArguments& arguments, std::function<int()>& verb) {
  CLI::App* run = app.add_subcommand("run", "run a whole workload, direct or by way of host memory, and measure it");
  std::string names;
  for (const barter::WorkloadInfo& workload : barter::known_workloads())
    names += fmt::format("{}{}: {}", names.empty() ? "" : "; ", workload.name, workload.about);
  run->add_option("name", arguments.name, names)->required();
  run->add_option("--machine", arguments.machine, machines_help() + " (default: the workload's own, training)");
  run->add_option("--size", arguments.size, "how much to move, such as 1GiB");
  run->add_option("--policy", arguments.policy, "required, preferred, enabled or disabled")->capture_default_str();
  run->add_option("--seed", arguments.seed, "of the files, and of a software machine's run")
      ->capture_default_str()
      ->check(whole_number(0, kAnySeed));
  run->add_flag("--stepped", arguments.stepped, "a software machine in one thread, the same run for the same seed");
  run->add_flag("--json", arguments.json, "for programs");
  run->footer(kRunExamples);
  run->callback([&arguments, &verb] { verb = [&arguments] { return run_run(arguments); }; });
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

int refuse_verb(std::string_view word, const std::vector<std::string>& verbs) {
  return barter::print({.code = barter::ErrorCode::not_found,
                        .doing = "looking for the verb",
                        .subject = fmt::format("'{}'", word),
                        .why = word.empty() ? "there is none on the command line" : "barter has no such verb",
                        .cure = fmt::format("use one of {}; barter --help tells more", fmt::join(verbs, ", "))});
}

// What the parser stopped at: --help and --version, which are answered, or something that it doesn't understand.
int stop_at(const CLI::App& app, const CLI::ParseError& stop) {
  std::ostringstream answer;
  std::ostringstream complaint;
  if (app.exit(stop, answer, complaint) == 0) {
    put(answer.str());
    return 0;
  }
  std::string command = app.get_name();
  for (const CLI::App* verb : app.get_subcommands()) command += " " + verb->get_name();
  return barter::print({.code = barter::ErrorCode::invalid_argument,
                        .doing = "reading the arguments of",
                        .subject = command,
                        .why = stop.what(),
                        .cure = command + " --help tells what there is"});
}

int run(int argc, char** argv) {
  CLI::App app(kAbout, "barter");
  app.set_version_flag("--version", std::string("barter ") + BARTER_VERSION);
  app.require_subcommand(0, 1);  // that there is none, is said below
  app.footer(kExitCodes);
  std::function<int()> verb;
  CopyArguments copy;
  TopoArguments topo;
  WhyArguments why;
  BindArguments bind;
  DoctorArguments doctor;
  RunArguments workload;
  add_topo(app, topo, verb);
  add_why(app, why, verb);
  add_copy(app, copy, verb);
  add_bind(app, bind, verb);
  add_doctor(app, doctor, verb);
  add_run(app, workload, verb);
  const std::string_view first = argc > 1 ? argv[1] : "";
  const std::vector<std::string> verbs = verbs_of(app);
  if (!first.starts_with('-') && std::ranges::find(verbs, first) == verbs.end()) return refuse_verb(first, verbs);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return stop_at(app, stop);
  }
  return verb ? verb() : refuse_verb("", verbs);
}

// Without taking memory, which may be what there is none of.
int fail_with(const char* doing, const char* why) {
  for (const char* part : {"error: ", doing, why, "\n"}) std::fputs(part, stderr);
  return 2;
}

int run_to_end(int argc, char** argv) {
  // Nothing of ours throws; what the standard library throws when memory runs out is an error like any other.
  try {
    return run(argc, argv);
  } catch (const std::system_error& error) {
    if (barter::cli::output_failed()) return fail_with("writing to standard output: ", error.code().message().c_str());
    return fail_with("", error.what());
  } catch (const std::exception& error) {
    return fail_with("", error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  barter::cli::keep_standard_streams();
  // What libhwloc finds odd in a file that it can use all the same, it would tell on standard error. No thread runs yet.
  setenv("HWLOC_HIDE_ERRORS", "2", 0);
  return barter::cli::finish_output(run_to_end(argc, argv));
}
