#include "linux/sysfs/block_device.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "topology/load_sysfs_files.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;
namespace files = topology::sysfs;

constexpr std::uint64_t kSectorBytes = 512;  // what sysfs counts in, whatever the device's own blocks are
constexpr std::uint64_t kMaxSectors = std::uint64_t{1} << 54;
constexpr std::uint64_t kMaxBlockBytes = 65536;
constexpr std::uint64_t kMaxRequestKib = std::uint64_t{1} << 22;
constexpr std::size_t kMaxNameCharacters = 64;

std::unexpected<Error> refuse(ErrorCode code, std::string_view name, std::string why, std::string cure = {}) {
  return fail({.code = code,
               .doing = "looking at the block device",
               .subject = fmt::format("'{}'", name),
               .why = std::move(why),
               .cure = std::move(cure)});
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameCharacters && name.find('/') == std::string_view::npos &&
         name != "." && name != "..";
}

Result<std::uint64_t> number_in(const fs::path& file, std::uint64_t most) {
  const auto value = files::read_number(file, most);
  if (!value) return fail(value.error());
  if (!*value) return fail(files::file_error(ErrorCode::malformed, file, value->why_unknown()));
  return **value;
}

// The function below which the device hangs: the last BDF in its path.
std::optional<Bdf> function_in(const fs::path& folder) {
  std::optional<Bdf> found;
  for (const fs::path& part : folder) {
    const std::string text = part.string();
    if (std::ranges::count(text, ':') != 2) continue;
    if (const auto bdf = Bdf::parse(text)) found = *bdf;
  }
  return found;
}

struct Obstacle {
  std::string why;
  std::string cure;
};

// Why the kernel does not hand memory of a peer to this disk. Only nvme on PCI says that it takes it, and what is built on
// top of it does not pass that on (BLK_FEAT_PCI_P2PDMA).
Obstacle obstacle_of(const fs::path& disk, const std::string& name, std::span<const std::string> slaves) {
  std::error_code error;
  const std::string below = slaves.empty() ? "" : fmt::format(" on {}", fmt::join(slaves, ", "));
  if (fs::exists(disk / "dm", error))
    return {fmt::format("{} is a device-mapper device{}, and device-mapper takes no memory of peers", name, below),
            "copy from or to the drive below it, if nothing uses it"};
  if (fs::exists(disk / "md", error))
    return {fmt::format("{} is a RAID array{}, and md takes no memory of peers", name, below), ""};
  if (fs::exists(disk / "loop", error) || name.starts_with("loop"))
    return {fmt::format("{} is a loop device over a file, and loop takes no memory of peers", name),
            "copy from or to the file itself"};
  if (disk.string().find("/nvme-subsystem/") != std::string::npos)
    return {fmt::format("{} is an nvme-multipath device, and nvme-multipath takes no memory of peers", name),
            "boot with nvme_core.multipath=N, if the drive has one path only"};
  if (!slaves.empty()) return {fmt::format("{} is built{} and has no function of its own", name, below), ""};
  if (!name.starts_with("nvme"))
    return {fmt::format("{} is driven by a driver that takes no memory of peers; nvme does", name), ""};
  return {};
}

// nvme0n1 -> nvme0, by the folder that it hangs in.
std::string controller_in(const fs::path& disk) {
  const std::string name = disk.parent_path().filename().string();
  const bool is_controller = name.starts_with("nvme") && name.size() > 4 &&
                             std::ranges::all_of(name.substr(4), [](char c) { return c >= '0' && c <= '9'; });
  return is_controller ? name : std::string();
}

}  // namespace

std::string DeviceNumber::to_string() const { return fmt::format("{}:{}", major, minor); }

std::optional<DeviceNumber> DeviceNumber::parse(std::string_view text) {
  DeviceNumber number;
  const char* const end = text.data() + text.size();
  const auto [colon, error] = std::from_chars(text.data(), end, number.major);
  if (error != std::errc{} || colon == end || *colon != ':') return std::nullopt;
  const auto [rest, second_error] = std::from_chars(colon + 1, end, number.minor);
  if (second_error != std::errc{} || rest != end) return std::nullopt;
  return number;
}

namespace {

// What a partition and its disk have each.
Result<void> read_own(const fs::path& folder, BlockDevice& device) {
  const auto number = files::read_attribute(folder / "dev");
  if (!number) return fail(number.error());
  const auto parsed = DeviceNumber::parse(number->value_or(""));
  if (!parsed) return fail(files::file_error(ErrorCode::malformed, folder / "dev", "it holds no device number"));
  device.number = *parsed;
  const auto sectors = number_in(folder / "size", kMaxSectors);
  if (!sectors) return fail(sectors.error());
  device.size_bytes = *sectors * kSectorBytes;
  const auto read_only = number_in(folder / "ro", 1);
  if (!read_only) return fail(read_only.error());
  device.is_read_only = *read_only == 1;
  auto holders = files::list_folder(folder / "holders");
  if (!holders) return fail(std::move(holders.error()));
  device.holders = std::move(*holders);
  return {};
}

Result<void> read_disk(const fs::path& disk, BlockDevice& device) {
  const auto block = number_in(disk / "queue" / "logical_block_size", kMaxBlockBytes);
  if (!block) return fail(block.error());
  if (*block < kSectorBytes || (*block & (*block - 1)) != 0)
    return fail(files::file_error(ErrorCode::malformed, disk / "queue" / "logical_block_size",
                                  fmt::format("a block of {} bytes is not possible", *block)));
  device.block_bytes = static_cast<std::uint32_t>(*block);
  const auto most = number_in(disk / "queue" / "max_sectors_kb", kMaxRequestKib);
  if (!most) return fail(most.error());
  device.max_request_bytes = std::max<std::uint64_t>(*most << 10, *block);
  const auto slaves = files::list_folder(disk / "slaves");
  if (!slaves) return fail(slaves.error());
  Obstacle obstacle = obstacle_of(disk, device.disk, *slaves);
  device.why_not_direct = std::move(obstacle.why);
  device.cure = std::move(obstacle.cure);
  if (slaves->empty()) device.function = function_in(disk);
  if (device.why_not_direct.empty()) device.controller = controller_in(disk);
  if (device.why_not_direct.empty() && !device.function)
    device.why_not_direct = fmt::format("{} is not on PCI", device.disk);
  return {};
}

}  // namespace

Result<BlockDevice> read_block_device(const fs::path& sys, std::string_view name) {
  if (!is_plain_name(name)) return refuse(ErrorCode::invalid_argument, name, "it is no name of a block device");
  std::error_code error;
  const fs::path folder = fs::canonical(sys / "class" / "block" / name, error);
  if (error) return refuse(ErrorCode::not_found, name, "there is no such block device", "lsblk lists them");
  BlockDevice device{.name = std::string(name), .disk = std::string(name)};
  fs::path disk = folder;
  if (fs::exists(folder / "partition", error)) {
    disk = folder.parent_path();
    device.disk = disk.filename().string();
    const auto start = number_in(folder / "start", kMaxSectors);
    if (!start) return fail(start.error());
    device.start_bytes = *start * kSectorBytes;
  }
  if (auto read = read_own(folder, device); !read) return fail(std::move(read.error()));
  if (auto read = read_disk(disk, device); !read) return fail(std::move(read.error()));
  return device;
}

Result<std::string> block_device_name(const fs::path& sys, DeviceNumber number) {
  const auto name = files::link_name(sys / "dev" / "block" / number.to_string());
  if (!name) return refuse(ErrorCode::not_found, number.to_string(), "there is no block device with this number");
  return *name;
}

Result<std::vector<std::string>> nvme_block_devices(const fs::path& sys) {
  auto names = files::list_folder(sys / "class" / "block");
  if (!names) return fail(std::move(names.error()));
  // nvme0c0n1 is a path below a multipath device.
  std::erase_if(*names, [](const std::string& name) {
    return !name.starts_with("nvme") || name.find('c') != std::string::npos || name.find('n', 4) == std::string::npos;
  });
  return names;
}

}  // namespace barter::linux_os
