// Makes the devices run. Stepped: whoever waits on the clock runs them, one step at a time, in an order that the seed
// decides, and time passes by steps. Threaded: each device has a thread of its own, and time is real.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "fabric/device.h"

namespace barter::fabric {

class System;
struct Node;

// Time that passes only when somebody waits. One thread.
class SteppedClock final : public base::Clock {
 public:
  explicit SteppedClock(System& system, std::uint64_t seed) : system_(system), chance_(seed) {}
  [[nodiscard]] base::TimePoint now() const override { return now_; }
  void idle() override;
  void advance(Duration by) { now_ += by; }

 private:
  System& system_;
  base::Random chance_;
  base::TimePoint now_{};
};

class Runner {
 public:
  Runner(System& system, bool threaded, std::uint64_t seed);
  ~Runner();

  [[nodiscard]] base::Clock& clock();
  // Once the machine is enumerated.
  void start();
  void stop();
  // Lets time pass for one request that is answered late.
  void delay(Duration by);
  // Steps a device, if it is there. Tells whether it did any work.
  bool step(Node& node);
  // The device's registers were written: it may have work.
  void wake(Node& node);

 private:
  struct Worker;
  void work(Worker& worker);
  void inject_faults(Worker& worker);

  System& system_;
  const bool threaded_;
  base::SystemClock real_clock_;
  SteppedClock stepped_clock_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;  // by node index; null for functions without a model
};

}  // namespace barter::fabric
