// All of a software machine: what a Fabric holds, and what its parts (routing, IOMMU, requesters, runner) share.
//
// One mutex guards everything that changes. Nobody calls a device model with it held. A requester's hot path takes no
// lock: it goes by its range cache, which forget() makes stale (docs/memory-order.md).
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "barter/result.hpp"
#include "fabric/fabric.h"
#include "fabric/host_memory.h"
#include "fabric/interrupts.h"
#include "fabric/iommu.h"
#include "fabric/node.h"
#include "fabric/requester.h"
#include "fabric/runner.h"
#include "topology/description.h"

namespace barter::fabric {

// Requests that never became traffic. Guarded by the mutex.
struct Refusals {
  std::uint64_t redirected = 0;
  std::uint64_t blocked = 0;
  std::uint64_t iommu_faults = 0;
  std::uint64_t unsupported = 0;
};

// What went between functions with ATS and the IOMMU. Guarded by the mutex.
struct AtsTraffic {
  std::uint64_t translation_requests = 0;
  std::uint64_t invalidate_requests = 0;
  std::uint64_t ignored_invalidations = 0;
};

class System {
 public:
  [[nodiscard]] static Result<std::unique_ptr<System>> create(const topology::Description& description,
                                                              Options options);
  ~System();
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  [[nodiscard]] Node* find(Bdf bdf) const;
  [[nodiscard]] Node* find(std::string_view name) const;
  [[nodiscard]] Result<void> plug(std::string_view name, std::unique_ptr<Device> device);
  [[nodiscard]] Result<void> enumerate();  // enumerate.cc

  // Configuration requests (config_access.cc). The first two are what software does, by bus number as the bridges are
  // programmed; a function that isn't there reads as all ones. `quiet` skips telling the requesters: nothing runs yet.
  [[nodiscard]] Node* config_target(Bdf bdf) const;
  [[nodiscard]] std::uint32_t read_config(Bdf bdf, std::uint16_t offset, unsigned width_bytes);
  void write_config(Bdf bdf, std::uint16_t offset, unsigned width_bytes, std::uint32_t value);
  void function_level_reset(Node& node);

  [[nodiscard]] Counters counters();       // counters.cc
  [[nodiscard]] TopologyParts topology();  // topology_parts.cc

  // What goes wrong (faults.cc). When one of these returns, nothing moves any more that it forbids.
  void remove(Node& node);
  void put_back(Node& node);
  void set_link(Node& port, bool up);

  // Host memory at its address on the bus, which no IOMMU maps yet. Given back with the buffer, after which nobody reaches it.
  [[nodiscard]] Result<pci::DmaBuffer> lend_host_memory(std::uint64_t bytes, pci::DmaUse use);

  // The mutex is held: every answer of every requester is stale, and so is every Mmio's.
  void forget_all();
  // No lock is held: afterwards nothing moves by answers from before the last forget_all().
  void wait_until_all_idle() const;
  void wait_until_idle(const Node& node) const;
  // The mutex is held: works out again which functions are reachable, after one went or a link changed.
  void refresh_reachability();

  void record_fault(const IommuFault& fault);

  std::mutex mutex;
  Options options;
  topology::Description description;
  std::vector<std::unique_ptr<RootComplex>> root_complexes;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<FunctionRequester*> requesters;  // of the functions that have a model
  std::unordered_map<Bdf, Node*> by_bdf;       // filled by enumerate()
  std::unique_ptr<HostMemory> host_memory;
  HostVectors host_vectors;
  Refusals refusals;
  AtsTraffic ats_traffic;
  std::deque<IommuFault> faults;         // the latest ones
  std::atomic<std::uint64_t> epoch = 1;  // for the CPU's mappings of BARs
  bool enumerated = false;
  std::unique_ptr<Runner> runner;  // the last member: its threads stop before anything else goes

 private:
  System(const topology::Description& description, Options options);
};

}  // namespace barter::fabric
