// Trees for the tests of this room: a machine is written down as what is plugged into what, and comes out as the functions
// that enumeration would give it. Every fact is known unless a test takes it away.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "barter/topology.hpp"

namespace barter::topology::test {

inline constexpr std::uint16_t kRr = 0x04;
inline constexpr std::uint16_t kCr = 0x08;
inline constexpr std::uint16_t kUf = 0x10;
inline constexpr std::uint16_t kEc = 0x20;
inline constexpr std::uint16_t kDt = 0x40;
inline constexpr std::uint16_t kTb = 0x02;

struct Plug {
  std::string name;
  PortType type = PortType::endpoint;
  Known<std::optional<AcsInfo>> acs = std::optional<AcsInfo>{};
  Known<bool> ats = false;
  std::uint8_t function = 0;  // more functions of the device before this one, if not 0
  bool is_virtual = false;    // a virtual function of the last function 0 before it
  std::vector<Plug> below = {};
};

inline std::optional<AcsInfo> acs(std::uint16_t control, std::vector<std::uint32_t> vector = {}) {
  return AcsInfo{.capability = 0x7f, .control = control, .offset = 0x100, .egress_control_vector = std::move(vector)};
}

inline Plug endpoint(std::string name) { return {.name = std::move(name)}; }
inline Plug port(std::string name, PortType type, std::uint16_t control, std::vector<Plug> below) {
  return {.name = std::move(name), .type = type, .acs = acs(control), .below = std::move(below)};
}
inline Plug root_port(std::string name, std::vector<Plug> below, std::uint16_t control = 0) {
  return port(std::move(name), PortType::root_port, control, std::move(below));
}
inline Plug downstream(std::string name, std::vector<Plug> below, std::uint16_t control = 0) {
  return port(std::move(name), PortType::downstream_port, control, std::move(below));
}
inline Plug upstream(std::string name, std::vector<Plug> below) {
  return {.name = std::move(name), .type = PortType::upstream_port, .below = std::move(below)};
}

inline bool is_bridge_type(PortType type) {
  return type == PortType::root_port || type == PortType::upstream_port || type == PortType::downstream_port ||
         type == PortType::pcie_to_pci_bridge;
}

class Enumerator {
 public:
  explicit Enumerator(TopologyParts& parts) : parts_(parts) {}

  void root_bus(std::uint32_t domain, std::uint8_t bus, const std::vector<Plug>& plugs) {
    domain_ = domain;
    next_bus_ = bus;
    enumerate(next_bus_++, plugs);
  }
  [[nodiscard]] unsigned next_bus() const { return next_bus_; }

 private:
  void enumerate(unsigned bus, const std::vector<Plug>& plugs) {
    int device = -1;
    Bdf physical;
    for (const Plug& plug : plugs) {
      if (plug.function == 0 && !plug.is_virtual) ++device;
      FunctionInfo function{
          .bdf = {domain_, static_cast<std::uint8_t>(bus), static_cast<std::uint8_t>(device), plug.function},
          .name = plug.name};
      if (plug.is_virtual) {
        // Numbered on a bus of its own or, with a number, beside its physical function: SR-IOV does either.
        function.physical_function = physical;
        if (plug.function == 0)
          function.bdf = {domain_, static_cast<std::uint8_t>(next_bus_++), 0, 0};
        else
          function.bdf = Bdf::from_requester_id(domain_, static_cast<std::uint16_t>(bus << 8 | plug.function));
      } else if (plug.function == 0) {
        physical = function.bdf;
      }
      function.vendor_id = std::uint16_t{0x1b36};
      function.device_id = std::uint16_t{0x0010};
      function.port_type = plug.type;
      function.acs = plug.acs;
      function.ats_enabled = plug.ats;
      function.link_max = LinkState{16000, 4};
      function.port_number = static_cast<std::uint8_t>(device + 1);
      const std::size_t at = parts_.functions.size();
      parts_.functions.push_back(function);
      if (!is_bridge_type(plug.type)) continue;
      const unsigned secondary = next_bus_++;
      enumerate(secondary, plug.below);
      parts_.functions[at].bridge =
          BusRange{static_cast<std::uint8_t>(secondary), static_cast<std::uint8_t>(next_bus_ - 1)};
    }
  }

  TopologyParts& parts_;
  std::uint32_t domain_ = 0;
  unsigned next_bus_ = 0;
};

inline TopologyParts machine(const std::vector<Plug>& plugs) {
  TopologyParts parts{.source = "test"};
  Enumerator(parts).root_bus(0, 0, plugs);
  parts.cpu = CpuInfo{"GenuineIntel", 6};
  parts.iommu = IommuMode::off;
  parts.is_virtual_machine = false;
  return parts;
}

// Two drives below the two downstream ports of one switch.
inline std::vector<Plug> one_switch(std::uint16_t left = 0, std::uint16_t right = 0, std::uint16_t root = 0) {
  return {root_port(
      "rp", {upstream("usp", {downstream("dsp0", {endpoint("a")}, left), downstream("dsp1", {endpoint("b")}, right)})},
      root)};
}

}  // namespace barter::topology::test
