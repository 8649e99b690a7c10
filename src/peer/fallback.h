// Direct or by way of host memory: a decision with a reason, made for each transfer from what is known at that moment.
// Nothing here remembers a failure in order to act on it later, so a passing one can't turn direct transfers off for good.
//
//   auto plan = peer::decide(options.policy, exchange.route(drive, cmb), Access::write);
//   if (!plan) return fail(plan.error());                      // required, and there is no route
//   auto mapping = exchange.try_map(drive, region, ...);
//   if (!mapping) plan = peer::decide(options.policy, mapping.error());
//   if (plan->fallback) log.note(*plan->fallback, plan->why, bytes);
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/memory.hpp"
#include "barter/policy.hpp"
#include "barter/result.hpp"
#include "peer/counters.h"
#include "peer/exchange.h"

namespace barter::peer {

// Why a transfer went by way of host memory although its policy would rather have had it direct. The first fourteen are
// those of Refusal, in the same order.
enum class FallbackReason : std::uint8_t {
  no_route,
  route_unknown,
  routes_differ,
  hardware_access,
  owner_asks_host,
  owner_refused,
  revoked,
  device_gone,
  exhausted,
  iommu_failed,
  out_of_range,
  pin_limit,
  late_importer,
  address_bits,
  no_provider,      // no device memory serves both ends
  transfer_failed,  // the direct transfer was tried and ended in an error
};
constexpr std::size_t kFallbackReasons = 16;
[[nodiscard]] std::string_view name_of(FallbackReason reason);
[[nodiscard]] constexpr FallbackReason reason_of(Refusal refusal) { return static_cast<FallbackReason>(refusal); }
// May the same request work a moment later, with nothing changed by anyone?
[[nodiscard]] bool is_passing(FallbackReason reason);

enum class Way : std::uint8_t { direct, host };

struct Decision {
  Way way = Way::direct;
  std::optional<FallbackReason> fallback;  // only if the policy would rather have had it direct
  std::string why;                         // a sentence for people; empty for `direct`
};

// Before anything is mapped. An error only under P2p::required.
//   required   direct over any known route
//   preferred  direct over any known route, host otherwise
//   enabled    direct by bus address; through a host bridge by way of host memory, because no register tells how fast a
//              root complex turns peer traffic around, and some do it slower than they reach memory (facts: SPDK's
//              peer-to-peer guide says the same)
//   disabled   host
[[nodiscard]] Result<Decision> decide(P2p policy, const RouteAnswer& answer, Access access);
// After a mapping was not made.
[[nodiscard]] Result<Decision> decide(P2p policy, const NotMapped& refusal);
// After anything else has gone wrong with the direct way.
[[nodiscard]] Result<Decision> decide(P2p policy, FallbackReason reason, const Error& error);

// What fell back and why, counted. Bounded: past kMaxSentences different sentences, the reason alone is counted. Any thread.
class FallbackLog {
 public:
  static constexpr std::size_t kMaxSentences = 64;
  struct Entry {
    FallbackReason reason = FallbackReason::no_route;
    std::string why;
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
  };
  void note(FallbackReason reason, std::string_view why, std::uint64_t bytes);
  // In the order in which they first happened.
  [[nodiscard]] std::vector<Entry> entries() const;
  [[nodiscard]] std::uint64_t count(FallbackReason reason) const;

 private:
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::array<std::uint64_t, kFallbackReasons> counts_{};
};

}  // namespace barter::peer
