#include "transfer/plan.h"

#include <algorithm>
#include <compare>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "barter/verdict.hpp"

namespace barter::transfer {
namespace {

// What it takes to stage in one provider's memory: the source writes there and the destination reads from there.
struct Candidate {
  machine::DriveUnit* provider = nullptr;
  std::uint32_t through_host_bridge = 0;  // how many of the two go that way
  std::uint32_t distance = 0;
  std::optional<peer::FallbackReason> refused;  // none: it serves
  std::string why_not;
};

// One of the two legs. The policy's own words stay in peer::decide; required differs from preferred only in what the
// refusal of all candidates means.
void look_at_leg(Candidate& candidate, machine::State& machine, const machine::DriveUnit& client, Access access,
                 P2p policy) {
  if (candidate.refused) return;
  const peer::RouteAnswer answer = machine.exchange().route(client.bdf, candidate.provider->bdf);
  candidate.distance += answer.distance;
  candidate.through_host_bridge += peer::route_for(answer, access) == Route::through_host_bridge;
  const auto decision = peer::decide(policy == P2p::required ? P2p::preferred : policy, answer, access);
  if (decision && decision->way == peer::Way::direct) return;
  candidate.refused =
      decision ? decision->fallback.value_or(peer::FallbackReason::no_route) : peer::FallbackReason::no_route;
  candidate.why_not = fmt::format("{} {} the memory of {}: {}", client.name,
                                  access == Access::write ? "does not write to" : "does not read from",
                                  candidate.provider->name, decision ? decision->why : decision.error().message());
}

Candidate look_at(machine::State& machine, const machine::DriveUnit& source, const machine::DriveUnit& destination,
                  machine::DriveUnit& provider, P2p policy) {
  Candidate candidate{.provider = &provider};
  if (provider.exporter->hardware_access() != Access::read_write) {
    candidate.refused = peer::FallbackReason::hardware_access;
    candidate.why_not = fmt::format("the memory of {} does not take data in both directions", provider.name);
  }
  look_at_leg(candidate, machine, source, Access::write, policy);
  look_at_leg(candidate, machine, destination, Access::read, policy);
  return candidate;
}

// The fewest ways through the host bridge, then the shortest, then the order of names on the bus.
auto rank(const Candidate& candidate) {
  return std::tuple(candidate.through_host_bridge, candidate.distance, candidate.provider->bdf);
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
  for (const auto& drive : machine.drives()) {
    const bool known = std::ranges::any_of(found, [&](auto* other) { return other->exporter == drive->exporter; });
    if (drive->exporter && !known) found.push_back(drive.get());
  }
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

// What keeps one of the two from any memory but the host's, whoever has it.
std::optional<Error> obstacle_of(const machine::DriveUnit& source, const machine::DriveUnit& destination) {
  for (const machine::DriveUnit* unit : {&source, &destination}) {
    if (unit->why_not_direct) return unit->why_not_direct;
  }
  return std::nullopt;
}

// Why there is no device memory at all to look at.
std::string why_no_providers(machine::State& machine) {
  constexpr std::size_t kTold = 4;
  std::vector<std::string> told;
  for (const auto& drive : machine.drives()) {
    if (!drive->why_no_memory || told.size() == kTold) continue;
    std::string why = drive->why_no_memory->message();
    if (std::ranges::find(told, why) == told.end()) told.push_back(std::move(why));
  }
  std::string all = "no device of this machine shares its memory";
  for (const std::string& why : told) all += "; " + why;
  return all;
}

}  // namespace

Result<Plan> make_plan(machine::State& machine, const machine::DriveUnit& source, const machine::DriveUnit& destination,
                       const CopyOptions& options) {
  if (options.policy == P2p::disabled) return Plan{};
  if (const auto obstacle = obstacle_of(source, destination)) {
    if (options.policy == P2p::required) return fail(*obstacle);
    return Plan{.fallback = peer::FallbackReason::no_route, .why_host = obstacle->message()};
  }
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
  if (best) return Plan{.provider = best->provider};
  std::string why = providers.empty() ? why_no_providers(machine) : "";
  for (const Candidate& candidate : refused) why += (why.empty() ? "" : "; ") + candidate.why_not;
  if (options.policy != P2p::required)
    return Plan{.fallback = refused.size() == 1 ? refused.front().refused : peer::FallbackReason::no_provider,
                .why_host = std::move(why)};
  return fail({.code = ErrorCode::no_route,
               .doing = "finding a direct route for the copy from",
               .subject = fmt::format("{} to {}", source.name, destination.name),
               .why = std::move(why),
               .cure = cure_for(machine, source, destination, refused)});
}

}  // namespace barter::transfer
