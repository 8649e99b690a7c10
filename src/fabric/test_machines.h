// Machines for the fabric's own tests, built by hand: a switch with two devices, or two root ports with one each.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/fabric.h"
#include "fabric/scratch_device.h"
#include "topology/description.h"

namespace barter::fabric {

inline topology::PortDescription test_port(std::string name) {
  return {.name = std::move(name), .vendor_id = 0x1b36, .device_id = 0x000c};
}

inline topology::FunctionDescription test_function(std::string name, std::string below) {
  return {
      .name = std::move(name), .below = std::move(below), .vendor_id = 0x1b36, .device_id = 5, .class_code = 0x088000};
}

// rc0 - rp0 - sw0 (sw0.0: a, sw0.1: b); rc0 - rp1: c.
inline topology::Description one_switch() {
  topology::Description machine;
  machine.name = "one-switch";
  machine.root_complexes = {{.name = "rc0", .host_bridge_device = 0x29c0}};
  machine.root_ports = {{test_port("rp0"), "rc0"}, {test_port("rp1"), "rc0"}};
  machine.switches = {{.name = "sw0",
                       .below = "rp0",
                       .upstream = test_port("sw0"),
                       .downstream = {test_port("sw0.0"), test_port("sw0.1")}}};
  machine.functions = {test_function("a", "sw0.0"), test_function("b", "sw0.1"), test_function("c", "rp1")};
  return machine;
}

// A fabric, with a ScratchDevice in every function that has no BARs of its own.
struct TestMachine {
  std::unique_ptr<Fabric> fabric;
  std::vector<ScratchDevice*> devices;  // in the description's order; null for those without a model

  explicit TestMachine(const topology::Description& description, Options options = {.host_memory_bytes = 64 << 20}) {
    auto created = Fabric::create(description, options);
    if (!created) {
      ADD_FAILURE() << created.error().message();
      return;
    }
    fabric = std::move(*created);
    for (const auto& function : description.functions) {
      devices.push_back(nullptr);
      if (!function.bars.empty()) continue;
      auto device = std::make_unique<ScratchDevice>();
      devices.back() = device.get();
      const auto plugged = fabric->plug(function.name, std::move(device));
      EXPECT_TRUE(plugged.has_value()) << plugged.error().message();
    }
    const auto enumerated = fabric->enumerate();
    EXPECT_TRUE(enumerated.has_value()) << enumerated.error().message();
  }

  [[nodiscard]] Bdf bdf(std::string_view name) const { return fabric->find(name).value(); }
  [[nodiscard]] std::unique_ptr<pci::Function> function(std::string_view name) {
    return fabric->function(bdf(name)).value();
  }
  // Where a device's BAR lies on the bus.
  [[nodiscard]] static BusAddress bar(ScratchDevice& device, unsigned index) {
    return device.bus().bar_address(index).value_or(BusAddress{0});
  }
};

inline DmaAddress as_dma(BusAddress address) { return {address.value}; }

}  // namespace barter::fabric
