// The names of the ACS bits, as the specification abbreviates them and as lspci prints them. Capability and Control
// have the same layout (PCIe 6.0, 7.7.11.2 and 7.7.11.3).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace barter::topology {

struct AcsBitName {
  std::string_view brief;  // in specifications and in machine descriptions
  std::string_view lspci;
  std::uint16_t bit;
};

inline constexpr std::array<AcsBitName, 7> kAcsBitNames{{
    {"SV", "SrcValid", 1 << 0},
    {"TB", "TransBlk", 1 << 1},
    {"RR", "ReqRedir", 1 << 2},
    {"CR", "CmpltRedir", 1 << 3},
    {"UF", "UpstreamFwd", 1 << 4},
    {"EC", "EgressCtrl", 1 << 5},
    {"DT", "DirectTrans", 1 << 6},
}};
inline constexpr std::uint16_t kAcsEgressControl = 1 << 5;

}  // namespace barter::topology
