// How a driver of a device with rings is to treat it.
#pragma once
#include "barter/units.hpp"

namespace barter::drivers::ring_device {

struct Options {
  Duration ready_timeout = std::chrono::seconds(10);
  Duration command_timeout = std::chrono::seconds(30);  // with no progress of any kind
  bool use_interrupts = false;                          // enable MSI-X; otherwise all is polled
};

}  // namespace barter::drivers::ring_device
