// Base Address Registers (PCIe 6.0, 7.5.1.2.1): what a function's registers say of the memory and I/O it answers to.
//
// A register holds an address and a few type bits. Its size is not in it: one writes all ones and looks which bits stuck.
// So sizes are known only to whoever may write (the fabric, VFIO, the kernel, who tells in sysfs), and decode_bars takes
// what was read back then as `sizing`, or nothing.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "pci/config_space.h"
#include "pci/defect.h"

namespace barter::pci {

struct Bar {
  std::uint8_t index = 0;
  bool is_io = false;
  bool is_64bit = false;
  bool is_prefetchable = false;
  std::uint64_t address = 0;  // 0: not assigned
  std::optional<std::uint64_t> size_bytes;
  friend bool operator==(const Bar&, const Bar&) = default;
};

// Registers that read as zero with no sizing known are taken for BARs that are not there. With sizing, one entry for each
// register, those whose sizing is zero are left out. A BAR that makes no sense is a defect: a 64-bit one with no register
// for its upper half, the reserved memory type, an address that isn't a multiple of the size, a size that is no power of
// two.
[[nodiscard]] std::expected<std::vector<Bar>, Defect> decode_bars(const ConfigSpace& config,
                                                                  std::span<const std::uint32_t> sizing = {});

// How many Base Address Registers a header of this layout has.
[[nodiscard]] std::uint8_t bar_count(std::uint8_t header_layout);

// The register values of a BAR at an address: one, or two when it is 64-bit.
struct BarRegisters {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
};
[[nodiscard]] BarRegisters encode_bar(const Bar& bar);
// What the registers read as after all ones were written. The size is known and a power of two.
[[nodiscard]] BarRegisters encode_bar_sizing(const Bar& bar);

}  // namespace barter::pci
