#include "linux/p2pdma/p2pmem_exporter.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cassert>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "topology/load_sysfs_files.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPageBytes = 4096;
// Far above any pool; keeps a broken attribute from eating the address space.
constexpr std::uint64_t kMaxPoolBytes = std::uint64_t{1} << 44;

// Addresses that nothing else is placed at.
void* reserve_addresses(void* at, std::uint64_t bytes, int fixed) {
  return mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

}  // namespace

Result<std::optional<P2pmemPool>> read_p2pmem(const fs::path& device) {
  const fs::path folder = device / "p2pmem";
  const auto read = [&](const char* name, std::uint64_t most) {
    return topology::sysfs::read_number(folder / name, most);
  };
  const auto size = read("size", kMaxPoolBytes);
  if (!size) return fail(size.error());
  if (!*size) return std::nullopt;
  const auto available = read("available", kMaxPoolBytes);
  if (!available) return fail(available.error());
  const auto published = read("published", 1);
  if (!published) return fail(published.error());
  return P2pmemPool{
      .size_bytes = **size, .available_bytes = available->value_or(0), .is_published = published->value_or(0) == 1};
}

Result<std::unique_ptr<P2pmemExporter>> P2pmemExporter::open(const fs::path& device, Bdf function) {
  const auto refuse = [&](ErrorCode code, std::string why, std::string cure = {}) {
    return fail({.code = code,
                 .doing = "opening the memory of",
                 .subject = function.to_string(),
                 .why = std::move(why),
                 .cure = std::move(cure)});
  };
  const auto pool = read_p2pmem(device);
  if (!pool) return fail(pool.error());
  if (!*pool)
    return refuse(ErrorCode::unsupported, "the kernel lends no memory of it (it has no p2pmem folder in sysfs)",
                  "barter doctor says why");
  if (!(*pool)->is_published)
    return refuse(
        ErrorCode::unsupported,
        "its driver does not publish its memory to peers: a controller memory buffer that lacks RDS or WDS has "
        "not promised to take data of both directions");
  const std::uint64_t bytes = (*pool)->size_bytes / kPageBytes * kPageBytes;
  if (bytes == 0) return refuse(ErrorCode::malformed, "its memory has no whole page");
  const fs::path file = device / "p2pmem" / "allocate";
  Descriptor allocate(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!allocate.is_open()) {
    Error error = system_error(errno, "opening the memory of", file.string());
    if (error.code == ErrorCode::not_found) {
      error.why = "the kernel lends no memory to processes";
      error.cure = "use Linux 6.2 or later";
    }
    return fail(std::move(error));
  }
  void* const addresses = reserve_addresses(nullptr, bytes, 0);
  if (addresses == MAP_FAILED) return fail(system_error(errno, "reserving addresses for the memory of", file.string()));
  return std::unique_ptr<P2pmemExporter>(
      new P2pmemExporter(device, function, std::move(allocate), {static_cast<std::byte*>(addresses), bytes}));
}

P2pmemExporter::P2pmemExporter(fs::path device, Bdf function, Descriptor allocate, std::span<std::byte> addresses)
    : device_(std::move(device)), function_(function), allocate_(std::move(allocate)), addresses_(addresses) {}

P2pmemExporter::~P2pmemExporter() { munmap(addresses_.data(), addresses_.size()); }

BusAddress P2pmemExporter::bus_address() const { return {reinterpret_cast<std::uintptr_t>(addresses_.data())}; }

bool P2pmemExporter::contains(const void* address) const {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at - bus_address().value < addresses_.size();
}

std::span<std::byte> P2pmemExporter::cpu_bytes(MemoryRange range) {
  const std::lock_guard lock(mutex_);
  auto chunk = chunks_.upper_bound(range.offset);
  if (chunk == chunks_.begin()) return {};
  --chunk;
  if (!MemoryRange{chunk->first, chunk->second}.contains(range)) return {};
  return addresses_.subspan(range.offset, range.bytes);
}

Error P2pmemExporter::exhausted(std::uint64_t bytes) const {
  Error error{.code = ErrorCode::exhausted,
              .doing = "taking memory of",
              .subject = function_.to_string(),
              .why = fmt::format("the kernel has no {} contiguous bytes of it", bytes),
              .cure = "wait for the others that use it, ask for less, or go by way of host memory"};
  if (const auto pool = read_p2pmem(device_); pool && *pool)
    error.why += fmt::format(": {} of {} bytes are free", (*pool)->available_bytes, (*pool)->size_bytes);
  return error;
}

Result<void> P2pmemExporter::acquire(MemoryRange range) {
  assert(range.offset % kPageBytes == 0 && range.bytes % kPageBytes == 0);
  // Mapped anywhere first and moved into its place then: a refusal leaves the place reserved.
  void* const chunk = mmap(nullptr, range.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, allocate_.number(), 0);
  if (chunk == MAP_FAILED) {
    if (errno == ENOMEM || errno == EAGAIN) return fail(exhausted(range.bytes));
    return fail(system_error(errno, "taking memory of", function_.to_string()));
  }
  // A child of fork() would keep what is given back here.
  (void)madvise(chunk, range.bytes, MADV_DONTFORK);
  std::byte* const place = addresses_.data() + range.offset;
  if (mremap(chunk, range.bytes, range.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) {
    const int number = errno;
    munmap(chunk, range.bytes);
    return fail(system_error(number, "placing memory of", function_.to_string()));
  }
  const std::lock_guard lock(mutex_);
  chunks_[range.offset] = range.bytes;
  return {};
}

void P2pmemExporter::release(MemoryRange range) {
  {
    const std::lock_guard lock(mutex_);
    chunks_.erase(range.offset);
  }
  // Reserving the addresses anew takes the pages from under them in the same step. It fails only where the kernel has no
  // memory for one more entry of the map of addresses; the chunk then stays ours until the end.
  static_cast<void>(reserve_addresses(addresses_.data() + range.offset, range.bytes, MAP_FIXED));
}

}  // namespace barter::linux_os
