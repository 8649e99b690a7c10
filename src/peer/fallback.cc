#include "peer/fallback.h"

#include <utility>

namespace barter::peer {

static_assert(static_cast<std::size_t>(Refusal::address_bits) ==
              static_cast<std::size_t>(FallbackReason::address_bits));
static_assert(static_cast<std::size_t>(Refusal::owner_refused) ==
              static_cast<std::size_t>(FallbackReason::owner_refused));

std::string_view name_of(FallbackReason reason) {
  if (reason == FallbackReason::no_provider) return "no_provider";
  if (reason == FallbackReason::transfer_failed) return "transfer_failed";
  return name_of(static_cast<Refusal>(reason));
}

bool is_passing(FallbackReason reason) {
  return reason == FallbackReason::exhausted || reason == FallbackReason::revoked ||
         reason == FallbackReason::pin_limit || reason == FallbackReason::late_importer ||
         reason == FallbackReason::transfer_failed;
}

namespace {

Result<Decision> host_or_error(P2p policy, FallbackReason reason, Error error) {
  switch (policy) {
    case P2p::required: {
      const std::string_view cure = "or allow host memory with the policy 'preferred'";
      error.cure = error.cure.empty() || error.cure.starts_with("go by way of host")
                       ? std::string(cure.substr(3))
                       : error.cure + ", " + std::string(cure);
      return fail(std::move(error));
    }
    case P2p::preferred:
    case P2p::enabled:
      return Decision{.way = Way::host, .fallback = reason, .why = std::move(error.why)};
    case P2p::disabled:
      break;
  }
  return Decision{.way = Way::host, .fallback = std::nullopt, .why = "the policy is 'disabled'"};
}

}  // namespace

Result<Decision> decide(P2p policy, const RouteAnswer& answer, Access access) {
  if (policy == P2p::disabled)
    return Decision{.way = Way::host, .fallback = std::nullopt, .why = "the policy is 'disabled'"};
  const Route route = route_for(answer, access);
  switch (route) {
    case Route::link:
    case Route::bus_address:
      return Decision{};
    case Route::through_host_bridge:
      if (policy != P2p::enabled) return Decision{};
      return Decision{.way = Way::host,
                      .fallback = std::nullopt,
                      .why = "the direct route goes through the root complex, which may be slower than host memory"};
    case Route::unknown:
    case Route::not_supported:
      break;
  }
  const bool unknown = route == Route::unknown;
  return host_or_error(policy, unknown ? FallbackReason::route_unknown : FallbackReason::no_route,
                       {.code = ErrorCode::no_route,
                        .doing = "planning a direct transfer",
                        .why = !answer.why.empty() ? answer.why
                               : unknown           ? "whether there is a direct route is unknown"
                                                   : "there is no direct route"});
}

Result<Decision> decide(P2p policy, const NotMapped& refusal) {
  return host_or_error(policy, reason_of(refusal.reason), refusal.error);
}

Result<Decision> decide(P2p policy, FallbackReason reason, const Error& error) {
  return host_or_error(policy, reason, error);
}

void FallbackLog::note(FallbackReason reason, std::string_view why, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  ++counts_[static_cast<std::size_t>(reason)];
  Entry* of_reason = nullptr;
  for (Entry& entry : entries_) {
    if (entry.reason != reason) continue;
    of_reason = &entry;
    if (entry.why != why) continue;
    ++entry.count;
    entry.bytes += bytes;
    return;
  }
  if (entries_.size() >= kMaxSentences) {
    // The sentence is lost, the count is not: it goes to the last entry with this reason, or to one for the reason alone,
    // of which there can only be kFallbackReasons more.
    if (of_reason != nullptr) {
      ++of_reason->count;
      of_reason->bytes += bytes;
      return;
    }
    why = name_of(reason);
  }
  entries_.push_back({.reason = reason, .why = std::string(why), .count = 1, .bytes = bytes});
}

std::vector<FallbackLog::Entry> FallbackLog::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::uint64_t FallbackLog::count(FallbackReason reason) const {
  const std::lock_guard lock(mutex_);
  return counts_[static_cast<std::size_t>(reason)];
}

}  // namespace barter::peer
