// The address windows of a bridge (PCIe 6.0, 7.5.1.3.6 to 7.5.1.3.9): which requests it passes on to its secondary side.
#pragma once
#include <cstdint>
#include <optional>

#include "pci/config_space.h"

namespace barter::pci {

// Both ends belong to the window.
struct AddressWindow {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  [[nodiscard]] constexpr bool contains(std::uint64_t address) const { return address >= first && address <= last; }
  friend bool operator==(const AddressWindow&, const AddressWindow&) = default;
};

inline constexpr std::uint64_t kMemoryWindowGranuleBytes = 1 << 20;
inline constexpr std::uint64_t kIoWindowGranuleBytes = 1 << 12;

// A closed window (its limit below its base), and one of which not every byte is known, have no value.
[[nodiscard]] std::optional<AddressWindow> memory_window(const ConfigSpace& bridge);
[[nodiscard]] std::optional<AddressWindow> prefetchable_window(const ConfigSpace& bridge);
[[nodiscard]] std::optional<AddressWindow> io_window(const ConfigSpace& bridge);

// Writes the registers; no value closes the window. The ends are multiples of the granule, the last one less one byte. A
// memory window lies below 4 GiB; the prefetchable one is written as 64 bits wide, the I/O one as 16 or 32.
void store_memory_window(ConfigSpace& bridge, std::optional<AddressWindow> window);
void store_prefetchable_window(ConfigSpace& bridge, std::optional<AddressWindow> window);
void store_io_window(ConfigSpace& bridge, std::optional<AddressWindow> window);

}  // namespace barter::pci
