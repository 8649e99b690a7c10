// Tells a thread that something has completed on any of several queues, so that it can sleep instead of looking.
//
// Nothing is lost between a look and the sleep: what completes meanwhile leaves its mark, and the sleep ends at once.
#pragma once
#include "barter/result.hpp"
#include "barter/units.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os {

class CompletionSignal {
 public:
  [[nodiscard]] static Result<CompletionSignal> create();
  // Returns when something has completed since the last return, or after `at_most`.
  void wait(Duration at_most);
  [[nodiscard]] int descriptor() const { return event_.number(); }

 private:
  explicit CompletionSignal(Descriptor event) : event_(std::move(event)) {}
  Descriptor event_;
};

}  // namespace barter::linux_os
