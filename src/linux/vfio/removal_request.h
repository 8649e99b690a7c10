// The kernel's wish to have a function back: it is about to be unplugged, or given to another driver. The kernel waits, for
// as long as it takes, until the function is closed, and reminds every ten seconds. One thread at a time.
#pragma once
#include <memory>
#include <string>

#include "barter/result.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os::vfio {

class RemovalRequest {
 public:
  // Asks to be told, by VFIO_PCI_REQ_IRQ_INDEX.
  [[nodiscard]] static Result<RemovalRequest> watch(const Descriptor& device, const std::string& name);
  // Has the kernel asked since the last call?
  [[nodiscard]] bool take();

 private:
  explicit RemovalRequest(Descriptor event) : event_(std::move(event)) {}
  Descriptor event_;
};

}  // namespace barter::linux_os::vfio
