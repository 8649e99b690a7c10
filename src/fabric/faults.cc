// What goes wrong with the machine itself: devices that are pulled out and links that drop. Lost, late and poisoned
// completions are the requester's (requester.cc).
#include <mutex>

#include "fabric/system.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

void show_link(Node& port) {
  namespace express = pci::express;
  const std::uint16_t at = port.capabilities.express;
  const auto trained = *port.power_on_values.load<express::LinkStatus>(at);
  port.registers.set(port.link_up ? trained : express::LinkStatus{}, at);
}

void show_presence(Node& port, bool present) {
  namespace express = pci::express;
  const std::uint16_t at = port.capabilities.express;
  port.registers.set(express::SlotStatus{}.with(express::SlotStatus::presence_detect, present), at);
}

// Every function below, the nearest first.
void collect(Node& node, std::vector<Node*>& functions) {
  functions.push_back(&node);
  for (Node* child : node.children) collect(*child, functions);
}

// A link that goes down resets what is below it (PCIe 6.0, 2.9.1). The numbers and addresses that firmware gave out are put
// back when it is up again, as hot-plug software would. Whether a function answers at its BARs and makes requests is its
// driver's to say anew (Command is 0 after a reset, 7.5.1.1.3): until then peers that were given its memory get Unsupported
// Request, and not what the reset has left of it.
void reset_below(Node& node) {
  const pci::ConfigSpace before = node.registers.values();
  node.registers.restore(node.power_on_values);
  for (std::size_t offset = pci::BaseAddress::kOffset; offset < pci::SubsystemVendorId::kOffset; offset += 4)
    node.registers.write(static_cast<std::uint16_t>(offset), 4, *before.read(offset, 4));
  if (node.is_bridge()) node.registers.write(pci::SubsystemVendorId::kOffset, 4, *before.read(0x2c, 4));
  if (node.is_bridge())
    node.registers.set(pci::Command::from(static_cast<std::uint16_t>(*before.read(pci::Command::kOffset, 2))));
  for (MsixVector& vector : node.msix) vector = {};
  node.domain->function_was_reset();
  if (const std::uint16_t at = node.capabilities.ats; at != 0)
    node.registers.set(*before.load<pci::ats::Control>(at), at);
}

}  // namespace

void System::remove(Node& node) {
  {
    const std::lock_guard lock(mutex);
    node.present = false;
    if (node.parent != nullptr && node.parent->has_link_below()) {
      bool anybody = false;
      for (const Node* sibling : node.parent->children) anybody = anybody || sibling->present;
      show_presence(*node.parent, anybody);
    }
    refresh_reachability();
    forget_all();
  }
  wait_until_all_idle();
}

void System::put_back(Node& node) {
  {
    const std::lock_guard lock(mutex);
    if (node.present) return;
    node.present = true;
    if (node.parent != nullptr && node.parent->has_link_below()) show_presence(*node.parent, true);
    reset_below(node);
    refresh_reachability();
    forget_all();
  }
  wait_until_all_idle();
  if (!node.model) return;
  const std::lock_guard step_lock(node.step_mutex);
  node.model->reset();
}

void System::set_link(Node& port, bool up) {
  std::vector<Node*> below;
  {
    const std::lock_guard lock(mutex);
    if (port.link_up == up) return;
    port.link_up = up;
    show_link(port);
    for (Node* child : port.children) collect(*child, below);
    if (up)
      for (Node* node : below) reset_below(*node);
    refresh_reachability();
    forget_all();
  }
  wait_until_all_idle();
  if (!up) return;
  for (Node* node : below) {
    if (!node->model) continue;
    const std::lock_guard step_lock(node->step_mutex);
    node->model->reset();
  }
}

}  // namespace barter::fabric
