// The peer contract with drives under our own NVMe driver. Importers are drives, whose DMA is the data of their commands; the
// memory is another drive's controller memory buffer, or an accelerator's.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "devices/accelerator/accelerator.h"
#include "devices/nvme/controller.h"
#include "drivers/accelerator/memory_exporter.h"
#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"
#include "fabric/fabric.h"
#include "fabric/test_machines.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
namespace gpu = drivers::accelerator;
namespace nvme = drivers::nvme;

// How long a command may take before it counts as withheld.
constexpr Duration kPatience = std::chrono::seconds(1);

enum class MemoryOf : std::uint8_t { drive, accelerator };

struct Setup {
  MemoryOf memory = MemoryOf::drive;
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

// A drive whose commands move what the test says: to write somewhere, it is made to read its blocks into there. A test's few
// bytes are a block's first; the rest of the block goes into a buffer of its own.
class DriveEngine final : public ScriptedImporter {
 public:
  DriveEngine(nvme::Controller& controller, peer::DmaDomain& domain)
      : ScriptedImporter(controller.function().bdf()), controller_(controller), real_(controller, domain) {
    auto queue = controller.create_queue_pair({.entries = 16});
    auto buffer = controller.function().allocate_dma(kBufferBytes, pci::DmaUse::data);
    auto rest = controller.function().allocate_dma(kBlockBytes, pci::DmaUse::data);
    EXPECT_TRUE(queue && buffer && rest);
    buffer_ = std::move(*buffer);
    rest_ = std::move(*rest);
    queue_ = std::move(*queue);
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  bool write(DmaAddress to, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, buffer_.bytes().begin());
    return run(nvme::Opcode::write, buffered(bytes.size())) && run(nvme::Opcode::read, direct(to, bytes.size()));
  }
  bool read(DmaAddress from, std::span<std::byte> bytes) {
    if (!run(nvme::Opcode::write, direct(from, bytes.size())) || !run(nvme::Opcode::read, buffered(bytes.size())))
      return false;
    std::ranges::copy(buffer_.bytes().first(bytes.size()), bytes.begin());
    return true;
  }

  std::uint64_t withheld = 0;  // commands that it did not start or finish

 private:
  static constexpr std::uint64_t kBlockBytes = 512;
  static constexpr std::uint64_t kBufferBytes = 64_KiB;

  [[nodiscard]] static std::uint64_t whole_blocks(std::uint64_t bytes) { return bytes + (-bytes % kBlockBytes); }
  [[nodiscard]] std::vector<DmaSegment> buffered(std::uint64_t bytes) const {
    return {{buffer_.address(), whole_blocks(bytes)}};
  }
  [[nodiscard]] std::vector<DmaSegment> direct(DmaAddress at, std::uint64_t bytes) const {
    std::vector<DmaSegment> memory{{at, bytes}};
    if (bytes % kBlockBytes != 0) memory.push_back({rest_.address(), whole_blocks(bytes) - bytes});
    return memory;
  }
  bool run(nvme::Opcode opcode, const std::vector<DmaSegment>& memory) {
    std::uint64_t bytes = 0;
    for (const DmaSegment& segment : memory) bytes += segment.bytes;
    const auto sent = queue_->submit({.opcode = opcode,
                                      .block = 0,
                                      .blocks = static_cast<std::uint32_t>(bytes / kBlockBytes),
                                      .data = memory,
                                      .tag = ++tag_});
    queue_->ring();
    std::array<nvme::CommandResult, 1> results;
    base::Clock& clock = controller_.function().clock();
    const bool answered = sent && base::wait_until(clock, clock.now() + kPatience, [&] {
                            return queue_->poll(results).value_or(0) == 1 && results[0].tag == tag_;
                          });
    // An honest drive without Bus Master Enable starts no request at all: no counter of the machine sees it.
    if (!answered) ++withheld;
    return answered && results[0].ok();
  }

  nvme::Controller& controller_;
  nvme::DriveImporter real_;
  // Destroyed from the last to the first: what is in flight goes before its memory.
  pci::DmaBuffer buffer_;
  pci::DmaBuffer rest_;
  std::unique_ptr<nvme::QueuePair> queue_;
  std::uint64_t tag_ = 0;
};

class MachineOfDrives final : public PeerMachine {
 public:
  static std::unique_ptr<PeerMachine> create(const Setup& setup) {
    std::unique_ptr<MachineOfDrives> machine(new MachineOfDrives(setup));
    const Result<void> started = machine->start();
    if (started) return machine;
    ADD_FAILURE() << started.error().message();
    return nullptr;
  }
  ~MachineOfDrives() override {
    exchange_.reset();
    if (fabric_) {
      EXPECT_THAT(fabric_->violations(), testing::IsEmpty());
    }
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  base::Clock& clock() override { return fabric_->clock(); }
  peer::Exporter& exporter() override { return *memory_; }
  DriveEngine& importer(unsigned index) override { return *engines_[index]; }
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
    const fabric::Counters counters = fabric_->counters();
    return counters.blocked_requests + counters.iommu_faults + counters.unsupported_requests + engines_[0]->withheld +
           engines_[1]->withheld;
  }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = memory_->cpu_bytes(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return setup_.route; }
  [[nodiscard]] bool guarded() const override {
    return setup_.iommu == IommuMode::translate && setup_.route != Route::bus_address;
  }

 private:
  explicit MachineOfDrives(const Setup& setup) : setup_(setup) {}

  Result<void> start() {
    auto fabric = fabric::Fabric::create(
        describe(setup_), {.running = setup_.threaded ? fabric::Running::threaded : fabric::Running::stepped,
                           .host_memory_bytes = 64_MiB});
    if (!fabric) return fail(fabric.error());
    fabric_ = std::move(*fabric);
    for (const char* name : {"a", "b", "c"}) {
      const bool is_accelerator = *name == 'a' && setup_.memory == MemoryOf::accelerator;
      auto device = is_accelerator ? devices::accelerator::create_accelerator({.memory_bytes = 320_KiB}) : drive();
      if (!device) return fail(device.error());
      if (auto plugged = fabric_->plug(name, std::move(*device)); !plugged) return plugged;
    }
    if (auto enumerated = fabric_->enumerate(); !enumerated) return enumerated;
    if (auto exported = export_memory(); !exported) return exported;
    for (std::size_t index = 0; index < 2; ++index) {
      auto controller = bring_up(index == 0 ? "b" : "c");
      if (!controller) return fail(controller.error());
      engines_[index] = std::make_unique<DriveEngine>(**controller, fabric_->domain((*controller)->function().bdf()));
      drives_.push_back(std::move(*controller));
    }
    return connect();
  }
  static Result<std::unique_ptr<fabric::Device>> drive() {
    devices::nvme::ControllerSetup setup;
    setup.cmb_bytes = 256_KiB;
    auto backing = devices::nvme::create_memory_backing(1_MiB);
    if (!backing) return fail(backing.error());
    setup.namespaces.push_back({.backing = std::move(*backing), .block_bytes = 512});
    return devices::nvme::create_controller(std::move(setup));
  }
  Result<std::unique_ptr<nvme::Controller>> bring_up(const char* name) {
    return nvme::Controller::create(fabric_->function(*fabric_->find(name)).value(),
                                    {.command_timeout = kPatience, .shutdown_timeout = std::chrono::milliseconds(100)});
  }
  Result<void> export_memory() {
    if (setup_.memory == MemoryOf::drive) {
      auto controller = bring_up("a");
      if (!controller) return fail(controller.error());
      memory_ = std::make_unique<nvme::CmbExporter>(**controller);
      drives_.push_back(std::move(*controller));
      return {};
    }
    auto accelerator = gpu::Accelerator::create(fabric_->function(*fabric_->find("a")).value(), {});
    if (!accelerator) return fail(accelerator.error());
    accelerator_ = std::move(*accelerator);
    memory_ = std::make_unique<gpu::MemoryExporter>(*accelerator_);
    return {};
  }
  Result<void> connect() {
    auto topology = Topology::build(fabric_->topology());
    if (!topology) return fail(topology.error());
    exchange_ =
        std::make_unique<peer::Exchange>(fabric_->clock(), [topology = std::move(*topology)](Bdf client, Bdf provider) {
          const Verdict verdict = topology.verdict({.client = client, .provider = provider});
          return peer::RouteAnswer{.read = verdict.by_wire.read.route, .write = verdict.by_wire.write.route};
        });
    if (auto added = exchange_->add(*memory_); !added) return added;
    for (auto& engine : engines_)
      if (auto added = exchange_->add(*engine); !added) return added;
    return {};
  }

  const Setup setup_;
  std::unique_ptr<fabric::Fabric> fabric_;
  std::vector<std::unique_ptr<nvme::Controller>> drives_;
  std::unique_ptr<gpu::Accelerator> accelerator_;
  std::unique_ptr<peer::OwnedExporter> memory_;
  std::unique_ptr<DriveEngine> engines_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

PeerMachineParam machine(std::string name, Setup setup) {
  return {std::move(name), [setup] { return MachineOfDrives::create(setup); }};
}

constexpr Setup kAcsWithIommu{.acs = true, .iommu = IommuMode::translate, .route = Route::through_host_bridge};
constexpr Setup of_accelerator(Setup setup) {
  setup.memory = MemoryOf::accelerator;
  return setup;
}
constexpr Setup threaded(Setup setup) {
  setup.threaded = true;
  return setup;
}

INSTANTIATE_TEST_SUITE_P(OnDrives, PeerContract,
                         testing::Values(machine("buffer_switch", {}), machine("buffer_acs_with_iommu", kAcsWithIommu),
                                         machine("buffer_threaded_acs_with_iommu", threaded(kAcsWithIommu)),
                                         machine("accelerator_switch", of_accelerator({})),
                                         machine("accelerator_acs_with_iommu", of_accelerator(kAcsWithIommu)),
                                         machine("accelerator_threaded_switch", threaded(of_accelerator({})))),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(OnDrives, PeerContractGuarded,
                         testing::Values(machine("buffer_acs_with_iommu", kAcsWithIommu),
                                         machine("accelerator_acs_with_iommu", of_accelerator(kAcsWithIommu))),
                         name_of_param);

}  // namespace
}  // namespace barter::contract
