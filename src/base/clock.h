// Time, and waiting for the rest of the machine. Nothing else in the library looks at a clock or sleeps.
#pragma once
#include <chrono>
#include <cstdint>

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
  // idle() for who has looked in vain for a while: whoever is waited for may need this core for longer than a moment.
  virtual void nap() { idle(); }
};

// The system's monotonic clock. Any thread may use it.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override;
  void idle() override;
  void nap() override;
};

// Between the looks of a loop that serves several queues: idles after one that found nothing, and naps after many.
class Patience {
 public:
  explicit Patience(Clock& clock) : clock_(clock) {}
  void after_look(bool has_found_any) {
    if (has_found_any) {
      looks_in_vain_ = 0;
    } else if (looks_in_vain_ < kLooksBeforeNaps) {
      ++looks_in_vain_;
      clock_.idle();
    } else {
      clock_.nap();
    }
  }

 private:
  static constexpr std::uint32_t kLooksBeforeNaps = 64;
  Clock& clock_;
  std::uint32_t looks_in_vain_ = 0;
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
