// What one port does with one TLP under Access Control Services (PCIe 6.0, 6.12): the only place where this is decided.
// The analyser asks it about every pair of functions (wire_rule.cc), and the software fabric about every TLP that it
// routes, so that the two can't drift apart. docs/verdicts.md tells the rules with a worked example.
//
//   switch (decide_request(acs_controls(port.acs), {.target_number = 3})) ...
//
// Pure functions of registers; nothing here knows of trees, addresses or routes.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "barter/topology.hpp"

namespace barter::topology {

// ACS Control Register (PCIe 6.0, 7.7.11.3). The Capability Register has the same bits in the same places.
namespace acs_bit {
inline constexpr std::uint16_t kSourceValidation = 1u << 0;
inline constexpr std::uint16_t kTranslationBlocking = 1u << 1;
inline constexpr std::uint16_t kRequestRedirect = 1u << 2;
inline constexpr std::uint16_t kCompletionRedirect = 1u << 3;
inline constexpr std::uint16_t kUpstreamForwarding = 1u << 4;
inline constexpr std::uint16_t kEgressControl = 1u << 5;
inline constexpr std::uint16_t kDirectTranslated = 1u << 6;
}  // namespace acs_bit

enum class PortDecision : std::uint8_t {
  direct,    // on to the peer port, by address or ID
  redirect,  // up to the root complex first
  blocked,   // an ACS Violation: the TLP goes nowhere
};

// The AT field of a memory request (PCIe 6.0, 10.2.1).
enum class AddressType : std::uint8_t { untranslated = 0, translation_request = 1, translated = 2 };

// The controls that act in a port or in a function of a multi-function device. All zero: it has no ACS.
struct AcsControls {
  std::uint16_t control = 0;
  std::uint16_t egress_ports = 256;                      // how many numbers the vector has a bit for
  std::span<const std::uint32_t> egress_control_vector;  // bit n: peer requests to port or function n are not free
};

// The controls of what was read; the AcsInfo must outlive them. A vector that could not be read comes out empty.
[[nodiscard]] AcsControls acs_controls(const std::optional<AcsInfo>& acs);

// A memory request from the link below a port (or from within a function) to what lies behind a peer of it.
struct PeerRequest {
  AddressType address_type = AddressType::untranslated;
  // Port Number of the egress port (Link Capabilities 31:24), or the function number inside a multi-function device.
  std::uint8_t target_number = 0;
};

// PCIe 6.0, 6.12.3, tables 6-10 and 6-11: Translation Blocking goes before all; Direct Translated P2P frees translated
// requests from the two others; where Egress Control is enabled its vector decides whether Request Redirect acts, and a
// request that it holds back without Request Redirect is a violation. Completion Redirect has no say in requests.
[[nodiscard]] PortDecision decide_request(const AcsControls& acs, const PeerRequest& request);

// A completion from the link below a port to what lies behind a peer of it. Completion Redirect lets completions with
// Relaxed Ordering pass (6.12.1.1); Request Redirect and Egress Control have no say.
[[nodiscard]] PortDecision decide_completion(const AcsControls& acs, bool relaxed_ordering);

// Translation Blocking applies at every downstream and root port that the request enters from below, peer or not.
[[nodiscard]] bool passes_translation_blocking(const AcsControls& acs, AddressType address_type);

// Source Validation: is the Bus Number of the Requester ID one of the port's own? Always true when it is disabled.
// Completions are never checked.
[[nodiscard]] bool passes_source_validation(const AcsControls& acs, std::uint8_t requester_bus, BusRange port);

// A TLP that a downstream port receives from below and whose target is below the same port (a redirected one, on its way
// up): with Upstream Forwarding it goes on towards the root complex, without it is an Unsupported Request.
[[nodiscard]] bool forwards_its_own_egress(const AcsControls& acs);

// The bit of the Egress Control Vector for one port or function. A number that the vector doesn't reach counts as set:
// the safe side, and what Linux's rework does.
[[nodiscard]] bool egress_bit(const AcsControls& acs, std::uint8_t number);

}  // namespace barter::topology
