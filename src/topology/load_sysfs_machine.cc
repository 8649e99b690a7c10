#include "topology/load_sysfs_machine.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "topology/load_sysfs_files.h"

namespace barter::topology::sysfs {
namespace {
namespace fs = std::filesystem;

// The value of the first line "KEY : VALUE" of a cpuinfo.
std::optional<std::string_view> cpuinfo_value(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) return trim(line.substr(colon + 1));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return std::nullopt;
}

bool has_word(std::string_view text, std::string_view word) {
  while (!text.empty()) {
    const std::string_view first = text.substr(0, text.find(' '));
    if (first == word) return true;
    text.remove_prefix(std::min(first.size() + 1, text.size()));
  }
  return false;
}

Result<Contents> read_cpuinfo(const Tree& tree) {
  if (tree.is_live) return read_prefix("/proc/cpuinfo", kMaxCpuinfoBytes);
  auto inside = read_prefix(tree.root / "proc" / "cpuinfo", kMaxCpuinfoBytes);
  if (!inside || inside->bytes) return inside;
  auto beside = read_prefix(tree.root / ".." / "proc" / "cpuinfo", kMaxCpuinfoBytes);
  if (!beside || beside->bytes) return beside;
  return Contents{{}, "the copy has no proc/cpuinfo"};
}

Known<CpuInfo> cpu_in(std::string_view cpuinfo) {
  const auto vendor = cpuinfo_value(cpuinfo, "vendor_id");
  const auto family = cpuinfo_value(cpuinfo, "cpu family");
  const std::uint64_t number = parse_number(family.value_or("none")).value_or(0);
  if (!vendor || vendor->empty() || number == 0 || number > 0xffff)
    return Unknown{"cpuinfo has no vendor_id and cpu family: not an x86 processor"};
  return CpuInfo{std::string(vendor->substr(0, 64)), static_cast<std::uint32_t>(number)};
}

// Vendors whose name in the firmware's tables means that a hypervisor wrote them.
Result<Known<bool>> is_virtual_by_firmware(const Tree& tree) {
  const auto vendor = read_attribute(tree.root / "class" / "dmi" / "id" / "sys_vendor");
  if (!vendor) return fail(vendor.error());
  if (!*vendor) return Known<bool>(Unknown{"neither cpuinfo nor the firmware's tables tell of a hypervisor"});
  for (const std::string_view name : {"QEMU", "VMware, Inc.", "Xen", "innotek GmbH", "KVM"})
    if (**vendor == name) return Known<bool>(true);
  return Known<bool>(Unknown{fmt::format("cpuinfo could not be read, and '{}' makes both", (*vendor)->substr(0, 60))});
}

// "pci0000:00", "pci10000:e0".
std::optional<HostBridgeInfo> host_bridge_named(std::string_view name) {
  if (!name.starts_with("pci")) return std::nullopt;
  name.remove_prefix(3);
  const std::size_t colon = name.find(':');
  if (colon == std::string_view::npos || colon < 4) return std::nullopt;
  const auto domain = parse_number(fmt::format("0x{}", name.substr(0, colon)));
  const auto bus = parse_number(fmt::format("0x{}", name.substr(colon + 1)));
  if (!domain || !bus || *domain > std::numeric_limits<std::uint32_t>::max() || *bus > 0xff) return std::nullopt;
  HostBridgeInfo bridge{.domain = static_cast<std::uint32_t>(*domain), .root_bus = static_cast<std::uint8_t>(*bus)};
  const Unknown why{"PCIe leaves it free, and no register tells"};
  bridge.turns_reads = why;
  bridge.turns_writes = why;
  return bridge;
}

}  // namespace

Result<IommuGroups> load_iommu_groups(const fs::path& root, bool is_live) {
  IommuGroups groups;
  const fs::path folder = root / "kernel" / "iommu_groups";
  std::error_code error;
  if (!fs::exists(folder, error) && !is_live) {
    groups.why_unknown = "the copy has no kernel/iommu_groups";
    return groups;
  }
  const auto names = list_folder(folder);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    const auto number = parse_number(name);
    if (!number || *number > std::numeric_limits<std::uint32_t>::max())
      return fail(file_error(ErrorCode::malformed, folder / name, "it is no number of a group"));
    const auto members = list_folder(folder / name / "devices");
    if (!members) return fail(members.error());
    for (const std::string& member : *members)  // not all devices in groups are PCI functions
      if (const auto bdf = Bdf::parse(member)) groups.of.emplace(*bdf, static_cast<std::uint32_t>(*number));
  }
  return groups;
}

Result<Known<IommuMode>> load_iommu_mode(const Tree& tree) {
  if (!tree.iommu_groups.why_unknown.empty()) return Known<IommuMode>(Unknown{tree.iommu_groups.why_unknown});
  const fs::path folder = tree.root / "kernel" / "iommu_groups";
  const auto names = list_folder(folder);
  if (!names) return fail(names.error());
  if (names->empty()) return Known<IommuMode>(IommuMode::off);
  bool some_pass = false;
  bool some_translate = false;
  std::string why = "no IOMMU group says its type";
  for (const std::string& name : *names) {
    const auto type = read_attribute(folder / name / "type");
    if (!type) return fail(type.error());
    if (!*type)
      why = type->why_unknown();
    else if (**type == "identity")
      some_pass = true;
    else if (type->value_or({}).starts_with("DMA"))
      some_translate = true;
  }
  if (some_pass && some_translate)
    return Known<IommuMode>(Unknown{"some IOMMU groups pass addresses through and others translate them"});
  if (some_translate) return Known<IommuMode>(IommuMode::translate);
  if (some_pass) return Known<IommuMode>(IommuMode::passthrough);
  return Known<IommuMode>(Unknown{std::move(why)});
}

Result<Processor> load_processor(const Tree& tree) {
  const auto cpuinfo = read_cpuinfo(tree);
  if (!cpuinfo) return fail(cpuinfo.error());
  Processor processor;
  if (!cpuinfo->bytes)
    processor.cpu = Unknown{cpuinfo->why};
  else
    processor.cpu = cpu_in(*cpuinfo->bytes);
  const auto flags = cpuinfo->bytes ? cpuinfo_value(*cpuinfo->bytes, "flags") : std::nullopt;
  if (flags) {
    processor.is_virtual_machine = has_word(*flags, "hypervisor");
    return processor;
  }
  auto by_firmware = is_virtual_by_firmware(tree);
  if (!by_firmware) return fail(std::move(by_firmware.error()));
  processor.is_virtual_machine = *std::move(by_firmware);
  return processor;
}

Result<std::vector<HostBridgeInfo>> load_host_bridges(const Tree& tree, const std::vector<FunctionInfo>& functions) {
  std::set<std::string> names;
  const auto top = list_folder(tree.root / "devices");
  if (!top) return fail(top.error());
  names.insert(top->begin(), top->end());
  for (const FunctionInfo& function : functions) {
    std::error_code error;
    const fs::path place = fs::canonical(tree.root / "bus" / "pci" / "devices" / function.bdf.to_string(), error);
    if (!error) names.insert(place.parent_path().filename().string());
  }
  std::vector<HostBridgeInfo> bridges;
  for (const std::string& name : names) {
    auto bridge = host_bridge_named(name);
    if (!bridge) continue;
    const auto on_root_bus = std::find_if(functions.begin(), functions.end(), [&](const FunctionInfo& function) {
      return function.bdf.domain == bridge->domain && function.bdf.bus == bridge->root_bus && function.numa_node;
    });
    if (on_root_bus == functions.end())
      bridge->numa_node = Unknown{"no function on its root bus names a NUMA node"};
    else
      bridge->numa_node = on_root_bus->numa_node;
    bridges.push_back(*std::move(bridge));
  }
  return bridges;
}

}  // namespace barter::topology::sysfs
