// A file as a drive's medium. This is the one file in this room that speaks to the operating system about files, so it
// translates errno itself.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "devices/nvme/backing.h"

namespace barter::devices::nvme {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }

 private:
  int number_;
};

Error explain(int error, const char* doing, const std::filesystem::path& file, std::uint64_t offset) {
  Error result{.code = ErrorCode::io_failed, .doing = doing, .subject = file.string()};
  if (offset != 0) result.where = "byte " + std::to_string(offset);
  switch (error) {
    case ENOENT:
      result.code = ErrorCode::not_found;
      result.why = "there is no such file";
      result.cure = "check the name, or make the file first, for example with truncate -s 1G FILE";
      break;
    case ENOSPC:
    case EDQUOT:
      result.why = "no space left on its file system";
      result.cure = "free some space there, or put the file elsewhere";
      break;
    case EACCES:
    case EPERM:
      result.code = ErrorCode::refused;
      result.why = "this user may not open it";
      result.cure = "change the file's permissions";
      break;
    default:
      result.why = std::generic_category().message(error);
  }
  return result;
}

class FileBacking final : public Backing {
 public:
  FileBacking(std::filesystem::path file, Descriptor descriptor, std::string identity, std::uint64_t size_bytes,
              bool is_read_only)
      : file_(std::move(file)),
        descriptor_(std::move(descriptor)),
        identity_(std::move(identity)),
        size_bytes_(size_bytes),
        is_read_only_(is_read_only) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  bool is_read_only() const override { return is_read_only_; }
  std::string identity() const override { return identity_; }

  Result<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    while (!into.empty()) {
      const ssize_t got = pread(descriptor_.number(), into.data(), into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(explain(errno, "reading the drive's file", file_, offset));
      if (got == 0) {  // behind the end of the file
        std::memset(into.data(), 0, into.size());
        return {};
      }
      into = into.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return {};
  }

  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override {
    while (!from.empty()) {
      const ssize_t put = pwrite(descriptor_.number(), from.data(), from.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return fail(explain(errno, "writing the drive's file", file_, offset));
      if (put == 0) return fail(explain(ENOSPC, "writing the drive's file", file_, offset));
      from = from.subspan(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
    return {};
  }

  Result<void> flush() override {
    if (is_read_only_) return {};
    while (fdatasync(descriptor_.number()) != 0) {
      if (errno == EINTR) continue;
      if (errno == EINVAL || errno == EROFS) return {};  // a file that has nothing to make durable
      return fail(explain(errno, "making the drive's file durable", file_, 0));
    }
    return {};
  }

  Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) override {
    if (allocate(FALLOC_FL_KEEP_SIZE, offset, bytes)) return {};
    if (errno == EOPNOTSUPP || errno == ENODEV) return {};  // the file system can't reserve; a write will tell
    return fail(explain(errno, "reserving space in the drive's file", file_, offset));
  }

  Result<void> zero(std::uint64_t offset, std::uint64_t bytes) override {
    if (allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes)) return {};
    if (errno == EOPNOTSUPP || errno == ENODEV) return Backing::zero(offset, bytes);
    return fail(explain(errno, "zeroing a part of the drive's file", file_, offset));
  }

 private:
  bool allocate(int mode, std::uint64_t offset, std::uint64_t bytes) {
    if (bytes == 0) return true;
    int result = 0;
    do {
      result = fallocate(descriptor_.number(), mode, static_cast<off_t>(offset), static_cast<off_t>(bytes));
    } while (result != 0 && errno == EINTR);
    return result == 0;
  }

  const std::filesystem::path file_;
  const Descriptor descriptor_;
  const std::string identity_;
  const std::uint64_t size_bytes_;
  const bool is_read_only_;
};

}  // namespace

Result<std::unique_ptr<Backing>> open_file_backing(const std::filesystem::path& file, std::uint32_t block_bytes) {
  constexpr const char* kDoing = "opening the drive's file";
  bool is_read_only = false;
  Descriptor descriptor(open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!descriptor.is_open() && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY)) {
    is_read_only = true;
  } else if (!descriptor.is_open()) {
    return fail(explain(errno, kDoing, file, 0));
  }
  Descriptor opened = is_read_only ? Descriptor(open(file.c_str(), O_RDONLY | O_CLOEXEC)) : std::move(descriptor);
  if (!opened.is_open()) return fail(explain(errno, kDoing, file, 0));

  struct stat facts{};
  if (fstat(opened.number(), &facts) != 0) return fail(explain(errno, kDoing, file, 0));
  Error error{.code = ErrorCode::invalid_argument, .doing = kDoing, .subject = file.string()};
  if (!S_ISREG(facts.st_mode)) {
    error.why = "it is not a regular file";
    error.cure = "give the name of a disk image or other regular file";
    return fail(std::move(error));
  }
  if (facts.st_size == 0) {
    error.why = "it is empty, and a drive has at least one block";
    error.cure = "give it the size that the drive is to have, for example with truncate -s 1G";
    return fail(std::move(error));
  }
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  const std::uint64_t whole = (size + block_bytes - 1) / block_bytes * block_bytes;
  std::string identity = "file " + std::to_string(facts.st_dev) + " " + std::to_string(facts.st_ino);
  return std::make_unique<FileBacking>(file, std::move(opened), std::move(identity), whole, is_read_only);
}

}  // namespace barter::devices::nvme
