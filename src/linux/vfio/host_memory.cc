#include "linux/vfio/host_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "linux/system_error.h"

namespace barter::linux_os::vfio {
namespace {

// Of one buffer. Beyond it a size is a mistake, and rounding it up to pages would wrap around.
constexpr std::uint64_t kMaxBufferBytes = std::uint64_t{1} << 40;

// Zeroed memory, whole pages; a large piece starts at a superpage, so that the kernel may back it by huge pages and the
// IOMMU map those by one entry each.
Result<std::span<std::byte>> map_anonymous(std::uint64_t bytes, const std::string& name) {
  const std::uint64_t whole = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uint64_t slack = whole >= kSuperpageBytes ? kSuperpageBytes : 0;
  void* const room =
      mmap(nullptr, whole + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED)
    return fail(system_error(errno, fmt::format("allocating {} bytes of host memory for", bytes), name));
  auto* start = static_cast<std::byte*>(room);
  if (slack != 0) {
    const std::uint64_t skip = -reinterpret_cast<std::uintptr_t>(start) % kSuperpageBytes;
    if (skip != 0) munmap(start, skip);
    start += skip;
    if (slack != skip) munmap(start + whole, slack - skip);
    (void)madvise(start, whole, MADV_HUGEPAGE);
  }
  // A child process that the program starts must not take the pages away by copy on write.
  (void)madvise(start, whole, MADV_DONTFORK);
  return std::span(start, whole);
}

}  // namespace

Result<pci::DmaBuffer> allocate_host_memory(const std::shared_ptr<Host>& host, const std::shared_ptr<Group>& group,
                                            std::uint64_t bytes, const std::string& name) {
  if (bytes == 0 || bytes > kMaxBufferBytes)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = fmt::format("allocating {} bytes of host memory for", bytes),
                 .subject = name,
                 .why = fmt::format("a buffer has 1 to {} bytes", kMaxBufferBytes)});
  auto memory = map_anonymous(bytes, name);
  if (!memory) return fail(std::move(memory.error()));
  auto address = group->map(*memory, Access::read_write);
  if (!address) {
    munmap(memory->data(), memory->size());
    return fail(std::move(address.error()));
  }
  host->lend(*memory);
  return pci::DmaBuffer(memory->first(bytes), *address, [host, group, whole = *memory, at = *address] {
    host->take_back(whole);
    // Memory that a device may still write to is never given to anyone else.
    if (group->unmap(at, whole.size())) munmap(whole.data(), whole.size());
  });
}

Result<pci::DmaBuffer> share_host_memory(const std::shared_ptr<Host>& host, const std::shared_ptr<Group>& group,
                                         const pci::DmaBuffer& other) {
  const std::span<std::byte> bytes = other.bytes();
  if (bytes.empty())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "sharing host memory with",
                 .subject = fmt::format("IOMMU group {}", group->number()),
                 .why = "it is empty"});
  const std::uint64_t lead = reinterpret_cast<std::uintptr_t>(bytes.data()) % kPageBytes;
  const std::uint64_t whole = (lead + bytes.size() + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::span<std::byte> pages(bytes.data() - lead, whole);
  auto address = group->map(pages, Access::read_write);
  if (!address) return fail(std::move(address.error()));
  return pci::DmaBuffer(bytes, *address + lead, [host, group, at = *address, whole] { (void)group->unmap(at, whole); });
}

}  // namespace barter::linux_os::vfio
