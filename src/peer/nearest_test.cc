// The choice of a provider for many clients.
#include <array>
#include <map>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "peer/exchange.h"
#include "peer/test_devices.h"

namespace barter::peer {
namespace {

using namespace barter::literals;
using testing::HasSubstr;

constexpr Bdf kNear{.bus = 1}, kFar{.bus = 2}, kClient{.bus = 8}, kOther{.bus = 9};

class Nearest : public testing::Test {
 protected:
  Nearest()
      : exchange_(clock_, [this](Bdf client, Bdf provider) {
          ++asked_;
          const auto found = answers_.find({client, provider});
          return found == answers_.end() ? RouteAnswer{.why = "nobody told"} : found->second;
        }) {
    EXPECT_TRUE(exchange_.add(far_));
    EXPECT_TRUE(exchange_.add(near_));
  }
  void answer(Bdf client, Bdf provider, Route route, std::uint32_t distance, std::string why = {}) {
    answers_[{client, provider}] = {.read = route, .write = route, .distance = distance, .why = std::move(why)};
  }
  auto choose(ProviderNeeds needs = {}) {
    const std::array clients{kClient, kOther};
    return exchange_.nearest_provider(clients, needs);
  }

  test::WaitingClock clock_;
  test::Memory near_{kNear, 1_MiB}, far_{kFar, 16_MiB};
  std::map<std::pair<Bdf, Bdf>, RouteAnswer> answers_;
  int asked_ = 0;
  Exchange exchange_;
};

TEST_F(Nearest, SmallestSumOfDistancesWins) {
  answer(kClient, kNear, Route::bus_address, 2);
  answer(kOther, kNear, Route::bus_address, 8);
  answer(kClient, kFar, Route::bus_address, 4);
  answer(kOther, kFar, Route::bus_address, 4);
  const auto choice = choose();
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->exporter, &far_);
  EXPECT_EQ(choice->distance, 8u);
  EXPECT_EQ(choice->through_host_bridge, 0u);
}

TEST_F(Nearest, SwitchWinsOverHostBridgeWhateverTheDistance) {
  answer(kClient, kNear, Route::through_host_bridge, 1);
  answer(kOther, kNear, Route::bus_address, 1);
  answer(kClient, kFar, Route::bus_address, 20);
  answer(kOther, kFar, Route::bus_address, 20);
  EXPECT_EQ(choose()->exporter, &far_);
}

TEST_F(Nearest, EqualsAreDecidedByTheSmallestBdf) {
  for (const Bdf client : {kClient, kOther})
    for (const Bdf provider : {kNear, kFar}) answer(client, provider, Route::bus_address, 4);
  for (int round = 0; round < 10; ++round) EXPECT_EQ(choose()->exporter, &near_);
}

TEST_F(Nearest, EveryClientNeedsARoute) {
  answer(kClient, kNear, Route::bus_address, 2);
  answer(kOther, kNear, Route::not_supported, 0, "ACS at 0000:00:01.0");
  answer(kClient, kFar, Route::bus_address, 9);
  answer(kOther, kFar, Route::bus_address, 9);
  EXPECT_EQ(choose()->exporter, &far_);
}

TEST_F(Nearest, TheErrorSaysOfEachCandidateWhy) {
  answer(kClient, kNear, Route::bus_address, 2);
  answer(kOther, kNear, Route::not_supported, 0, "ACS at 0000:00:01.0");
  const auto failed = choose();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::no_route);
  EXPECT_THAT(failed.error().message(), HasSubstr("0000:01:00.0: 0000:09:00.0 can't reach it: ACS at 0000:00:01.0"));
  EXPECT_THAT(failed.error().message(), HasSubstr("0000:02:00.0: 0000:08:00.0 is not known to reach it: nobody told"));
}

TEST_F(Nearest, MemoryMustBeLargeEnoughAndTakeTheAccess) {
  for (const Bdf client : {kClient, kOther}) {
    answer(client, kNear, Route::bus_address, 1);
    answer(client, kFar, Route::bus_address, 4);
  }
  EXPECT_EQ(choose({.bytes = 2_MiB})->exporter, &far_);
  const auto too_much = choose({.bytes = 32_MiB});
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::exhausted);
  EXPECT_THAT(too_much.error().message(), HasSubstr("largest free extent has 1048576 of the 33554432 bytes needed"));
  near_.hardware = Access::read;
  EXPECT_EQ(choose({.access = Access::write})->exporter, &far_);
  EXPECT_EQ(choose({.access = Access::read})->exporter, &near_);
}

TEST_F(Nearest, WithoutAnyMemoryItSaysSo) {
  EXPECT_TRUE(exchange_.withdraw(near_));
  EXPECT_TRUE(exchange_.withdraw(far_));
  EXPECT_EQ(choose().error().code, ErrorCode::not_found);
  EXPECT_EQ(exchange_.nearest_provider({}).error().code, ErrorCode::invalid_argument);
}

TEST_F(Nearest, VerdictsAreRememberedUntilRoutesChange) {
  for (const Bdf client : {kClient, kOther})
    for (const Bdf provider : {kNear, kFar}) answer(client, provider, Route::bus_address, 4);
  EXPECT_TRUE(choose());
  const int asked = asked_;
  EXPECT_TRUE(choose());
  EXPECT_EQ(asked_, asked);
  answer(kClient, kNear, Route::not_supported, 0);
  EXPECT_EQ(choose()->exporter, &near_);
  exchange_.routes_changed();
  EXPECT_EQ(choose()->exporter, &far_);
}

}  // namespace
}  // namespace barter::peer
