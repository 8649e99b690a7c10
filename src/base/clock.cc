#include "base/clock.h"

#include <thread>

namespace barter::base {

TimePoint SystemClock::now() const {
  return TimePoint{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
}

// Yielding, and not just a pause instruction: with fewer cores than threads, the one we wait for may need this core.
void SystemClock::idle() { std::this_thread::yield(); }

}  // namespace barter::base
