#include "topology/acs_rules.h"

namespace barter::topology {
namespace {

// Egress Control Vector Size, bits 15:8 of the Capability Register (PCIe 6.0, 7.7.11.2); zero stands for 256.
std::uint16_t vector_size(std::uint16_t capability) {
  const auto size = static_cast<std::uint16_t>(capability >> 8);
  return size == 0 ? std::uint16_t{256} : size;
}

bool enabled(const AcsControls& acs, std::uint16_t bit) { return (acs.control & bit) != 0; }

}  // namespace

AcsControls acs_controls(const std::optional<AcsInfo>& acs) {
  if (!acs) return {};
  AcsControls controls{.control = acs->control, .egress_ports = vector_size(acs->capability)};
  if (acs->egress_control_vector) controls.egress_control_vector = *acs->egress_control_vector;
  return controls;
}

bool egress_bit(const AcsControls& acs, std::uint8_t number) {
  const std::size_t word = number / 32u;
  if (number < acs.egress_ports && word < acs.egress_control_vector.size())
    return (acs.egress_control_vector[word] >> (number % 32u) & 1u) != 0;
  return true;
}

PortDecision decide_request(const AcsControls& acs, const PeerRequest& request) {
  if (!passes_translation_blocking(acs, request.address_type)) return PortDecision::blocked;
  if (enabled(acs, acs_bit::kDirectTranslated) && request.address_type == AddressType::translated)
    return PortDecision::direct;
  const bool redirects = enabled(acs, acs_bit::kRequestRedirect);
  if (enabled(acs, acs_bit::kEgressControl)) {
    if (!egress_bit(acs, request.target_number)) return PortDecision::direct;
    return redirects ? PortDecision::redirect : PortDecision::blocked;
  }
  return redirects ? PortDecision::redirect : PortDecision::direct;
}

PortDecision decide_completion(const AcsControls& acs, bool relaxed_ordering) {
  if (relaxed_ordering) return PortDecision::direct;
  return enabled(acs, acs_bit::kCompletionRedirect) ? PortDecision::redirect : PortDecision::direct;
}

bool passes_translation_blocking(const AcsControls& acs, AddressType address_type) {
  return address_type == AddressType::untranslated || !enabled(acs, acs_bit::kTranslationBlocking);
}

bool passes_source_validation(const AcsControls& acs, std::uint8_t requester_bus, BusRange port) {
  if (!enabled(acs, acs_bit::kSourceValidation)) return true;
  return requester_bus >= port.secondary && requester_bus <= port.subordinate;
}

bool forwards_its_own_egress(const AcsControls& acs) { return enabled(acs, acs_bit::kUpstreamForwarding); }

}  // namespace barter::topology
