#include "cli/watchdog.h"

#include <future>

#include <gtest/gtest.h>

namespace barter::cli {
namespace {

using namespace barter::literals;

TEST(Watchdog, BarksWhenItHasWaitedLongEnough) {
  std::promise<void> barked;
  const Watchdog watchdog(1ms, [&barked] { barked.set_value(); });
  EXPECT_EQ(barked.get_future().wait_for(30s), std::future_status::ready);
}

TEST(Watchdog, IsQuietWhenTheWorkEndsInTime) {
  bool barked = false;
  {
    const Watchdog watchdog(1h, [&barked] { barked = true; });
  }
  EXPECT_FALSE(barked);
}

}  // namespace
}  // namespace barter::cli
