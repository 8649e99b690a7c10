#include "linux/sysfs/mount_table.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "topology/load_sysfs_files.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;
namespace files = topology::sysfs;

constexpr std::size_t kMaxTableBytes = std::size_t{4} << 20;  // of mountinfo, and of swaps

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

// Space, tab, newline and backslash come as octal numbers: "\040".
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto digit = [&](std::size_t offset) { return text[at + offset] >= '0' && text[at + offset] <= '7'; };
    if (text[at] == '\\' && at + 3 < text.size() && digit(1) && digit(2) && digit(3)) {
      plain += static_cast<char>((text[at + 1] - '0') << 6 | (text[at + 2] - '0') << 3 | (text[at + 3] - '0'));
      at += 3;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
std::optional<Mount> parse_mount(std::string_view line) {
  const auto words = words_of(line);
  const auto dash = std::ranges::find(words, "-");
  if (words.size() < 9 || words.end() - dash < 3) return std::nullopt;
  const auto number = DeviceNumber::parse(words[2]);
  if (!number) return std::nullopt;
  return Mount{.number = *number,
               .place = unescape(words[4]),
               .file_system = std::string(*(dash + 1)),
               .source = unescape(*(dash + 2))};
}

template <class Each>
void for_each_line(std::string_view text, Each&& each) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

Result<std::string> read_table(const fs::path& file) {
  auto contents = files::read_prefix(file, kMaxTableBytes);
  if (!contents) return fail(std::move(contents.error()));
  return contents->bytes.value_or("");
}

// The device itself, and what shares bytes with it: the partitions of a disk, the disk of a partition.
Result<std::vector<BlockDevice>> sharers_of(const fs::path& sys, const BlockDevice& device) {
  std::vector<BlockDevice> sharers{device};
  const auto add = [&](const std::string& name) -> Result<void> {
    auto other = read_block_device(sys, name);
    if (!other) return std::unexpected(std::move(other.error()));
    sharers.push_back(std::move(*other));
    return {};
  };
  if (device.is_partition()) {
    if (auto added = add(device.disk); !added) return fail(std::move(added.error()));
    return sharers;
  }
  const fs::path folder = sys / "class" / "block" / device.name;
  const auto names = files::list_folder(folder);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    std::error_code error;
    if (!fs::exists(folder / name / "partition", error)) continue;
    if (auto added = add(name); !added) return fail(std::move(added.error()));
  }
  return sharers;
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  for_each_line(text, [&](std::string_view line) {
    if (auto mount = parse_mount(line)) mounts.push_back(std::move(*mount));
  });
  return mounts;
}

Result<std::vector<Mount>> read_mounts(const fs::path& proc) {
  const auto text = read_table(proc / "self" / "mountinfo");
  if (!text) return fail(text.error());
  return parse_mounts(*text);
}

Result<std::vector<std::string>> users_of(const fs::path& sys, const fs::path& proc, const BlockDevice& device) {
  const auto mounts = read_mounts(proc);
  if (!mounts) return fail(mounts.error());
  const auto swaps = read_table(proc / "swaps");
  if (!swaps) return fail(swaps.error());
  const auto sharers = sharers_of(sys, device);
  if (!sharers) return fail(sharers.error());
  std::vector<std::string> users;
  for (const BlockDevice& sharer : *sharers) {
    const std::string whose = sharer.name == device.name ? "it" : sharer.name;
    for (const Mount& mount : *mounts)
      if (mount.number == sharer.number) users.push_back(fmt::format("{} is mounted at {}", whose, mount.place));
    for (const std::string& holder : sharer.holders) users.push_back(fmt::format("{} is held by {}", whose, holder));
    for_each_line(*swaps, [&](std::string_view line) {
      const auto words = words_of(line);
      if (!words.empty() && words.front() == "/dev/" + sharer.name) users.push_back(fmt::format("{} is swap", whose));
    });
  }
  return users;
}

}  // namespace barter::linux_os
