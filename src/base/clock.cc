#include "base/clock.h"

#include <thread>

namespace barter::base {

TimePoint SystemClock::now() const {
  return TimePoint{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
}

namespace {

// Much shorter than what a queue of a few large pieces keeps a device busy. The kernel's timer slack comes on top (50 us as a rule).
constexpr Duration kNap = std::chrono::microseconds(20);

}  // namespace

// Yielding, and not just a pause instruction: with fewer cores than threads, the one we wait for may need this core.
void SystemClock::idle() { std::this_thread::yield(); }

void SystemClock::nap() { std::this_thread::sleep_for(kNap); }

}  // namespace barter::base
