#include "topology/description.h"

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "topology/description_check.h"
#include "topology/description_limits.h"
#include "topology/description_reader.h"

namespace barter::topology {
namespace {

// What the parts say they are when the description leaves it open.
constexpr TableReader::Ids kUsualHostBridge{0x8086, 0x29c0};  // Q35, which Linux does not trust with peer traffic
constexpr TableReader::Ids kUsualRootPort{0x8086, 0x2030};    // Xeon Scalable
constexpr TableReader::Ids kUsualSwitch{0x10b5, 0x8796};      // PLX PEX 8796
constexpr TableReader::Ids kUsualDrive{0x1b36, 0x0010};       // the numbers that virtual NVMe drives have
constexpr TableReader::Ids kUsualAccelerator{0x1b36, 0xba00};
constexpr TableReader::Ids kUsualDmaEngine{0x1b36, 0xba01};
constexpr TableReader::Ids kUsualNic{0x1b36, 0xba02};
constexpr std::uint32_t kNvmeClass = 0x010802;
constexpr std::uint32_t kAcceleratorClass = 0x120000;
constexpr std::uint32_t kDmaEngineClass = 0x088000;
constexpr std::uint32_t kNicClass = 0x028000;
constexpr LinkDescription kUsualLink{.max = {16000, 4}};
constexpr LinkDescription kUsualSwitchLink{.max = {16000, 16}};

// Reads the tables of one description, top down.
class DescriptionParser {
 public:
  DescriptionParser(DescriptionErrors& errors, std::string_view source) : errors_(errors) {
    machine_.source = std::string(source);
  }

  Description read(const toml::table& root) {
    TableReader reader(errors_, root, "the machine",
                       {"name", "iommu", "cpu", "root_complex", "root_port", "switch", "drive", "accelerator",
                        "dma_engine", "nic", "function", "link", "wire"});
    machine_.name = reader.text("name", machine_.source);
    machine_.iommu = iommu(reader);
    if (reader.has("cpu")) read_cpu(reader);
    for (const toml::table* table : reader.tables("root_complex", limits::kRootComplexes)) read_root_complex(*table);
    for (const toml::table* table : reader.tables("root_port", limits::kParts)) read_root_port(*table);
    for (const toml::table* table : reader.tables("switch", limits::kParts)) read_switch(*table);
    for (const toml::table* table : reader.tables("drive", limits::kParts)) read_drive(*table);
    for (const toml::table* table : reader.tables("accelerator", limits::kParts)) read_accelerator(*table);
    for (const toml::table* table : reader.tables("dma_engine", limits::kParts)) read_dma_engine(*table);
    for (const toml::table* table : reader.tables("nic", limits::kParts)) read_nic(*table);
    for (const toml::table* table : reader.tables("function", limits::kParts)) read_function(*table);
    for (const toml::table* table : reader.tables("link", limits::kParts)) read_device_link(*table);
    for (const toml::table* table : reader.tables("wire", limits::kParts)) read_wire(*table);
    if (machine_.root_complexes.empty())
      errors_.report(0, "the machine has no root complex", "add [[root_complex]] with a name");
    if (!errors_.first()) check_tree(machine_, names_, errors_);
    return std::move(machine_);
  }

 private:
  static IommuMode iommu(TableReader& reader) {
    const std::string written = reader.text("iommu", "off");
    if (written == "off") return IommuMode::off;
    if (written == "passthrough") return IommuMode::passthrough;
    if (written == "translate") return IommuMode::translate;
    reader.report("iommu", fmt::format("iommu is '{}'", written.substr(0, 64)), "use off, passthrough or translate");
    return IommuMode::off;
  }

  void read_cpu(TableReader& machine) {
    constexpr std::size_t kVendorCharacters = 12;  // CPUID leaf 0 gives exactly as many
    const auto tables = machine.tables("cpu", 1);
    if (tables.empty()) return machine.report("cpu", "cpu is empty", "write [cpu] with vendor and family");
    TableReader reader(errors_, *tables.front(), "[cpu]", {"vendor", "family"});
    CpuInfo cpu{.vendor = reader.text("vendor"),
                .family = static_cast<std::uint32_t>(reader.integer("family", 0, 0, 0x10e))};
    if (cpu.vendor.size() != kVendorCharacters)
      reader.report("vendor", fmt::format("cpu vendor is '{}'", cpu.vendor.substr(0, 64)),
                    "write it as CPUID does: GenuineIntel, AuthenticAMD");
    if (!reader.has("family")) reader.report("family", "[cpu] has no family", "add family = 6 for Intel, 25 for Zen 3");
    machine_.cpu = std::move(cpu);
  }

  void read_root_complex(const toml::table& table) {
    TableReader reader(errors_, table, "[[root_complex]]",
                       {"name", "domain", "root_bus", "numa_node", "host_bridge", "turns_reads", "turns_writes"});
    const auto ids = reader.ids("host_bridge", kUsualHostBridge);
    RootComplexDescription root{
        .name = reader.name("name"),
        .domain = static_cast<std::uint32_t>(reader.integer("domain", 0, 0, limits::kDomain)),
        .root_bus = static_cast<std::uint8_t>(reader.integer("root_bus", 0, 0, 255)),
        .numa_node = static_cast<std::int32_t>(reader.integer("numa_node", 0, 0, limits::kNumaNode)),
        .host_bridge_vendor = ids.vendor,
        .host_bridge_device = ids.device,
        .turns_reads = reader.flag("turns_reads", false),
        .turns_writes = reader.flag("turns_writes", false)};
    names_.add(errors_, root.name, PartKind::root_complex, reader.line());
    machine_.root_complexes.push_back(std::move(root));
  }

  void read_root_port(const toml::table& table) {
    TableReader reader(errors_, table, "[[root_port]]", {"name", "below", "id", "link", "link_now", "acs"});
    const auto ids = reader.ids("id", kUsualRootPort);
    RootPortDescription port{.port = {.name = reader.name("name"),
                                      .link = reader.links("link", "link_now", kUsualSwitchLink),
                                      .acs = reader.acs("acs"),
                                      .vendor_id = ids.vendor,
                                      .device_id = ids.device},
                             .root_complex = reader.name("below")};
    names_.add(errors_, port.port.name, PartKind::port, reader.line());
    machine_.root_ports.push_back(std::move(port));
  }

  // All downstream ports are alike, unless the switch has a [[switch.port]] for each.
  void read_switch(const toml::table& table) {
    TableReader reader(errors_, table, "[[switch]]",
                       {"name", "below", "id", "link", "link_now", "ports", "port", "port_link", "acs"});
    const auto ids = reader.ids("id", kUsualSwitch);
    SwitchDescription part{.name = reader.name("name"), .below = reader.name("below")};
    part.upstream = {.name = part.name,
                     .link = reader.links("link", "link_now", kUsualSwitchLink),
                     .vendor_id = ids.vendor,
                     .device_id = ids.device};
    names_.add(errors_, part.name, PartKind::switch_, reader.line());
    PortDescription usual{
        .link = kUsualLink, .acs = reader.acs("acs"), .vendor_id = ids.vendor, .device_id = ids.device};
    if (const auto link = reader.link("port_link")) usual.link = {.max = *link};
    if (reader.has("ports") == reader.has("port"))
      reader.report("ports", "[[switch]] needs either ports or [[switch.port]]", "write ports = 2 if all are alike");

    for (const toml::table* port : reader.tables("port", limits::kPortsOfSwitch)) read_switch_port(part, usual, *port);
    const std::uint64_t count = reader.integer("ports", 0, 1, limits::kPortsOfSwitch);
    for (std::uint64_t i = 0; i < count; ++i) {
      usual.name = fmt::format("{}.{}", part.name, i);
      names_.add(errors_, usual.name, PartKind::port, reader.line());
      part.downstream.push_back(usual);
    }
    machine_.switches.push_back(std::move(part));
  }

  void read_switch_port(SwitchDescription& part, const PortDescription& usual, const toml::table& table) {
    TableReader reader(errors_, table, "[[switch.port]]", {"name", "id", "link", "link_now", "acs"});
    const auto ids = reader.ids("id", {usual.vendor_id, usual.device_id});
    PortDescription port{
        .name = reader.has("name") ? reader.name("name") : fmt::format("{}.{}", part.name, part.downstream.size()),
        .link = reader.links("link", "link_now", usual.link),
        .acs = reader.has("acs") ? reader.acs("acs") : usual.acs,
        .vendor_id = ids.vendor,
        .device_id = ids.device};
    names_.add(errors_, port.name, PartKind::port, reader.line());
    part.downstream.push_back(std::move(port));
  }

  // What all devices have in common, with and without a model.
  FunctionDescription endpoint(TableReader& reader, TableReader::Ids usual) {
    const auto ids = reader.ids("id", usual);
    FunctionDescription function{.name = reader.name("name"),
                                 .below = reader.name("below"),
                                 .function = static_cast<std::uint8_t>(reader.integer("function", 0, 0, 7)),
                                 .vendor_id = ids.vendor,
                                 .device_id = ids.device,
                                 .link = reader.links("link", "link_now", kUsualLink),
                                 .acs = reader.acs("acs"),
                                 .ats = reader.flag("ats", false)};
    names_.add(errors_, function.name, PartKind::function, reader.line());
    return function;
  }

  void read_drive(const toml::table& table) {
    TableReader reader(errors_, table, "[[drive]]",
                       {"name", "below", "function", "id", "link", "link_now", "acs", "ats", "cmb", "size", "block",
                        "file", "namespace", "max_queues", "max_queue_entries", "doorbell_stride_log2", "sgl"});
    FunctionDescription function = endpoint(reader, kUsualDrive);
    function.class_code = kNvmeClass;
    DriveDescription drive{
        .cmb_bytes = reader.size("cmb", 0, 0, limits::kControllerMemoryBytes),
        .max_queues = static_cast<std::uint16_t>(reader.integer("max_queues", 16, 1, 1024)),
        .max_queue_entries = static_cast<std::uint16_t>(reader.integer("max_queue_entries", 1024, 2, 65535)),
        .doorbell_stride_log2 = static_cast<std::uint8_t>(reader.integer("doorbell_stride_log2", 0, 0, 10)),
        .sgl = reader.flag("sgl", true)};
    if (drive.cmb_bytes != 0 && (!std::has_single_bit(drive.cmb_bytes) || drive.cmb_bytes < 4096))
      reader.report("cmb", fmt::format("cmb of [[drive]] is {} bytes", drive.cmb_bytes),
                    "it must be 0, or a power of two of at least 4 KiB");
    // A drive with one namespace says its size itself.
    if (reader.has("namespace") == (reader.has("size") || reader.has("file")))
      reader.report("size",
                    fmt::format("{} needs either a size or file of its own, or [[drive.namespace]]", function.name),
                    "write size = \"4 GiB\"");
    if (!reader.has("namespace")) drive.namespaces.push_back(read_namespace(reader));
    for (const toml::table* entry : reader.tables("namespace", limits::kNamespaces)) {
      TableReader of_namespace(errors_, *entry, "[[drive.namespace]]", {"size", "block", "file"});
      drive.namespaces.push_back(read_namespace(of_namespace));
    }
    function.drive = std::move(drive);
    machine_.functions.push_back(std::move(function));
  }

  NamespaceDescription read_namespace(TableReader& reader) {
    NamespaceDescription space{.size_bytes = reader.size("size", 0, 512, limits::kNamespaceBytes),
                               .block_bytes = static_cast<std::uint32_t>(reader.integer("block", 512, 512, 4096)),
                               .file = reader.text("file")};
    if (space.block_bytes != 512 && space.block_bytes != 4096)
      reader.report("block", fmt::format("block is {} bytes", space.block_bytes), "use 512 or 4096");
    else if (space.size_bytes % space.block_bytes != 0)
      reader.report("size", fmt::format("size is {} bytes, which is no whole number of blocks", space.size_bytes));
    if (space.file.empty() && space.size_bytes == 0)
      reader.report("size", "a namespace has neither size nor file", "write size = \"4 GiB\"");
    if (space.file.find('\0') != std::string::npos) reader.report("file", "the file's name has a zero byte in it");
    // Files lie beside the description.
    if (!space.file.empty())
      space.file = (std::filesystem::path(machine_.source).parent_path() / space.file).lexically_normal().string();
    return space;
  }

  void read_accelerator(const toml::table& table) {
    constexpr std::uint64_t kUnitBytes = 65536;  // docs/devices/accelerator.md, section 1
    TableReader reader(errors_, table, "[[accelerator]]",
                       {"name", "below", "function", "id", "link", "link_now", "acs", "ats", "memory", "window",
                        "copy_channels", "compute_channels", "links"});
    FunctionDescription function = endpoint(reader, kUsualAccelerator);
    function.class_code = kAcceleratorClass;
    const AcceleratorDescription part{
        .memory_bytes = reader.size("memory", 0, kUnitBytes, limits::kAcceleratorMemoryBytes),
        .window_bytes = reader.size("window", 0, kUnitBytes, limits::kBarBytes),
        .copy_channels =
            static_cast<std::uint8_t>(reader.integer("copy_channels", 2, 0, limits::kChannelsOfAccelerator)),
        .compute_channels =
            static_cast<std::uint8_t>(reader.integer("compute_channels", 2, 0, limits::kChannelsOfAccelerator)),
        .links = static_cast<std::uint8_t>(reader.integer("links", 0, 0, limits::kLinksOfAccelerator))};
    accelerators_.emplace(function.name, Linkable{machine_.functions.size(), reader.has("links")});
    if (!reader.has("memory"))
      reader.report("memory", "[[accelerator]] has no memory", "write memory = \"16 GiB\"");
    else if (part.memory_bytes % kUnitBytes != 0)
      reader.report("memory", fmt::format("memory is {} bytes", part.memory_bytes), "use a multiple of 64 KiB");
    else if (part.window_bytes != 0 &&
             (!std::has_single_bit(part.window_bytes) || part.window_bytes > std::bit_ceil(part.memory_bytes)))
      reader.report("window", fmt::format("window is {} bytes", part.window_bytes),
                    "it must be a power of two, no larger than the memory rounded up to one");
    const unsigned channels = part.copy_channels + unsigned{part.compute_channels};
    if (channels == 0 || channels > limits::kChannelsOfAccelerator)
      reader.report("copy_channels", fmt::format("{} has {} channels", function.name, channels),
                    fmt::format("give it 1 to {} in all", limits::kChannelsOfAccelerator));
    function.accelerator = part;
    machine_.functions.push_back(std::move(function));
  }

  // The next port of an accelerator: one that does not say how many it has gets as many as are used.
  std::optional<DeviceLinkDescription::End> read_link_end(TableReader& reader, const std::string& name) {
    const auto found = accelerators_.find(name);
    if (found == accelerators_.end()) {
      reader.report("between",
                    names_.find(name) == nullptr ? fmt::format("[[link]] names {}, which is not there", name)
                                                 : fmt::format("[[link]] names {}, which is no accelerator", name),
                    "name two parts that are [[accelerator]]");
      return std::nullopt;
    }
    const std::uint8_t port = found->second.ports_used;
    std::uint8_t& ports = machine_.functions[found->second.index].accelerator->links;
    if (port == limits::kLinksOfAccelerator || (port == ports && found->second.says_its_links)) {
      reader.report("between", fmt::format("{} has {} ports for links, and this is one link more", name, ports),
                    port == limits::kLinksOfAccelerator ? std::string("an accelerator has at most 8")
                                                        : fmt::format("write links = {} in its table", port + 1));
      return std::nullopt;
    }
    ++found->second.ports_used;
    if (port < ports) return DeviceLinkDescription::End{name, port};
    ports = static_cast<std::uint8_t>(port + 1);
    return DeviceLinkDescription::End{name, port};
  }

  void read_device_link(const toml::table& table) {
    TableReader reader(errors_, table, "[[link]]", {"between", "megabytes_per_second"});
    const std::vector<std::string> names = reader.names("between", 2);
    if (names.empty()) return;
    if (names[0] == names[1])
      return reader.report("between", fmt::format("both ends of [[link]] are {}", names[0]),
                           "a link joins two accelerators");
    if (!linked_.insert(std::minmax(names[0], names[1])).second)
      return reader.report("between", fmt::format("a link between {} and {} is there already", names[0], names[1]),
                           "write one, with the megabytes_per_second of all of them");
    const auto first = read_link_end(reader, names[0]);
    const auto second = first ? read_link_end(reader, names[1]) : std::nullopt;
    if (!second) return;
    machine_.device_links.push_back(
        {.first = *first,
         .second = *second,
         .megabytes_per_second = reader.integer("megabytes_per_second", 0, 1, limits::kLinkMegabytesPerSecond)});
  }

  void read_dma_engine(const toml::table& table) {
    TableReader reader(errors_, table, "[[dma_engine]]",
                       {"name", "below", "function", "id", "link", "link_now", "acs", "ats", "channels", "segments"});
    FunctionDescription function = endpoint(reader, kUsualDmaEngine);
    function.class_code = kDmaEngineClass;
    function.dma_engine = DmaEngineDescription{
        .channels = static_cast<std::uint8_t>(reader.integer("channels", 4, 1, limits::kChannelsOfDmaEngine)),
        .segments = static_cast<std::uint16_t>(reader.integer("segments", 256, 1, limits::kSegmentsOfDmaEngine))};
    machine_.functions.push_back(std::move(function));
  }

  void read_nic(const toml::table& table) {
    TableReader reader(errors_, table, "[[nic]]",
                       {"name", "below", "function", "id", "link", "link_now", "acs", "ats", "pairs", "segments",
                        "address_bits", "boundary", "keys"});
    FunctionDescription function = endpoint(reader, kUsualNic);
    function.class_code = kNicClass;
    const NicDescription nic{
        .pairs = static_cast<std::uint8_t>(reader.integer("pairs", 4, 1, limits::kPairsOfNic)),
        .segments = static_cast<std::uint16_t>(reader.integer("segments", 256, 1, limits::kSegmentsOfNic)),
        .address_bits = static_cast<std::uint8_t>(reader.integer("address_bits", 64, 32, 64)),
        .boundary_bytes = reader.size("boundary", 0, 0, limits::kBoundaryBytes),
        .keys = static_cast<std::uint16_t>(reader.integer("keys", 256, 1, limits::kKeysOfNic))};
    if (nic.boundary_bytes != 0 && (!std::has_single_bit(nic.boundary_bytes) || nic.boundary_bytes < 4096))
      reader.report("boundary", fmt::format("boundary of [[nic]] is {} bytes", nic.boundary_bytes),
                    "it must be 0, or a power of two of at least 4 KiB");
    nics_.emplace(function.name, false);
    function.nic = nic;
    machine_.functions.push_back(std::move(function));
  }

  void read_wire(const toml::table& table) {
    TableReader reader(errors_, table, "[[wire]]", {"between"});
    const std::vector<std::string> names = reader.names("between", 2);
    if (names.empty()) return;
    if (names[0] == names[1])
      return reader.report("between", fmt::format("both ends of [[wire]] are {}", names[0]), "a wire joins two NICs");
    for (const std::string& name : names) {
      const auto nic = nics_.find(name);
      if (nic == nics_.end())
        return reader.report("between",
                             names_.find(name) == nullptr ? fmt::format("[[wire]] names {}, which is not there", name)
                                                          : fmt::format("[[wire]] names {}, which is no NIC", name),
                             "name two parts that are [[nic]]");
      if (std::exchange(nic->second, true))
        return reader.report("between", fmt::format("{} has a wire already", name), "a NIC has one wire");
    }
    machine_.wires.push_back({.first = names[0], .second = names[1]});
  }

  void read_function(const toml::table& table) {
    TableReader reader(errors_, table, "[[function]]",
                       {"name", "below", "function", "id", "class", "link", "link_now", "acs", "ats", "bar"});
    for (const std::string_view needed : {"id", "class"})
      if (!reader.has(needed)) reader.report(needed, fmt::format("[[function]] has no {}", needed));
    FunctionDescription function = endpoint(reader, {});
    function.class_code = static_cast<std::uint32_t>(reader.integer("class", 0, 0, 0xffffff));
    constexpr std::size_t kBars = 6;
    std::array<bool, kBars + 1> taken{};  // the last one is behind the last BAR
    for (const toml::table* entry : reader.tables("bar", kBars)) {
      const auto [bar, line] = read_bar(*entry);
      const std::size_t last = bar.index + (bar.is_64bit ? 1u : 0u);
      if (last == kBars)
        errors_.report(line, "BAR 5 can't have 64 bits: there is no BAR behind it", "write bits = 32, or use BAR 4");
      else if (taken[bar.index] || taken[last])
        errors_.report(line,
                       fmt::format("BAR {} of {} is used twice", taken[bar.index] ? bar.index : last, function.name),
                       "a 64-bit BAR also takes up the one behind it");
      taken[bar.index] = taken[last] = true;
      function.bars.push_back(bar);
    }
    machine_.functions.push_back(std::move(function));
  }

  std::pair<BarDescription, std::uint64_t> read_bar(const toml::table& table) {
    TableReader reader(errors_, table, "[[function.bar]]", {"index", "size", "bits", "prefetchable"});
    const std::uint64_t bits = reader.integer("bits", 64, 32, 64);
    if (bits != 32 && bits != 64) reader.report("bits", fmt::format("bits is {}", bits), "use 32 or 64");
    BarDescription bar{
        .index = static_cast<std::uint8_t>(reader.integer("index", 0, 0, 5)),
        .size_bytes = reader.size("size", 4096, 128, bits == 32 ? limits::kBar32Bytes : limits::kBarBytes),
        .is_64bit = bits == 64,
        .is_prefetchable = reader.flag("prefetchable", bits == 64)};
    for (const std::string_view needed : {"index", "size"})
      if (!reader.has(needed)) reader.report(needed, fmt::format("[[function.bar]] has no {}", needed));
    if (!std::has_single_bit(bar.size_bytes))
      reader.report("size", fmt::format("the BAR's size is {} bytes", bar.size_bytes), "it must be a power of two");
    return {bar, reader.line()};
  }

  DescriptionErrors& errors_;
  Description machine_;
  PartNames names_;
  struct Linkable {
    std::size_t index = 0;  // in machine_.functions
    bool says_its_links = false;
    std::uint8_t ports_used = 0;
  };
  std::map<std::string, Linkable> accelerators_;
  std::set<std::pair<std::string, std::string>> linked_;
  std::map<std::string, bool> nics_;  // has it a wire already?
};

}  // namespace

Result<Description> parse_description(std::string_view text, std::string_view source) {
  DescriptionErrors errors(source);
  Description machine;
  if (text.size() > limits::kDescriptionBytes) {
    errors.report(0, fmt::format("it has {} bytes", text.size()),
                  fmt::format("at most {} are read", limits::kDescriptionBytes));
  } else {
    try {
      machine = DescriptionParser(errors, source).read(toml::parse(text, source));
    } catch (const toml::parse_error& error) {
      errors.report(error.source().begin.line, fmt::format("it is no TOML: {}", error.description()));
    }
  }
  if (errors.first()) return fail(*errors.first());
  return machine;
}

}  // namespace barter::topology
