// What all parts of the driver share: the function, its registers, what CAP says, and how trouble is told.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "barter/result.hpp"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/registers.h"
#include "pci/function.h"

namespace barter::drivers::nvme {

// Memory pages that the driver can serve: the smallest that a controller takes must be no larger than 64 KiB.
inline constexpr unsigned kMinPageLog2 = 12;
inline constexpr unsigned kMaxPageLog2 = 16;

struct Device {
  std::unique_ptr<pci::Function> function;
  std::unique_ptr<pci::Mmio> registers;  // BAR 0; goes before the function
  ControllerOptions options;
  std::string name;  // for messages: the BDF

  Capabilities capabilities;
  Version version;
  unsigned page_log2 = kMinPageLog2;
  std::uint32_t doorbell_stride_bytes = 4;
  Duration ready_timeout{};

  [[nodiscard]] base::Clock& clock() const { return function->clock(); }
  [[nodiscard]] std::uint64_t page_bytes() const { return std::uint64_t{1} << page_log2; }
  [[nodiscard]] Error error(ErrorCode code, std::string_view doing, std::string why, std::string cure = {}) const;
  // The controller has not done what it should have by now. Its status register tells which of device_gone,
  // device_failed (CSTS.CFS) and timed_out it is; `facts` is what else is known.
  [[nodiscard]] Error silence(std::string_view doing, std::string_view facts) const;
};

// Host memory for queues and lists, aligned to the controller's memory pages.
struct ControlMemory {
  pci::DmaBuffer buffer;
  std::span<std::byte> bytes;  // within the buffer
  DmaAddress address;
};
[[nodiscard]] Result<ControlMemory> allocate_control(const Device& device, std::uint64_t bytes);

}  // namespace barter::drivers::nvme
