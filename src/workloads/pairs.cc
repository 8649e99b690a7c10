#include "workloads/pairs.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "peer/fallback.h"

namespace barter::workloads {
namespace {

using machine::DriveUnit;
using machine::UnitKind;

std::vector<DriveUnit*> units_of(machine::State& state, UnitKind kind) {
  std::vector<DriveUnit*> found;
  for (const auto& unit : state.drives())
    if (unit->kind == kind && !unit->trouble && (kind == UnitKind::drive || unit->exporter))
      found.push_back(unit.get());
  return found;
}

// The better, the smaller.
std::tuple<int, std::uint32_t, Bdf> rank(machine::State& state, const DriveUnit& drive, const DriveUnit& accelerator) {
  const peer::RouteAnswer answer = state.exchange().route(drive.bdf, accelerator.bdf);
  const Route route = peer::route_for(answer, Access::read_write);
  const int way = route == Route::bus_address ? 0 : route == Route::through_host_bridge ? 1 : 2;
  return {way, answer.distance, accelerator.bdf};
}

// What would change it, by the verdict of the two.
std::string cure_for(machine::State& state, const DriveUnit& drive, const DriveUnit& accelerator) {
  const Verdict verdict = state.topology().verdict({.client = drive.bdf, .provider = accelerator.bdf});
  const std::string more = fmt::format("barter why {} {} tells all of it", drive.name, accelerator.name);
  if (verdict.by_linux.remedies.empty()) return more + "; the policy 'preferred' goes by way of host memory";
  const Remedy& remedy = verdict.by_linux.remedies.front();
  return fmt::format("to get one: {} ({}; it costs: {}); {}", remedy.command, remedy.effect, remedy.cost, more);
}

// Decides by the routes; an error under P2p::required.
Result<void> choose_way(machine::State& state, Pair& pair, P2p policy) {
  const peer::RouteAnswer answer = state.exchange().route(pair.drive->bdf, pair.accelerator->bdf);
  auto decision = peer::decide(policy, answer, Access::read_write);
  if (!decision) {
    Error error = std::move(decision.error());
    error.doing = "finding a direct route";
    error.subject = fmt::format("from {} to the memory of {} and back", pair.drive->name, pair.accelerator->name);
    error.cure = cure_for(state, *pair.drive, *pair.accelerator);
    return fail(std::move(error));
  }
  if (decision->way == peer::Way::host) pair.why_host = policy == P2p::disabled ? "" : decision->why;
  return {};
}

bool goes_by_host(const Pair& pair, P2p policy) { return policy == P2p::disabled || !pair.why_host.empty(); }

}  // namespace

Result<std::vector<Pair>> make_pairs(const Machine& machine, P2p policy) {
  machine::State& state = *machine.state();
  const auto lacks = [&](std::string_view what) {
    return fail({.code = ErrorCode::unsupported,
                 .doing = "running a workload on",
                 .subject = state.name(),
                 .why = fmt::format("it has no {} that works", what),
                 .cure = "use the machine 'training', or a description with [[drive]] and [[accelerator]]"});
  };
  std::vector<DriveUnit*> accelerators = units_of(state, UnitKind::accelerator);
  const std::vector<DriveUnit*> drives = units_of(state, UnitKind::drive);
  if (drives.empty()) return lacks("drive");
  if (accelerators.empty()) return lacks("accelerator");
  std::vector<Pair> pairs;
  for (DriveUnit* drive : drives) {
    if (accelerators.empty()) break;
    const auto best = std::ranges::min_element(
        accelerators, {}, [&](const DriveUnit* accelerator) { return rank(state, *drive, *accelerator); });
    pairs.push_back({.drive = drive, .accelerator = *best});
    accelerators.erase(best);
    if (auto chosen = choose_way(state, pairs.back(), policy); !chosen)
      return std::unexpected(std::move(chosen.error()));
  }
  return pairs;
}

Result<void> give_memory(const Machine& machine, Pair& pair, std::uint64_t bytes, P2p policy) {
  auto provider = machine.provider(pair.accelerator->name);
  if (!provider) return std::unexpected(std::move(provider.error()));
  auto region = provider->allocate(bytes);
  if (!region) return std::unexpected(std::move(region.error()));
  pair.region = std::move(*region);
  if (goes_by_host(pair, policy)) return {};
  auto mapping =
      machine.state()->exchange().try_map(*pair.drive->importer, *pair.region, {.access = Access::read_write});
  if (mapping) {
    pair.mapping = std::move(*mapping);
    return {};
  }
  auto decision = peer::decide(policy, mapping.error());
  if (!decision) return std::unexpected(std::move(decision.error()));
  pair.why_host = decision->why;
  return {};
}

}  // namespace barter::workloads
