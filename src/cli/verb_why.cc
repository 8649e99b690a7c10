#include "cli/verb_why.h"

#include <utility>

#include <fmt/format.h>

#include "barter/machine.hpp"
#include "cli/arguments.h"
#include "cli/json_topology.h"
#include "cli/output.h"
#include "cli/render_topology.h"
#include "cli/render_verdict.h"
#include "cli/selection.h"

namespace barter::cli {
namespace {

Error wrong_arguments(std::string why) {
  return {.code = ErrorCode::invalid_argument,
          .doing = "answering why",
          .subject = {},
          .where = {},
          .why = std::move(why),
          .cure = "write barter why CLIENT PROVIDER, or barter why --all"};
}

Result<Machine> open(const WhyArguments& arguments) {
  if (arguments.all && (arguments.client || arguments.provider))
    return fail(wrong_arguments("--all and two functions are two questions"));
  if (!arguments.all && !(arguments.client && arguments.provider))
    return fail(wrong_arguments("a client and a provider are needed"));
  MachineOptions options;
  if (arguments.cpu) {
    auto cpu = parse_cpu(*arguments.cpu);
    if (!cpu) return std::unexpected(std::move(cpu.error()));
    options.cpu = std::move(*cpu);
  }
  return Machine::open(arguments.machine, options);
}

Beside beside(const Machine& machine, const Verdict& verdict) {
  const VerdictQuery query{.client = verdict.client, .provider = verdict.provider};
  return {.interconnects = machine.interconnects(query), .best = machine.best_route(query)};
}

// One object for each ordered pair of endpoints whose provider has a memory BAR, written as it comes: the facts of a
// big machine take more memory than its topology.
void print_all_json(const Machine& machine) {
  const Topology& topology = machine.topology();
  const auto functions = endpoints(topology);
  const char* before = "[\n  ";
  for (const FunctionInfo* client : functions)
    for (const FunctionInfo* provider : functions) {
      if (client == provider || !may_be_provider(*provider)) continue;
      const Verdict verdict = topology.verdict({.client = client->bdf, .provider = provider->bdf});
      fmt::print("{}{}", before, verdict_json(verdict, beside(machine, verdict), 2));
      before = ",\n  ";
    }
  fmt::print("{}", before[0] == '[' ? "[]\n" : "\n]\n");
}

// As far as is known. The BARs of a virtual function are written in its physical function, where not every source looks.
bool has_memory(const FunctionInfo& function) {
  return may_be_provider(function) || function.physical_function.has_value();
}

Result<Verdict> one(const Topology& topology, const WhyArguments& arguments) {
  const auto client = topology.resolve(*arguments.client);
  if (!client) return fail(client.error());
  const auto provider = topology.resolve(*arguments.provider);
  if (!provider) return fail(provider.error());
  if (!has_memory(*topology.find(*provider)))
    return fail({.code = ErrorCode::unsupported,
                 .doing = "answering why",
                 .subject = fmt::format("{} {}", *arguments.client, *arguments.provider),
                 .why = fmt::format("{} has no memory BAR, and so no memory that DMA of others could reach",
                                    *arguments.provider),
                 .cure = "name a function that has one: barter topo shows them"});
  return topology.verdict({.client = *client, .provider = *provider});
}

}  // namespace

int run_why(const WhyArguments& arguments) {
  const auto machine = open(arguments);
  if (!machine) return print(machine.error());
  const Topology& topology = machine->topology();
  const Style style = Style::of_standard_output();
  if (arguments.all) {
    if (arguments.json)
      print_all_json(*machine);
    else
      write_matrix(topology, style, put);
    return 0;
  }
  const auto verdict = one(topology, arguments);
  if (!verdict) return print(verdict.error());
  const Beside others = beside(*machine, *verdict);
  fmt::print("{}", arguments.json ? verdict_json(*verdict, others) + "\n"
                                  : verdict_text(topology, *verdict, style) + beside_text(others, style));
  return 0;
}

}  // namespace barter::cli
