// The MSI-X vectors of one function, each an eventfd that the kernel counts up. One thread at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os::vfio {

class Interrupts {
 public:
  Interrupts(std::shared_ptr<const Descriptor> device, std::string name)
      : device_(std::move(device)), name_(std::move(name)) {}

  // Vectors 0 to count - 1, instead of those enabled before.
  [[nodiscard]] Result<void> enable(unsigned count);
  [[nodiscard]] Result<void> disable();
  // Has one arrived since the last call? Forgets it. False for a vector that is not enabled.
  [[nodiscard]] bool take(unsigned vector);

 private:
  [[nodiscard]] Result<unsigned> vectors() const;

  std::shared_ptr<const Descriptor> device_;
  std::string name_;
  std::vector<Descriptor> events_;
};

}  // namespace barter::linux_os::vfio
