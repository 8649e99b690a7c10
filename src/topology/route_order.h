// Routes from the best to the worst, for whoever has to choose or to name the worse of two.
#pragma once
#include "barter/verdict.hpp"

namespace barter::topology {

// 0 is best. An unknown route may turn out to work, so one that is known not to is worse.
constexpr int badness(Route route) {
  switch (route) {
    case Route::link:
      return 0;
    case Route::bus_address:
      return 1;
    case Route::through_host_bridge:
      return 2;
    case Route::unknown:
      return 3;
    case Route::not_supported:
      return 4;
  }
  return 4;
}

}  // namespace barter::topology
