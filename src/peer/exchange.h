// Where exporters, importers and verdicts meet. One Exchange for each machine; docs/peer-contract.md says what it
// keeps.
//
//   peer::Exchange exchange(clock, [&](Bdf client, Bdf provider) { return route_by_this_machines_rule(client,
//   provider); }); exchange.add(cmb);                                   // an Exporter exchange.add(drive); // an
//   Importer auto region = exchange.allocate(cmb, 1_MiB); auto mapping = exchange.map(drive, *region, {.access =
//   Access::write}); auto lease = mapping->lease();                       // lease->segments(): what goes into the
//   drive's commands
//
// Lifetime: exporters and importers outlive the Exchange, or are taken out of it before they go. Regions, mappings and
// leases may outlive it; they are revoked with it. The clock outlives it.
//
// Threads: everything may be called from any thread. The code behind the seams (decide, map, unmap, invalidate,
// isolate, the route rule) is called with no lock held and may call back, with one exception: a call from within them
// to withdraw or remove the very device that is being called would wait for itself.
#pragma once
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"
#include "base/clock.h"
#include "peer/counters.h"
#include "peer/exporter.h"
#include "peer/importer.h"
#include "peer/interconnect.h"

namespace barter::peer {

class Core;
class Pointers;
class RegionState;

// What the machine answers for one (client, provider) on PCIe. Which rule decides is the machine's business: the wire rule on
// the software machine, the linux rule where an in-kernel driver does the DMA. It is also asked for client == provider:
// a drive reaches its own memory by bus address, at distance 0.
struct RouteAnswer {
  Route read = Route::unknown;   // the client reads from the provider
  Route write = Route::unknown;  // the client writes to the provider
  std::uint32_t distance = 0;    // hops; means nothing when a route is unknown or not_supported
  std::string
      why;  // one sentence: the fact that bars the way or could not be read, or why an interconnect is better; may be
            // empty otherwise
};
// Asked once for each pair and remembered until routes_changed().
using RouteRule = std::function<RouteAnswer(Bdf client, Bdf provider)>;

// The route of one access. Read-write takes the worse of both.
[[nodiscard]] Route route_for(const RouteAnswer& answer, Access access);

// A mapping that was not made: the reason for programs and counters, the error for people.
struct NotMapped {
  Refusal reason = Refusal::no_route;
  Error error;
};

struct ProviderNeeds {
  std::uint64_t bytes = 0;             // contiguous and free now
  Access access = Access::read_write;  // of each client
};

struct ProviderChoice {
  Exporter* exporter = nullptr;
  std::uint32_t distance = 0;             // the sum over the clients
  std::uint32_t through_host_bridge = 0;  // how many of the clients go that way
};

class Exchange {
 public:
  Exchange(base::Clock& clock, RouteRule rule);
  ~Exchange();  // revokes everything that is left
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // Makes a device known. An error if it is known already or the table is full.
  [[nodiscard]] Result<void> add(Exporter& exporter);
  [[nodiscard]] Result<void> add(Importer& importer);

  // The device is gone, or is to go: revokes its regions, or its mappings, for good; everyone else goes on. When it
  // returns, no code of the device runs or will run for the Exchange. Not an error for a device that isn't known.
  [[nodiscard]] Result<RevokeReport> withdraw(Exporter& exporter, RevokeOptions options = {});
  [[nodiscard]] Result<RevokeReport> remove(Importer& importer, RevokeOptions options = {});

  // The owner takes back all that was handed out so far, for good. The device stays.
  [[nodiscard]] Result<RevokeReport> revoke_all(Exporter& exporter, RevokeOptions options = {});

  // Contiguous memory. The alignment is a power of two and is that of the bus address; no two regions share a 4 KiB
  // page.
  [[nodiscard]] Result<Region> allocate(Exporter& exporter, std::uint64_t bytes, std::uint64_t alignment = 4096);

  // Verdict, then consent, then address. A way by an interconnect that can't be opened (it went down, or as much is open as can
  // be) leaves PCIe's: then the owner is asked once more, about that route. by_way_of_host, refusal, and every other way to fail have a Refusal of their
  // own.
  [[nodiscard]] std::expected<Mapping, NotMapped> try_map(Importer& importer, const Region& region,
                                                          MapOptions options = {});
  [[nodiscard]] std::expected<Mapping, NotMapped> try_map(Importer& importer, RegionState& region,
                                                          MapOptions options = {});
  // The same at an address that the caller chooses, for importers whose domain can do that (DmaDomain::map_at).
  [[nodiscard]] std::expected<Mapping, NotMapped> try_map_at(DmaAddress at, Importer& importer, RegionState& region,
                                                             MapOptions options = {});
  // The same for callers that need the error alone.
  [[nodiscard]] Result<Mapping> map(Importer& importer, const Region& region, MapOptions options = {});

  // Part by part, as the owner decides on them: its answers are in the parts, in order. Any other failure is that of the
  // whole, and leaves nothing mapped.
  [[nodiscard]] std::expected<std::vector<MappedPart>, NotMapped> try_map_parts(Importer& importer,
                                                                                const Region& region,
                                                                                MapOptions options = {});
  [[nodiscard]] Result<std::vector<MappedPart>> map_parts(Importer& importer, const Region& region,
                                                          MapOptions options = {});

  // A lease by name, for an importer that keeps ids and not handles. A stale id is refused. Takes no lock.
  [[nodiscard]] Result<Lease> lease(MappingId id);

  // The exporter that serves all the clients: the fewest of them through the host bridge, then the smallest sum of
  // distances, then the smallest BDF. If there is none, the error says for each candidate why.
  [[nodiscard]] Result<ProviderChoice> nearest_provider(std::span<const Bdf> clients, ProviderNeeds needs = {});

  // Another way than PCIe, to be asked from now on. It outlives the Exchange. An error if there are kMaxInterconnects already.
  [[nodiscard]] Result<void> add(Interconnect& interconnect);

  // The better of what PCIe's rule and the interconnects say of a pair: one that works beats PCIe, because no bridge, no host
  // and no other device has a part in it. The first of those that were added wins.
  [[nodiscard]] RouteAnswer route(Bdf client, Bdf provider);
  // What PCIe's rule says alone.
  [[nodiscard]] RouteAnswer route_by_pcie(Bdf client, Bdf provider);
  // What each interconnect says, with its facts, in the order in which they were added.
  [[nodiscard]] std::vector<InterconnectAnswer> interconnects(Bdf client, Bdf provider);
  // What a mapping would be made by, and why.
  [[nodiscard]] RouteChoice choose_route(Bdf client, Bdf provider, Access access);
  // Forgets what PCIe's rule has said. What interconnects say is asked anew each time. Mappings that exist stay as they are.
  void routes_changed();

  // An importer that was isolated gets no mapping until its driver has reset it and says so here. One that was cut off by an
  // IOMMU gets none until it has dropped the leases that were late, or the same.
  void readmit(Importer& importer);

  [[nodiscard]] PeerCounters counters() const;

  // What pointers of this process are memory of this machine.
  [[nodiscard]] Pointers& pointers();

 private:
  std::shared_ptr<Core> core_;  // lives on while a region or mapping needs it
};

}  // namespace barter::peer
