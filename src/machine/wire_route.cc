#include "machine/wire_route.h"

#include <string>

#include <fmt/format.h>

namespace barter::machine {
namespace {

// What the facts of the worse direction say.
std::string why(const Verdict& verdict) {
  const auto leads = [](Route route) { return route == Route::bus_address || route == Route::through_host_bridge; };
  const WireAnswer& answer = leads(verdict.by_wire.read.route) ? verdict.by_wire.write : verdict.by_wire.read;
  if (leads(answer.route)) return {};
  std::string text;
  for (const Fact& fact : answer.facts)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", fact.function, fact.says);
  return text;
}

}  // namespace

peer::RouteAnswer wire_route(const Topology& topology, Bdf client, Bdf provider) {
  // A device that reaches its own memory by its own engine never puts a request on the bus.
  if (client == provider) return {.read = Route::bus_address, .write = Route::bus_address};
  const Verdict verdict = topology.verdict({.client = client, .provider = provider});
  return {.read = verdict.by_wire.read.route,
          .write = verdict.by_wire.write.route,
          .distance = verdict.by_linux.distance.value_or(0),
          .why = why(verdict)};
}

}  // namespace barter::machine
