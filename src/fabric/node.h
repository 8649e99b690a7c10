// One function of the software machine (an endpoint, a bridge or a host bridge) and the root complex it belongs to.
// Everything here is guarded by System's mutex, but for what says otherwise.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/topology.hpp"
#include "fabric/device.h"
#include "fabric/registers.h"
#include "pci/bar.h"
#include "pci/bridge_window.h"

namespace barter::fabric {

class FunctionRequester;
class Domain;
struct Node;

enum class Role : std::uint8_t { host_bridge, root_port, switch_upstream, switch_downstream, endpoint };

struct RootComplex {
  std::string name;
  std::uint32_t domain = 0;
  std::uint8_t root_bus = 0;
  std::int32_t numa_node = 0;
  bool turns_reads = false;
  bool turns_writes = false;
  std::vector<Node*> functions;  // on the root bus
};

// One entry of an MSI-X table.
struct MsixVector {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  bool masked = true;
  bool pending = false;
};

// Where the capabilities of a function start; 0: it has no such capability.
struct CapabilityOffsets {
  std::uint16_t power_management = 0;
  std::uint16_t msix = 0;
  std::uint16_t express = 0;
  std::uint16_t acs = 0;
  std::uint16_t ats = 0;
};

struct Node {
  Node();
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Fixed once the machine is built.
  std::string name;
  Role role = Role::endpoint;
  std::size_t index = 0;  // in System's list
  RootComplex* root_complex = nullptr;
  Node* parent = nullptr;  // the bridge above; null on a root bus
  std::vector<Node*> children;
  std::uint8_t device = 0;
  std::uint8_t function = 0;
  std::uint8_t port_number = 0;  // of root ports and switch ports
  std::vector<BarRequest> bars;
  CapabilityOffsets capabilities;
  pci::ConfigSpace power_on_values;
  LinkState link_as_trained;

  Registers registers;
  std::optional<Bdf> bdf;  // once enumerated
  bool present = true;
  bool link_up = true;               // root ports and downstream ports: the link below
  bool routable = true;              // derived: present, and so is everything above, and every link up
  std::atomic<bool> running = true;  // the same, for the runner: any thread

  // What the CPU moved through mappings of this function's BARs; relaxed, any thread.
  std::atomic<std::uint64_t> cpu_read_bytes = 0;
  std::atomic<std::uint64_t> cpu_written_bytes = 0;

  std::vector<MsixVector> msix;
  std::vector<MemoryWindow> windows;

  // Member order is destruction order: the requester outlives the device that holds a reference to it.
  std::unique_ptr<Domain> domain;
  std::unique_ptr<FunctionRequester> requester;
  std::unique_ptr<Device> model;  // null: topology only
  std::mutex step_mutex;          // held while the model steps or resets (threaded running)

  [[nodiscard]] bool is_bridge() const {
    return role == Role::root_port || role == Role::switch_upstream || role == Role::switch_downstream;
  }
  // Has this bridge a link below it, or is it the upstream port of a switch, with the switch's own bus below?
  [[nodiscard]] bool has_link_below() const { return role == Role::root_port || role == Role::switch_downstream; }
  [[nodiscard]] bool memory_enabled() const;
  [[nodiscard]] bool master_enabled() const;
  [[nodiscard]] BusRange buses() const;
  // Where a BAR lies: none when it isn't there, or unassigned.
  [[nodiscard]] std::optional<pci::AddressWindow> bar_window(const BarRequest& bar) const;
  // The bus this function is on.
  [[nodiscard]] std::uint8_t bus() const {
    return parent != nullptr ? parent->buses().secondary : root_complex->root_bus;
  }
};

}  // namespace barter::fabric
