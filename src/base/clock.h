// Time, and waiting for the rest of the machine. Nothing else in the library looks at a clock or sleeps.
#pragma once
#include <chrono>

#include "barter/units.hpp"

namespace barter::base {

// Nanoseconds since an origin that only the clock knows.
using TimePoint = std::chrono::time_point<struct ClockOrigin, Duration>;

// A source of time that also lets the rest of the machine get on. On real hardware idle() is a pause of the processor; on
// a stepped software machine it runs one device for one step and moves the time forward, which is why a lost completion
// ends in a timeout there too, and in the same one for the same seed.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint now() const = 0;
  virtual void idle() = 0;
};

// The system's monotonic clock. Any thread may use it.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override;
  void idle() override;
};

// The only loop that waits. Returns true once done() does, false when the deadline has passed and it still doesn't.
template <class Done>
[[nodiscard]] bool wait_until(Clock& clock, TimePoint deadline, Done&& done) {
  while (true) {
    if (done()) return true;
    if (clock.now() >= deadline) return done();
    clock.idle();
  }
}

}  // namespace barter::base
