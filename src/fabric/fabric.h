// The software PCIe machine: built from a description, enumerated like a real one, and then driven through
// pci::Function. Requests travel by address, hop by hop, by the rules of PCIe, and every byte is counted.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "base/clock.h"
#include "fabric/device.h"
#include "pci/function.h"
#include "peer/dma_domain.h"
#include "topology/description.h"

namespace barter::fabric {

// Stepped: one thread, devices take turns in an order that the seed decides, time is counted in steps; the same seed gives
// the same run. Threaded: each device has a thread, time is real.
enum class Running : std::uint8_t { stepped, threaded };

// How often things go wrong, as probabilities for each request or step. All zero: never.
struct Faults {
  double lost_completion = 0;
  double poisoned_completion = 0;
  double late_completion = 0;
  double surprise_removal = 0;      // for each device step
  double link_down = 0;             // for each device step; the link trains again later
  double ignored_invalidation = 0;  // for each Invalidate Request of the IOMMU to a function with ATS
};

struct Options {
  Running running = Running::stepped;
  std::uint64_t seed = 1;
  Faults faults;
  std::uint64_t host_memory_bytes = std::uint64_t{4} << 30;  // a limit, not an allocation
  // How long the IOMMU waits for an Invalidate Completion before it cuts the function off. Real ones wait for as long as
  // the specification gives a function: a minute (PCIe 6.0, 10.3).
  Duration invalidation_deadline = std::chrono::milliseconds(10);
};

struct LinkCounters {
  std::string port;                    // the port above the link: "rp0", "sw0.1"
  std::uint64_t upstream_bytes = 0;    // payload, towards the root complex
  std::uint64_t downstream_bytes = 0;  // payload, away from it
};

// Exact, and on all the time. Payload bytes; requests where it says so.
struct Counters {
  std::vector<LinkCounters> links;
  std::uint64_t host_data_read_bytes = 0;  // by devices, from host memory allocated for data
  std::uint64_t host_data_written_bytes = 0;
  std::uint64_t host_control_read_bytes = 0;  // from host memory allocated for queues and lists
  std::uint64_t host_control_written_bytes = 0;
  std::uint64_t peer_read_bytes = 0;  // by devices, from other devices' BARs
  std::uint64_t peer_written_bytes = 0;
  std::uint64_t redirected_requests = 0;  // sent up by ACS
  std::uint64_t blocked_requests = 0;     // ACS violations, Bus Master Enable off, root complex that does not turn
  std::uint64_t iommu_faults = 0;
  std::uint64_t unsupported_requests = 0;   // nobody claims the address
  std::uint64_t translation_requests = 0;   // of functions with ATS, to the IOMMU
  std::uint64_t invalidate_requests = 0;    // of the IOMMU, to functions with ATS
  std::uint64_t ignored_invalidations = 0;  // of those, not completed by the deadline
  // Faults of Options that struck a read of a device.
  std::uint64_t lost_completions = 0;
  std::uint64_t poisoned_completions = 0;
  std::uint64_t late_completions = 0;
};

// A request that the IOMMU refused. The log keeps the latest kMaxLoggedFaults; the counter counts all.
struct IommuFault {
  Bdf requester;
  DmaAddress address;
  Access access = Access::read;
  bool is_mapped = false;      // mapped, but not for this kind of access
  bool is_translated = false;  // the function says that the address is translated, and may not say so
};
inline constexpr std::size_t kMaxLoggedFaults = 256;

class Fabric {
 public:
  // Builds ports, switches and functions. Functions with no model behave as "topology only" until plug() gives them one.
  // The description comes from topology::parse_description, which has checked it.
  [[nodiscard]] static Result<std::unique_ptr<Fabric>> create(const topology::Description& description,
                                                              Options options);
  ~Fabric();

  // Gives the described function `name` its model. Before enumerate().
  [[nodiscard]] Result<void> plug(std::string_view name, std::unique_ptr<Device> device);
  // Assigns bus numbers, sizes BARs, opens bridge windows, enables memory and bus mastering. Once.
  [[nodiscard]] Result<void> enumerate();

  [[nodiscard]] Result<Bdf> find(std::string_view name) const;
  // A driver's handle on a function. The fabric must outlive it.
  [[nodiscard]] Result<std::unique_ptr<pci::Function>> function(Bdf bdf);
  // Host memory for data that belongs to no function: zeroed, whole pages, at `address` on the bus. No IOMMU maps it yet. The
  // fabric must outlive it.
  [[nodiscard]] Result<pci::DmaBuffer> allocate_host(std::uint64_t bytes);
  // The IOMMU domain of a function; lives as long as the fabric.
  [[nodiscard]] peer::DmaDomain& domain(Bdf bdf);

  // The facts of this machine, read from its config spaces, for the analyser.
  [[nodiscard]] TopologyParts topology() const;
  // The 4096 bytes of a function's config space as they are now.
  [[nodiscard]] std::vector<std::byte> config_space(Bdf bdf) const;

  [[nodiscard]] Counters counters() const;
  [[nodiscard]] std::vector<IommuFault> iommu_faults() const;  // oldest first
  [[nodiscard]] base::Clock& clock();
  // All violations that the devices have recorded, each with its device's name.
  [[nodiscard]] std::vector<std::string> violations() const;

  // Faults on request, for tests; each takes effect at once.
  void remove(Bdf bdf);  // surprise removal
  // The same device is plugged in again: as after power-on, with its media as they were, and with the numbers and addresses
  // that hot-plug software gives it. Nothing, if it is there.
  void put_back(Bdf bdf);
  void set_link(Bdf bdf, bool up);
  void set_bus_master(Bdf bdf, bool enabled);  // what Importer::isolate uses
  // The IOMMU's context entry: may the function ask for translations, and go by them? What it has it keeps.
  void allow_ats(Bdf bdf, bool allowed);
  // From now on the function keeps the translations that it is told to drop.
  void ignore_invalidations(Bdf bdf, bool ignores);

 private:
  struct Machine;
  explicit Fabric(std::unique_ptr<Machine> machine);
  std::unique_ptr<Machine> machine_;
};

}  // namespace barter::fabric
