#include "cli/verb_topo.h"

#include <utility>

#include "barter/machine.hpp"
#include "cli/arguments.h"
#include "cli/json_topology.h"
#include "cli/output.h"
#include "cli/render_topology.h"

namespace barter::cli {
namespace {

Result<Machine> open(const TopoArguments& arguments) {
  MachineOptions options;
  if (arguments.cpu) {
    auto cpu = parse_cpu(*arguments.cpu);
    if (!cpu) return std::unexpected(std::move(cpu.error()));
    options.cpu = std::move(*cpu);
  }
  return Machine::open(arguments.machine, options);
}

}  // namespace

int run_topo(const TopoArguments& arguments) {
  const auto machine = open(arguments);
  if (!machine) return print(machine.error());
  if (arguments.json)
    write_topology_json(arguments.machine, machine->topology(), put);
  else
    write_topology(arguments.machine, machine->topology(), Style::of_standard_output(), put);
  return 0;
}

}  // namespace barter::cli
