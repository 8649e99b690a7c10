// Which route, and which provider is nearest.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "peer/core.h"
#include "topology/route_order.h"

namespace barter::peer {

namespace {

// Candidates that an error tells of; it is for people.
constexpr std::size_t kCandidatesTold = 16;

}  // namespace

Route route_for(const RouteAnswer& answer, Access access) {
  if (access == Access::read) return answer.read;
  if (access == Access::write) return answer.write;
  return topology::badness(answer.read) > topology::badness(answer.write) ? answer.read : answer.write;
}

// The reference is good until the lock is let go.
const RouteAnswer& Core::route(Lock& lock, Bdf client, Bdf provider) {
  const std::pair pair{client, provider};
  while (true) {
    if (const auto found = routes_.find(pair); found != routes_.end()) return found->second;
    const std::uint64_t epoch = routes_epoch_;
    lock.unlock();
    RouteAnswer answer = rule_(client, provider);
    lock.lock();
    if (epoch != routes_epoch_) continue;  // the answer may be of the time before
    if (routes_.size() >= kMaxRememberedRoutes) routes_.clear();
    return routes_.insert_or_assign(pair, std::move(answer)).first->second;
  }
}

RouteAnswer Core::route_by_pcie(Bdf client, Bdf provider) {
  Lock lock(mutex_);
  return route(lock, client, provider);
}

// One exporter as nearest_provider sees it.
struct Core::Sought {
  ProviderChoice choice;
  Bdf function;
  std::uint64_t largest_free_bytes = 0;
  std::string why_not;  // empty: it serves all
  bool just_full = false;
};

std::vector<Core::Sought> Core::candidates(std::uint64_t bytes) const {
  std::vector<Sought> all;
  Lock lock(mutex_);
  for (const auto& [exporter, state] : exporters_) {
    if (state->going || !exporter->is_on_offer()) continue;
    ++state->busy;
    all.push_back({.choice = {.exporter = state->exporter},
                   .function = state->function,
                   .largest_free_bytes = state->pool.largest_free_bytes()});
  }
  lock.unlock();
  for (Sought& one : all) {
    if (one.largest_free_bytes >= bytes) continue;
    one.just_full = true;
    one.why_not = fmt::format("its largest free extent has {} of the {} bytes needed", one.largest_free_bytes, bytes);
  }
  std::sort(all.begin(), all.end(), [](const Sought& a, const Sought& b) { return a.function < b.function; });
  return all;
}

namespace {

bool allows(Access hardware, Access wanted) {
  return (static_cast<unsigned>(hardware) & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
}

}  // namespace

Result<ProviderChoice> Core::nearest_provider(std::span<const Bdf> clients, const ProviderNeeds& needs) {
  constexpr const char* kDoing = "choosing device memory for all of these devices";
  if (clients.empty())
    return fail({.code = ErrorCode::invalid_argument, .doing = kDoing, .why = "no device was named"});
  std::vector<Sought> all = candidates(std::max<std::uint64_t>(needs.bytes, 1));
  const Sought* best = nullptr;
  for (Sought& one : all) {
    if (!one.why_not.empty()) continue;
    if (!allows(one.choice.exporter->hardware_access(), needs.access)) {
      one.why_not = "its hardware does not take this access from peers";
      continue;
    }
    for (const Bdf client : clients) {
      const RouteAnswer answer = route(client, one.function);
      const Route way = route_for(answer, needs.access);
      if (way == Route::not_supported || way == Route::unknown) {
        one.why_not = fmt::format("{} {} it{}{}", client.to_string(),
                                  way == Route::unknown ? "is not known to reach" : "can't reach",
                                  answer.why.empty() ? "" : ": ", answer.why);
        break;
      }
      one.choice.distance += answer.distance;
      one.choice.through_host_bridge += way == Route::through_host_bridge ? 1 : 0;
    }
    if (!one.why_not.empty()) continue;
    const auto rank = [](const Sought& of) { return std::pair(of.choice.through_host_bridge, of.choice.distance); };
    if (best == nullptr || rank(one) < rank(*best)) best = &one;  // in order of BDF, so that the first of equals stays
  }
  {
    Lock lock(mutex_);
    for (const Sought& one : all)
      if (ExporterState* const state = find(*one.choice.exporter)) --state->busy;
  }
  if (best != nullptr) return best->choice;
  if (all.empty())
    return fail({.code = ErrorCode::not_found,
                 .doing = kDoing,
                 .why = "no device of this machine offers memory to others",
                 .cure = "go by way of host memory"});
  std::string why;
  for (std::size_t index = 0; index < std::min(all.size(), kCandidatesTold); ++index)
    why += fmt::format("{}{}: {}", index == 0 ? "" : "; ", all[index].function.to_string(), all[index].why_not);
  if (all.size() > kCandidatesTold) why += fmt::format("; and {} more", all.size() - kCandidatesTold);
  const bool any_full = std::any_of(all.begin(), all.end(), [](const Sought& one) { return one.just_full; });
  return fail({.code = any_full ? ErrorCode::exhausted : ErrorCode::no_route,
               .doing = kDoing,
               .why = std::move(why),
               .cure = any_full ? "free some of it, or go by way of host memory" : "go by way of host memory"});
}

}  // namespace barter::peer
