// A drive whose link had dropped and come back answered at its BARs at once, before its driver had set it up again: a peer that
// still had a mapping of its memory buffer read ones there, and was told that it had read well. Found by the simulation of memory
// that moves.
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "devices/nvme/controller.h"
#include "drivers/nvme/controller.h"
#include "fabric/fabric.h"
#include "fabric/scratch_device.h"
#include "topology/description.h"

namespace barter {
namespace {

topology::Description drive_and_peer() {
  topology::Description machine;
  machine.name = "drive-and-peer";
  machine.root_complexes = {{.name = "rc0", .turns_reads = true, .turns_writes = true}};
  for (const char* name : {"drive", "peer"}) {
    const std::string port = std::string("port-of-") + name;
    machine.root_ports.push_back({{.name = port, .vendor_id = 0x1b36, .device_id = 0x000c}, "rc0"});
    machine.functions.push_back(
        {.name = name, .below = port, .vendor_id = 0x1b36, .device_id = 5, .class_code = 0x088000});
  }
  return machine;
}

TEST(ReturnedDevice, ItsMemoryIsNotReadAsOnes) {
  auto fabric = fabric::Fabric::create(drive_and_peer(), {.host_memory_bytes = 1 << 20});
  ASSERT_TRUE(fabric) << fabric.error().message();
  devices::nvme::ControllerSetup setup{.namespaces = {}, .cmb_bytes = 65536};
  setup.namespaces.push_back({.backing = devices::nvme::create_memory_backing(65536).value()});
  ASSERT_TRUE((*fabric)->plug("drive", devices::nvme::create_controller(std::move(setup)).value()));
  auto scratch = std::make_unique<fabric::ScratchDevice>();
  fabric::ScratchDevice& peer = *scratch;
  ASSERT_TRUE((*fabric)->plug("peer", std::move(scratch)));
  ASSERT_TRUE((*fabric)->enumerate());
  const Bdf drive = (*fabric)->find("drive").value();
  auto controller = drivers::nvme::Controller::create((*fabric)->function(drive).value(), {});
  ASSERT_TRUE(controller) << controller.error().message();
  const DmaAddress memory{(*controller)->controller_memory_address().value};
  std::vector<std::byte> bytes(64);
  ASSERT_EQ(peer.bus().read(memory, bytes), fabric::Completion::successful);

  (*fabric)->set_link(drive, false);
  EXPECT_EQ(peer.bus().read(memory, bytes), fabric::Completion::unsupported_request);
  (*fabric)->set_link(drive, true);
  EXPECT_EQ(peer.bus().read(memory, bytes), fabric::Completion::unsupported_request);
}

}  // namespace
}  // namespace barter
