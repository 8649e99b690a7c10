// Around the devices: the IOMMU, a hypervisor, sockets, and switches that are more than they look.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "doctor/checks.h"

namespace barter::doctor {
namespace {

// The words of the kernel's command line that concern this.
std::string words_about_dma(std::string_view line) {
  constexpr std::array<std::string_view, 8> kStarts{
      "iommu=", "iommu.", "intel_iommu=", "amd_iommu=", "pci=", "nvme", "vfio", "pcie_acs_override="};
  std::string found;
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find(' '));
    if (std::ranges::any_of(kStarts, [word](std::string_view start) { return word.starts_with(start); }))
      found += fmt::format("{}{}", found.empty() ? "" : " ", word);
    line.remove_prefix(std::min(word.size() + 1, line.size()));
  }
  return found;
}

Finding iommu_finding(const Case& the_case, IommuMode mode) {
  Finding finding{.code = "iommu_mode", .subject = "iommu"};
  finding.source =
      the_case.system.has_kernel
          ? fmt::format("{} and {}", the_case.file("sys/kernel/iommu_groups/*/type"), the_case.file("proc/cmdline"))
          : the_case.topology.source();
  switch (mode) {
    case IommuMode::off:
      finding.severity = Severity::info;
      finding.fact = "no IOMMU is on";
      finding.meaning =
          "nothing translates peers' addresses, and Linux leaves ACS as the firmware set it; but VFIO then drives no "
          "device, unless without protection";
      break;
    case IommuMode::passthrough:
      finding.severity = Severity::info;
      finding.fact = "the IOMMU passes addresses through (iommu=pt)";
      finding.meaning =
          "addresses of the kernel's drivers are bus addresses; but Linux turns ACS redirection on for it at every "
          "port "
          "that can";
      break;
    case IommuMode::translate:
      finding.severity = Severity::warning;
      finding.fact = "the IOMMU translates";
      finding.meaning =
          "Linux turns ACS redirection on for it at every port that can, and what passes the root complex is "
          "translated on its way, which costs time when the IOMMU's cache misses";
      finding.remedies = {{"iommu=pt",
                           "on the kernel's command line: the IOMMU is there for VFIO, and the kernel's drivers go "
                           "untranslated. ACS redirection stays on",
                           "devices that the kernel drives reach all of memory"}};
      break;
  }
  return finding;
}

// Vendors that build one chip with several upstream ports, which then looks like several switches.
bool makes_partitioned_switches(const FunctionInfo& function) {
  constexpr std::array<std::uint16_t, 3> kVendors{0x1000, 0x10b5, 0x11f8};  // Broadcom, PLX, Microchip
  return function.vendor_id && std::ranges::find(kVendors, *function.vendor_id) != kVendors.end();
}

std::optional<std::uint32_t> distance_of(const Case& the_case, std::uint32_t from, std::uint32_t to) {
  if (!the_case.system.numa_distances) return std::nullopt;
  for (const NumaDistance& distance : *the_case.system.numa_distances)
    if (distance.from == from && distance.to == to) return distance.distance;
  return std::nullopt;
}

}  // namespace

void check_iommu(const Case& the_case, Findings& findings) {
  const Known<IommuMode>& mode = the_case.topology.iommu();
  if (mode) {
    Finding finding = iommu_finding(the_case, *mode);
    if (the_case.system.command_line)
      if (const std::string words = words_about_dma(*the_case.system.command_line); !words.empty())
        finding.fact += fmt::format("; the kernel was started with {}", words);
    findings.push_back(std::move(finding));
  }
}

void check_virtual_machine(const Case& the_case, Findings& findings) {
  const Known<bool>& is_virtual = the_case.topology.is_virtual_machine();
  if (!is_virtual || !*is_virtual) return;
  findings.push_back(
      {.severity = Severity::warning,
       .code = "virtual_machine",
       .subject = "machine",
       .fact = "this is a virtual machine",
       .source = fmt::format("the hypervisor flag in {} or the firmware's vendor, by {}", the_case.file("proc/cpuinfo"),
                             the_case.topology.source()),
       .meaning =
           "what is plugged in where is the hypervisor's invention: places, ACS, links and NUMA nodes of devices "
           "that are passed through need not be those of the hardware, and no answer here is better than that",
       .remedies = {{"sudo barter doctor", "on the host, answers for the hardware", "access to the host"}}});
}

void check_numa(const Case& the_case, Findings& findings) {
  std::map<std::int32_t, std::vector<std::string>> by_node;
  for (const Device& device : the_case.devices)
    if (device.function->numa_node) by_node[*device.function->numa_node].push_back(called(*device.function));
  if (by_node.empty()) return;
  std::size_t crossing = 0;
  std::set<std::pair<std::int32_t, std::int32_t>> crossed;
  for (const Pair& pair : the_case.pairs) {
    const auto& client = pair.client->function->numa_node;
    const auto& provider = pair.provider->function->numa_node;
    if (!client || !provider || *client == *provider) continue;
    ++crossing;
    crossed.insert(std::minmax(*client, *provider));
  }
  Finding finding{.severity = crossing == 0 ? Severity::info : Severity::warning,
                  .code = "numa_distance",
                  .subject = "machine",
                  .source = fmt::format("numa_node of each device, by {}", the_case.topology.source())};
  for (const auto& [node, names] : by_node)
    finding.fact += fmt::format("{}node {}: {}", finding.fact.empty() ? "" : "; ", node, list_of(names));
  for (const auto& [low, high] : crossed)
    if (low >= 0)
      if (const auto distance =
              distance_of(the_case, static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(high)))
        finding.fact += fmt::format("; distance {} to {}: {}", low, high, *distance);
  if (the_case.system.numa_distances)
    finding.source += fmt::format("; {}", the_case.file("sys/devices/system/node/*/distance"));
  finding.meaning = crossing == 0
                        ? "all devices with a known node are on one, so that no transfer crosses between sockets"
                        : fmt::format("the data of {} crosses the link between sockets, which is slower and shared",
                                      count_of(crossing, "pair"));
  if (crossing > 0)
    finding.remedies = {
        {"barter topo", "shows which devices are near each other; pair those, or move a card", "hardware, for a move"}};
  findings.push_back(std::move(finding));
}

void check_switches(const Case& the_case, Findings& findings) {
  // By vendor and device: the upstream ports below different root ports.
  std::map<std::pair<std::uint16_t, std::uint16_t>, std::set<const FunctionInfo*>> alike;
  for (const Device& device : the_case.devices)
    for (std::size_t i = device.chain.size(); i-- > 0;) {
      const FunctionInfo& function = *device.chain[i];
      if (!function.port_type || *function.port_type != PortType::upstream_port) continue;
      if (function.device_id && makes_partitioned_switches(function))
        alike[{*function.vendor_id, *function.device_id}].insert(&function);
      break;  // the highest one of each chain: what is below it meets there anyway
    }
  for (const auto& [id, ports] : alike) {
    if (ports.size() < 2) continue;
    std::vector<std::string> names;
    for (const FunctionInfo* port : ports) names.push_back(port->bdf.to_string());
    std::ranges::sort(names);
    findings.push_back(
        {.severity = Severity::info,
         .code = "switch_parts",
         .subject = names.front(),
         .fact = fmt::format("{} look alike ({:04x}:{:04x}): {}", count_of(ports.size(), "switch port"), id.first,
                             id.second, list_of(names)),
         .source = fmt::format("vendor and device numbers of the upstream ports, by {}", the_case.topology.source()),
         .meaning =
             "switches of this vendor can be cut into parts that look like switches of their own. If these are one "
             "chip, distances between their devices are upper bounds, and a way inside the chip is shorter than "
             "any register tells"});
  }
}

}  // namespace barter::doctor
