// Routing of memory requests and their completions, one hop after the other, by what is in the registers right now
// (PCIe 6.0: 2.2.4.1 routing by address and ID, 6.12 ACS, 7.5.1.3 the windows of bridges). What a port does with a TLP
// under ACS is decided in topology/acs_rules.h, for the analyser and for us.
#include "fabric/route.h"

#include <algorithm>
#include <array>
#include <optional>

#include "fabric/interrupts.h"
#include "fabric/system.h"
#include "pci/bridge_window.h"
#include "pci/capabilities/acs.h"
#include "topology/acs_rules.h"

namespace barter::fabric {
namespace {

// The ACS registers of one function, as acs_rules.h wants them.
class Acs {
 public:
  explicit Acs(const Node& node) {
    const std::uint16_t at = node.capabilities.acs;
    if (at == 0) return;
    const auto capability = node.registers.get<pci::acs::Capability>(at);
    controls_.control = node.registers.get<pci::acs::Control>(at).raw;
    const unsigned bits = capability.egress_vector_bits();
    if (bits == 0) return;
    controls_.egress_ports = static_cast<std::uint16_t>(bits);
    const unsigned dwords = capability.egress_vector_dwords();
    for (unsigned word = 0; word < dwords; ++word)
      vector_[word] = node.registers.get<pci::acs::EgressControlVector>(at + 4u * word).raw;
    controls_.egress_control_vector = std::span(vector_).first(dwords);
  }
  Acs(const Acs&) = delete;
  Acs& operator=(const Acs&) = delete;
  [[nodiscard]] const topology::AcsControls& controls() const { return controls_; }

 private:
  std::array<std::uint32_t, 8> vector_{};
  topology::AcsControls controls_;
};

// The windows of a bridge; those that are closed are left out.
struct Windows {
  std::optional<pci::AddressWindow> windows[2];
  explicit Windows(const Node& bridge)
      : windows{pci::memory_window(bridge.registers.values()), pci::prefetchable_window(bridge.registers.values())} {}
};

// Narrows a span of addresses around one of them to where the answer to "is it in the window?" stays the same.
void narrow(Span& span, std::uint64_t address, const pci::AddressWindow& window) {
  if (window.contains(address)) {
    span.start = std::max(span.start, window.first);
    if (window.last + 1 != 0) span.end = std::min(span.end, window.last + 1);
  } else if (address < window.first) {
    span.end = std::min(span.end, window.first);
  } else {
    span.start = std::max(span.start, window.last + 1);
  }
}

class Walk {
 public:
  Walk(System& system, Node* requester, MemoryRequest request, Refusals& refusals)
      : system_(system), requester_(requester), request_(request), refusals_(refusals), address_(request.address) {
    result_.span = {0, ~std::uint64_t{0}};
    if (request.translation == nullptr) return;
    const Translation& by = *request.translation;
    type_ = AddressType::translated;
    offset_ = by.target - by.start;
    address_ += offset_;
    result_.span = {by.target, by.target + by.bytes};
  }

  Resolution from_function();
  Resolution from_cpu();
  TranslationCompletion for_translation();

 private:
  using AddressType = topology::AddressType;

  void climb();
  // Each returns true when the walk is over, one way or the other.
  bool inside_device();
  bool at_port(Node& port);
  bool past_switch(Node& upstream);
  void at_root_complex(Node* root_port);
  void answer_translation_request();
  bool translate();
  bool fault(bool is_mapped);
  void to_root_function(Node& target, Node* ingress);
  bool may_turn(const RootComplex& from, const RootComplex& to);
  void descend(Node& node);
  void at_function(Node& node, const BarRequest& bar, std::uint64_t bar_start);
  void route_completion(Node& provider);
  void cross(const Node& port, bool upstream) {
    result_.crossings.push_back({static_cast<std::uint32_t>(port.index), upstream});
  }

  [[nodiscard]] bool claims(const Node& bridge);
  [[nodiscard]] const BarRequest* claiming_bar(const Node& node, std::uint64_t& bar_start);
  Node* claiming_function(const std::vector<Node*>& functions, const BarRequest*& bar, std::uint64_t& bar_start);

  // The request ends here, and nothing moves.
  bool block() {
    is_blocked_ = true;
    return end(Completion::unsupported_request, refusals_.blocked);
  }
  bool refuse() {
    // Whoever gets no translation goes on without one, so nothing has failed yet.
    if (type_ != AddressType::translation_request) return end(Completion::unsupported_request, refusals_.unsupported);
    result_.status = Completion::unsupported_request;
    return true;
  }
  bool end(Completion status, std::uint64_t& counter) {
    result_.status = status;
    ++counter;
    return true;
  }

  System& system_;
  Node* requester_;  // null: the CPU
  MemoryRequest request_;
  Refusals& refusals_;
  AddressType type_ = AddressType::untranslated;
  std::uint64_t address_;     // as it is on the bus where the walk is now
  std::uint64_t offset_ = 0;  // what translation added to the requester's address
  bool is_blocked_ = false;
  Resolution result_;
  std::optional<Translation> translation_;  // what a Translation Request is answered
};

bool Walk::claims(const Node& bridge) {
  if (!bridge.present || !bridge.memory_enabled()) return false;
  bool claimed = false;
  for (const auto& window : Windows(bridge).windows) {
    if (!window) continue;
    narrow(result_.span, address_, *window);
    claimed = claimed || window->contains(address_);
  }
  return claimed;
}

const BarRequest* Walk::claiming_bar(const Node& node, std::uint64_t& bar_start) {
  if (!node.present || !node.memory_enabled()) return nullptr;
  const BarRequest* claimed = nullptr;
  for (const BarRequest& bar : node.bars) {
    const auto window = node.bar_window(bar);
    if (!window) continue;
    narrow(result_.span, address_, *window);
    if (claimed == nullptr && window->contains(address_)) {
      claimed = &bar;
      bar_start = window->first;
    }
  }
  return claimed;
}

Node* Walk::claiming_function(const std::vector<Node*>& functions, const BarRequest*& bar, std::uint64_t& bar_start) {
  for (Node* node : functions) {
    if (node->is_bridge()) {
      if (claims(*node)) return node;
      continue;
    }
    bar = claiming_bar(*node, bar_start);
    if (bar != nullptr) return node;
  }
  return nullptr;
}

Resolution Walk::from_function() {
  if (!requester_->routable || !requester_->master_enabled()) {
    block();
  } else if (!inside_device()) {
    climb();
  }
  if (result_.status == Completion::successful && request_.access == Access::read && result_.target != nullptr &&
      result_.target != requester_)
    route_completion(*result_.target);
  if (result_.status != Completion::successful) refusals_.redirected += result_.redirects;
  result_.span.start -= offset_;
  result_.span.end -= offset_;
  return std::move(result_);
}

void Walk::climb() {
  Node* at = requester_->parent;
  while (at != nullptr) {
    const bool over = at->role == Role::switch_upstream ? past_switch(*at) : at_port(*at);
    if (over) return;
    if (at->role == Role::root_port) break;
    at = at->parent;
  }
  at_root_complex(at);
}

// It is routed by address as other requests are, but no function answers it, not even the one that it comes from.
TranslationCompletion Walk::for_translation() {
  type_ = AddressType::translation_request;
  if (!requester_->routable || !requester_->master_enabled()) {
    block();
  } else {
    climb();
  }
  return {.is_blocked = is_blocked_, .translation = translation_};
}

// A function reaches itself and the other functions of its device without leaving the device, unless the function's own
// ACS sends the request out (PCIe 6.0, 6.12.1.2).
bool Walk::inside_device() {
  if (requester_->parent == nullptr) {
    std::uint64_t start = 0;
    const BarRequest* own = claiming_bar(*requester_, start);
    if (own == nullptr) return false;
    at_function(*requester_, *own, start);
    return true;
  }
  for (Node* sibling : requester_->parent->children) {
    std::uint64_t start = 0;
    const BarRequest* bar = claiming_bar(*sibling, start);
    if (bar == nullptr) continue;
    if (sibling != requester_) {
      const Acs acs(*requester_);
      switch (topology::decide_request(acs.controls(), {.address_type = type_, .target_number = sibling->function})) {
        case topology::PortDecision::blocked:
          return block();
        case topology::PortDecision::redirect:
          ++result_.redirects;
          return false;
        case topology::PortDecision::direct:
          break;
      }
    }
    at_function(*sibling, *bar, start);
    return true;
  }
  return false;
}

// A root port or a downstream port gets the request from its link.
bool Walk::at_port(Node& port) {
  cross(port, true);
  const Acs acs(port);
  const std::uint8_t requester_bus = requester_->bus();
  if (!port.master_enabled() || !topology::passes_source_validation(acs.controls(), requester_bus, port.buses()) ||
      !topology::passes_translation_blocking(acs.controls(), type_))
    return block();
  if (port.role == Role::root_port) return false;
  if (claims(port)) {
    // The target is below this very port. Nothing goes back down a link that it came up (PCIe 6.0, 6.12.1.1).
    if (result_.redirects == 0 || !topology::forwards_its_own_egress(acs.controls())) return refuse();
    return false;
  }
  for (Node* peer : port.parent->children) {
    if (peer == &port || !claims(*peer)) continue;
    switch (topology::decide_request(acs.controls(), {.address_type = type_, .target_number = peer->port_number})) {
      case topology::PortDecision::blocked:
        return block();
      case topology::PortDecision::redirect:
        ++result_.redirects;
        return false;
      case topology::PortDecision::direct:
        if (type_ == AddressType::translation_request) return refuse();  // a peer translates nothing
        descend(*peer);
        return true;
    }
  }
  return false;
}

// From the bus inside a switch to the link above it.
bool Walk::past_switch(Node& upstream) {
  if (!upstream.master_enabled()) return block();
  // What lies in the switch's windows, but behind none of its ports, is nobody's.
  if (claims(upstream) && result_.redirects == 0) return refuse();
  return false;
}

// The IOMMU refuses.
bool Walk::fault(bool is_mapped) {
  // Where nobody is to hear of it, there is nothing to report.
  if (&refusals_ == &system_.refusals)
    system_.record_fault({.requester = *requester_->bdf,
                          .address = {address_},
                          .access = request_.access,
                          .is_mapped = is_mapped,
                          .is_translated = type_ == AddressType::translated});
  result_.status = Completion::unsupported_request;
  return true;
}

// VT-d, AMD's IOMMU and the specification (PCIe 6.0, 10.1) agree on whom to believe: a request that says that it is
// translated passes as it is if the function's context entry allows that, and faults if not.
bool Walk::translate() {
  if (type_ == AddressType::translated) return !requester_->domain->ats_allowed() && fault(false);
  if (system_.description.iommu != IommuMode::translate) return false;
  const auto found = requester_->domain->translate(address_);
  const auto wanted = static_cast<unsigned>(request_.access);
  if (!found || (static_cast<unsigned>(found->access) & wanted) == 0) return fault(found.has_value());
  result_.span.start = std::max(result_.span.start, found->mapping_start);
  result_.span.end = std::min(result_.span.end, found->mapping_end);
  offset_ = found->target - address_;
  result_.span.start += offset_;
  result_.span.end += offset_;
  address_ = found->target;
  return false;
}

// Interrupt messages are never translated: VT-d (4.1, 3.14) says so by U, and lets nothing be read there.
void Walk::answer_translation_request() {
  const Domain& domain = *requester_->domain;
  if (system_.description.iommu != IommuMode::translate || !domain.ats_allowed()) {
    refuse();
  } else if (address_ >= kInterruptRangeStart && address_ < kInterruptRangeEnd) {
    translation_ = {.start = kInterruptRangeStart,
                    .bytes = kInterruptRangeEnd - kInterruptRangeStart,
                    .target = kInterruptRangeStart,
                    .access = Access::write,
                    .untranslated_only = true};
  } else {
    translation_ = domain.answer(address_);
  }
}

void Walk::at_root_complex(Node* root_port) {
  if (type_ == AddressType::translation_request) {
    answer_translation_request();
    return;
  }
  if (address_ >= kInterruptRangeStart && address_ < kInterruptRangeEnd) {
    if (type_ == AddressType::translated) {
      fault(false);
      return;
    }
    // Messages go to the interrupt controllers, past translation; nothing can be read there.
    if (request_.access == Access::read) {
      refuse();
      return;
    }
    narrow(result_.span, address_, {kInterruptRangeStart, kInterruptRangeEnd - 1});
    result_.kind = TargetKind::interrupt;
    result_.traffic = Traffic::interrupt;
    return;
  }
  if (translate()) return;
  if (const HostMemory::Piece* piece = system_.host_memory->find(address_)) {
    narrow(result_.span, address_, {piece->start, piece->start + piece->bytes - 1});
    result_.kind = TargetKind::memory;
    result_.memory = system_.host_memory->at(result_.span.start);
    result_.traffic = piece->use == pci::DmaUse::data ? Traffic::host_data : Traffic::host_control;
    if (request_.access == Access::read)
      for (Crossing& crossing : result_.crossings) crossing.upstream = false;  // payload comes back the same way
    return;
  }
  for (const auto& root : system_.root_complexes) {
    const BarRequest* bar = nullptr;
    std::uint64_t bar_start = 0;
    Node* target = claiming_function(root->functions, bar, bar_start);
    if (target == nullptr) continue;
    if (root_port != nullptr && target->role == Role::root_port && target != root_port &&
        target->root_complex == root_port->root_complex) {
      const Acs acs(*root_port);
      if (topology::decide_request(acs.controls(), {.address_type = type_, .target_number = target->port_number}) ==
          topology::PortDecision::blocked) {
        block();
        return;
      }
    }
    if (!may_turn(*requester_->root_complex, *root)) {
      block();
      return;
    }
    if (bar != nullptr) {
      at_function(*target, *bar, bar_start);
    } else {
      descend(*target);
    }
    return;
  }
  refuse();
}

bool Walk::may_turn(const RootComplex& from, const RootComplex& to) {
  if (request_.access == Access::read) return from.turns_reads && to.turns_reads;
  return from.turns_writes && to.turns_writes;
}

// From the primary side of a bridge that has claimed the request to the function that answers it.
void Walk::descend(Node& bridge) {
  Node* at = &bridge;
  while (true) {
    if (at->has_link_below()) {
      if (!at->link_up) {
        refuse();
        return;
      }
      cross(*at, false);
    }
    const BarRequest* bar = nullptr;
    std::uint64_t bar_start = 0;
    Node* next = claiming_function(at->children, bar, bar_start);
    if (next == nullptr) {
      refuse();
      return;
    }
    if (bar != nullptr) {
      at_function(*next, *bar, bar_start);
      return;
    }
    at = next;
  }
}

void Walk::at_function(Node& node, const BarRequest& bar, std::uint64_t bar_start) {
  if (!node.model) {
    refuse();
    return;
  }
  result_.target = &node;
  result_.bar = bar.index;
  result_.kind = TargetKind::registers;
  const auto narrow_to = [&](std::uint64_t start, std::uint64_t end) {
    result_.span.start = std::max(result_.span.start, bar_start + start);
    result_.span.end = std::min(result_.span.end, bar_start + end);
  };
  narrow_to(0, bar.size_bytes);
  const std::uint64_t offset = address_ - bar_start;
  const MsixPlaces msix = msix_places(node, bar.index);
  for (const Span& place : {msix.table, msix.pending}) {
    if (place.start == place.end) continue;
    narrow(result_.span, address_, {bar_start + place.start, bar_start + place.end - 1});
    if (place.contains(offset)) result_.kind = TargetKind::msix_table;
  }
  const MemoryWindow* shown = nullptr;
  for (const MemoryWindow& window : node.windows) {
    if (window.bar != bar.index || window.bytes.empty()) continue;
    const std::uint64_t start = bar_start + window.start.value;
    narrow(result_.span, address_, {start, start + window.bytes.size() - 1});
    if (offset >= window.start.value && offset - window.start.value < window.bytes.size()) shown = &window;
  }
  result_.bar_offset = result_.span.start - bar_start;
  if (shown == nullptr || result_.kind == TargetKind::msix_table) return;
  result_.kind = TargetKind::memory;
  result_.memory = shown->bytes.data() + (result_.bar_offset - shown->start.value);
}

// The completion of a read finds its way by the requester's bus number. Its payload is what is counted, so the links that
// the request crossed are forgotten.
void Walk::route_completion(Node& provider) {
  result_.crossings.clear();
  if (provider.parent != nullptr && provider.parent == requester_->parent) {
    const Acs acs(provider);
    if (topology::decide_completion(acs.controls(), false) == topology::PortDecision::direct && result_.redirects == 0)
      return;
    if (topology::decide_completion(acs.controls(), false) == topology::PortDecision::redirect) ++result_.redirects;
  }
  const std::uint8_t bus = requester_->bus();
  const auto leads_to_requester = [bus](const Node& bridge) {
    const BusRange buses = bridge.buses();
    return bus >= buses.secondary && bus <= buses.subordinate;
  };
  bool redirected = provider.parent != nullptr && provider.parent == requester_->parent;
  Node* turn = nullptr;  // the bridge at which the way turns down; null: the root complex
  for (Node* port = provider.parent; port != nullptr && turn == nullptr; port = port->parent) {
    if (port->role == Role::switch_upstream) continue;
    cross(*port, true);
    if (port->role == Role::root_port) continue;
    const Acs acs(*port);
    if (leads_to_requester(*port)) {
      if (!redirected || !topology::forwards_its_own_egress(acs.controls())) {
        end(Completion::lost, refusals_.blocked);
        return;
      }
      continue;
    }
    for (Node* peer : port->parent->children) {
      if (!leads_to_requester(*peer)) continue;
      if (topology::decide_completion(acs.controls(), false) == topology::PortDecision::direct) {
        turn = peer;
      } else {
        ++result_.redirects;
        redirected = true;
      }
      break;
    }
  }
  if (turn == nullptr && !(requester_->root_complex->turns_reads && provider.root_complex->turns_reads)) {
    end(Completion::lost, refusals_.blocked);
    return;
  }
  // Down again, from the turn to the requester; the links are found going up.
  std::vector<const Node*> way_down;
  for (const Node* port = requester_->parent; port != nullptr; port = port->parent) {
    if (port->has_link_below()) way_down.push_back(port);
    if (port == turn) break;
  }
  for (auto port = way_down.rbegin(); port != way_down.rend(); ++port) cross(**port, false);
}

Resolution Walk::from_cpu() {
  for (const auto& root : system_.root_complexes) {
    const BarRequest* bar = nullptr;
    std::uint64_t bar_start = 0;
    Node* target = claiming_function(root->functions, bar, bar_start);
    if (target == nullptr) continue;
    if (bar != nullptr) {
      at_function(*target, *bar, bar_start);
    } else {
      descend(*target);
    }
    return std::move(result_);
  }
  refuse();
  return std::move(result_);
}

}  // namespace

Resolution resolve(System& system, Node& requester, MemoryRequest request) {
  return Walk(system, &requester, request, system.refusals).from_function();
}

bool would_reach(System& system, Node& requester, MemoryRequest request) {
  Refusals nobody_counts;
  return Walk(system, &requester, request, nobody_counts).from_function().status == Completion::successful;
}

TranslationCompletion request_translation(System& system, Node& requester, MemoryRequest request) {
  return Walk(system, &requester, request, system.refusals).for_translation();
}

Resolution resolve_from_cpu(System& system, std::uint64_t address) {
  return Walk(system, nullptr, {.address = address, .access = Access::write}, system.refusals).from_cpu();
}

}  // namespace barter::fabric
