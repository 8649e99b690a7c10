// A machine for the peer contract on the software PCIe: devices with real requester IDs, real BARs, real ACS and a real page
// table, in steps and in threads. The memory is f0's, the importers are f1 and f2.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "fabric/fabric.h"
#include "fabric/scratch_device.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"
#include "topology/description.h"

namespace barter::contract {

using namespace barter::literals;

inline constexpr std::uint64_t kMemoryBytes = 256_KiB;
inline constexpr unsigned kMemoryBar = 2;

// ACS of the switch's downstream ports (PCIe 6.0, 7.7.11.2): source validation, request redirection, completion
// redirection, upstream forwarding.
inline constexpr std::uint16_t kAcsRedirects = 0x001d;
// The same for requests alone, and those that are translated pass directly.
inline constexpr std::uint16_t kAcsDirectTranslated = 0x0055;

struct Setup {
  bool one_switch = true;  // or a root port for each function
  std::uint16_t acs = 0;   // 0: none
  bool ats = false;        // of the importers
  IommuMode iommu = IommuMode::off;
  bool threaded = false;
  Route route = Route::bus_address;
};

inline topology::PortDescription port(std::string name, std::uint16_t acs = 0) {
  topology::PortDescription made{.name = std::move(name), .vendor_id = 0x1b36, .device_id = 0x000c};
  if (acs != 0) made.acs = topology::AcsDescription{.capability = 0x005f, .control = acs, .egress_control_vector = {}};
  return made;
}

inline topology::Description describe(const Setup& setup) {
  topology::Description machine;
  machine.name = "peer-contract";
  machine.iommu = setup.iommu;
  machine.root_complexes = {{.name = "rc0", .host_bridge_device = 0x2020, .turns_reads = true, .turns_writes = true}};
  std::vector<std::string> below;
  if (setup.one_switch) {
    machine.root_ports = {{port("rp0"), "rc0"}};
    machine.switches = {{.name = "sw0", .below = "rp0", .upstream = port("sw0"), .downstream = {}}};
    for (const char* name : {"sw0.0", "sw0.1", "sw0.2"}) {
      machine.switches[0].downstream.push_back(port(name, setup.acs));
      below.emplace_back(name);
    }
  } else {
    for (const char* name : {"rp0", "rp1", "rp2"}) {
      machine.root_ports.push_back({port(name), "rc0"});
      below.emplace_back(name);
    }
  }
  for (std::size_t index = 0; index < 3; ++index)
    machine.functions.push_back({.name = "f" + std::to_string(index),
                                 .below = below[index],
                                 .vendor_id = 0x1b36,
                                 .device_id = 5,
                                 .class_code = 0x088000,
                                 .ats = setup.ats && index > 0});
  return machine;
}

// Device memory: the plain BAR of a device that does nothing by itself.
class BarMemory final : public peer::OwnedExporter {
 public:
  BarMemory(fabric::ScratchDevice& device, Bdf function) : device_(device), function_(function) {}
  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return kMemoryBytes; }
  [[nodiscard]] BusAddress bus_address() const override {
    return device_.bus().bar_address(kMemoryBar).value_or(BusAddress{});
  }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }

 private:
  [[nodiscard]] std::optional<Answer> ruled_out(const Request&) const override { return std::nullopt; }

  fabric::ScratchDevice& device_;
  Bdf function_;
};

// A device that does DMA on command, in its own turn.
class DmaEngine final : public ScriptedImporter {
 public:
  DmaEngine(fabric::Fabric& fabric, fabric::ScratchDevice& device, Bdf function)
      : ScriptedImporter(function), fabric_(fabric), device_(device) {}

  [[nodiscard]] peer::DmaDomain& domain() override { return fabric_.domain(function()); }
  [[nodiscard]] Result<void> isolate() override {
    fabric_.set_bus_master(function(), false);
    return {};
  }
  // Carries out one request and waits for it.
  bool request(std::function<fabric::Completion(fabric::Requester&)> work) {
    std::atomic<bool> done = false;
    bool successful = false;
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back([&, work = std::move(work)](fabric::Requester& bus) {
        successful = work(bus) == fabric::Completion::successful;
        done.store(true, std::memory_order_release);
      });
    }
    base::Clock& clock = fabric_.clock();
    EXPECT_TRUE(base::wait_until(clock, clock.now() + 60s, [&] { return done.load(std::memory_order_acquire); }));
    return successful;
  }
  // Writes there in every turn, something new each time, whatever anybody says. Nowhere: no more.
  void storm(std::optional<DmaAddress> at) {
    const std::lock_guard lock(mutex_);
    storm_at_ = at;
  }
  bool step() {
    std::function<void(fabric::Requester&)> job;
    std::optional<DmaAddress> storm_at;
    {
      const std::lock_guard lock(mutex_);
      storm_at = storm_at_;
      if (!jobs_.empty()) {
        job = std::move(jobs_.front());
        jobs_.erase(jobs_.begin());
      }
    }
    if (job) job(device_.bus());
    if (storm_at) {
      std::memset(storm_bytes_.data(), static_cast<int>(++storms & 0xff), storm_bytes_.size());
      const bool arrived = device_.bus().write(*storm_at, storm_bytes_) == fabric::Completion::successful;
      ++(arrived ? storms_arrived : storms_refused);
    }
    return job || storm_at;
  }

  std::atomic<std::uint64_t> storms = 0;
  std::atomic<std::uint64_t> storms_arrived = 0;
  std::atomic<std::uint64_t> storms_refused = 0;

 private:
  fabric::Fabric& fabric_;
  fabric::ScratchDevice& device_;
  std::mutex mutex_;
  std::vector<std::function<void(fabric::Requester&)>> jobs_;
  std::optional<DmaAddress> storm_at_;
  std::vector<std::byte> storm_bytes_ = std::vector<std::byte>(4096);
};

class FabricMachine final : public PeerMachine {
 public:
  static std::unique_ptr<PeerMachine> create(const Setup& setup) {
    std::unique_ptr<FabricMachine> machine(new FabricMachine(setup));
    const Result<void> started = machine->start();
    if (started) return machine;
    ADD_FAILURE() << started.error().message();
    return nullptr;
  }
  ~FabricMachine() override {
    exchange_.reset();
    for (auto& engine : engines_)
      if (engine) engine->storm(std::nullopt);
    if (fabric_) {
      EXPECT_THAT(fabric_->violations(), testing::ElementsAre());
    }
    fabric_.reset();  // its threads step the engines
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  base::Clock& clock() { return fabric_->clock(); }
  peer::Exporter& exporter() override { return *memory_; }
  peer::OwnedExporter* owner() override { return memory_.get(); }
  DmaEngine& importer(unsigned index) override { return *engines_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return importer(index).request([&](fabric::Requester& bus) { return bus.write(to, bytes); });
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return importer(index).request([&](fabric::Requester& bus) { return bus.read(from, bytes); });
  }
  [[nodiscard]] std::uint64_t refused_requests() const override {
    const fabric::Counters counters = fabric_->counters();
    return counters.blocked_requests + counters.iommu_faults + counters.unsupported_requests;
  }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = devices_[0]->memory().subspan(range.offset, range.bytes);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return setup_.route; }
  [[nodiscard]] bool guarded() const override {
    return setup_.iommu == IommuMode::translate && (setup_.ats || setup_.route != Route::bus_address);
  }
  [[nodiscard]] fabric::Fabric& fabric() { return *fabric_; }

 private:
  explicit FabricMachine(const Setup& setup) : setup_(setup) {}

  Result<void> start() {
    const topology::Description description = describe(setup_);
    auto fabric = fabric::Fabric::create(
        description, {.running = setup_.threaded ? fabric::Running::threaded : fabric::Running::stepped,
                      .host_memory_bytes = 16_MiB});
    if (!fabric) return fail(fabric.error());
    fabric_ = std::move(*fabric);
    for (std::size_t index = 0; index < 3; ++index) {
      auto device = std::make_unique<fabric::ScratchDevice>(kMemoryBytes);
      devices_.push_back(device.get());
      if (index > 0)
        device->on_step = [this, index] {
          DmaEngine* const engine = started_.load(std::memory_order_acquire) ? engines_[index - 1].get() : nullptr;
          return engine != nullptr && engine->step();
        };
      if (auto plugged = fabric_->plug("f" + std::to_string(index), std::move(device)); !plugged) return plugged;
    }
    if (auto enumerated = fabric_->enumerate(); !enumerated) return enumerated;
    memory_ = std::make_unique<BarMemory>(*devices_[0], *fabric_->find("f0"));
    for (std::size_t index = 0; index < 2; ++index)
      engines_[index] =
          std::make_unique<DmaEngine>(*fabric_, *devices_[index + 1], *fabric_->find("f" + std::to_string(index + 1)));
    started_.store(true, std::memory_order_release);
    return connect();
  }

  // The rule is the analyser's wire rule; the requests then go where the fabric takes them.
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
  std::vector<fabric::ScratchDevice*> devices_;
  std::unique_ptr<BarMemory> memory_;
  std::unique_ptr<DmaEngine> engines_[2];
  std::atomic<bool> started_ = false;
  std::unique_ptr<peer::Exchange> exchange_;
};

inline PeerMachineParam machine(std::string name, Setup setup) {
  return {std::move(name), [setup] { return FabricMachine::create(setup); }};
}

inline constexpr Setup kHostBridgeWithIommu{
    .one_switch = false, .iommu = IommuMode::translate, .route = Route::through_host_bridge};
inline constexpr Setup kAcsWithIommu{
    .acs = kAcsRedirects, .iommu = IommuMode::translate, .route = Route::through_host_bridge};

// Both with devices that translate: by the switch, because translated requests pass there, and by the root complex.
inline constexpr Setup kDirectTranslated{.acs = kAcsDirectTranslated, .ats = true, .iommu = IommuMode::translate};
inline constexpr Setup kRedirectedTranslated{
    .acs = kAcsRedirects, .ats = true, .iommu = IommuMode::translate, .route = Route::through_host_bridge};

constexpr Setup threaded(Setup setup) {
  setup.threaded = true;
  return setup;
}

// For tests that need more of the machine than the contract tells of.
class PeerOnFabric : public PeerContract {
 protected:
  FabricMachine& here() { return static_cast<FabricMachine&>(machine()); }
  // Waits until a count has gone up by so much.
  [[nodiscard]] bool after(const std::atomic<std::uint64_t>& count, std::uint64_t more) {
    const std::uint64_t goal = count.load() + more;
    return base::wait_until(here().clock(), here().clock().now() + 60s, [&] { return count.load() >= goal; });
  }
};

}  // namespace barter::contract
