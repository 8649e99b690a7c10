#include "topology/description_check.h"

#include <algorithm>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "topology/description_limits.h"

namespace barter::topology {
namespace {

std::string_view name_of(PartKind kind) {
  switch (kind) {
    case PartKind::root_complex:
      return "root complex";
    case PartKind::port:
      return "port";
    case PartKind::switch_:
      return "switch";
    case PartKind::function:
      return "device function";
  }
  return "?";
}

// One description on its way to being a tree. Each check may rely on those before it having found nothing.
class TreeCheck {
 public:
  TreeCheck(const Description& machine, const PartNames& names, DescriptionErrors& errors)
      : machine_(machine), names_(names), errors_(errors) {}

  void run() {
    using Check = void (TreeCheck::*)();
    for (const Check check : {&TreeCheck::everything_is_plugged_in, &TreeCheck::one_device_in_a_port,
                              &TreeCheck::no_cycles, &TreeCheck::functions_make_devices, &TreeCheck::buses_suffice}) {
      (this->*check)();
      if (errors_.first()) return;
    }
  }

 private:
  void report(const std::string& name, std::string why, std::string cure = {}) {
    errors_.report(names_.line_of(name), std::move(why), std::move(cure));
  }

  void is_below(const std::string& name, const std::string& below, std::initializer_list<PartKind> allowed) {
    const PartNames::Part* above = names_.find(below);
    if (above == nullptr) return report(name, fmt::format("{} is below '{}', which is not there", name, below));
    if (std::find(allowed.begin(), allowed.end(), above->kind) != allowed.end()) return;
    report(name, fmt::format("{} is below {}, which is a {}", name, below, name_of(above->kind)),
           above->kind == PartKind::switch_ ? fmt::format("name one of its ports, such as {}.0", below)
                                            : "a device is plugged into a port");
  }

  void everything_is_plugged_in() {
    for (const RootPortDescription& port : machine_.root_ports)
      is_below(port.port.name, port.root_complex, {PartKind::root_complex});
    for (const SwitchDescription& part : machine_.switches) is_below(part.name, part.below, {PartKind::port});
    for (const FunctionDescription& function : machine_.functions)
      is_below(function.name, function.below, {PartKind::port, PartKind::root_complex});
  }

  void one_device_in_a_port() {
    std::map<std::string, std::string> switch_in;
    for (const SwitchDescription& part : machine_.switches) {
      const auto [at, is_new] = switch_in.emplace(part.below, part.name);
      if (!is_new)
        report(part.name, fmt::format("{} and {} are both plugged into {}", at->second, part.name, part.below));
    }
    for (const FunctionDescription& function : machine_.functions) {
      const auto at = switch_in.find(function.below);
      if (at != switch_in.end())
        report(function.name,
               fmt::format("{} and {} are both plugged into {}", at->second, function.name, function.below),
               "give one of them a port of its own");
    }
  }

  // Every switch leads up to a root complex. There is one way up from each, so it is enough to walk it with a limit.
  void no_cycles() {
    for (const RootPortDescription& port : machine_.root_ports)
      root_complex_of_port_.emplace(port.port.name, port.root_complex);
    for (const SwitchDescription& part : machine_.switches)
      for (const PortDescription& port : part.downstream) switch_of_port_.emplace(port.name, &part);
    for (const SwitchDescription& part : machine_.switches) {
      const SwitchDescription* at = &part;
      std::size_t steps = 0;
      while (at != nullptr && ++steps <= limits::kSwitchesAbove) {
        const auto above = switch_of_port_.find(at->below);
        at = above == switch_of_port_.end() ? nullptr : above->second;
        if (at == &part)
          return report(part.name, fmt::format("{} is below itself", part.name), "plug it into a root port");
      }
      if (at != nullptr)
        return report(part.name, fmt::format("more than {} switches are above {}", limits::kSwitchesAbove, part.name));
    }
  }

  void functions_make_devices() {
    std::map<std::string, std::set<std::uint8_t>> numbers;
    for (const FunctionDescription& function : machine_.functions) {
      if (names_.find(function.below)->kind == PartKind::root_complex) {
        if (function.function == 0) continue;
        return report(function.name,
                      fmt::format("{} is integrated in {} and has function number {}", function.name, function.below,
                                  function.function),
                      "an integrated function is a device of its own: leave its number out");
      }
      if (!numbers[function.below].insert(function.function).second)
        return report(function.name,
                      fmt::format("another function below {} has number {} too", function.below, function.function),
                      "functions of one device have different numbers; other devices need ports of their own");
    }
    for (const FunctionDescription& function : machine_.functions) {
      const auto device = numbers.find(function.below);
      if (device != numbers.end() && !device->second.contains(0))
        return report(function.name, fmt::format("the device below {} has no function 0", function.below),
                      "every device has one: without it nobody finds the others");
    }
  }

  const std::string& root_complex_above(const std::string& below) const {
    const std::string* at = &below;
    for (auto above = switch_of_port_.find(*at); above != switch_of_port_.end(); above = switch_of_port_.find(*at))
      at = &above->second->below;
    const auto port = root_complex_of_port_.find(*at);
    return port == root_complex_of_port_.end() ? *at : port->second;  // it is the root complex itself
  }

  // Bus numbers as enumeration gives them out: one for each root bus and one behind each bridge.
  void buses_suffice() {
    std::map<std::string, std::size_t> buses;
    std::map<std::string, std::size_t> devices;
    for (const RootComplexDescription& root : machine_.root_complexes) buses[root.name] = 1;
    for (const RootPortDescription& port : machine_.root_ports) {
      ++buses[port.root_complex];
      ++devices[port.root_complex];
    }
    for (const SwitchDescription& part : machine_.switches)
      buses[root_complex_above(part.below)] += 1 + part.downstream.size();
    for (const FunctionDescription& function : machine_.functions)
      if (names_.find(function.below)->kind == PartKind::root_complex) ++devices[function.below];
    for (const auto& [root, count] : devices)
      if (count > limits::kDevicesOnRootBus)
        return report(root, fmt::format("{} has {} devices on its root bus", root, count),
                      fmt::format("at most {} fit", limits::kDevicesOnRootBus));
    domains_hold(buses);
  }

  void domains_hold(const std::map<std::string, std::size_t>& buses) {
    std::vector<const RootComplexDescription*> order;
    order.reserve(machine_.root_complexes.size());
    for (const RootComplexDescription& root : machine_.root_complexes) order.push_back(&root);
    std::sort(order.begin(), order.end(), [](const auto* left, const auto* right) {
      return std::pair(left->domain, left->root_bus) < std::pair(right->domain, right->root_bus);
    });
    for (std::size_t i = 0; i < order.size(); ++i) {
      const RootComplexDescription& root = *order[i];
      const bool shared = i + 1 < order.size() && order[i + 1]->domain == root.domain;
      const std::size_t end = shared ? order[i + 1]->root_bus : limits::kBusesOfDomain;
      const std::size_t needed = buses.at(root.name);
      if (root.root_bus + needed <= end) continue;
      return report(shared ? order[i + 1]->name : root.name,
                    fmt::format("{} needs {} buses from {} on, and bus {} of domain {} is not its own", root.name,
                                needed, root.root_bus, end, root.domain),
                    "give the root complexes root_bus numbers farther apart, or domains of their own");
    }
  }

  const Description& machine_;
  const PartNames& names_;
  DescriptionErrors& errors_;
  std::map<std::string, const SwitchDescription*> switch_of_port_;
  std::map<std::string, std::string> root_complex_of_port_;
};

}  // namespace

void PartNames::add(DescriptionErrors& errors, const std::string& name, PartKind kind, std::uint64_t line) {
  const auto [at, is_new] = parts_.emplace(name, Part{kind, line});
  if (!is_new)
    errors.report(line, fmt::format("two parts are called {}, the other one on line {}", name, at->second.line),
                  "rename one of them");
}

const PartNames::Part* PartNames::find(const std::string& name) const {
  const auto at = parts_.find(name);
  return at == parts_.end() ? nullptr : &at->second;
}

std::uint64_t PartNames::line_of(const std::string& name) const {
  const Part* part = find(name);
  return part == nullptr ? 0 : part->line;
}

void check_tree(const Description& machine, const PartNames& names, DescriptionErrors& errors) {
  TreeCheck(machine, names, errors).run();
}

}  // namespace barter::topology
