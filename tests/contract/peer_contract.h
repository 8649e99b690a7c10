// The peer contract's suite (docs/peer-contract.md): what must hold on every machine that has exporters, importers and an
// Exchange. The tests are in peer_contract*.cc; each machine has a file that says what it is and instantiates them:
// peer_contract_test.cc for a small bus of arrays, peer_on_fabric_test.cc for the software PCIe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "barter/memory.hpp"
#include "base/clock.h"
#include "peer/exchange.h"

namespace barter::contract {

// How an importer answers when it is told to let go.
enum class LettingGo : std::uint8_t {
  at_once,      // drops its leases within invalidate()
  when_driven,  // within make_progress(), after what was in flight has been done
  never,        // keeps its leases, and goes on with its DMA
};

// A machine with one exporter of device memory and two importers, whose DMA the test commands.
class PeerMachine {
 public:
  virtual ~PeerMachine() = default;

  virtual peer::Exchange& exchange() = 0;
  // Ends the Exchange; the devices stay.
  virtual void end_exchange() = 0;
  virtual base::Clock& clock() = 0;
  virtual peer::Exporter& exporter() = 0;
  virtual peer::Importer& importer(unsigned index) = 0;
  virtual void on_request(Consent consent) = 0;
  virtual void on_unmap(Unmapped told) = 0;
  virtual void limit_pins(std::optional<std::uint64_t> bytes) = 0;
  virtual void set_letting_go(unsigned importer, LettingGo how) = 0;
  // Called within invalidate(), before anything else.
  virtual void on_invalidate(unsigned importer, std::function<void(peer::MappingId)> call) = 0;
  // A transfer in flight: the importer keeps this lease until it lets go.
  virtual void hold(unsigned importer, Lease lease) = 0;
  // The DMA that an importer does when it is driven, before it lets go (LettingGo::when_driven).
  virtual void set_in_flight(unsigned importer, std::function<void()> dma) = 0;
  [[nodiscard]] virtual std::vector<peer::MappingId> told(unsigned importer) const = 0;

  // One request of the importer's DMA, now. True if it was carried out.
  virtual bool write(unsigned importer, DmaAddress to, std::span<const std::byte> bytes) = 0;
  virtual bool read(unsigned importer, DmaAddress from, std::span<std::byte> bytes) = 0;
  // Requests of peers that the machine did not carry out.
  [[nodiscard]] virtual std::uint64_t refused_requests() const = 0;
  // What the device memory holds, looked at from inside the device.
  [[nodiscard]] virtual std::vector<std::byte> contents(MemoryRange range) const = 0;

  [[nodiscard]] virtual Route expected_route() const = 0;
  // Do the addresses of mappings go through an IOMMU?
  [[nodiscard]] virtual bool guarded() const = 0;
};

struct PeerMachineParam {
  std::string name;
  std::function<std::unique_ptr<PeerMachine>()> create;
};
inline std::ostream& operator<<(std::ostream& out, const PeerMachineParam& param) { return out << param.name; }

class PeerContract : public testing::TestWithParam<PeerMachineParam> {
 protected:
  void SetUp() override {
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

// Only for machines on which the addresses of mappings go through an IOMMU.
class PeerContractGuarded : public PeerContract {};

inline std::string name_of_param(const testing::TestParamInfo<PeerMachineParam>& info) { return info.param.name; }

}  // namespace barter::contract
