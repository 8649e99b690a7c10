#include "linux/files/bulk_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "linux/sysfs/mount_table.h"
#include "linux/system_error.h"

namespace barter::linux_os {
namespace {

constexpr ::mode_t kNewFile = 0666;  // less the umask

struct Opened {
  Descriptor file;
  bool is_direct = false;
};

// With O_DIRECT, and without where that is refused.
Result<Opened> open_either_way(const FilePlace& place, int flags, const char* doing) {
  for (const int direct : {O_DIRECT, 0}) {
    Descriptor file(::open(place.path.c_str(), flags | direct | O_CLOEXEC, kNewFile));
    if (file.is_open()) return Opened{std::move(file), direct != 0};
    if (direct == 0 || errno != EINVAL) return fail(system_error(errno, doing, place.path.string()));
  }
  return fail({.code = ErrorCode::io_failed, .doing = doing, .subject = place.path.string()});
}

// A block device that somebody uses: who, in words.
Error in_use(const SystemRoots& roots, const FilePlace& place, int number) {
  const std::string& name = place.device->name;
  Error error = system_error(number, "opening for writing", place.path.string());
  if (error.code != ErrorCode::refused || number != EBUSY) return error;
  error.why = fmt::format("{} is in use, and writing to it would destroy what uses it", name);
  if (const auto users = users_of(roots.sys, roots.proc, *place.device); users && !users->empty())
    error.why += fmt::format(": {}", fmt::join(*users, "; "));
  error.cure = "unmount it, or stop what holds it; or copy to a file on it";
  return error;
}

Error no_room(int number, const std::string& path, std::uint64_t bytes) {
  Error error = system_error(number, fmt::format("reserving {} bytes of", bytes), path);
  if (number == ENOSPC || number == EDQUOT) error.cure = "free some space there, or copy less with +LENGTH";
  if (number == EFBIG)
    error.cure = "the file system, or the limit of this user (ulimit -f), allows no file of that size";
  return error;
}

}  // namespace

Result<BulkFile> BulkFile::open_to_read(const FilePlace& place) {
  if (place.kind == PathKind::missing)
    return fail({.code = ErrorCode::not_found,
                 .doing = "opening",
                 .subject = place.path.string(),
                 .why = "there is no such file"});
  auto opened = open_either_way(place, O_RDONLY, "opening");
  if (!opened) return fail(std::move(opened.error()));
  return BulkFile(place, std::move(opened->file), opened->is_direct, false);
}

Result<BulkFile> BulkFile::open_to_write(const SystemRoots& roots, const FilePlace& place) {
  if (place.kind == PathKind::block_device) {
    // Both: who uses it may be seen where O_EXCL doesn't see it (a swap area of another namespace), and the other way round.
    const auto users = users_of(roots.sys, roots.proc, *place.device);
    if (!users) return fail(users.error());
    if (!users->empty()) return fail(in_use(roots, place, EBUSY));
    Descriptor file(::open(place.path.c_str(), O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC));
    if (!file.is_open()) return fail(in_use(roots, place, errno));
    return BulkFile(place, std::move(file), true, false);
  }
  // Made in one step with the look whether it is there, so that was_made() is true of the one who made it.
  const bool missing = place.kind == PathKind::missing;
  auto opened = open_either_way(place, O_RDWR | (missing ? O_CREAT | O_EXCL : 0), "opening for writing");
  if (!opened) return fail(std::move(opened.error()));
  BulkFile file(place, std::move(opened->file), opened->is_direct, missing);
  file.kind_ = PathKind::file;
  return file;
}

Result<void> BulkFile::reserve(std::uint64_t offset, std::uint64_t bytes) {
  if (kind_ == PathKind::block_device) return {};
  constexpr std::uint64_t kMost = std::numeric_limits<::off_t>::max();
  if (offset > kMost || bytes > kMost - offset) return fail(no_room(EFBIG, path_, bytes));
  int result = 0;
  do {
    result = fallocate(file_.number(), 0, static_cast<::off_t>(offset), static_cast<::off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno != EOPNOTSUPP) return fail(no_room(errno, path_, bytes));
  // No way to reserve here: then the file is as long as it will be, and room is found as the bytes come.
  const ::off_t end = lseek(file_.number(), 0, SEEK_END);
  if (end < 0) return fail(no_room(errno, path_, bytes));
  if (static_cast<std::uint64_t>(end) >= offset + bytes) return {};
  return set_size(offset + bytes);
}

void BulkFile::remove() {
  if (was_made_) static_cast<void>(unlink(path_.c_str()));
}

Result<void> BulkFile::set_size(std::uint64_t bytes) {
  if (kind_ == PathKind::block_device) return {};
  while (ftruncate(file_.number(), static_cast<::off_t>(bytes)) != 0)
    if (errno != EINTR) return fail(no_room(errno, path_, bytes));
  return {};
}

}  // namespace barter::linux_os
