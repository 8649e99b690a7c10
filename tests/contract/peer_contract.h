// The peer contract's suite (docs/peer-contract.md): what must hold on every machine that has exporters, importers and an
// Exchange. The tests are in peer_contract*.cc; each machine has a file that says what it is and instantiates them:
// peer_contract_test.cc for a small bus of arrays, peer_on_fabric_test.cc for the software PCIe, peer_pairs_test.cc for every
// pair of exporter and importer that drivers make on it, and tests/guest/peer-contract for Linux.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/memory.hpp"
#include "base/clock.h"
#include "peer/exchange.h"
#include "peer/owned_exporter.h"
#include "peer_contract_importer.h"

namespace barter::contract {

// A machine with one exporter of device memory and two importers, whose DMA the test commands.
class PeerMachine {
 public:
  virtual ~PeerMachine() = default;

  virtual peer::Exchange& exchange() = 0;
  // Ends the Exchange; the devices stay.
  virtual void end_exchange() = 0;
  virtual peer::Exporter& exporter() = 0;
  // Who decides about the exporter's memory. Null: nobody does, and the tests that ask one are among those that it cannot run.
  virtual peer::OwnedExporter* owner() = 0;
  virtual ScriptedImporter& importer(unsigned index) = 0;

  // One request of the importer's DMA, now. True if it was carried out.
  virtual bool write(unsigned importer, DmaAddress to, std::span<const std::byte> bytes) = 0;
  virtual bool read(unsigned importer, DmaAddress from, std::span<std::byte> bytes) = 0;
  // Requests of peers that the machine did not carry out.
  [[nodiscard]] virtual std::uint64_t refused_requests() const = 0;
  // What the device memory holds, looked at from inside the device.
  [[nodiscard]] virtual std::vector<std::byte> contents(MemoryRange range) const = 0;

  [[nodiscard]] virtual Route expected_route() const = 0;
  // Do the addresses of mappings go through an IOMMU, or through another guard that cuts off what was not mapped?
  [[nodiscard]] virtual bool guarded() const = 0;
  // Does that guard open whole pages, as an IOMMU does?
  [[nodiscard]] virtual bool opens_whole_pages() const { return guarded(); }

  void on_request(Consent consent) { owner()->on_request(std::move(consent)); }
  void on_unmap(Unmapped told) { owner()->on_unmap(std::move(told)); }
  void limit_pins(std::optional<std::uint64_t> bytes) { owner()->limit_pins(bytes); }
  void set_letting_go(unsigned index, LettingGo how) { importer(index).letting_go = how; }
  void on_invalidate(unsigned index, std::function<void(peer::MappingId)> call) {
    importer(index).on_invalidate = std::move(call);
  }
  // A transfer in flight: the importer keeps this lease until it lets go, or until all of its transfers end.
  void hold(unsigned index, Lease lease) { importer(index).held.push_back(std::move(lease)); }
  void end_transfers(unsigned index) { importer(index).held.clear(); }
  void set_in_flight(unsigned index, std::function<void()> dma) { importer(index).in_flight = std::move(dma); }
  [[nodiscard]] const std::vector<peer::MappingId>& told(unsigned index) { return importer(index).told; }
};

// Tests whose names begin so, and why a machine cannot run them. They are skipped, and say so.
struct CannotRun {
  std::string_view tests;
  std::string_view why;
};

struct PeerMachineParam {
  std::string name;
  std::function<std::unique_ptr<PeerMachine>()> create;
  std::span<const CannotRun> cannot_run = {};
};
inline std::ostream& operator<<(std::ostream& out, const PeerMachineParam& param) { return out << param.name; }

class PeerContract : public testing::TestWithParam<PeerMachineParam> {
 protected:
  void SetUp() override {
    const std::string_view test = testing::UnitTest::GetInstance()->current_test_info()->name();
    for (const CannotRun& cannot : GetParam().cannot_run)
      if (test.starts_with(cannot.tests)) GTEST_SKIP() << "skipped: " << cannot.why;
    machine_ = GetParam().create();
    ASSERT_NE(machine_, nullptr);
  }
  PeerMachine& machine() { return *machine_; }
  peer::Exchange& exchange() { return machine_->exchange(); }
  Region allocate(std::uint64_t bytes);
  Mapping map(unsigned importer, const Region& region, MapOptions options = {});
  // All bytes of the region's memory, from inside the device.
  std::vector<std::byte> contents(const Region& region) { return machine_->contents(region.range()); }

  std::unique_ptr<PeerMachine> machine_;
};

// Bytes that tell where they belong.
inline std::vector<std::byte> pattern(std::size_t bytes, unsigned char seed) {
  std::vector<std::byte> made(bytes);
  for (std::size_t index = 0; index < bytes; ++index) made[index] = static_cast<std::byte>(index * 7 + seed);
  return made;
}
inline DmaAddress start_of(const Lease& lease) { return lease.segments()[0].address; }

// Only for machines on which the addresses of mappings go through an IOMMU or another guard.
class PeerContractGuarded : public PeerContract {};

inline std::string name_of_param(const testing::TestParamInfo<PeerMachineParam>& info) { return info.param.name; }

// What a machine cannot run is a test of this suite, and not a name that nothing has any more.
inline void check_names(std::span<const CannotRun> cannot_run) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (const CannotRun& cannot : cannot_run) {
    bool found = false;
    for (int suite = 0; suite < all.total_test_suite_count(); ++suite) {
      const testing::TestSuite& tests = *all.GetTestSuite(suite);
      if (std::string_view(tests.name()).find("PeerContract") == std::string_view::npos) continue;
      for (int test = 0; test < tests.total_test_count(); ++test)
        found = found || std::string_view(tests.GetTestInfo(test)->name()).starts_with(cannot.tests);
    }
    EXPECT_TRUE(found) << "no test's name begins with " << cannot.tests;
    EXPECT_FALSE(cannot.why.empty());
  }
}

}  // namespace barter::contract
