#include "doctor/read_system_parts.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "topology/load_sysfs_files.h"

namespace barter::doctor {
namespace {
namespace fs = std::filesystem;
using topology::sysfs::link_name;
using topology::sysfs::list_folder;
using topology::sysfs::parse_number;
using topology::sysfs::read_number;

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

bool starts_with_number_after(std::string_view name, std::string_view before) {
  return name.starts_with(before) && name.size() > before.size() && name[before.size()] >= '0' &&
         name[before.size()] <= '9';
}

Known<std::string> read_driver(const fs::path& folder) {
  if (auto name = link_name(folder / "driver")) return *std::move(name);
  // A copy without links can't tell a function without a driver from one with.
  std::error_code error;
  if (fs::is_symlink(folder / "subsystem", error)) return std::string();
  return Unknown{"the copy was made without its links"};
}

Result<Known<std::optional<PeerMemory>>> read_peer_memory(const fs::path& folder) {
  using Answer = Known<std::optional<PeerMemory>>;
  std::error_code error;
  const fs::path memory = folder / "p2pmem";
  if (!fs::is_directory(memory, error)) return Answer(std::optional<PeerMemory>{});
  const auto size = read_number(memory / "size", kAny);
  if (!size) return std::unexpected(size.error());
  const auto available = read_number(memory / "available", kAny);
  if (!available) return std::unexpected(available.error());
  const auto published = read_number(memory / "published", 1);
  if (!published) return std::unexpected(published.error());
  if (!*size || !*available || !*published)
    return Answer(Unknown{(!*size ? *size : !*available ? *available : *published).why_unknown()});
  return Answer(std::optional<PeerMemory>(
      {.size_bytes = **size, .available_bytes = **available, .is_published = **published == 1}));
}

// nvme0n1 is a namespace of its own; nvme0c0n1 is one that only a multipath device, nvme0n1 elsewhere, gives access to.
bool is_path_of_multipath(std::string_view name) {
  if (!starts_with_number_after(name, "nvme")) return false;
  const std::size_t c = name.find('c', 4);
  return c != std::string_view::npos && name.find('n', c) != std::string_view::npos;
}

Result<void> add_holders(const fs::path& block, const std::string& name, FunctionUse& use) {
  const auto holders = list_folder(block / "holders");
  if (!holders) return std::unexpected(holders.error());
  for (const std::string& holder : *holders) use.holders.push_back(fmt::format("{} on {}", holder, name));
  return {};
}

Result<void> read_block_devices(const fs::path& controller, FunctionUse& use) {
  const auto names = list_folder(controller);
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    if (is_path_of_multipath(name)) use.multipath_namespaces.push_back(name);
    if (!starts_with_number_after(name, "nvme")) continue;
    if (auto added = add_holders(controller / name, name, use); !added) return added;
    const auto parts = list_folder(controller / name);
    if (!parts) return std::unexpected(parts.error());
    for (const std::string& part : *parts)
      if (part.starts_with(name + "p"))
        if (auto added = add_holders(controller / name / part, part, use); !added) return added;
  }
  return {};
}

Result<FunctionUse> read_function(Bdf bdf, const fs::path& folder) {
  FunctionUse use{.bdf = bdf, .driver = read_driver(folder)};
  auto memory = read_peer_memory(folder);
  if (!memory) return std::unexpected(std::move(memory.error()));
  use.peer_memory = std::move(*memory);
  const auto controllers = list_folder(folder / "nvme");
  if (!controllers) return std::unexpected(controllers.error());
  for (const std::string& controller : *controllers)
    if (auto read = read_block_devices(folder / "nvme" / controller, use); !read)
      return std::unexpected(std::move(read.error()));
  return use;
}

// "10 21 32": one number for each node that is online.
Result<void> add_distances(const fs::path& folder, std::uint32_t from, const std::vector<std::uint32_t>& nodes,
                           std::vector<NumaDistance>& distances) {
  const fs::path file = folder / fmt::format("node{}", from) / "distance";
  const auto text = topology::sysfs::read_attribute(file);
  if (!text) return std::unexpected(text.error());
  if (!*text) return {};
  std::string_view rest = **text;
  for (const std::uint32_t to : nodes) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    const auto distance = parse_number(word);
    if (!distance || *distance > 0xffff)
      return fail(topology::sysfs::file_error(ErrorCode::malformed, file,
                                              fmt::format("it doesn't hold {} distances", nodes.size())));
    distances.push_back({.from = from, .to = to, .distance = static_cast<std::uint32_t>(*distance)});
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
  }
  return {};
}

// Bit of the capability sets in proc/self/status (capabilities(7)).
constexpr unsigned kCapIpcLock = 14;
constexpr unsigned kCapSysAdmin = 21;

Result<void> read_capabilities(const fs::path& root, SystemFacts& facts) {
  const fs::path file = root / "proc" / "self" / "status";
  const auto status = topology::sysfs::read_prefix(file, kMaxStatusBytes);
  if (!status) return std::unexpected(status.error());
  Known<std::uint64_t> set = Unknown{fmt::format("{}: {}", file.string(), status->why)};
  if (status->bytes) {
    const std::string_view text = value_after(*status->bytes, "CapEff");
    std::uint64_t bits = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 16);
    if (error == std::errc{} && rest == text.data() + text.size())
      set = bits;
    else
      set = Unknown{fmt::format("{} names no effective capabilities", file.string())};
  }
  const auto bit = [&set](unsigned number) -> Known<bool> {
    if (!set) return Unknown{set.why_unknown()};
    return (*set >> number & 1) != 0;
  };
  facts.may_administer = bit(kCapSysAdmin);
  facts.may_lock_memory = bit(kCapIpcLock);
  return {};
}

Result<void> read_memlock(const fs::path& root, SystemFacts& facts) {
  const fs::path file = root / "proc" / "self" / "limits";
  const auto limits = topology::sysfs::read_prefix(file, kMaxStatusBytes);
  if (!limits) return std::unexpected(limits.error());
  if (!limits->bytes) {
    facts.memlock_bytes = Unknown{fmt::format("{}: {}", file.string(), limits->why)};
    return {};
  }
  // "Max locked memory         8388608              8388608              bytes"
  std::string_view value = value_after(*limits->bytes, "Max locked memory");
  value = value.substr(0, value.find(' '));
  if (value == "unlimited")
    facts.memlock_bytes = std::optional<std::uint64_t>{};
  else if (const auto bytes = parse_number(value))
    facts.memlock_bytes = bytes;
  else
    facts.memlock_bytes = Unknown{fmt::format("{} names no limit of locked memory", file.string())};
  return {};
}

}  // namespace

std::string_view value_after(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key)) {
      std::string_view rest = line.substr(key.size());
      if (rest.starts_with(':')) rest.remove_prefix(1);
      return topology::sysfs::trim(rest);
    }
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return {};
}

Result<std::vector<FunctionUse>> read_function_use(const fs::path& root) {
  const fs::path folder = root / "sys" / "bus" / "pci" / "devices";
  const auto names = list_folder(folder);
  if (!names) return std::unexpected(names.error());
  std::vector<FunctionUse> functions;
  for (const std::string& name : *names) {
    const auto bdf = Bdf::parse(name);
    if (!bdf) continue;  // the loader of the topology refuses these with a better word
    auto function = read_function(*bdf, folder / name);
    if (!function) return std::unexpected(std::move(function.error()));
    functions.push_back(std::move(*function));
  }
  std::sort(functions.begin(), functions.end(),
            [](const FunctionUse& a, const FunctionUse& b) { return a.bdf < b.bdf; });
  return functions;
}

Result<Known<std::vector<NumaDistance>>> read_numa_distances(const fs::path& root) {
  const fs::path folder = root / "sys" / "devices" / "system" / "node";
  const auto names = list_folder(folder);
  if (!names) return std::unexpected(names.error());
  std::vector<std::uint32_t> nodes;
  for (const std::string& name : *names) {
    if (!name.starts_with("node")) continue;
    if (const auto number = parse_number(std::string_view(name).substr(4)); number && *number < kMaxNumaNodes)
      nodes.push_back(static_cast<std::uint32_t>(*number));
  }
  std::sort(nodes.begin(), nodes.end());
  if (nodes.empty()) return Known<std::vector<NumaDistance>>(Unknown{fmt::format("{} has no nodes", folder.string())});
  std::vector<NumaDistance> distances;
  for (const std::uint32_t from : nodes)
    if (auto added = add_distances(folder, from, nodes, distances); !added)
      return std::unexpected(std::move(added.error()));
  return Known<std::vector<NumaDistance>>(std::move(distances));
}

Result<void> read_user(const fs::path& root, SystemFacts& facts) {
  if (auto read = read_capabilities(root, facts); !read) return read;
  return read_memlock(root, facts);
}

}  // namespace barter::doctor
