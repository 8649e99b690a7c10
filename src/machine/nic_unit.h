// A NIC as a unit of a machine: an importer without memory, which shows some of the memory that it imports to the other end of its
// wire.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "barter/memory.hpp"
#include "drivers/nic/nic.h"
#include "machine/state.h"
#include "peer/dma_domain.h"
#include "peer/importer.h"

namespace barter::machine {

struct NicParts {
  std::unique_ptr<pci::Function> function;
  peer::DmaDomain& domain;  // outlives the unit
  drivers::nic::NicOptions options;
};

// Everything that the driver does for one NIC: fills in all of the unit but its name and BDF.
[[nodiscard]] Result<void> bring_up(DriveUnit& unit, NicParts parts);

// What a NIC shows to the other end by keys, with the leases that keep it there. The other end's requests come at any time, so nobody
// can wait for the last of them: as soon as one of the mappings is taken back, the key is withdrawn and the leases end.
//
// Any thread.
class ExposedKeys {
 public:
  // The NIC outlives it.
  explicit ExposedKeys(drivers::nic::Nic& nic) : nic_(nic) {}

  // Names what is to be shown, before its leases are taken, so that nothing that is taken back from then on is missed.
  using Ticket = std::uint64_t;
  [[nodiscard]] Ticket announce(std::span<const peer::MappingId> mappings);
  // From now on the key keeps these leases. False: one of the mappings was taken back meanwhile; the key is withdrawn.
  [[nodiscard]] bool show(Ticket ticket, drivers::nic::RemoteKey key, std::vector<Lease> leases);
  [[nodiscard]] bool is_shown(Ticket ticket) const;
  // Does nothing where it is gone already.
  void withdraw(Ticket ticket);

  // A mapping is taken back.
  void invalidate(peer::MappingId mapping);

 private:
  struct Shown {
    std::vector<peer::MappingId> mappings;
    drivers::nic::RemoteKey key;
    std::vector<Lease> leases;  // none: not shown yet
    bool is_taken_back = false;
  };
  void end(Shown& shown);

  drivers::nic::Nic& nic_;
  mutable std::mutex mutex_;
  std::map<Ticket, Shown> shown_;
  Ticket last_ = 0;
};

}  // namespace barter::machine
