#include "topology/iommu_groups.h"

#include <string>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "topology/acs_rules.h"
#include "topology/graph.h"

namespace barter::topology {
namespace {

using Group = Known<std::optional<std::uint32_t>>;

// Linux's REQ_ACS_FLAGS.
constexpr std::uint16_t kIsolating = acs_bit::kSourceValidation | acs_bit::kRequestRedirect |
                                     acs_bit::kCompletionRedirect | acs_bit::kUpstreamForwarding;
constexpr std::uint16_t kIntel = 0x8086;

Known<bool> has_isolating_acs(const FunctionInfo& function) {
  if (!function.acs)
    return Unknown{fmt::format("the ACS of {} is not known: {}", function.bdf.to_string(), function.acs.why_unknown())};
  if (!*function.acs) return false;
  const AcsInfo& acs = **function.acs;
  const auto required = static_cast<std::uint16_t>(kIsolating & acs.capability);
  return (acs.control & required) == required;
}

// The functions of one device, in order: [first, last).
struct Device {
  Index first = 0;
  Index last = 0;
};

class Grouping {
 public:
  explicit Grouping(const Tree& tree) : tree_(tree) {}

  // By index into Tree::functions.
  [[nodiscard]] std::vector<Group> numbered() const {
    std::vector<Group> groups;
    groups.reserve(tree_.functions.size());
    std::unordered_map<Index, std::uint32_t> numbers;
    std::string lost;  // why the next new group's number isn't known
    for (Index i = 0; i < tree_.functions.size(); ++i) {
      const Known<Index> leader = leader_of(i);
      if (!leader) {
        if (lost.empty()) lost = leader.why_unknown();
        groups.emplace_back(Unknown{leader.why_unknown()});
        continue;
      }
      if (const auto known = numbers.find(*leader); known != numbers.end()) {
        groups.emplace_back(std::optional(known->second));
      } else if (!lost.empty()) {
        groups.emplace_back(Unknown{"the groups before this one can't be counted: " + lost});
      } else {
        const auto number = static_cast<std::uint32_t>(numbers.size());
        numbers.emplace(*leader, number);
        groups.emplace_back(std::optional(number));
      }
    }
    return groups;
  }

 private:
  // Terminates: each step leads to a function higher up, or to an earlier one of the same device.
  [[nodiscard]] Known<Index> leader_of(Index i) const {
    for (;;) {
      Known<Index> joined = joins(i);
      if (!joined || *joined == i) return joined;
      i = *joined;
    }
  }

  // The function whose group it joins, or itself.
  [[nodiscard]] Known<Index> joins(Index i) const {
    const Index above = tree_.nodes[i].parent;
    if (above != kNone) {
      const Known<bool> isolated = isolates_up_to_the_root(above);
      if (!isolated) return Unknown{isolated.why_unknown()};
      if (!*isolated) return above;
    }
    return joins_in_its_device(i);
  }

  [[nodiscard]] Known<Index> joins_in_its_device(Index i) const {
    if (tree_.functions[i].physical_function) return i;
    Known<Index> answer = i;
    for (Index other = device_of(i).first; other < i; ++other) {
      if (tree_.functions[other].physical_function) continue;
      const Known<bool> other_isolates = isolates(other);
      if (other_isolates && *other_isolates) continue;
      const Known<bool> isolates_itself = isolates(i);
      if (!isolates_itself) return Unknown{isolates_itself.why_unknown()};
      if (*isolates_itself) return i;
      if (other_isolates) return other;
      answer = Unknown{other_isolates.why_unknown()};
    }
    return answer;
  }

  // pci_acs_path_enabled(). One bridge that doesn't isolate decides, whatever is unknown about the others.
  [[nodiscard]] Known<bool> isolates_up_to_the_root(Index bridge) const {
    Known<bool> answer = true;
    for (; bridge != kNone; bridge = tree_.nodes[bridge].parent) {
      Known<bool> here = isolates(bridge);
      if (here && !*here) return false;
      if (!here) answer = std::move(here);
    }
    return answer;
  }

  // pci_acs_enabled().
  [[nodiscard]] Known<bool> isolates(Index i) const {
    const FunctionInfo& function = tree_.functions[i];
    if (!function.port_type) return type_unknown(function);
    switch (*function.port_type) {
      case PortType::conventional:
      case PortType::pcie_to_pci_bridge:
      case PortType::pci_to_pcie_bridge:
      case PortType::root_complex_event_collector:
        return false;
      case PortType::root_port:
      case PortType::downstream_port:
        return has_isolating_acs(function);
      case PortType::root_complex_endpoint:
        if (is_one_of_several(i) && !function.vendor_id)
          return Unknown{fmt::format("the vendor of {} is not known", function.bdf.to_string())};
        // Intel's send all their requests to the IOMMU (Virtualization Technology for Directed I/O, 3.16).
        if (function.vendor_id && *function.vendor_id == kIntel) return true;
        break;
      case PortType::endpoint:
      case PortType::legacy_endpoint:
      case PortType::upstream_port:
        break;
    }
    return is_one_of_several(i) ? has_isolating_acs(function) : Known<bool>(true);
  }

  [[nodiscard]] bool is_one_of_several(Index i) const {
    if (tree_.functions[i].physical_function) return false;
    if (tree_.functions[i].bdf.function != 0) return true;
    for (Index other = i + 1; other < device_of(i).last; ++other)
      if (!tree_.functions[other].physical_function) return true;
    return false;
  }

  [[nodiscard]] Device device_of(Index i) const {
    const auto same_device = [this, i](Index other) {
      Bdf a = tree_.functions[i].bdf;
      Bdf b = tree_.functions[other].bdf;
      a.function = b.function = 0;
      return a == b;
    };
    Device device{.first = i, .last = i + 1};
    while (device.first > 0 && same_device(device.first - 1)) --device.first;
    while (device.last < tree_.functions.size() && same_device(device.last)) ++device.last;
    return device;
  }

  [[nodiscard]] static Unknown type_unknown(const FunctionInfo& function) {
    return {fmt::format("what {} is, is not known: {}", function.bdf.to_string(), function.port_type.why_unknown())};
  }

  const Tree& tree_;
};

}  // namespace

std::vector<Group> linux_iommu_groups(const TopologyParts& parts) {
  const std::size_t count = parts.functions.size();
  if (!parts.iommu)
    return std::vector<Group>(count, Unknown{"the IOMMU's mode is not known: " + parts.iommu.why_unknown()});
  if (*parts.iommu == IommuMode::off) return std::vector<Group>(count, Group(std::optional<std::uint32_t>()));
  const auto tree = grow(parts);
  if (!tree) return std::vector<Group>(count, Unknown{tree.error().message()});

  const std::vector<Group> in_order = Grouping(*tree).numbered();
  std::vector<Group> groups;
  groups.reserve(count);
  for (const FunctionInfo& function : parts.functions) groups.push_back(in_order[tree->find(function.bdf)]);
  return groups;
}

}  // namespace barter::topology
