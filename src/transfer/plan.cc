#include "transfer/plan.h"

#include <algorithm>
#include <compare>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "barter/verdict.hpp"
#include "base/log.h"
#include "transfer/staging.h"

namespace barter::transfer {
namespace {

constexpr std::size_t kMaxReasons = 8;

// What it takes to stage in one provider's memory: the source writes there and the destination reads from there.
struct Candidate {
  machine::DriveUnit* provider = nullptr;
  std::uint32_t through_host_bridge = 0;  // how many of the two go that way
  std::uint32_t distance = 0;
  std::uint64_t room_bytes = 0;                 // room_for() a chunk
  std::optional<peer::FallbackReason> refused;  // it can't serve
  bool is_unwanted = false;                     // it could, and the policy would rather not
  std::string why_not;                          // either of the two

  [[nodiscard]] bool serves() const { return !refused && !is_unwanted; }
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
  candidate.is_unwanted = decision && !decision->fallback;
  if (!candidate.is_unwanted) candidate.refused = decision ? *decision->fallback : peer::FallbackReason::no_route;
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
auto nearness(const Candidate& candidate) {
  return std::tuple(candidate.through_host_bridge, candidate.distance, candidate.provider->bdf);
}

// The best first: those with room for a chunk, then those with room for half of one, and so on. Which nearer one comes behind for
// want of room is told.
Plan plan_of(machine::State& machine, std::vector<Candidate> serving, std::uint64_t chunk_bytes) {
  for (Candidate& candidate : serving)
    if (serving.size() > 1) candidate.room_bytes = room_for(machine, *candidate.provider, chunk_bytes);
  std::ranges::sort(serving, [](const Candidate& a, const Candidate& b) {
    return a.room_bytes != b.room_bytes ? a.room_bytes > b.room_bytes : nearness(a) < nearness(b);
  });
  Plan plan;
  for (const Candidate& candidate : serving) {
    plan.providers.push_back(candidate.provider);
    base::log::debug("candidate {}: the memory of {} at {}, {} hops, {} of the two ways through the host bridge",
                     plan.providers.size(), candidate.provider->name, candidate.provider->bdf.to_string(),
                     candidate.distance, candidate.through_host_bridge);
    if (nearness(candidate) < nearness(serving.front()) && plan.reasons.size() < kMaxReasons)
      plan.reasons.push_back(fmt::format("the memory of {} is nearer, but has no room for a chunk of {} bytes",
                                         candidate.provider->name, chunk_bytes));
  }
  return plan;
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
                       const CopyOptions& options, std::uint64_t chunk_bytes) {
  if (options.policy == P2p::disabled) return Plan{};
  if (const auto obstacle = obstacle_of(source, destination)) {
    if (options.policy == P2p::required) return fail(*obstacle);
    return Plan{.fallback = peer::FallbackReason::no_route, .why_host = obstacle->message()};
  }
  Result<void> ok;
  const auto providers = providers_to_look_at(machine, options, ok);
  if (!ok) return std::unexpected(std::move(ok.error()));
  std::vector<Candidate> serving;
  std::vector<Candidate> others;
  for (machine::DriveUnit* provider : providers) {
    Candidate candidate = look_at(machine, source, destination, *provider, options.policy);
    if (!candidate.serves()) base::log::debug("not direct: {}", candidate.why_not);
    (candidate.serves() ? serving : others).push_back(std::move(candidate));
  }
  if (!serving.empty()) return plan_of(machine, std::move(serving), chunk_bytes);
  std::string why = providers.empty() ? why_no_providers(machine) : "";
  for (const Candidate& candidate : others) why += (why.empty() ? "" : "; ") + candidate.why_not;
  // There is a direct route, and the policy has chosen: nothing has fallen back.
  if (std::ranges::any_of(others, &Candidate::is_unwanted)) return Plan{.why_host = why, .reasons = {why}};
  if (options.policy != P2p::required)
    return Plan{.fallback = others.size() == 1 ? others.front().refused : peer::FallbackReason::no_provider,
                .why_host = std::move(why)};
  return fail({.code = ErrorCode::no_route,
               .doing = "finding a direct route for the copy from",
               .subject = fmt::format("{} to {}", source.name, destination.name),
               .why = std::move(why),
               .cure = cure_for(machine, source, destination, others)});
}

}  // namespace barter::transfer
