// From a description to functions with config spaces: root complexes, then ports and switches from the top down, then
// endpoints. Nothing has a bus number yet.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "fabric/config_layout.h"
#include "fabric/system.h"
#include "pci/capabilities/express.h"

namespace barter::fabric {
namespace {

class Builder {
 public:
  explicit Builder(System& system) : system_(system), description_(system.description) {}

  [[nodiscard]] Result<void> build() {
    add_root_complexes();
    for (const auto& root_port : description_.root_ports)
      if (auto added = add_root_port(root_port); !added) return added;
    if (auto added = add_switches(); !added) return added;
    for (const auto& function : description_.functions)
      if (auto added = add_function(function); !added) return added;
    return {};
  }

 private:
  [[nodiscard]] std::unexpected<Error> refuse(std::string_view subject, std::string why) const {
    return fail({.code = ErrorCode::malformed,
                 .doing = "building the machine " + description_.source,
                 .subject = std::string(subject),
                 .why = std::move(why)});
  }

  Node& add_node(std::string name, Role role, RootComplex* root_complex, Node* parent) {
    Node& node = *system_.nodes.emplace_back(std::make_unique<Node>());
    node.index = system_.nodes.size() - 1;
    node.name = std::move(name);
    node.role = role;
    node.root_complex = root_complex;
    node.parent = parent;
    if (parent != nullptr) {
      parent->children.push_back(&node);
    } else {
      root_complex->functions.push_back(&node);
    }
    node.domain = std::make_unique<Domain>(system_, node);
    return node;
  }

  void add_root_complexes() {
    for (const auto& described : description_.root_complexes) {
      auto& root = *system_.root_complexes.emplace_back(std::make_unique<RootComplex>());
      root.name = described.name;
      root.domain = described.domain;
      root.root_bus = described.root_bus;
      root.numa_node = described.numa_node;
      root.turns_reads = described.turns_reads;
      root.turns_writes = described.turns_writes;
      roots_by_name_[described.name] = &root;
      Node& bridge = add_node("", Role::host_bridge, &root, nullptr);
      lay_out_host_bridge(bridge, described);
    }
  }

  // The next free device number on a root bus. 00.0 is the host bridge.
  [[nodiscard]] Result<std::uint8_t> next_root_device(const RootComplex& root, std::string_view name) {
    const std::uint8_t device = ++root_devices_[&root];
    if (device > 31) return refuse(name, fmt::format("root complex {} has more than 31 devices on its bus", root.name));
    return device;
  }

  [[nodiscard]] Result<void> add_root_port(const topology::RootPortDescription& described) {
    const auto root = roots_by_name_.find(described.root_complex);
    if (root == roots_by_name_.end()) return refuse(described.port.name, "its root complex is not described");
    const auto device = next_root_device(*root->second, described.port.name);
    if (!device) return fail(device.error());
    Node& node = add_node(described.port.name, Role::root_port, root->second, nullptr);
    node.device = *device;
    lay_out_port(node, described.port, {pci::express::Capabilities::kRootPort, *device});
    return claim_name(node);
  }

  [[nodiscard]] Result<void> claim_name(Node& node) {
    if (node.name.empty() || by_name_.emplace(node.name, &node).second) return {};
    return refuse(node.name, "two parts of the machine have this name");
  }

  // Switches may be listed in any order: those whose port is there already are added until none is left.
  [[nodiscard]] Result<void> add_switches() {
    std::vector<const topology::SwitchDescription*> left;
    left.reserve(description_.switches.size());
    for (const auto& described : description_.switches) left.push_back(&described);
    while (!left.empty()) {
      std::vector<const topology::SwitchDescription*> waiting;
      for (const auto* described : left) {
        if (!by_name_.contains(described->below)) {
          waiting.push_back(described);
        } else if (auto added = add_switch(*described); !added) {
          return added;
        }
      }
      if (waiting.size() == left.size()) return refuse(waiting[0]->name, "it is below a port that is not there");
      left = std::move(waiting);
    }
    return {};
  }

  [[nodiscard]] Result<void> add_switch(const topology::SwitchDescription& described) {
    Node& above = *by_name_.at(described.below);
    if (!above.has_link_below() || !above.children.empty())
      return refuse(described.name, fmt::format("{} is not a free port", described.below));
    if (described.downstream.size() > 32) return refuse(described.name, "it has more than 32 downstream ports");
    const std::string name = described.upstream.name.empty() ? described.name : described.upstream.name;
    Node& upstream = add_node(name, Role::switch_upstream, above.root_complex, &above);
    lay_out_port(upstream, described.upstream, {pci::express::Capabilities::kUpstreamPort, 0});
    if (auto claimed = claim_name(upstream); !claimed) return claimed;
    std::uint8_t device = 0;
    for (const auto& port : described.downstream) {
      Node& downstream = add_node(port.name.empty() ? fmt::format("{}.{}", described.name, device) : port.name,
                                  Role::switch_downstream, above.root_complex, &upstream);
      downstream.device = device++;
      // Port numbers start at 1: the upstream port is number 0.
      lay_out_port(downstream, port, {pci::express::Capabilities::kDownstreamPort, device});
      if (auto claimed = claim_name(downstream); !claimed) return claimed;
    }
    return {};
  }

  [[nodiscard]] Result<void> add_function(const topology::FunctionDescription& described) {
    const auto root = roots_by_name_.find(described.below);
    const auto port = by_name_.find(described.below);
    if (root == roots_by_name_.end() && (port == by_name_.end() || !port->second->has_link_below()))
      return refuse(described.name, fmt::format("there is no port {}", described.below));
    if (described.function > 7) return refuse(described.name, "its function number is above 7");
    FunctionIdentity identity{
        .vendor_id = described.vendor_id, .device_id = described.device_id, .class_code = described.class_code};
    for (const auto& bar : described.bars)
      identity.bars.push_back({bar.index, bar.size_bytes, bar.is_64bit, bar.is_prefetchable});
    const bool integrated = port == by_name_.end();
    Node* parent = integrated ? nullptr : port->second;
    RootComplex* root_complex = integrated ? root->second : parent->root_complex;
    std::uint8_t device = 0;
    if (integrated) {
      const auto next = next_root_device(*root_complex, described.name);
      if (!next) return fail(next.error());
      device = *next;
    } else {
      for (const Node* sibling : parent->children)
        if (sibling->role != Role::endpoint || sibling->function == described.function)
          return refuse(described.name, fmt::format("something else is already plugged into {}", described.below));
    }
    Node& node = add_node(described.name, Role::endpoint, root_complex, parent);
    node.device = device;
    node.function = integrated ? std::uint8_t{0} : described.function;
    lay_out_endpoint(node, described, identity,
                     {.integrated = integrated, .multi_function = is_multi_function(described)});
    return claim_name(node);
  }

  [[nodiscard]] bool is_multi_function(const topology::FunctionDescription& described) const {
    return std::any_of(description_.functions.begin(), description_.functions.end(), [&](const auto& other) {
      return other.below == described.below && other.function != 0 && !roots_by_name_.contains(other.below);
    });
  }

  System& system_;
  const topology::Description& description_;
  std::map<std::string, RootComplex*, std::less<>> roots_by_name_;
  std::map<std::string, Node*, std::less<>> by_name_;
  std::map<const RootComplex*, std::uint8_t> root_devices_;
};

}  // namespace

Result<std::unique_ptr<System>> System::create(const topology::Description& description, Options options) {
  auto host_memory = HostMemory::create(options.host_memory_bytes);
  if (!host_memory) return fail(host_memory.error());
  std::unique_ptr<System> system(new System(description, options));
  system->host_memory = std::move(*host_memory);
  if (auto built = Builder(*system).build(); !built) return fail(built.error());
  system->runner = std::make_unique<Runner>(*system, options.running == Running::threaded, options.seed);
  return system;
}

}  // namespace barter::fabric
