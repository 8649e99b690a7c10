#include "doctor/case.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace barter::doctor {
namespace {

// Base classes and sub-classes (PCI Code and ID Assignment 1.11, section 1).
constexpr std::uint32_t kNonVolatile = 0x0108;
constexpr std::uint32_t kNetwork = 0x02;
constexpr std::uint32_t kDisplay = 0x03;
constexpr std::uint32_t kVga = 0x0300;
constexpr std::uint32_t kAccelerator = 0x12;

// A VGA controller may be the one in a server's management chip, which nobody computes on. These vendors' ones compute.
bool makes_accelerators(const FunctionInfo& function) {
  constexpr std::array<std::uint16_t, 3> kVendors{0x10de, 0x1002, 0x8086};
  return function.vendor_id && std::ranges::find(kVendors, *function.vendor_id) != kVendors.end();
}

std::optional<Role> role_of(const FunctionInfo& function) {
  if (function.is_bridge() || function.physical_function) return std::nullopt;
  if (!function.class_code) return std::nullopt;
  const std::uint32_t sub_class = *function.class_code >> 8;
  const std::uint32_t base = *function.class_code >> 16;
  const bool is_integrated = function.port_type && *function.port_type == PortType::root_complex_endpoint;
  if (sub_class == kNonVolatile) return Role::drive;
  if (base == kNetwork) return Role::network;
  if (base == kAccelerator) return Role::accelerator;
  if (base == kDisplay && !is_integrated && (sub_class != kVga || makes_accelerators(function)))
    return Role::accelerator;
  return std::nullopt;
}

class CaseBuilder {
 public:
  CaseBuilder(const Topology& topology, const SystemFacts& system)
      : topology_(topology), case_{.topology = topology, .system = system, .devices = {}, .pairs = {}} {}

  Case build() {
    find_devices();
    matrix_ = topology_.verdicts();
    for (const Device& client : case_.devices)
      for (const Device& provider : case_.devices) add_pair(client, provider);
    return std::move(case_);
  }

 private:
  void find_devices() {
    const auto functions = topology_.functions();
    for (std::size_t index = 0; index < functions.size(); ++index) {
      const auto role = role_of(functions[index]);
      if (!role) continue;
      if (case_.devices.size() == kMaxDevices) {
        ++case_.not_examined;
        continue;
      }
      Device device{.function = &functions[index], .role = *role, .index = index, .chain = {&functions[index]}};
      for (auto above = topology_.parent(functions[index].bdf); above; above = topology_.parent(*above))
        device.chain.push_back(topology_.find(*above));
      const Bdf top = device.chain.back()->bdf;
      for (const HostBridgeInfo& host : topology_.host_bridges())
        if (host.domain == top.domain && host.root_bus == top.bus) device.host_bridge = &host;
      case_.devices.push_back(std::move(device));
    }
  }

  void add_pair(const Device& client, const Device& provider) {
    if (&client == &provider || !provider.has_memory() || are_one_device(*client.function, *provider.function)) return;
    const VerdictMatrix::Pair at{.client = client.index, .provider = provider.index};
    case_.pairs.push_back({.client = &client,
                           .provider = &provider,
                           .by_linux = matrix_.routes(at).by_linux(),
                           .distance = matrix_.distance(at),
                           .counted = counted(client, provider)});
  }

  // From both ends of the chains, which is the root bus, down to where they part.
  static std::vector<const FunctionInfo*> counted(const Device& client, const Device& provider) {
    auto left = client.chain.rbegin();
    auto right = provider.chain.rbegin();
    const FunctionInfo* common = nullptr;
    while (left != client.chain.rend() && right != provider.chain.rend() && *left == *right) {
      common = *left;
      ++left;
      ++right;
    }
    if (common == nullptr) return {};
    std::vector<const FunctionInfo*> found{common};
    found.insert(found.end(), left, client.chain.rend());
    found.insert(found.end(), right, provider.chain.rend());
    return found;
  }

  const Topology& topology_;
  Case case_;
  VerdictMatrix matrix_;
};

}  // namespace

Case make_case(const Topology& topology, const SystemFacts& system) { return CaseBuilder(topology, system).build(); }

std::size_t Case::pairs_of(Route route) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(pairs, [route](const Pair& pair) { return pair.by_linux == route; }));
}

std::string Case::register_source(const FunctionInfo& function, std::string_view reg) const {
  return fmt::format("{} of {}, by {}", reg, function.bdf.to_string(), topology.source());
}

std::string Case::file(std::string_view name) const {
  if (system.root.empty()) return topology.source();
  return system.root.ends_with('/') ? fmt::format("{}{}", system.root, name) : fmt::format("{}/{}", system.root, name);
}

std::string called(const FunctionInfo& function) {
  if (function.name.empty()) return function.bdf.to_string();
  return fmt::format("{} ({})", function.name, function.bdf.to_string());
}

std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 6;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

std::string count_of(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

bool are_one_device(const FunctionInfo& left, const FunctionInfo& right) {
  return left.bdf.domain == right.bdf.domain && left.bdf.bus == right.bdf.bus && left.bdf.device == right.bdf.device;
}

}  // namespace barter::doctor
