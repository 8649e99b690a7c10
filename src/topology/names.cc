#include "barter/topology.hpp"
#include "barter/verdict.hpp"

namespace barter {

std::string_view name_of(Route route) {
  switch (route) {
    case Route::unknown:
      return "unknown";
    case Route::bus_address:
      return "bus_address";
    case Route::through_host_bridge:
      return "through_host_bridge";
    case Route::not_supported:
      return "not_supported";
    case Route::link:
      return "link";
  }
  return "?";
}

std::string_view name_of(PortType type) {
  switch (type) {
    case PortType::endpoint:
      return "endpoint";
    case PortType::legacy_endpoint:
      return "legacy_endpoint";
    case PortType::root_port:
      return "root_port";
    case PortType::upstream_port:
      return "upstream_port";
    case PortType::downstream_port:
      return "downstream_port";
    case PortType::pcie_to_pci_bridge:
      return "pcie_to_pci_bridge";
    case PortType::pci_to_pcie_bridge:
      return "pci_to_pcie_bridge";
    case PortType::root_complex_endpoint:
      return "root_complex_endpoint";
    case PortType::root_complex_event_collector:
      return "root_complex_event_collector";
    case PortType::conventional:
      return "conventional";
  }
  return "?";
}

std::string_view name_of(IommuMode mode) {
  switch (mode) {
    case IommuMode::off:
      return "off";
    case IommuMode::passthrough:
      return "passthrough";
    case IommuMode::translate:
      return "translate";
  }
  return "?";
}

}  // namespace barter
