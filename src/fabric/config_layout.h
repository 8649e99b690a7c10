// The config spaces that functions of the software machine are born with: header, power management, MSI-X, PCI Express,
// ACS and ATS, with the bits that software may write. `lspci -F` is the judge of the layout (config_layout_test.cc).
#pragma once
#include "fabric/device.h"
#include "fabric/node.h"
#include "topology/description.h"

namespace barter::fabric {

void lay_out_host_bridge(Node& node, const topology::RootComplexDescription& description);

struct PortLayout {
  std::uint8_t express_type = 0;  // express::Capabilities::kRootPort and so on
  std::uint8_t number = 0;        // Link Capabilities 31:24
};
void lay_out_port(Node& node, const topology::PortDescription& description, PortLayout layout);

struct EndpointLayout {
  bool integrated = false;      // no link: a root complex integrated endpoint
  bool multi_function = false;  // the device has further functions
};
void lay_out_endpoint(Node& node, const topology::FunctionDescription& description, const FunctionIdentity& identity,
                      EndpointLayout layout);

}  // namespace barter::fabric
