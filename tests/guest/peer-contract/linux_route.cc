#include "linux_route.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "machine/wire_route.h"
#include "topology/load.h"

namespace barter::guest {
namespace {

[[noreturn]] void give_up(const std::string& why) {
  (void)std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

}  // namespace

std::string told(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) give_up(std::string("this program runs in a guest: there is no ") + name);
  return value;
}

Route expected_route() {
  const std::string route = told("BARTER_ROUTE");
  if (route == name_of(Route::bus_address)) return Route::bus_address;
  if (route == name_of(Route::through_host_bridge)) return Route::through_host_bridge;
  give_up("BARTER_ROUTE is " + route);
}

namespace {

// Looked at once: a test makes several machines, and an emulated computer takes its time to tell of itself.
const Topology& this_computer() {
  static const Topology topology = [] {
    auto parts = topology::load_sysfs("/sys");
    if (!parts) give_up(parts.error().message());
    auto built = Topology::build(std::move(*parts));
    if (!built) give_up(built.error().message());
    return std::move(*built);
  }();
  return topology;
}

}  // namespace

peer::RouteRule route_rule(Rule rule) {
  return [rule](Bdf client, Bdf provider) {
    if (rule == Rule::of_the_wire) return machine::wire_route(this_computer(), client, provider);
    const Route route = this_computer().verdict({.client = client, .provider = provider}).by_linux.route;
    return peer::RouteAnswer{.read = route, .write = route};
  };
}

}  // namespace barter::guest
