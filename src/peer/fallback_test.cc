#include "peer/fallback.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace barter::peer {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

RouteAnswer all(Route route, std::string why = {}) { return {.read = route, .write = route, .why = std::move(why)}; }

TEST(Decide, RequiredIsDirectOrAnError) {
  EXPECT_EQ(decide(P2p::required, all(Route::bus_address), Access::read)->way, Way::direct);
  EXPECT_EQ(decide(P2p::required, all(Route::through_host_bridge), Access::read)->way, Way::direct);
  for (const Route route : {Route::not_supported, Route::unknown}) {
    const auto failed = decide(P2p::required, all(route, "ACS redirects at 0000:00:01.0"), Access::read);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::no_route);
    EXPECT_THAT(failed.error().message(), HasSubstr("ACS redirects at 0000:00:01.0"));
    EXPECT_THAT(failed.error().message(), HasSubstr("'preferred'"));
  }
}

TEST(Decide, PreferredIsDirectOverAnyKnownRoute) {
  EXPECT_EQ(decide(P2p::preferred, all(Route::bus_address), Access::write)->way, Way::direct);
  EXPECT_EQ(decide(P2p::preferred, all(Route::through_host_bridge), Access::write)->way, Way::direct);
  const auto unknown = decide(P2p::preferred, all(Route::unknown, "no root"), Access::write);
  EXPECT_EQ(unknown->way, Way::host);
  EXPECT_EQ(unknown->fallback, FallbackReason::route_unknown);
  EXPECT_EQ(unknown->why, "no root");
  EXPECT_EQ(decide(P2p::preferred, all(Route::not_supported), Access::write)->fallback, FallbackReason::no_route);
}

TEST(Decide, EnabledTakesWhatIsExpectedToBeFaster) {
  EXPECT_EQ(decide(P2p::enabled, all(Route::bus_address), Access::read)->way, Way::direct);
  const auto bridge = decide(P2p::enabled, all(Route::through_host_bridge), Access::read);
  EXPECT_EQ(bridge->way, Way::host);
  EXPECT_FALSE(bridge->fallback) << "the policy got what it wanted";
  EXPECT_FALSE(bridge->why.empty());
}

TEST(Decide, DisabledIsHostAndNoFallback) {
  for (const Route route : {Route::bus_address, Route::not_supported, Route::unknown}) {
    const auto decided = decide(P2p::disabled, all(route), Access::read);
    EXPECT_EQ(decided->way, Way::host);
    EXPECT_FALSE(decided->fallback);
  }
}

TEST(Decide, LooksAtTheAccessThatIsMeant) {
  const RouteAnswer reads_only{.read = Route::bus_address, .write = Route::not_supported};
  EXPECT_EQ(decide(P2p::preferred, reads_only, Access::read)->way, Way::direct);
  EXPECT_EQ(decide(P2p::preferred, reads_only, Access::write)->way, Way::host);
  EXPECT_EQ(decide(P2p::preferred, reads_only, Access::read_write)->way, Way::host);
}

TEST(Decide, EveryRefusalHasAReasonOfTheSameName) {
  for (std::size_t index = 0; index < kRefusals; ++index) {
    const auto refusal = static_cast<Refusal>(index);
    EXPECT_EQ(name_of(refusal), name_of(reason_of(refusal)));
    const NotMapped not_mapped{refusal, {.code = ErrorCode::refused, .why = "because"}};
    const auto decided = decide(P2p::preferred, not_mapped);
    EXPECT_EQ(decided->fallback, reason_of(refusal));
    EXPECT_EQ(decided->why, "because");
    const auto failed = decide(P2p::required, not_mapped);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::refused);
  }
  EXPECT_TRUE(is_passing(FallbackReason::exhausted));
  EXPECT_TRUE(is_passing(FallbackReason::pin_limit));
  EXPECT_TRUE(is_passing(FallbackReason::late_importer));
  EXPECT_FALSE(is_passing(FallbackReason::no_route));
}

TEST(FallbackLog, CountsEachReasonAndSentence) {
  FallbackLog log;
  log.note(FallbackReason::revoked, "the owner took it back", 100);
  log.note(FallbackReason::revoked, "the owner took it back", 50);
  log.note(FallbackReason::exhausted, "no room", 7);
  ASSERT_THAT(log.entries(), SizeIs(2));
  EXPECT_EQ(log.entries()[0].why, "the owner took it back");
  EXPECT_EQ(log.entries()[0].count, 2u);
  EXPECT_EQ(log.entries()[0].bytes, 150u);
  EXPECT_EQ(log.count(FallbackReason::exhausted), 1u);
}

TEST(FallbackLog, StaysBoundedAndLosesNoCount) {
  FallbackLog log;
  for (int index = 0; index < 1000; ++index) log.note(FallbackReason::no_route, std::to_string(index), 1);
  log.note(FallbackReason::exhausted, "no room", 1);
  log.note(FallbackReason::exhausted, "no room at all", 1);
  EXPECT_LE(log.entries().size(), FallbackLog::kMaxSentences + kFallbackReasons);
  EXPECT_EQ(log.count(FallbackReason::no_route), 1000u);
  std::uint64_t counted = 0;
  for (const auto& entry : log.entries()) counted += entry.count;
  EXPECT_EQ(counted, 1002u);
}

}  // namespace
}  // namespace barter::peer
