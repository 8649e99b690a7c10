#include "devices/anonymous_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace barter::devices {
namespace {
// Of every processor that this runs on, or a multiple of it.
constexpr std::uint64_t kPageBytes = 65536;
}  // namespace

Result<AnonymousMemory> AnonymousMemory::create(std::uint64_t size_bytes) {
  if (size_bytes == 0) return AnonymousMemory();
  const Error error{.code = ErrorCode::exhausted,
                    .doing = "reserving memory for a software device",
                    .subject = std::to_string(size_bytes) + " bytes",
                    .why = "the operating system has no address space for it",
                    .cure = "give the device less memory, or back the drive with a file"};
  if (size_bytes > PTRDIFF_MAX) return fail(error);
  void* start = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return fail(error);
  // Fewer misses of the translation cache when blocks are read at random. Only a wish: failure changes nothing.
  static_cast<void>(madvise(start, size_bytes, MADV_HUGEPAGE));
  return AnonymousMemory({static_cast<std::byte*>(start), size_bytes});
}

AnonymousMemory::~AnonymousMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

void AnonymousMemory::zero(std::uint64_t offset, std::uint64_t size_bytes) {
  if (size_bytes == 0) return;  // also of no memory at all, which has no address
  const std::uint64_t end = offset + size_bytes;
  const std::uint64_t first_page = (offset + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uint64_t last_page = end / kPageBytes * kPageBytes;
  const bool gives_pages_back =
      first_page < last_page && madvise(bytes_.data() + first_page, last_page - first_page, MADV_DONTNEED) == 0;
  if (!gives_pages_back) {
    std::memset(bytes_.data() + offset, 0, size_bytes);
    return;
  }
  std::memset(bytes_.data() + offset, 0, first_page - offset);
  std::memset(bytes_.data() + last_page, 0, end - last_page);
}

}  // namespace barter::devices
