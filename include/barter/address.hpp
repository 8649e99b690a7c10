// Names of functions, and the kinds of address that must never be mixed up.
//
// Five numbers in a peer-to-peer transfer look alike and mean different things. Each has a type of its own, and no type
// turns into another by itself:
//
//   CPU address   an ordinary pointer (std::byte*); only the CPU follows it
//   BusAddress    where something lies in the memory space of the PCI fabric; what a BAR register holds
//   DmaAddress    what a device puts into its requests (an IOVA). It is the bus address where no IOMMU translates, and
//                 only the IOMMU's mapping relates the two where one does
//   BarOffset     bytes from the start of one BAR
//   LinkAddress   where a device finds the memory of another one behind a link between the two; it means nothing on PCIe
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <barter/result.hpp>

namespace barter {

// A PCI function's name, domain:bus:device.function, as lspci -D prints it: 0000:03:00.0.
// Domains are wider than 16 bits, because Linux numbers the domains behind VMD controllers from 0x10000.
struct Bdf {
  std::uint32_t domain = 0;
  std::uint8_t bus = 0;
  std::uint8_t device = 0;    // 0 to 31; with ARI the device number is 0 and `function` has 8 bits
  std::uint8_t function = 0;  // 0 to 7

  // Accepts "03:00.0" (domain 0) and "0000:03:00.0", hexadecimal, nothing before or after.
  [[nodiscard]] static Result<Bdf> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  // The 16-bit Requester ID that this function puts into its requests (PCIe 6.0, 2.2.6.2).
  [[nodiscard]] constexpr std::uint16_t requester_id() const {
    return static_cast<std::uint16_t>(bus << 8 | device << 3 | function);
  }
  [[nodiscard]] static constexpr Bdf from_requester_id(std::uint32_t domain, std::uint16_t id) {
    return {domain, static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id >> 3 & 0x1f),
            static_cast<std::uint8_t>(id & 7)};
  }
  friend constexpr auto operator<=>(const Bdf&, const Bdf&) = default;
};

template <class Kind>
struct Address {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(Address, Address) = default;
  friend constexpr Address operator+(Address address, std::uint64_t bytes) { return {address.value + bytes}; }
  friend constexpr std::uint64_t operator-(Address end, Address start) { return end.value - start.value; }
};
using BusAddress = Address<struct BusAddressKind>;
using DmaAddress = Address<struct DmaAddressKind>;
using BarOffset = Address<struct BarOffsetKind>;
using LinkAddress = Address<struct LinkAddressKind>;

// What the address of a segment is to whoever routes the device's requests.
enum class SegmentKind : std::uint8_t {
  iova,         // one that the device's DMA domain gave: where there is an IOMMU, it translates it
  bus_address,  // where the memory lies on the bus; no IOMMU has a part in it
  pointer,      // an address of this process, of which the driver in the kernel makes one for the device
  link,         // a LinkAddress: only the engines of the device itself can follow it, and no bus may see it
};

// Contiguous memory as one device's DMA sees it. Segments of different kinds may stand in one list, and are never one
// segment, however their numbers go on.
struct DmaSegment {
  DmaAddress address;
  std::uint64_t bytes = 0;
  SegmentKind kind = SegmentKind::iova;
  friend constexpr auto operator<=>(const DmaSegment&, const DmaSegment&) = default;
};

}  // namespace barter

template <>
struct std::hash<barter::Bdf> {
  std::size_t operator()(const barter::Bdf& bdf) const noexcept {
    return std::hash<std::uint64_t>{}(std::uint64_t{bdf.domain} << 16 | bdf.requester_id());
  }
};
