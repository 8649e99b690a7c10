// Configuration requests: how they find their function, and what a write does besides changing bits.
#include <mutex>

#include "fabric/system.h"
#include "pci/capabilities/express.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

constexpr std::uint32_t kAllOnes = 0xffffffff;

std::uint32_t all_ones(unsigned width_bytes) { return kAllOnes >> (32 - 8 * width_bytes); }

Node* function_on_bus(const std::vector<Node*>& functions, Bdf bdf) {
  for (Node* node : functions)
    if (node->device == bdf.device && node->function == bdf.function) return node->routable ? node : nullptr;
  return nullptr;
}

// A type 1 request goes down through the bridge whose range of buses contains the number, and becomes a type 0 request on
// the secondary bus of the last one (PCIe 6.0, 7.3.3).
Node* below(const std::vector<Node*>& functions, Bdf bdf) {
  for (Node* node : functions) {
    if (!node->is_bridge() || !node->routable) continue;
    const BusRange buses = node->buses();
    // Secondary 0 is what a bridge has that was never programmed: it passes nothing on.
    if (buses.secondary == 0 || bdf.bus < buses.secondary || bdf.bus > buses.subordinate) continue;
    if (bdf.bus == buses.secondary) return function_on_bus(node->children, bdf);
    return below(node->children, bdf);
  }
  return nullptr;
}

bool starts_function_level_reset(const Node& node, std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
  namespace express = pci::express;
  if (node.capabilities.express == 0 || node.role != Role::endpoint) return false;
  const std::uint32_t high_byte = node.capabilities.express + express::DeviceControl::kOffset + 1u;
  if (high_byte < offset || high_byte >= offset + width_bytes) return false;
  return (value >> (8 * (high_byte - offset)) & 0x80) != 0;
}

}  // namespace

Node* System::config_target(Bdf bdf) const {
  for (const auto& root : root_complexes) {
    if (root->domain != bdf.domain) continue;
    if (root->root_bus == bdf.bus) return function_on_bus(root->functions, bdf);
    if (Node* node = below(root->functions, bdf)) return node;
  }
  return nullptr;
}

std::uint32_t System::read_config(Bdf bdf, std::uint16_t offset, unsigned width_bytes) {
  const std::lock_guard lock(mutex);
  const Node* node = config_target(bdf);
  return node == nullptr ? all_ones(width_bytes) : node->registers.read(offset, width_bytes);
}

void System::write_config(Bdf bdf, std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
  Node* node = nullptr;
  bool changed = false;
  {
    const std::lock_guard lock(mutex);
    node = config_target(bdf);
    if (node == nullptr) return;
    changed = node->registers.write(offset, width_bytes, value);
    if (changed && enumerated) {
      forget_all();
      send_pending(*node);
    }
  }
  if (changed && enumerated) wait_until_all_idle();
  if (starts_function_level_reset(*node, offset, width_bytes, value)) function_level_reset(*node);
}

void System::function_level_reset(Node& node) {
  {
    const std::lock_guard lock(mutex);
    node.registers.restore(node.power_on_values);
    for (MsixVector& vector : node.msix) vector = {};
    node.domain->function_was_reset();
    forget_all();
  }
  wait_until_all_idle();
  if (node.model) {
    const std::lock_guard step_lock(node.step_mutex);
    node.model->reset();
  }
}

}  // namespace barter::fabric
