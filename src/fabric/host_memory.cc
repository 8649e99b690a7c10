#include "fabric/host_memory.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iterator>

#include <sys/mman.h>

#include <fmt/format.h>

namespace barter::fabric {
namespace {

constexpr std::uint64_t kSuperpageBytes = std::uint64_t{2} << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

HostMemory::HostMemory(std::byte* arena, std::uint64_t limit_bytes)
    : arena_(arena), limit_bytes_(limit_bytes), touched_end_(kHostMemoryBase) {
  free_.emplace(kHostMemoryBase, limit_bytes);
}

Result<std::unique_ptr<HostMemory>> HostMemory::create(std::uint64_t limit_bytes) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
  if (limit_bytes < kPageBytes || limit_bytes > kMostBytes)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "making the host memory of a software machine",
                 .subject = fmt::format("of {} bytes", limit_bytes),
                 .why = fmt::format("it must have from {} to {} bytes", kPageBytes, kMostBytes)});
  limit_bytes = round_up(limit_bytes, kPageBytes);
  void* arena = mmap(nullptr, limit_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "making the host memory of a software machine",
                 .subject = fmt::format("of {} bytes", limit_bytes),
                 .why = "the system has no address space left for it",
                 .cure = "set a lower host_memory_bytes, or raise the limit (ulimit -v)"});
  return std::unique_ptr<HostMemory>(new HostMemory(static_cast<std::byte*>(arena), limit_bytes));
}

HostMemory::~HostMemory() { munmap(arena_, limit_bytes_); }

Result<HostMemory::Piece> HostMemory::allocate(std::uint64_t bytes, pci::DmaUse use) {
  const auto refuse = [bytes](ErrorCode code, std::string why, std::string cure) {
    return fail({.code = code,
                 .doing = "allocating host memory for DMA",
                 .subject = fmt::format("of {} bytes", bytes),
                 .why = std::move(why),
                 .cure = std::move(cure)});
  };
  if (bytes == 0) return refuse(ErrorCode::invalid_argument, "there is nothing to allocate", "");
  if (bytes <= limit_bytes_) {
    const std::uint64_t whole = round_up(bytes, kPageBytes);
    const std::uint64_t alignment = whole >= kSuperpageBytes ? kSuperpageBytes : kPageBytes;
    for (auto extent = free_.begin(); extent != free_.end(); ++extent) {
      const auto [start, size] = *extent;
      const std::uint64_t aligned = round_up(start, alignment);
      if (aligned - start > size || size - (aligned - start) < whole) continue;
      free_.erase(extent);
      if (aligned > start) free_.emplace(start, aligned - start);
      if (aligned + whole < start + size) free_.emplace(aligned + whole, start + size - aligned - whole);
      if (aligned < touched_end_) std::memset(at(aligned), 0, std::min(whole, touched_end_ - aligned));
      touched_end_ = std::max(touched_end_, aligned + whole);
      used_bytes_ += whole;
      return pieces_.emplace(aligned, Piece{aligned, whole, use}).first->second;
    }
  }
  return refuse(ErrorCode::exhausted,
                fmt::format("{} of {} bytes of host memory are in use", used_bytes_, limit_bytes_),
                "free some buffers, or set a higher host_memory_bytes");
}

void HostMemory::release(std::uint64_t start) {
  const auto piece = pieces_.find(start);
  assert(piece != pieces_.end());
  if (piece == pieces_.end()) return;
  const std::uint64_t bytes = piece->second.bytes;
  pieces_.erase(piece);
  used_bytes_ -= bytes;
  give_back(start, bytes);
}

void HostMemory::give_back(std::uint64_t start, std::uint64_t bytes) {
  auto next = free_.lower_bound(start);
  if (next != free_.end() && next->first == start + bytes) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == start) {
      previous->second += bytes;
      return;
    }
  }
  free_.emplace(start, bytes);
}

const HostMemory::Piece* HostMemory::find(std::uint64_t address) const {
  auto piece = pieces_.upper_bound(address);
  if (piece == pieces_.begin()) return nullptr;
  --piece;
  return address - piece->second.start < piece->second.bytes ? &piece->second : nullptr;
}

std::optional<std::uint64_t> HostMemory::bus_address_of(std::span<const std::byte> memory) const {
  // Compared as numbers: pointers into different arrays have no order.
  const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
  const auto arena = reinterpret_cast<std::uintptr_t>(arena_);
  if (memory.empty() || start < arena || start - arena >= limit_bytes_) return std::nullopt;
  if (memory.size() > limit_bytes_ - (start - arena)) return std::nullopt;
  return kHostMemoryBase + (start - arena);
}

}  // namespace barter::fabric
