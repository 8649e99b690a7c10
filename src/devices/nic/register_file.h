// The registers of the NIC: those of every device with rings, what this one can do, its wire and its keys.
#pragma once
#include <cstdint>
#include <utility>

#include "devices/nic/keys.h"
#include "devices/nic/registers.h"
#include "devices/nic/wire.h"
#include "devices/ring_device/register_file.h"

namespace barter::devices::nic {

// What does not change in the life of the device.
struct FixedRegisters {
  std::uint8_t pairs = 1;
  std::uint8_t ring_log2 = 1;  // of the longest ring
  std::uint16_t segments = 1;  // of the longest list
  std::uint8_t address_bits = 64;
  std::uint8_t boundary_log2 = 0;
  std::uint64_t message_bytes = 0;
  std::uint16_t keys = 1;

  [[nodiscard]] std::uint32_t channels() const { return 2u * pairs; }
};

class RegisterFile final : public ring_device::RegisterFile {
 public:
  // Port and keys outlive it.
  RegisterFile(const FixedRegisters& fixed, Port& port, Keys& keys, ring_device::Report report)
      : ring_device::RegisterFile(kLayout, fixed.channels(), fixed.ring_log2, std::move(report)),
        fixed_(fixed),
        port_(port),
        keys_(keys) {}

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  void write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);

  [[nodiscard]] const FixedRegisters& fixed() const { return fixed_; }

 private:
  const FixedRegisters fixed_;
  Port& port_;
  Keys& keys_;
};

}  // namespace barter::devices::nic
