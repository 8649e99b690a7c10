// MSI-X capability (PCIe 6.0, 7.7.2), and the table in a BAR that it points to.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::msix {

inline constexpr std::uint16_t kId = capability_id::kMsix;
inline constexpr std::uint16_t kBytes = 12;

// 7.7.2.2
struct MessageControl : base::Register<MessageControl, 0x02, std::uint16_t> {
  static constexpr Bit<15> enable{};
  static constexpr Bit<14> function_mask{};
  static constexpr Bits<10, 0> table_size_0based{};
  [[nodiscard]] constexpr unsigned vectors() const { return unsigned{get(table_size_0based)} + 1; }
};
// 7.7.2.3: where the table lies, in bytes from the start of a BAR. Both are multiples of 8.
struct Table : base::Register<Table, 0x04, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 3> offset_qwords{};
  static constexpr Bits<2, 0, std::uint8_t> bar{};
  [[nodiscard]] constexpr std::uint32_t offset_bytes() const { return get(offset_qwords) * 8; }
};
// 7.7.2.4
struct PendingBitArray : base::Register<PendingBitArray, 0x08, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 3> offset_qwords{};
  static constexpr Bits<2, 0, std::uint8_t> bar{};
  [[nodiscard]] constexpr std::uint32_t offset_bytes() const { return get(offset_qwords) * 8; }
};

// 7.7.2.5 to 7.7.2.8: one entry of the table; offsets are from the start of the entry.
namespace entry {
inline constexpr std::uint32_t kBytes = 16;
struct MessageAddress : base::Register<MessageAddress, 0x00, std::uint32_t> {};
struct MessageUpperAddress : base::Register<MessageUpperAddress, 0x04, std::uint32_t> {};
struct MessageData : base::Register<MessageData, 0x08, std::uint32_t> {};
struct VectorControl : base::Register<VectorControl, 0x0c, std::uint32_t> {
  static constexpr Bit<0> mask{};
};
}  // namespace entry

}  // namespace barter::pci::msix
