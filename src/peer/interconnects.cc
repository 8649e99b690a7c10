// Other ways than PCIe: which one there is, and opening and closing it.
#include <utility>

#include <fmt/format.h>

#include "peer/attempt.h"
#include "peer/core.h"

namespace barter::peer {

Result<void> Core::add(Interconnect& interconnect) {
  Lock lock(mutex_);
  for (std::atomic<Interconnect*>& place : interconnects_) {
    if (place.load(std::memory_order_relaxed) != nullptr) continue;
    place.store(&interconnect, std::memory_order_release);
    return {};
  }
  return fail({.code = ErrorCode::exhausted,
               .doing = "adding the interconnect",
               .subject = std::string(interconnect.name()),
               .why = fmt::format("there are {} already, the most there can be", kMaxInterconnects)});
}

// Of those that join the two and work, the one with the fewest hops; else what is wrong with one that would. Without the lock: it
// may have to ask devices.
std::optional<Core::Joined> Core::find_interconnect(Bdf client, Bdf provider, std::string* why_down) const {
  if (client == provider) return std::nullopt;
  std::optional<Joined> best;
  std::string down;
  for (std::size_t place = 0; place < interconnects_.size(); ++place) {
    Interconnect* const one = interconnects_[place].load(std::memory_order_acquire);
    if (one == nullptr) break;
    Interconnect::Answer answer = one->ask(client, provider);
    if (!answer.is_joined) continue;
    if (!answer.is_up) {
      down = std::move(answer.why);
    } else if (!best || answer.distance < best->answer.distance) {
      best = Joined{place, std::move(answer)};
    }
  }
  if (!best && why_down != nullptr && !down.empty()) *why_down = std::move(down);
  return best;
}

RouteAnswer Core::route(Bdf client, Bdf provider) {
  if (auto joined = find_interconnect(client, provider))
    return {.read = Route::link,
            .write = Route::link,
            .distance = joined->answer.distance,
            .why = std::move(joined->answer.why)};
  return route_by_pcie(client, provider);
}

std::vector<InterconnectAnswer> Core::ask_interconnects(Bdf client, Bdf provider) {
  std::vector<InterconnectAnswer> answers;
  for (const std::atomic<Interconnect*>& place : interconnects_) {
    Interconnect* const one = place.load(std::memory_order_acquire);
    if (one == nullptr) break;
    const Interconnect::Answer answer = client == provider ? Interconnect::Answer{} : one->ask(client, provider);
    answers.push_back({.name = std::string(one->name()),
                       .route = answer.is_joined && answer.is_up ? Route::link : Route::not_supported,
                       .facts = client == provider ? std::vector<Fact>{} : one->facts(client, provider)});
  }
  return answers;
}

RouteChoice Core::choose_route(Bdf client, Bdf provider, Access access) {
  std::string why_down;
  const auto joined = find_interconnect(client, provider, &why_down);
  const RouteAnswer by_pcie = route_by_pcie(client, provider);
  const Route pcie = route_for(by_pcie, access);
  if (joined) {
    Interconnect* const one = interconnects_[joined->place].load(std::memory_order_acquire);
    return {.by = std::string(one->name()),
            .route = Route::link,
            .why = fmt::format("{}; PCIe's own route would be {}", joined->answer.why, name_of(pcie))};
  }
  const bool leads = pcie == Route::bus_address || pcie == Route::through_host_bridge;
  std::string why = by_pcie.why.empty() ? fmt::format("PCIe's route is {}", name_of(pcie)) : by_pcie.why;
  if (!why_down.empty()) why = why_down + "; " + why;
  return {.by = leads || pcie == Route::unknown ? "pcie" : "", .route = pcie, .why = std::move(why)};
}

// The way of a mapping to be made. Does nothing where PCIe is all there is.
void Core::choose_interconnect(Attempt& attempt) {
  if (attempt.pcie_only || !attempt.importer_state->importer->takes_link_addresses() ||
      attempt.exporter_state->exporter->is_known_by_pointer())
    return;
  const auto joined = find_interconnect(attempt.function, attempt.region.exporter(), &attempt.why_no_interconnect);
  if (!joined) return;
  attempt.interconnect = joined->place;
  attempt.route = Route::link;
  // At an address that the caller chooses, the domain stands before it: the device's own page tables.
  attempt.kind = attempt.at ? SegmentKind::iova : SegmentKind::link;
  attempt.in_domain = attempt.at.has_value();
  attempt.guarded = true;
}

std::optional<NotMapped> Core::open_way(Attempt& attempt) {
  {
    // As with an IOMMU: from here to publication a revocation waits for us.
    Lock lock(mutex_);
    if (auto failed = check_current(attempt)) return failed;
    ++attempt.region.in_domains_;
    ++attempt.importer_state->in_domain;
  }
  Interconnect& interconnect = *interconnects_[*attempt.interconnect].load(std::memory_order_acquire);
  const auto address = interconnect.open({.client = attempt.function,
                                          .provider = attempt.region.exporter(),
                                          .range = attempt.range,
                                          .access = attempt.options.access});
  if (address) {
    attempt.link = *address;
    if (attempt.at) return place_way(attempt);
    // From here on the kind alone tells what the number is.
    attempt.address = DmaAddress{address->value};
    return std::nullopt;
  }
  Lock lock(mutex_);
  leave_domain(attempt);
  attempt.could_not_open = true;
  const Error& error = address.error();
  return attempt.refusal(error.code == ErrorCode::exhausted ? Refusal::exhausted : Refusal::no_route, error.code,
                         error.message(), error.cure);
}

// The importer's requests name it as the caller does.
std::optional<NotMapped> Core::place_way(Attempt& attempt) {
  const auto address = attempt.importer_state->importer->domain().map_at({.at = *attempt.at,
                                                                          .target = attempt.target,
                                                                          .bytes = attempt.range.bytes,
                                                                          .access = attempt.options.access,
                                                                          .route = attempt.route,
                                                                          .link = attempt.link});
  if (address) {
    attempt.address = *address;
    return std::nullopt;
  }
  close_way(attempt);
  const Error& error = address.error();
  return attempt.refusal(error.code == ErrorCode::exhausted ? Refusal::exhausted : Refusal::iommu_failed, error.code,
                         error.message(), error.cure);
}

// Of an attempt that came to nothing after all.
void Core::close_way(Attempt& attempt) {
  Interconnect& interconnect = *interconnects_[*attempt.interconnect].load(std::memory_order_acquire);
  const auto closed = interconnect.close({.client = attempt.function,
                                          .provider = attempt.region.exporter(),
                                          .range = attempt.range,
                                          .access = attempt.options.access},
                                         attempt.link);
  Lock lock(mutex_);
  leave_domain(attempt);
  if (!closed) attempt.region.quarantined_ = true;
}

}  // namespace barter::peer
