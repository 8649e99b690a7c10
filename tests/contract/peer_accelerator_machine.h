// A machine for the peer contract whose exporter is an accelerator's memory, and whose two importers are engines that do DMA by
// commands: they are given as a type.
//
//   struct Engine : ScriptedImporter {
//     static Result<std::unique_ptr<fabric::Device>> make_device();
//     Engine(AcceleratorMachine& machine, std::string_view name);
//     bool write(DmaAddress to, std::span<const std::byte> bytes);
//     bool read(DmaAddress from, std::span<std::byte> bytes);
//     std::uint64_t withheld;  // commands that it did not start or finish
//   };
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "barter/units.hpp"
#include "drivers/accelerator/memory_exporter.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"

namespace barter::contract {

using namespace barter::literals;

struct AcceleratorPeerSetup {
  bool acs = false;  // redirects everything at the switch
  IommuMode iommu = IommuMode::off;
  bool threaded = false;
  Route route = Route::bus_address;
};

inline topology::Description describe(const AcceleratorPeerSetup& setup) {
  topology::Description machine = fabric::one_switch();
  machine.iommu = setup.iommu;
  machine.root_complexes[0].turns_reads = machine.root_complexes[0].turns_writes = true;
  machine.switches[0].downstream.push_back(fabric::test_port("sw0.2"));
  machine.functions[2].below = "sw0.2";
  // Source validation, request and completion redirection, upstream forwarding (PCIe 6.0, 7.7.11.2).
  if (setup.acs)
    for (auto& port : machine.switches[0].downstream)
      port.acs = topology::AcsDescription{.capability = 0x001d, .control = 0x001d, .egress_control_vector = {}};
  return machine;
}

template <class Engine>
class MachineWithAccelerator final : public PeerMachine {
 public:
  explicit MachineWithAccelerator(const AcceleratorPeerSetup& setup)
      : setup_(setup),
        machine_(describe(setup),
                 {.running = setup.threaded ? fabric::Running::threaded : fabric::Running::stepped,
                  .host_memory_bytes = 64_MiB},
                 [](std::string_view name) {
                   return name == "a" ? devices::accelerator::create_accelerator(kMemory) : Engine::make_device();
                 }) {
    accelerator_ = machine_.bring_up("a");
    memory_ = std::make_unique<gpu::MemoryExporter>(*accelerator_);
    engines_[0] = std::make_unique<Engine>(machine_, "b");
    engines_[1] = std::make_unique<Engine>(machine_, "c");
    auto topology = Topology::build(machine_.fabric->topology());
    EXPECT_TRUE(topology);
    exchange_ = std::make_unique<peer::Exchange>(
        machine_.fabric->clock(), [topology = std::move(*topology)](Bdf client, Bdf provider) {
          const Verdict verdict = topology.verdict({.client = client, .provider = provider});
          return peer::RouteAnswer{.read = verdict.by_wire.read.route, .write = verdict.by_wire.write.route};
        });
    EXPECT_TRUE(exchange_->add(*memory_));
    for (auto& engine : engines_) EXPECT_TRUE(exchange_->add(*engine));
  }
  ~MachineWithAccelerator() override {
    exchange_.reset();
    EXPECT_THAT(machine_.fabric->violations(), testing::IsEmpty());
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  base::Clock& clock() override { return machine_.fabric->clock(); }
  peer::Exporter& exporter() override { return *memory_; }
  Engine& importer(unsigned index) override { return *engines_[index]; }
  void on_unmap(Unmapped told) override { memory_->on_unmap(std::move(told)); }
  void limit_pins(std::optional<std::uint64_t> bytes) override { memory_->limit_pins(bytes); }
  void on_request(Consent consent) override { memory_->on_request(std::move(consent)); }
  void set_letting_go(unsigned index, LettingGo how) override { importer(index).letting_go = how; }
  void on_invalidate(unsigned index, std::function<void(peer::MappingId)> call) override {
    importer(index).on_invalidate = std::move(call);
  }
  void hold(unsigned index, Lease lease) override { importer(index).held.push_back(std::move(lease)); }
  void set_in_flight(unsigned index, std::function<void()> dma) override { importer(index).in_flight = std::move(dma); }
  [[nodiscard]] std::vector<peer::MappingId> told(unsigned index) const override { return engines_[index]->told; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return importer(index).write(to, bytes);
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return importer(index).read(from, bytes);
  }
  [[nodiscard]] std::uint64_t refused_requests() const override {
    const fabric::Counters counters = machine_.fabric->counters();
    return counters.blocked_requests + counters.iommu_faults + counters.unsupported_requests + engines_[0]->withheld +
           engines_[1]->withheld;
  }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = accelerator_->window_bytes(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return setup_.route; }
  [[nodiscard]] bool guarded() const override {
    return setup_.iommu == IommuMode::translate && setup_.route != Route::bus_address;
  }

 private:
  static constexpr devices::accelerator::AcceleratorSetup kMemory{.memory_bytes = 320_KiB};  // 64 are the driver's
  const AcceleratorPeerSetup setup_;
  AcceleratorMachine machine_;
  std::unique_ptr<gpu::Accelerator> accelerator_;
  std::unique_ptr<gpu::MemoryExporter> memory_;
  std::unique_ptr<Engine> engines_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

template <class Engine>
PeerMachineParam machine_with_accelerator(std::string name, AcceleratorPeerSetup setup) {
  return {std::move(name), [setup] { return std::make_unique<MachineWithAccelerator<Engine>>(setup); }};
}

inline constexpr AcceleratorPeerSetup kAcsWithIommu{
    .acs = true, .iommu = IommuMode::translate, .route = Route::through_host_bridge};
constexpr AcceleratorPeerSetup threaded(AcceleratorPeerSetup setup) {
  setup.threaded = true;
  return setup;
}

}  // namespace barter::contract
