// The host's memory: one arena that lies at kHostMemoryBase on the bus, handed out in page-aligned pieces that know what
// they are for. Addresses outside every piece are nobody's, so that a late DMA to a freed buffer is seen, not absorbed.
// Not thread-safe: System's mutex guards it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "pci/function.h"

namespace barter::fabric {

// Above everything that 32-bit windows may claim.
inline constexpr std::uint64_t kHostMemoryBase = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kPageBytes = 4096;

class HostMemory {
 public:
  struct Piece {
    std::uint64_t start = 0;  // on the bus
    std::uint64_t bytes = 0;  // whole pages
    pci::DmaUse use = pci::DmaUse::control;
  };

  // Reserves addresses for `limit_bytes`; pages come into being when they are touched.
  [[nodiscard]] static Result<std::unique_ptr<HostMemory>> create(std::uint64_t limit_bytes);
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  // Zeroed. Pieces of 2 MiB and more are aligned to 2 MiB, so that the IOMMU can map them with superpages.
  [[nodiscard]] Result<Piece> allocate(std::uint64_t bytes, pci::DmaUse use);
  // `start` is what allocate() gave.
  void release(std::uint64_t start);
  // The piece that contains this bus address, or null.
  [[nodiscard]] const Piece* find(std::uint64_t address) const;
  // The memory at a bus address inside a piece.
  [[nodiscard]] std::byte* at(std::uint64_t address) const { return arena_ + (address - kHostMemoryBase); }
  // The bus address of memory in the arena; none for memory that is not. Any thread.
  [[nodiscard]] std::optional<std::uint64_t> bus_address_of(std::span<const std::byte> memory) const;
  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }
  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }

 private:
  HostMemory(std::byte* arena, std::uint64_t limit_bytes);
  void give_back(std::uint64_t start, std::uint64_t bytes);

  std::byte* arena_;
  std::uint64_t limit_bytes_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t touched_end_;                    // memory from here on has never been handed out: it is still zero
  std::map<std::uint64_t, std::uint64_t> free_;  // start to bytes, never two that touch
  std::map<std::uint64_t, Piece> pieces_;
};

}  // namespace barter::fabric
