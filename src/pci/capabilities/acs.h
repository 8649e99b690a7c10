// Access Control Services extended capability (PCIe 6.0, 7.7.11; what the bits do: 6.12): it decides whether a switch lets
// a request from one of its ports go straight to another.
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/capabilities/capability_header.h"

namespace barter::pci::acs {

inline constexpr std::uint16_t kId = extended_capability_id::kAccessControlServices;
inline constexpr std::uint16_t kFixedBytes = 8;  // the egress control vector follows, if there is one

// 7.7.11.2
struct Capability : base::Register<Capability, 0x04, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr Bits<15, 8> egress_control_vector_size{};  // bits; 0 means 256
  static constexpr Bit<6> direct_translated{};                // DT
  static constexpr Bit<5> egress_control{};                   // EC
  static constexpr Bit<4> upstream_forwarding{};              // UF
  static constexpr Bit<3> completion_redirect{};              // CR
  static constexpr Bit<2> request_redirect{};                 // RR
  static constexpr Bit<1> translation_blocking{};             // TB
  static constexpr Bit<0> source_validation{};                // SV
  // 0 when there is no vector.
  [[nodiscard]] constexpr unsigned egress_vector_bits() const {
    if (!get(egress_control)) return 0;
    const unsigned bits = get(egress_control_vector_size);
    return bits == 0 ? 256 : bits;
  }
  [[nodiscard]] constexpr unsigned egress_vector_dwords() const { return (egress_vector_bits() + 31) / 32; }
};
// 7.7.11.3
struct Control : base::Register<Control, 0x06, std::uint16_t> {
  static constexpr Bit<6> direct_translated{};
  static constexpr Bit<5> egress_control{};
  static constexpr Bit<4> upstream_forwarding{};
  static constexpr Bit<3> completion_redirect{};
  static constexpr Bit<2> request_redirect{};
  static constexpr Bit<1> translation_blocking{};
  static constexpr Bit<0> source_validation{};
};
// 7.7.11.4: the first dword; number n lies 4 * n bytes further. Bit p of the vector, set: requests to the port (in a
// switch) or function (in a multi-function device) with number p don't go straight there.
struct EgressControlVector : base::Register<EgressControlVector, 0x08, std::uint32_t> {};

// The same bits as plain masks, for whoever keeps both registers raw (barter::AcsInfo).
inline constexpr std::uint16_t kSourceValidation = 0x01;
inline constexpr std::uint16_t kTranslationBlocking = 0x02;
inline constexpr std::uint16_t kRequestRedirect = 0x04;
inline constexpr std::uint16_t kCompletionRedirect = 0x08;
inline constexpr std::uint16_t kUpstreamForwarding = 0x10;
inline constexpr std::uint16_t kEgressControl = 0x20;
inline constexpr std::uint16_t kDirectTranslated = 0x40;
inline constexpr std::uint16_t kAllBits = 0x7f;

}  // namespace barter::pci::acs
