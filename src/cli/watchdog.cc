#include "cli/watchdog.h"

#include <utility>

namespace barter::cli {

Watchdog::Watchdog(Duration patience, std::function<void()> bark)
    : thread_([this, patience, call = std::move(bark)](const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, stop, patience, [] { return false; });
        if (!stop.stop_requested()) call();
      }) {}

}  // namespace barter::cli
