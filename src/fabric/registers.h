// The configuration registers of one function as hardware holds them: the values, which bits software may write, and
// which it clears by writing ones. What a write means beyond its bits is System's business (config_access.cc).
#pragma once
#include <cstdint>

#include "pci/config_space.h"

namespace barter::fabric {

class Registers {
 public:
  Registers()
      : values_(pci::ConfigSpace::blank()),
        writable_(pci::ConfigSpace::blank()),
        write_one_to_clear_(pci::ConfigSpace::blank()) {}

  [[nodiscard]] const pci::ConfigSpace& values() const { return values_; }
  // As after power-on: see power_on_values().
  void restore(const pci::ConfigSpace& values) { values_ = values; }

  // What software does. The offset is aligned to the width (1, 2 or 4) and below 4096.
  [[nodiscard]] std::uint32_t read(std::uint16_t offset, unsigned width_bytes) const {
    return values_.read(offset, width_bytes).value_or(0xffffffff);
  }
  // Tells whether any bit changed.
  bool write(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
    const std::uint32_t old = *values_.read(offset, width_bytes);
    const std::uint32_t mask = *writable_.read(offset, width_bytes);
    const std::uint32_t clear = *write_one_to_clear_.read(offset, width_bytes) & value;
    const std::uint32_t changed = ((old & ~mask) | (value & mask)) & ~clear;
    if (changed == old) return false;
    return values_.write(offset, width_bytes, changed);
  }

  // What hardware does. `at` is where the register's capability starts.
  template <class R>
  [[nodiscard]] R get(std::size_t at = 0) const {
    return *values_.load<R>(at);
  }
  template <class R>
  void set(R value, std::size_t at = 0) {
    values_.store(value, at);
  }
  template <class R>
  void set_writable(R bits, std::size_t at = 0) {
    writable_.store(bits, at);
  }
  template <class R>
  void set_write_one_to_clear(R bits, std::size_t at = 0) {
    write_one_to_clear_.store(bits, at);
  }
  [[nodiscard]] pci::ConfigSpace& raw_values() { return values_; }

 private:
  pci::ConfigSpace values_;
  pci::ConfigSpace writable_;
  pci::ConfigSpace write_one_to_clear_;
};

}  // namespace barter::fabric
