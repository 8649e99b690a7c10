// The peer contract where this process drives everything, through VFIO: a drive's controller memory buffer behind a BAR, and two
// other drives, each in an IOMMU group of its own. BARTER_VFIO_FUNCTIONS names the three, the owner of the memory first.
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/function_importer.h"
#include "drivers/nvme/cmb_exporter.h"
#include "linux_route.h"
#include "peer_contract.h"
#include "watched_engine.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
namespace nvme = drivers::nvme;

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  (void)print(result.error());
  std::abort();
}

// The three drives, opened once: opening resets them, which takes its time.
struct Hardware {
  static Hardware& get() {
    static Hardware hardware;
    return hardware;
  }
  struct Client {
    explicit Client(Hardware& of, Bdf bdf)
        : function(must(of.host->open(bdf))), domain(must(of.host->domain(bdf))), engine(*function) {}
    std::unique_ptr<pci::Function> function;
    guest::RememberingDomain domain;
    guest::Engine engine;
    guest::WatchedEngine watched{engine, domain};
  };

  std::shared_ptr<linux_os::vfio::Host> host = linux_os::vfio::Host::create();
  std::unique_ptr<nvme::Controller> provider =
      must(nvme::Controller::create(must(host->open(guest::vfio_functions().at(0))), {}));
  Client clients[2] = {Client(*this, guest::vfio_functions().at(1)), Client(*this, guest::vfio_functions().at(2))};
};

class VfioDrive final : public ScriptedImporter {
 public:
  explicit VfioDrive(Hardware::Client& client)
      : ScriptedImporter(client.function->bdf()), client_(client), real_(*client.function, client.domain) {}
  // A drive that was cut off is of no more use until it is brought up anew.
  ~VfioDrive() override {
    if (is_isolated_) client_.engine.drop();
  }
  VfioDrive(const VfioDrive&) = delete;
  VfioDrive& operator=(const VfioDrive&) = delete;
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override {
    is_isolated_ = true;
    return real_.isolate();
  }

 private:
  Hardware::Client& client_;
  drivers::FunctionImporter real_;
  bool is_isolated_ = false;
};

class MachineOfVfio final : public PeerMachine {
 public:
  MachineOfVfio()
      : memory_(*hardware_.provider),
        drives_{VfioDrive(hardware_.clients[0]), VfioDrive(hardware_.clients[1])},
        exchange_(std::make_unique<peer::Exchange>(clock_, guest::route_rule(guest::Rule::of_the_wire))) {
    EXPECT_TRUE(exchange_->add(memory_));
    for (auto& drive : drives_) EXPECT_TRUE(exchange_->add(drive));
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  peer::Exporter& exporter() override { return memory_; }
  peer::OwnedExporter* owner() override { return &memory_; }
  ScriptedImporter& importer(unsigned index) override { return drives_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return count(hardware_.clients[index].watched.writes(view(), to, bytes));
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return count(hardware_.clients[index].watched.reads(view(), from, bytes));
  }
  [[nodiscard]] std::uint64_t refused_requests() const override { return refused_; }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = view().bytes.subspan(range.offset, range.bytes);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return guest::expected_route(); }
  [[nodiscard]] bool guarded() const override { return guest::expected_route() == Route::through_host_bridge; }

 private:
  [[nodiscard]] guest::PeerMemoryView view() const {
    return {hardware_.provider->controller_memory_address(), hardware_.provider->controller_memory_bytes()};
  }
  bool count(bool carried_out) {
    if (!carried_out) ++refused_;
    return carried_out;
  }

  Hardware& hardware_ = Hardware::get();
  base::SystemClock clock_;
  nvme::CmbExporter memory_;
  VfioDrive drives_[2];
  std::uint64_t refused_ = 0;
  std::unique_ptr<peer::Exchange> exchange_;
};

PeerMachineParam vfio_drives() {
  return {.name = "vfio_drives_to_controller_memory", .create = [] { return std::make_unique<MachineOfVfio>(); }};
}

INSTANTIATE_TEST_SUITE_P(OnVfio, PeerContract, testing::Values(vfio_drives()), name_of_param);
INSTANTIATE_TEST_SUITE_P(OnVfio, PeerContractGuarded, testing::Values(vfio_drives()), name_of_param);

}  // namespace
}  // namespace barter::contract
