// How big a described machine may be (docs/machine-format.md, "Limits").
#pragma once
#include <cstddef>
#include <cstdint>

#include "barter/units.hpp"

namespace barter::topology::limits {

using namespace barter::literals;

inline constexpr std::size_t kDescriptionBytes = std::size_t{4} << 20;
inline constexpr std::size_t kRootComplexes = 256;
inline constexpr std::size_t kParts = 8192;           // of each kind: root ports, switches, drives, functions
inline constexpr std::size_t kPortsOfSwitch = 32;     // device numbers on the bus inside a switch
inline constexpr std::size_t kDevicesOnRootBus = 31;  // device number 0 is the host bridge
inline constexpr std::size_t kBusesOfDomain = 256;
inline constexpr std::size_t kSwitchesAbove = 32;  // of any function: keeps every walk short
inline constexpr std::uint64_t kDomain = 0xffff;
inline constexpr std::uint64_t kNumaNode = 1023;  // Linux: CONFIG_NODES_SHIFT is at most 10
inline constexpr std::size_t kNamespaces = 64;
inline constexpr std::uint64_t kNamespaceBytes = 16_TiB;
inline constexpr std::uint64_t kControllerMemoryBytes = 64_GiB;
inline constexpr std::uint64_t kAcceleratorMemoryBytes = 1_TiB;
inline constexpr std::uint64_t kChannelsOfAccelerator = 32;
inline constexpr std::uint64_t kLinksOfAccelerator = 8;
inline constexpr std::uint64_t kLinkMegabytesPerSecond = 100'000'000;
inline constexpr std::uint64_t kChannelsOfDmaEngine = 16;
inline constexpr std::uint64_t kSegmentsOfDmaEngine = 65535;
inline constexpr std::uint64_t kPairsOfNic = 16;
inline constexpr std::uint64_t kSegmentsOfNic = 65535;
inline constexpr std::uint64_t kKeysOfNic = 65535;
inline constexpr std::uint64_t kBoundaryBytes = 64_GiB;
inline constexpr std::uint64_t kBarBytes = 1_TiB;
inline constexpr std::uint64_t kBar32Bytes = 512_MiB;  // all 32-bit BARs share what is left below 4 GiB

}  // namespace barter::topology::limits
