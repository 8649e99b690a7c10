// The barter command: what can be typed. Each verb is a file of its own.
#include <cstdio>
#include <exception>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "barter/machine.hpp"
#include "cli/verb_copy.h"

namespace {

using barter::cli::CopyArguments;

constexpr const char* kAbout =
    "Moves data straight between PCIe devices, and says which pair can do so and why another can't.";
constexpr const char* kExitCodes =
    "Exit status: 0 done; 1 done, but the copies differ (copy --verify); 2 an error, which is printed.\n";
constexpr const char* kCopyExamples =
    "Examples:\n"
    "  barter copy nvme0 nvme1 --machine two-nvme --attach nvme0=disk.img --verify\n"
    "  barter copy nvme0@1MiB+256MiB nvme1 --machine ai-server --policy required\n"
    "  barter copy nvme0 nvme1 --machine rack.toml --via nvme2 --queue-depth 16 --chunk 256KiB --json\n";

std::string machines_help() {
  std::string names = "host";
  for (const std::string& name : barter::Machine::builtin_names()) names += ", " + name;
  return fmt::format("the machine: {}, a .toml file, lspci:FILE, sysfs:DIR or hwloc:FILE", names);
}

void add_copy(CLI::App& app, CopyArguments& arguments, std::function<int()>& verb) {
  CLI::App* copy = app.add_subcommand("copy", "copy from drive to drive, straight through device memory where it can");
  copy->add_option("source", arguments.source, "DRIVE[@OFFSET][+LENGTH]")->required();
  copy->add_option("destination", arguments.destination, "DRIVE[@OFFSET][+LENGTH]")->required();
  copy->add_option("--machine", arguments.machine, machines_help())->capture_default_str();
  copy->add_option("--attach", arguments.attach, "DRIVE=FILE: the file becomes the drive's first namespace");
  copy->add_option("--policy", arguments.policy, "required, preferred, enabled or disabled")->capture_default_str();
  copy->add_option("--via", arguments.via, "the device whose memory to go through (default: the nearest)");
  copy->add_option("--queue-depth", arguments.queue_depth, "chunks in flight")->capture_default_str();
  copy->add_option("--chunk", arguments.chunk, "bytes in a chunk, such as 256KiB")->capture_default_str();
  copy->add_option("--seed", arguments.seed, "of a software machine's run")->capture_default_str();
  copy->add_flag("--threaded", arguments.threaded, "a software machine with a thread for each device");
  copy->add_flag("--verify", arguments.verify, "read both back and compare every byte");
  copy->add_flag("--json", arguments.json, "for programs");
  copy->footer(kCopyExamples);
  copy->callback([&arguments, &verb] { verb = [&arguments] { return run_copy(arguments); }; });
}

int run(int argc, char** argv) {
  CLI::App app(kAbout, "barter");
  app.set_version_flag("--version", std::string("barter ") + BARTER_VERSION);
  app.require_subcommand(1);
  app.footer(kExitCodes);
  std::function<int()> verb;
  CopyArguments copy;
  add_copy(app, copy, verb);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return verb();
}

}  // namespace

int main(int argc, char** argv) {
  // Nothing of ours throws; what the standard library throws when memory runs out is an error like any other.
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fputs("error: ", stderr);
    std::fputs(error.what(), stderr);
    std::fputs("\n", stderr);
    return 2;
  }
}
