// The peer contract between accelerators: one exports what its window shows, through its driver; two others reach it by
// commands of their copy engines.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "barter/units.hpp"
#include "drivers/accelerator/memory_exporter.h"
#include "drivers/function_importer.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using gpu::Operand;

struct Setup {
  bool acs = false;  // redirects everything at the switch
  IommuMode iommu = IommuMode::off;
  bool threaded = false;
  Route route = Route::bus_address;
};

topology::Description describe(const Setup& setup) {
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

// Does by its copy engine what the test says. What is not answered soon is not carried out.
class CopyEngine final : public ScriptedImporter {
 public:
  CopyEngine(gpu::Accelerator& accelerator, peer::DmaDomain& domain)
      : ScriptedImporter(accelerator.function().bdf()),
        accelerator_(accelerator),
        real_(accelerator.function(), domain) {
    auto made = accelerator.create_channel(gpu::Kind::copy, {});
    EXPECT_TRUE(made);
    channel_ = std::move(*made);
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  bool write(DmaAddress to, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, accelerator_.window_bytes({0, bytes.size()}).begin());
    return copy({.from = Operand::local(0), .to = Operand::bus(to), .bytes = bytes.size()});
  }
  bool read(DmaAddress from, std::span<std::byte> bytes) {
    const bool done = copy({.from = Operand::bus(from), .to = Operand::local(0), .bytes = bytes.size()});
    std::ranges::copy(accelerator_.window_bytes({0, bytes.size()}), bytes.begin());
    return done;
  }

  std::uint64_t withheld = 0;  // copies that it did not start or finish

 private:
  bool copy(gpu::CopyBytes what) {
    std::array<gpu::CommandResult, 1> results;
    if (!channel_->submit(gpu::copy(what, ++tag_))) return false;
    channel_->ring();
    base::Clock& clock = accelerator_.function().clock();
    const bool answered = base::wait_until(
        clock, clock.now() + 200ms, [&] { return channel_->poll(results).value_or(0) == 1 && results[0].tag == tag_; });
    // An honest engine without Bus Master Enable starts no request at all: no counter of the machine sees it.
    if (!answered) ++withheld;
    return answered && results[0].ok();
  }
  gpu::Accelerator& accelerator_;
  drivers::FunctionImporter real_;
  std::unique_ptr<gpu::Channel> channel_;
  std::uint64_t tag_ = 0;
};

class MachineOfAccelerators final : public PeerMachine {
 public:
  explicit MachineOfAccelerators(const Setup& setup)
      : setup_(setup),
        machine_(describe(setup),
                 {.running = setup.threaded ? fabric::Running::threaded : fabric::Running::stepped,
                  .host_memory_bytes = 64_MiB},
                 {.memory_bytes = 320_KiB}) {  // 64 KiB are the driver's
    for (const char* name : {"a", "b", "c"}) accelerators_.push_back(machine_.bring_up(name));
    memory_ = std::make_unique<gpu::MemoryExporter>(*accelerators_[0]);
    for (std::size_t index = 0; index < 2; ++index)
      engines_[index] = std::make_unique<CopyEngine>(
          *accelerators_[index + 1], machine_.fabric->domain(accelerators_[index + 1]->function().bdf()));
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
  ~MachineOfAccelerators() override {
    exchange_.reset();
    EXPECT_THAT(machine_.fabric->violations(), testing::IsEmpty());
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  base::Clock& clock() override { return machine_.fabric->clock(); }
  peer::Exporter& exporter() override { return *memory_; }
  CopyEngine& importer(unsigned index) override { return *engines_[index]; }
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
    const auto part = accelerators_[0]->window_bytes(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return setup_.route; }
  [[nodiscard]] bool guarded() const override {
    return setup_.iommu == IommuMode::translate && setup_.route != Route::bus_address;
  }

 private:
  const Setup setup_;
  AcceleratorMachine machine_;
  std::vector<std::unique_ptr<gpu::Accelerator>> accelerators_;
  std::unique_ptr<gpu::MemoryExporter> memory_;
  std::unique_ptr<CopyEngine> engines_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

PeerMachineParam machine(std::string name, Setup setup) {
  return {std::move(name), [setup] { return std::make_unique<MachineOfAccelerators>(setup); }};
}

constexpr Setup kAcsWithIommu{.acs = true, .iommu = IommuMode::translate, .route = Route::through_host_bridge};
constexpr Setup threaded(Setup setup) {
  setup.threaded = true;
  return setup;
}

INSTANTIATE_TEST_SUITE_P(OnAccelerators, PeerContract,
                         testing::Values(machine("switch", {}), machine("acs_with_iommu", kAcsWithIommu),
                                         machine("threaded_switch", threaded({})),
                                         machine("threaded_acs_with_iommu", threaded(kAcsWithIommu))),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(OnAccelerators, PeerContractGuarded,
                         testing::Values(machine("acs_with_iommu", kAcsWithIommu),
                                         machine("threaded_acs_with_iommu", threaded(kAcsWithIommu))),
                         name_of_param);

}  // namespace
}  // namespace barter::contract
