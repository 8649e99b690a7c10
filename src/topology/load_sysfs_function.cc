#include "topology/load_sysfs_function.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "pci/class_code.h"
#include "pci/config_header.h"
#include "pci/config_space.h"
#include "topology/from_config.h"
#include "topology/load_sysfs_files.h"
#include "topology/load_sysfs_nvme.h"
#include "topology/load_sysfs_resource.h"

namespace barter::topology::sysfs {
namespace {
namespace fs = std::filesystem;

using Step = Result<void>;

// Without root, a read of config space ends after its header, and tar fills up the rest of its copy with zeros. Such a copy is
// told by a list of capabilities that would begin with nothing; without a list, there is nothing to be wrong about.
pci::ConfigSpace without_padding(pci::ConfigSpace config) {
  constexpr std::size_t kHeader = pci::ConfigSpace::kHeaderBytes;
  const auto status = config.load<pci::Status>();
  if (config.known_bytes() <= kHeader || !status || !status->get(pci::Status::capabilities_list)) return config;
  const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  return std::ranges::all_of(config.bytes().subspan(kHeader), is_zero) ? config.first(kHeader) : config;
}

// Config space, as far as this user may read it. A broken one is an error in a copy; on the computer itself the function
// stays, with what its first 64 bytes tell, and the rest is unknown because of the fault.
Result<FunctionInfo> read_config(const Tree& tree, Bdf bdf, const fs::path& folder) {
  const fs::path file = folder / "config";
  const auto contents = read_prefix(file, pci::ConfigSpace::kExtendedBytes);
  if (!contents) return fail(contents.error());
  if (!contents->bytes) return function_without_config(bdf, {fmt::format("{}: {}", file.string(), contents->why)});
  const std::vector<std::uint8_t> bytes(contents->bytes->begin(), contents->bytes->end());
  const pci::ConfigSpace config = without_padding(pci::ConfigSpace(std::span(bytes)));
  auto function = describe_function(bdf, config);
  if (function) return *std::move(function);
  const Error error = config_error(bdf, function.error(), file.string());
  if (!tree.is_live) return fail(error);
  auto header = describe_function(bdf, config.first(pci::ConfigSpace::kHeaderBytes));
  if (!header) return function_without_config(bdf, {error.message()});
  FunctionInfo kept = function_without_config(bdf, {error.message()});
  kept.vendor_id = header->vendor_id;
  kept.device_id = header->device_id;
  kept.class_code = header->class_code;
  kept.bridge = header->bridge;
  kept.bars = header->bars;
  return kept;
}

// The kernel's own idea of the numbers: for a virtual function the only one, and there without config space.
Step take_identity(FunctionInfo& function, const fs::path& folder) {
  const auto vendor = read_number(folder / "vendor", 0xffff);
  if (!vendor) return fail(vendor.error());
  const auto device = read_number(folder / "device", 0xffff);
  if (!device) return fail(device.error());
  const auto class_code = read_number(folder / "class", 0xffffff);
  if (!class_code) return fail(class_code.error());
  if (*vendor) function.vendor_id = static_cast<std::uint16_t>(**vendor);
  if (*device) function.device_id = static_cast<std::uint16_t>(**device);
  if (*class_code) function.class_code = static_cast<std::uint32_t>(**class_code);
  return {};
}

// "16.0 GT/s PCIe", "2.5 GT/s PCIe", "8 GT/s", "Unknown".
std::optional<std::uint32_t> parse_speed(std::string_view text) {
  const std::size_t end = text.find(" GT/s");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view number = text.substr(0, end);
  const std::size_t dot = number.find('.');
  const auto whole = parse_number(number.substr(0, dot));
  const auto tenths = dot == std::string_view::npos ? 0 : parse_number(number.substr(dot + 1));
  if (!whole || !tenths || *whole > 1000 || *tenths > 9) return std::nullopt;
  return static_cast<std::uint32_t>(*whole * 1000 + *tenths * 100);
}

Result<Known<LinkState>> read_link(const fs::path& folder, std::string_view which) {
  const fs::path speed_file = folder / fmt::format("{}_link_speed", which);
  const fs::path width_file = folder / fmt::format("{}_link_width", which);
  const auto speed = read_attribute(speed_file);
  if (!speed) return fail(speed.error());
  const auto width = read_attribute(width_file);
  if (!width) return fail(width.error());
  if (!*speed || !*width) return Known<LinkState>(Unknown{(*speed ? *width : *speed).why_unknown()});
  const auto mtps = parse_speed(**speed);
  const auto lanes = parse_number(**width);
  // "Unknown", and 255 lanes, are what the kernel says of a function without a link.
  if (!mtps || !lanes || *lanes > 32)
    return Known<LinkState>(Unknown{
        fmt::format("the kernel says {} of speed and {} of width", (*speed)->substr(0, 40), (*width)->substr(0, 40))});
  return Known<LinkState>(*lanes == 0 ? LinkState{} : LinkState{*mtps, static_cast<std::uint32_t>(*lanes)});
}

// Link attributes can be read without root, config space from 64 bytes on can't.
Step take_links(FunctionInfo& function, const fs::path& folder) {
  const auto take = [&folder](Known<LinkState>& link, std::string_view which) -> Step {
    if (link) return {};
    auto read = read_link(folder, which);
    if (!read) return fail(std::move(read.error()));
    if (*read) link = *std::move(read);
    return {};
  };
  if (auto step = take(function.link_now, "current"); !step) return step;
  return take(function.link_max, "max");
}

// A bridge's buses, when its config space could not be read.
Step take_buses(FunctionInfo& function, const fs::path& folder) {
  if (function.bridge) return {};
  const auto secondary = read_number(folder / "secondary_bus_number", 0xff);
  if (!secondary) return fail(secondary.error());
  const auto subordinate = read_number(folder / "subordinate_bus_number", 0xff);
  if (!subordinate) return fail(subordinate.error());
  if (!*secondary || !*subordinate || **secondary == 0) return {};
  if (**subordinate < **secondary)
    return fail(
        file_error(ErrorCode::malformed, folder / "subordinate_bus_number",
                   fmt::format("the bridge's last bus, {}, is below its first, {}", **subordinate, **secondary)));
  function.bridge = BusRange{static_cast<std::uint8_t>(**secondary), static_cast<std::uint8_t>(**subordinate)};
  return {};
}

Step take_numa_node(FunctionInfo& function, const fs::path& folder) {
  const fs::path file = folder / "numa_node";
  const auto text = read_attribute(file);
  if (!text) return fail(text.error());
  if (!*text) {
    function.numa_node = Unknown{text->why_unknown()};
    return {};
  }
  constexpr std::uint64_t kMostNodes = 0x7fff;
  const std::uint64_t node = parse_number(**text).value_or(kMostNodes + 1);
  if (**text == "-1")
    function.numa_node = Unknown{"the firmware names no NUMA node for it (numa_node is -1)"};
  else if (node <= kMostNodes)
    function.numa_node = static_cast<std::int32_t>(node);
  else
    return fail(file_error(ErrorCode::malformed, file, fmt::format("'{}' is no NUMA node", (*text)->substr(0, 40))));
  return {};
}

void take_iommu_group(FunctionInfo& function, const Tree& tree, const fs::path& folder) {
  using Group = std::optional<std::uint32_t>;
  const auto name = link_name(folder / "iommu_group");
  constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t number = parse_number(name.value_or("none")).value_or(kNone);
  if (number <= std::numeric_limits<std::uint32_t>::max()) {
    function.iommu_group = Group{static_cast<std::uint32_t>(number)};
    return;
  }
  if (!tree.iommu_groups.why_unknown.empty()) {
    function.iommu_group = Unknown{tree.iommu_groups.why_unknown};
    return;
  }
  const auto found = tree.iommu_groups.of.find(function.bdf);
  function.iommu_group = found == tree.iommu_groups.of.end() ? Group{} : Group{found->second};
}

// The bridge above: the folder that this one really lies in, where the tree keeps its links.
void take_parent(FunctionInfo& function, const fs::path& folder) {
  std::error_code error;
  const fs::path place = fs::canonical(folder, error);
  if (error) return;
  const auto parent = Bdf::parse(place.parent_path().filename().string());
  if (parent) function.parent = *parent;
}

Step take_physical_function(FunctionInfo& function, const fs::path& folder) {
  auto name = link_name(folder / "physfn");
  if (!name) {
    // A copy without links has a folder there, and in it the function's name.
    const auto events = read_attribute(folder / "physfn" / "uevent");
    if (!events) return fail(events.error());
    constexpr std::string_view kKey = "PCI_SLOT_NAME=";
    const std::size_t at = *events ? (*events)->find(kKey) : std::string::npos;
    if (at == std::string::npos) return {};
    const std::string rest = (*events)->substr(at + kKey.size());
    name = rest.substr(0, rest.find('\n'));
  }
  const auto physical = Bdf::parse(*name);
  if (!physical)
    return fail(file_error(ErrorCode::malformed, folder / "physfn", fmt::format("'{}' is no function", *name)));
  function.physical_function = *physical;
  return {};
}

// The name that the kernel's drivers gave it: nvme0, eth0, mlx5_0, card0.
Step take_name(FunctionInfo& function, const fs::path& folder) {
  for (const char* kind : {"nvme", "net", "infiniband", "drm"}) {
    const auto names = list_folder(folder / kind);
    if (!names) return fail(names.error());
    if (names->empty()) continue;
    function.name = names->front();
    return {};
  }
  return {};
}

}  // namespace

Result<FunctionInfo> load_function(const Tree& tree, Bdf bdf, const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    return fail(file_error(ErrorCode::malformed, folder, "it is not a folder, nor a link to one",
                           "copy the whole tree, with what its links point to"));
  auto function = read_config(tree, bdf, folder);
  if (!function) return fail(std::move(function.error()));
  const auto steps = {take_identity,          take_links, take_buses,    take_numa_node,
                      take_physical_function, take_name,  take_resources};
  for (const auto step : steps)
    if (auto taken = step(*function, folder); !taken) return fail(std::move(taken.error()));
  take_iommu_group(*function, tree, folder);
  take_parent(*function, folder);
  if (function->class_code && *function->class_code == pci::kClassNvme) {
    auto memory = load_controller_memory(folder);
    if (!memory) return fail(std::move(memory.error()));
    function->controller_memory = *std::move(memory);
  } else if (function->class_code) {
    function->controller_memory = std::optional<ControllerMemoryInfo>{};
  }
  return *std::move(function);
}

}  // namespace barter::topology::sysfs
