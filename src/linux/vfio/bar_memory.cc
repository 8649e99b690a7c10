#include "linux/vfio/bar_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>
#include <vector>

#include "linux/system_error.h"
#include "linux/vfio/group.h"

namespace barter::linux_os::vfio {
namespace {

// What takes the place of a BAR that is turned off is made of copies of one piece of ones. Larger BARs than this get pages
// of zeros, so that hiding them stays a matter of a few system calls.
constexpr std::uint64_t kOnesBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxHiddenByOnes = std::uint64_t{256} << 20;

// A file of kOnesBytes ones, made at the first need and never changed: each mapping of it is private.
int ones_file() {
  static const Descriptor file = [] {
    Descriptor made(memfd_create("ones", MFD_CLOEXEC));
    const std::vector<std::byte> ones(kOnesBytes, std::byte{0xff});
    if (!made.is_open() || pwrite(made.number(), ones.data(), ones.size(), 0) != static_cast<ssize_t>(ones.size()))
      return Descriptor();
    return made;
  }();
  return file.number();
}

}  // namespace

Result<std::shared_ptr<BarMemory>> BarMemory::create(std::shared_ptr<const Descriptor> device, std::string name,
                                                     RegionInfo info, BusAddress address) {
  std::shared_ptr<BarMemory> memory(new BarMemory(std::move(device), std::move(name), std::move(info), address));
  if (auto reserved = memory->reserve(); !reserved) return fail(std::move(reserved.error()));
  return memory;
}

Result<void> BarMemory::reserve() {
  if (info_.mappable.empty()) return {};
  // Aligned to a superpage, so that a peer's IOMMU may map a large BAR by a few entries.
  reserved_bytes_ = (info_.size_bytes + 2 * kSuperpageBytes - 1) / kSuperpageBytes * kSuperpageBytes;
  void* const room = mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return fail(system_error(errno, "finding room for a BAR of", name_));
  auto* const start = static_cast<std::byte*>(room);
  const std::uint64_t skip = -reinterpret_cast<std::uintptr_t>(start) % kSuperpageBytes;
  if (skip != 0) munmap(start, skip);
  base_ = start + skip;
  reserved_bytes_ -= skip;
  return {};
}

BarMemory::~BarMemory() {
  if (base_ != nullptr) munmap(base_, reserved_bytes_);
}

std::span<std::byte> BarMemory::view(std::uint64_t offset, std::uint64_t bytes) const {
  for (const RegionArea& area : info_.mappable)
    if (offset >= area.offset_bytes && bytes <= area.bytes && offset - area.offset_bytes <= area.bytes - bytes)
      return {base_ + offset, bytes};
  return {};
}

template <class Word>
Word BarMemory::load(std::uint64_t offset) const {
  assert(offset % sizeof(Word) == 0 && offset < size_bytes() && sizeof(Word) <= size_bytes() - offset);
  if (!is_shown()) return static_cast<Word>(~Word{0});
  Word value{};
  if (const auto bytes = view(offset, sizeof(Word)); !bytes.empty()) [[likely]]
    value = *reinterpret_cast<const volatile Word*>(bytes.data());
  else if (pread(device_->number(), &value, sizeof value, static_cast<off_t>(info_.file_offset_bytes + offset)) !=
           static_cast<ssize_t>(sizeof value))
    value = static_cast<Word>(~Word{0});
  // What the caller reads next from memory is read after this (docs/memory-order.md, rule 2). On x86 the processor keeps
  // that order by itself, and this keeps the compiler to it.
  std::atomic_thread_fence(std::memory_order_acquire);
  return value;
}

template <class Word>
void BarMemory::store(std::uint64_t offset, Word value) {
  assert(offset % sizeof(Word) == 0 && offset < size_bytes() && sizeof(Word) <= size_bytes() - offset);
  if (!is_shown()) return;
  // Rule 1: what was stored to memory before is there for the device that sees this store. On x86 stores to uncached memory
  // follow stores to cached memory; elsewhere the fence is an instruction.
  std::atomic_thread_fence(std::memory_order_release);
  if (const auto bytes = view(offset, sizeof(Word)); !bytes.empty()) [[likely]]
    *reinterpret_cast<volatile Word*>(bytes.data()) = value;
  else
    (void)!pwrite(device_->number(), &value, sizeof value, static_cast<off_t>(info_.file_offset_bytes + offset));
  // And the compiler moves no later store of memory before it.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

template std::uint32_t BarMemory::load<std::uint32_t>(std::uint64_t) const;
template std::uint64_t BarMemory::load<std::uint64_t>(std::uint64_t) const;
template void BarMemory::store<std::uint32_t>(std::uint64_t, std::uint32_t);
template void BarMemory::store<std::uint64_t>(std::uint64_t, std::uint64_t);

// Each call replaces what is mapped there in one step: no other thread finds a hole.
void BarMemory::cover(const RegionArea& area) {
  constexpr int kAnyway = MAP_PRIVATE | MAP_FIXED;
  const int ones = area.bytes <= kMaxHiddenByOnes ? ones_file() : -1;
  const std::uint64_t step = ones >= 0 ? kOnesBytes : area.bytes;
  for (std::uint64_t done = 0; done < area.bytes; done += step) {
    const std::uint64_t bytes = std::min(step, area.bytes - done);
    std::byte* const at = base_ + area.offset_bytes + done;
    if (ones >= 0 && mmap(at, bytes, PROT_READ | PROT_WRITE, kAnyway, ones, 0) != MAP_FAILED) continue;
    (void)mmap(at, bytes, PROT_READ | PROT_WRITE, kAnyway | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
}

void BarMemory::hide() {
  is_shown_.store(false, std::memory_order_release);
  for (const RegionArea& area : info_.mappable) cover(area);
}

Result<void> BarMemory::show() {
  const int protection = (info_.is_readable ? PROT_READ : 0) | (info_.is_writable ? PROT_WRITE : 0);
  for (const RegionArea& area : info_.mappable) {
    std::byte* const at = base_ + area.offset_bytes;
    if (mmap(at, area.bytes, protection, MAP_SHARED | MAP_FIXED, device_->number(),
             static_cast<off_t>(info_.file_offset_bytes + area.offset_bytes)) == MAP_FAILED)
      return fail(system_error(errno, "mapping a BAR of", name_));
    // A child of fork() would keep what is taken back here.
    (void)madvise(at, area.bytes, MADV_DONTFORK);
  }
  is_shown_.store(true, std::memory_order_release);
  return {};
}

}  // namespace barter::linux_os::vfio
