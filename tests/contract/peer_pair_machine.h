// A software machine for the peer contract with the exporters and importers that drivers make: memory of a drive, of an
// accelerator or of the host, reached by two drives, two accelerators, two DMA engines or two NICs; our model of each below, our
// driver above. The memory is a's, the importers are b and c; d and e are at the other ends of their wires, where they have some.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "devices/accelerator/accelerator.h"
#include "devices/dma_engine/dma_engine.h"
#include "devices/nic/nic.h"
#include "devices/nvme/controller.h"
#include "drivers/accelerator/memory_exporter.h"
#include "drivers/nvme/cmb_exporter.h"
#include "fabric/fabric.h"
#include "fabric/test_machines.h"
#include "machine/wire_route.h"
#include "peer/host_pages.h"
#include "peer_contract.h"
#include "peer_engines.h"

namespace barter::contract {

enum class MemoryOf : std::uint8_t { drive, accelerator, host };
enum class ImporterIs : std::uint8_t {
  drive,
  accelerator,
  accelerator_by_page_tables,  // of its own
  dma_engine,
  nic,
};
enum class Way : std::uint8_t {
  by_switch,       // turned around there
  by_redirection,  // at one switch, whose ACS sends every request up to the root complex
  by_host_bridge,  // each below a root port of its own
};

struct PairSetup {
  ImporterIs importer = ImporterIs::drive;
  MemoryOf memory = MemoryOf::drive;
  Way way = Way::by_switch;
  IommuMode iommu = IommuMode::off;
  bool threaded = false;

  // Requests to host memory go to the root complex on every way.
  [[nodiscard]] Route route() const {
    return way == Way::by_switch && memory != MemoryOf::host ? Route::bus_address : Route::through_host_bridge;
  }
  [[nodiscard]] bool is_guarded() const {
    return importer == ImporterIs::accelerator_by_page_tables ||
           (iommu == IommuMode::translate && route() == Route::through_host_bridge);
  }
};

inline topology::Description describe(const PairSetup& setup) {
  topology::Description machine;
  machine.name = "pair";
  machine.iommu = setup.iommu;
  machine.root_complexes = {{.name = "rc0", .host_bridge_device = 0x2020, .turns_reads = true, .turns_writes = true}};
  std::vector<topology::PortDescription> ports;
  for (const char* name : {"p0", "p1", "p2"}) ports.push_back(fabric::test_port(name));
  if (setup.importer == ImporterIs::nic) {
    for (const char* name : {"p3", "p4"}) machine.root_ports.push_back({fabric::test_port(name), "rc0"});
    machine.functions = {fabric::test_function("d", "p3"), fabric::test_function("e", "p4")};
  }
  // Source validation, request and completion redirection, upstream forwarding (PCIe 6.0, 7.7.11.2).
  if (setup.way == Way::by_redirection)
    for (auto& port : ports)
      port.acs = topology::AcsDescription{.capability = 0x001d, .control = 0x001d, .egress_control_vector = {}};
  if (setup.way == Way::by_host_bridge) {
    for (auto& port : ports) machine.root_ports.push_back({std::move(port), "rc0"});
  } else {
    machine.root_ports.push_back({fabric::test_port("rp0"), "rc0"});
    machine.switches = {
        {.name = "sw0", .below = "rp0", .upstream = fabric::test_port("sw0"), .downstream = std::move(ports)}};
  }
  machine.functions.insert(
      machine.functions.begin(),
      {fabric::test_function("a", "p0"), fabric::test_function("b", "p1"), fabric::test_function("c", "p2")});
  return machine;
}

class PairMachine final : public PeerMachine {
 public:
  static std::unique_ptr<PeerMachine> create(const PairSetup& setup) {
    std::unique_ptr<PairMachine> machine(new PairMachine(setup));
    const Result<void> started = machine->start();
    if (started) return machine;
    ADD_FAILURE() << started.error().message();
    return nullptr;
  }
  ~PairMachine() override {
    exchange_.reset();
    if (fabric_) {
      EXPECT_THAT(fabric_->violations(), testing::IsEmpty());
    }
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  peer::Exporter& exporter() override {
    return host_pages_ ? static_cast<peer::Exporter&>(*host_pages_) : *device_memory_;
  }
  peer::OwnedExporter* owner() override { return device_memory_.get(); }
  ScriptedImporter& importer(unsigned index) override { return *engines_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return engines_[index]->write(to, bytes);
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return engines_[index]->read(from, bytes);
  }
  [[nodiscard]] std::uint64_t refused_requests() const override {
    const fabric::Counters counters = fabric_->counters();
    return counters.blocked_requests + counters.iommu_faults + counters.unsupported_requests + engines_[0]->withheld() +
           engines_[1]->withheld();
  }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = host_pages_ ? host_pages_->cpu_bytes(range) : device_memory_->cpu_bytes(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return setup_.route(); }
  [[nodiscard]] bool guarded() const override { return setup_.is_guarded(); }

 private:
  static constexpr std::uint64_t kMemoryBytes = 256_KiB;
  static constexpr std::uint64_t kAcceleratorBytes = 320_KiB;  // 64 are the driver's

  explicit PairMachine(const PairSetup& setup) : setup_(setup) {}

  Result<void> start() {
    auto fabric = fabric::Fabric::create(
        describe(setup_), {.running = setup_.threaded ? fabric::Running::threaded : fabric::Running::stepped,
                           .host_memory_bytes = 64_MiB});
    if (!fabric) return fail(fabric.error());
    fabric_ = std::move(*fabric);
    std::map<std::string_view, fabric::Device*> models;
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      if (*name >= 'd' && setup_.importer != ImporterIs::nic) break;
      auto device = *name == 'a' ? memory_device() : importing_device();
      if (!device) return fail(device.error());
      models[name] = device->get();
      if (auto plugged = fabric_->plug(name, std::move(*device)); !plugged) return plugged;
    }
    if (setup_.importer == ImporterIs::nic)
      for (const auto& [near, far] : {std::pair("b", "d"), std::pair("c", "e")})
        if (auto joined = devices::nic::join(*models[near], *models[far]); !joined) return joined;
    if (auto enumerated = fabric_->enumerate(); !enumerated) return enumerated;
    if (auto exported = export_memory(); !exported) return exported;
    for (std::size_t index = 0; index < 2; ++index) {
      auto engine = bring_up_engine(index == 0 ? "b" : "c");
      if (!engine) return fail(engine.error());
      engines_[index] = std::move(*engine);
    }
    return connect();
  }

  static Result<std::unique_ptr<fabric::Device>> drive() {
    devices::nvme::ControllerSetup setup;
    setup.cmb_bytes = kMemoryBytes;
    auto backing = devices::nvme::create_memory_backing(1_MiB);
    if (!backing) return fail(backing.error());
    setup.namespaces.push_back({.backing = std::move(*backing), .block_bytes = 512});
    return devices::nvme::create_controller(std::move(setup));
  }
  // Where the memory is the host's, something stands at the place all the same.
  Result<std::unique_ptr<fabric::Device>> memory_device() const {
    return setup_.memory == MemoryOf::accelerator
               ? devices::accelerator::create_accelerator({.memory_bytes = kAcceleratorBytes})
               : drive();
  }
  Result<std::unique_ptr<fabric::Device>> importing_device() const {
    switch (setup_.importer) {
      case ImporterIs::drive:
        return drive();
      case ImporterIs::accelerator:
      case ImporterIs::accelerator_by_page_tables:
        return devices::accelerator::create_accelerator({.memory_bytes = kAcceleratorBytes});
      case ImporterIs::nic:
        return devices::nic::create_nic({});
      case ImporterIs::dma_engine:
        break;
    }
    return devices::dma_engine::create_dma_engine({});
  }

  [[nodiscard]] std::unique_ptr<pci::Function> function(const char* name) {
    return std::move(*fabric_->function(*fabric_->find(name)));
  }
  Result<std::unique_ptr<drivers::nvme::Controller>> bring_up_drive(const char* name) {
    return drivers::nvme::Controller::create(function(name), {.command_timeout = std::chrono::seconds(1),
                                                              .shutdown_timeout = std::chrono::milliseconds(100)});
  }
  Result<void> export_memory() {
    switch (setup_.memory) {
      case MemoryOf::drive: {
        auto drive = bring_up_drive("a");
        if (!drive) return fail(drive.error());
        drive_ = std::move(*drive);
        device_memory_ = std::make_unique<drivers::nvme::CmbExporter>(*drive_);
        break;
      }
      case MemoryOf::accelerator: {
        auto accelerator = drivers::accelerator::Accelerator::create(function("a"), {});
        if (!accelerator) return fail(accelerator.error());
        accelerator_ = std::move(*accelerator);
        device_memory_ = std::make_unique<drivers::accelerator::MemoryExporter>(*accelerator_);
        break;
      }
      case MemoryOf::host: {
        auto memory = fabric_->allocate_host(kMemoryBytes);
        if (!memory) return fail(memory.error());
        host_memory_ = std::move(*memory);
        host_pages_ = std::make_unique<peer::HostPages>(host_memory_.bytes(),
                                                        peer::HostPlace{.address = {host_memory_.address().value}});
        break;
      }
    }
    return {};
  }
  Result<std::unique_ptr<Engine>> bring_up_engine(const char* name) {
    peer::DmaDomain& domain = fabric_->domain(*fabric_->find(name));
    switch (setup_.importer) {
      case ImporterIs::drive: {
        auto drive = bring_up_drive(name);
        if (!drive) return fail(drive.error());
        return std::make_unique<DriveEngine>(std::move(*drive), domain);
      }
      case ImporterIs::accelerator:
      case ImporterIs::accelerator_by_page_tables: {
        auto accelerator = drivers::accelerator::Accelerator::create(function(name), {});
        if (!accelerator) return fail(accelerator.error());
        if (setup_.importer == ImporterIs::accelerator)
          return std::make_unique<CopyEngine>(std::move(*accelerator), domain);
        return std::make_unique<TableEngine>(std::move(*accelerator), domain, setup_.route());
      }
      case ImporterIs::nic: {
        auto near = drivers::nic::Nic::create(function(name), {});
        if (!near) return fail(near.error());
        auto far = drivers::nic::Nic::create(function(*name == 'b' ? "d" : "e"), {});
        if (!far) return fail(far.error());
        return std::make_unique<NicEngine>(std::move(*near), std::move(*far), domain);
      }
      case ImporterIs::dma_engine:
        break;
    }
    auto engine = drivers::dma_engine::Engine::create(function(name), {});
    if (!engine) return fail(engine.error());
    return std::make_unique<MoveEngine>(std::move(*engine), domain);
  }

  // The analyser's wire rule; the requests then go where the fabric takes them.
  Result<void> connect() {
    auto topology = Topology::build(fabric_->topology());
    if (!topology) return fail(topology.error());
    exchange_ =
        std::make_unique<peer::Exchange>(fabric_->clock(), [topology = std::move(*topology)](Bdf client, Bdf provider) {
          if (provider == peer::kHostMemory)
            return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
          return machine::wire_route(topology, client, provider);
        });
    if (auto added = exchange_->add(exporter()); !added) return added;
    for (auto& engine : engines_)
      if (auto added = exchange_->add(*engine); !added) return added;
    return {};
  }

  const PairSetup setup_;
  std::unique_ptr<fabric::Fabric> fabric_;
  std::unique_ptr<drivers::nvme::Controller> drive_;
  std::unique_ptr<drivers::accelerator::Accelerator> accelerator_;
  pci::DmaBuffer host_memory_;
  std::unique_ptr<peer::OwnedExporter> device_memory_;  // one of the two
  std::unique_ptr<peer::HostPages> host_pages_;
  std::unique_ptr<Engine> engines_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

}  // namespace barter::contract
