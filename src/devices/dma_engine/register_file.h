// The registers of the engine: those of every device with rings, and what this one can do.
#pragma once
#include <cstdint>
#include <utility>

#include "devices/dma_engine/registers.h"
#include "devices/ring_device/register_file.h"

namespace barter::devices::dma_engine {

// What does not change in the life of the device.
struct FixedRegisters {
  std::uint8_t channels = 1;
  std::uint8_t ring_log2 = 1;  // of the longest ring
  std::uint16_t segments = 1;  // of the longest list
  std::uint64_t transfer_bytes = 0;
};

class RegisterFile final : public ring_device::RegisterFile {
 public:
  RegisterFile(const FixedRegisters& fixed, ring_device::Report report)
      : ring_device::RegisterFile(kLayout, fixed.channels, fixed.ring_log2, std::move(report)), fixed_(fixed) {}

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  void write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);

  [[nodiscard]] const FixedRegisters& fixed() const { return fixed_; }

 private:
  const FixedRegisters fixed_;
};

}  // namespace barter::devices::dma_engine
