// Calls a function, on a thread of its own, if it lives longer than it should: for work that may never return.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "barter/units.hpp"

namespace barter::cli {

class Watchdog {
 public:
  Watchdog(Duration patience, std::function<void()> bark);

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;  // the last: it ends before what it waits on goes
};

}  // namespace barter::cli
