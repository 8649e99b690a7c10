#include "transfer/plan.h"

#include <compare>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "barter/verdict.hpp"
#include "drivers/nvme/cmb_exporter.h"

namespace barter::transfer {
namespace {

// What it takes to stage in one provider's memory: the source writes there and the destination reads from there.
struct Candidate {
  machine::DriveUnit* provider = nullptr;
  Route source = Route::unknown;
  Route destination = Route::unknown;
  std::uint32_t distance = 0;
  std::string why_not;  // empty: it serves

  [[nodiscard]] int through_host_bridge() const {
    return (source == Route::through_host_bridge) + (destination == Route::through_host_bridge);
  }
};

bool leads_there(Route route) { return route == Route::bus_address || route == Route::through_host_bridge; }

std::string why_no_route(const machine::DriveUnit& client, const machine::DriveUnit& provider, const char* verb,
                         Route route, const peer::RouteAnswer& answer) {
  return fmt::format("{} cannot {} the memory of {} ({}{}{})", client.name, verb, provider.name, name_of(route),
                     answer.why.empty() ? "" : ": ", answer.why);
}

bool allows(Access hardware, Access wanted) {
  return (static_cast<unsigned>(hardware) & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
}

Candidate look_at(machine::State& machine, const machine::DriveUnit& source, const machine::DriveUnit& destination,
                  machine::DriveUnit& provider, P2p policy) {
  const peer::RouteAnswer from_source = machine.exchange().route(source.bdf, provider.bdf);
  const peer::RouteAnswer from_destination = machine.exchange().route(destination.bdf, provider.bdf);
  Candidate candidate{.provider = &provider,
                      .source = from_source.write,
                      .destination = from_destination.read,
                      .distance = from_source.distance + from_destination.distance};
  if (!allows(provider.exporter->hardware_access(), Access::read_write)) {
    candidate.why_not = fmt::format("the memory of {} does not take data in both directions", provider.name);
  } else if (!leads_there(candidate.source)) {
    candidate.why_not = why_no_route(source, provider, "write to", candidate.source, from_source);
  } else if (!leads_there(candidate.destination)) {
    candidate.why_not = why_no_route(destination, provider, "read from", candidate.destination, from_destination);
  } else if (policy == P2p::enabled && candidate.through_host_bridge() > 0) {
    // Root complexes often carry peer traffic slower than memory traffic (docs/policies.md), so "whichever is faster"
    // takes only what a switch turns around.
    candidate.why_not = fmt::format(
        "the way to the memory of {} goes through the host bridge, which the policy 'enabled' takes for "
        "slower than host memory",
        provider.name);
  }
  return candidate;
}

// The fewest ways through the host bridge, then the shortest, then the order of names on the bus.
auto rank(const Candidate& candidate) {
  return std::tuple(candidate.through_host_bridge(), candidate.distance, candidate.provider->bdf);
}

std::vector<machine::DriveUnit*> providers_to_look_at(machine::State& machine, const CopyOptions& options,
                                                      Result<void>& ok) {
  std::vector<machine::DriveUnit*> found;
  if (options.via) {
    auto named = machine.find_provider(*options.via);
    if (named)
      found.push_back(*named);
    else
      ok = std::unexpected(std::move(named.error()));
    return found;
  }
  for (const auto& drive : machine.drives())
    if (drive->exporter) found.push_back(drive.get());
  return found;
}

// The first remedy that the verdict of the blocked pair knows, for the error's cure.
std::string cure_for(machine::State& machine, const machine::DriveUnit& source, const machine::DriveUnit& destination,
                     const std::vector<Candidate>& refused) {
  for (const Candidate& candidate : refused) {
    const Bdf provider = candidate.provider->bdf;
    for (const Bdf client : {source.bdf, destination.bdf}) {
      if (client == provider) continue;
      const Verdict verdict = machine.topology().verdict({.client = client, .provider = provider});
      if (verdict.by_linux.remedies.empty()) continue;
      const Remedy& remedy = verdict.by_linux.remedies.front();
      return fmt::format("to get one: {} ({}; it costs: {}). More: barter why {} {}", remedy.command, remedy.effect,
                         remedy.cost, client.to_string(), provider.to_string());
    }
  }
  return "use --policy preferred to go by way of host memory";
}

}  // namespace

Result<Plan> make_plan(machine::State& machine, const machine::DriveUnit& source, const machine::DriveUnit& destination,
                       const CopyOptions& options) {
  if (options.policy == P2p::disabled) return Plan{};
  Result<void> ok;
  const auto providers = providers_to_look_at(machine, options, ok);
  if (!ok) return std::unexpected(std::move(ok.error()));
  std::optional<Candidate> best;
  std::vector<Candidate> refused;
  for (machine::DriveUnit* provider : providers) {
    Candidate candidate = look_at(machine, source, destination, *provider, options.policy);
    if (!candidate.why_not.empty())
      refused.push_back(std::move(candidate));
    else if (!best || rank(candidate) < rank(*best))
      best = std::move(candidate);
  }
  if (best) return Plan{.provider = best->provider, .why_host = {}};
  std::string why = providers.empty() ? "no device of this machine shares its memory" : "";
  for (const Candidate& candidate : refused) why += (why.empty() ? "" : "; ") + candidate.why_not;
  if (options.policy != P2p::required) return Plan{.provider = nullptr, .why_host = std::move(why)};
  return fail({.code = ErrorCode::no_route,
               .doing = "finding a direct route for the copy from",
               .subject = fmt::format("{} to {}", source.name, destination.name),
               .why = std::move(why),
               .cure = cure_for(machine, source, destination, refused)});
}

}  // namespace barter::transfer
