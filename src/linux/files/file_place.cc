#include "linux/files/file_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "linux/descriptor.h"
#include "linux/sysfs/mount_table.h"
#include "linux/system_error.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDoing = "looking at";

std::unexpected<Error> refuse(ErrorCode code, const fs::path& path, std::string why, std::string cure = {}) {
  return fail(
      {.code = code, .doing = kDoing, .subject = path.string(), .why = std::move(why), .cure = std::move(cure)});
}

constexpr unsigned kWanted = STATX_BASIC_STATS | STATX_DIOALIGN;

// What a new file in this folder would be like: one without a name is made and goes away again.
std::optional<struct statx> status_of_new_file(const fs::path& folder) {
  const Descriptor file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  struct statx status{};
  if (!file.is_open() || statx(file.number(), "", AT_EMPTY_PATH, kWanted, &status) != 0) return std::nullopt;
  return status;
}

Result<struct statx> status_of(const fs::path& path) {
  struct statx status{};
  if (statx(AT_FDCWD, path.c_str(), AT_STATX_SYNC_AS_STAT, kWanted, &status) != 0)
    return fail(system_error(errno, kDoing, path.string()));
  return status;
}

// Of the mounts with this number, the one whose place is the longest beginning of the path.
std::optional<Mount> mount_of(std::vector<Mount> mounts, DeviceNumber number, const fs::path& path) {
  std::optional<Mount> best;
  for (Mount& mount : mounts) {
    if (mount.number != number) continue;
    const bool above =
        std::ranges::mismatch(fs::path(mount.place), path).in1 == fs::path(mount.place).end() || mount.place == "/";
    if (!best || (above && mount.place.size() >= best->place.size())) best = std::move(mount);
  }
  return best;
}

// A file system that has no block device of its own says so by a device number that the kernel made up.
void explain_no_device(FilePlace& place) {
  const std::string& name = place.file_system_name;
  if (name == "btrfs") {
    place.why_not_direct = "btrfs spreads its files over block devices of its own and takes no memory of peers";
  } else if (name == "overlay") {
    place.why_not_direct = "an overlay has no block device of its own, and where the file really lies can't be told";
    place.cure = "use the file's path in the file system below";
  } else {
    place.why_not_direct =
        fmt::format("{} has no block device of its own", name.empty() ? "the file system" : "the file system " + name);
  }
}

Result<void> find_device(const SystemRoots& roots, FilePlace& place, DeviceNumber number) {
  auto name = block_device_name(roots.sys, number);
  if (!name) {
    if (place.kind == PathKind::block_device) return fail(std::move(name.error()));
    explain_no_device(place);
    return {};
  }
  auto device = read_block_device(roots.sys, *name);
  if (!device) return fail(std::move(device.error()));
  place.why_not_direct = device->why_not_direct;
  place.cure = device->cure;
  place.device = std::move(*device);
  return {};
}

void look_at_alignment(FilePlace& place, const struct statx& status) {
  if ((status.stx_mask & STATX_DIOALIGN) != 0) {
    place.direct_offset_bytes = status.stx_dio_offset_align;
    place.direct_memory_bytes = status.stx_dio_mem_align;
  }
  if (place.kind == PathKind::block_device || !place.why_not_direct.empty()) return;
  // Where O_DIRECT is not possible, some file systems take it and go through the page cache all the same.
  if (!place.direct_offset_bytes) {
    place.why_not_direct = "the kernel does not say whether this file can be read and written past the page cache";
    place.cure = "use Linux 6.1 or later, and a file system that says it: ext4, xfs, f2fs";
  } else if (*place.direct_offset_bytes == 0) {
    place.why_not_direct = fmt::format("{} can't read and write this file past the page cache (O_DIRECT)",
                                       place.file_system_name.empty() ? "the file system" : place.file_system_name);
    place.cure = "data journalling, encryption, compression and fs-verity are what usually stands against it";
  }
}

}  // namespace

Result<FilePlace> find_place(const SystemRoots& roots, const fs::path& path) {
  FilePlace place{.path = path};
  auto status = status_of(path);
  if (!status && status.error().code == ErrorCode::not_found) {
    if (path.filename().empty()) return refuse(ErrorCode::not_found, path, "there is no such folder");
    place.not_there = status.error();
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    status = status_of(folder);
    if (!status)
      return refuse(ErrorCode::not_found, path, "there is no such file, nor a folder where it could be made");
    if (!S_ISDIR(status->stx_mode)) return refuse(ErrorCode::not_found, path, "the path to it leads through a file");
    if (const auto like = status_of_new_file(folder)) status = *like;
  } else if (!status) {
    return fail(std::move(status.error()));
  } else if (S_ISBLK(status->stx_mode)) {
    place.kind = PathKind::block_device;
  } else if (S_ISREG(status->stx_mode)) {
    place.kind = PathKind::file;
    place.size_bytes = status->stx_size;
    place.inode = status->stx_ino;
  } else {
    return refuse(ErrorCode::invalid_argument, path,
                  S_ISDIR(status->stx_mode) ? "it is a folder" : "it is neither a file nor a block device",
                  "name a file, a block device, or a drive");
  }
  place.file_system = {status->stx_dev_major, status->stx_dev_minor};
  DeviceNumber number = place.file_system;
  if (place.kind == PathKind::block_device) {
    number = {status->stx_rdev_major, status->stx_rdev_minor};
  } else {
    auto mounts = read_mounts(roots.proc);
    if (!mounts) return fail(std::move(mounts.error()));
    std::error_code ignored;
    if (auto mount = mount_of(std::move(*mounts), number, fs::absolute(path, ignored))) {
      place.file_system_name = std::move(mount->file_system);
      place.mounted_at = std::move(mount->place);
    }
  }
  // A device that has gone, or a typo: what would be made there is a file that fills the memory.
  if (place.kind == PathKind::missing && place.file_system_name == "devtmpfs")
    return refuse(ErrorCode::not_found, path, "there is no such device", "lsblk lists them");
  if (auto found = find_device(roots, place, number); !found) return fail(std::move(found.error()));
  if (place.kind == PathKind::block_device) place.size_bytes = place.device->size_bytes;
  look_at_alignment(place, *status);
  return place;
}

}  // namespace barter::linux_os
