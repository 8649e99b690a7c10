// The peer contract on links: three accelerators that PCIe keeps apart. One owns the memory, and a link leads to it from each of
// the two others, by whose copy engines the test does its DMA.
#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "barter/units.hpp"
#include "drivers/accelerator/engine_importer.h"
#include "drivers/accelerator/links.h"
#include "drivers/accelerator/memory_exporter.h"
#include "machine/device_links.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using gpu::Operand;

// By a link where the address is one of a link, else on the bus.
Operand operand_of(DmaAddress address) {
  return address.value >> 48 == 0 ? Operand::bus(address) : Operand::link({address.value});
}

class LinkedEngine final : public ScriptedImporter {
 public:
  LinkedEngine(gpu::Accelerator& accelerator, peer::DmaDomain& domain)
      : ScriptedImporter(accelerator.function().bdf()),
        accelerator_(accelerator),
        real_(accelerator.function(), domain),
        channel_(std::move(*accelerator.create_channel(gpu::Kind::copy, {}))) {}
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] bool takes_link_addresses() const override { return real_.takes_link_addresses(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  bool write(DmaAddress to, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, accelerator_.window_bytes({0, bytes.size()}).begin());
    return copy({.from = Operand::local(0), .to = operand_of(to), .bytes = bytes.size()});
  }
  bool read(DmaAddress from, std::span<std::byte> bytes) {
    const bool done = copy({.from = operand_of(from), .to = Operand::local(0), .bytes = bytes.size()});
    std::ranges::copy(accelerator_.window_bytes({0, bytes.size()}), bytes.begin());
    return done;
  }

  std::uint64_t refused = 0;  // copies that did not end well

 private:
  bool copy(gpu::CopyBytes what) {
    std::array<gpu::CommandResult, 1> results;
    if (!channel_->submit(gpu::copy(what, ++tag_))) return false;
    channel_->ring();
    base::Clock& clock = accelerator_.function().clock();
    const bool answered = base::wait_until(
        clock, clock.now() + 200ms, [&] { return channel_->poll(results).value_or(0) == 1 && results[0].tag == tag_; });
    if (answered && results[0].ok()) return true;
    ++refused;
    return false;
  }
  gpu::Accelerator& accelerator_;
  gpu::EngineImporter real_;
  std::unique_ptr<gpu::Channel> channel_;
  std::uint64_t tag_ = 0;
};

// a owns; its link 0 leads to b, its link 1 to c. ACS sends every request up to a root complex that turns none around.
class LinkedMachine final : public PeerMachine {
 public:
  explicit LinkedMachine(bool threaded)
      : machine_(
            describe(),
            {.running = threaded ? fabric::Running::threaded : fabric::Running::stepped, .host_memory_bytes = 64_MiB},
            [this](std::string_view name) { return make(name); }) {
    for (const std::string_view name : {"a", "b", "c"}) {
      auto& unit = units_.emplace_back(std::make_unique<machine::DriveUnit>());
      accelerators_.push_back(machine_.bring_up(name));
      unit->kind = machine::UnitKind::accelerator;
      unit->name = name;
      unit->bdf = machine_.bdf(name);
      unit->accelerator = accelerators_.back().get();
      unit->exporter = std::make_shared<gpu::MemoryExporter>(*unit->accelerator);
    }
    links_ = machine::DeviceLinks::find(units_);
    for (unsigned index = 0; index < 2; ++index)
      engines_[index] =
          std::make_unique<LinkedEngine>(*accelerators_[index + 1], machine_.fabric->domain(units_[index + 1]->bdf));
    auto topology = Topology::build(machine_.fabric->topology());
    exchange_ = std::make_unique<peer::Exchange>(
        machine_.fabric->clock(), [topology = std::move(*topology)](Bdf client, Bdf provider) {
          const Verdict verdict = topology.verdict({.client = client, .provider = provider});
          return peer::RouteAnswer{.read = verdict.by_wire.read.route, .write = verdict.by_wire.write.route};
        });
    if (links_ == nullptr || !exchange_->add(*links_) || !exchange_->add(memory()) || !exchange_->add(*engines_[0]) ||
        !exchange_->add(*engines_[1]))
      ADD_FAILURE() << "the machine is not as it should be";
    EXPECT_EQ(exchange_->route_by_pcie(units_[1]->bdf, units_[0]->bdf).read, Route::not_supported);
    EXPECT_EQ(exchange_->route_by_pcie(units_[2]->bdf, units_[0]->bdf).write, Route::not_supported);
  }
  ~LinkedMachine() override {
    exchange_.reset();
    EXPECT_THAT(machine_.fabric->violations(), testing::IsEmpty());
    // Whatever was done went by a link.
    const fabric::Counters counters = machine_.fabric->counters();
    EXPECT_EQ(counters.peer_read_bytes + counters.peer_written_bytes, 0u);
    EXPECT_EQ(counters.host_data_read_bytes + counters.host_data_written_bytes, 0u);
    for (const auto& unit : units_)
      for (std::uint32_t port = 0; port < unit->accelerator->links().count(); ++port)
        EXPECT_EQ(unit->accelerator->links().granted(port), 0u) << "nothing stays open";
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  peer::Exporter& exporter() override { return memory(); }
  peer::OwnedExporter* owner() override { return &memory(); }
  LinkedEngine& importer(unsigned index) override { return *engines_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return importer(index).write(to, bytes);
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return importer(index).read(from, bytes);
  }
  [[nodiscard]] std::uint64_t refused_requests() const override { return engines_[0]->refused + engines_[1]->refused; }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = accelerators_[0]->window_bytes(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return Route::link; }
  [[nodiscard]] bool guarded() const override { return true; }
  [[nodiscard]] bool opens_whole_pages() const override { return false; }

 private:
  static topology::Description describe() {
    topology::Description machine = fabric::one_switch();
    for (auto& port : machine.switches[0].downstream)
      port.acs = topology::AcsDescription{.capability = 0x001d, .control = 0x001d, .egress_control_vector = {}};
    return machine;
  }
  Result<std::unique_ptr<fabric::Device>> make(std::string_view name) {
    auto made = devices::accelerator::create_accelerator(
        {.memory_bytes = 320_KiB, .links = 2, .unit = 100u + static_cast<unsigned char>(name[0])});
    if (made) models_.push_back(made->get());
    if (models_.size() == 3) {
      EXPECT_TRUE(devices::accelerator::connect({*models_[0], 0}, {*models_[1], 1}));
      EXPECT_TRUE(devices::accelerator::connect({*models_[0], 1}, {*models_[2], 0}));
    }
    return made;
  }
  [[nodiscard]] peer::OwnedExporter& memory() { return *units_[0]->exporter; }

  std::vector<fabric::Device*> models_;
  AcceleratorMachine machine_;
  std::vector<std::unique_ptr<gpu::Accelerator>> accelerators_;
  std::vector<std::unique_ptr<machine::DriveUnit>> units_;
  std::unique_ptr<machine::DeviceLinks> links_;
  std::unique_ptr<LinkedEngine> engines_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

PeerMachineParam linked(std::string name, bool threaded) {
  return {std::move(name), [threaded] { return std::make_unique<LinkedMachine>(threaded); }};
}

INSTANTIATE_TEST_SUITE_P(OnLinks, PeerContract, testing::Values(linked("stepped", false), linked("threaded", true)),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(OnLinks, PeerContractGuarded,
                         testing::Values(linked("stepped", false), linked("threaded", true)), name_of_param);

}  // namespace
}  // namespace barter::contract
