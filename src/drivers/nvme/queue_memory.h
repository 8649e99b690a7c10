// The end of the CMB that is kept for submission queues: first fit in whole memory pages, a handful of pieces.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "barter/address.hpp"

namespace barter::drivers::nvme {

class QueueMemory {
 public:
  QueueMemory() = default;
  // Of `bytes`, only what starts and ends on the controller's memory pages is given out.
  QueueMemory(std::span<std::byte> bytes, DmaAddress address, std::uint64_t page_bytes) : page_bytes_(page_bytes) {
    const std::uint64_t skip = (page_bytes - address.value % page_bytes) % page_bytes;
    if (skip >= bytes.size()) return;
    bytes_ = bytes.subspan(skip);
    address_ = address + skip;
  }

  struct Piece {
    std::span<std::byte> bytes;
    DmaAddress address;
  };
  [[nodiscard]] std::optional<Piece> allocate(std::uint64_t bytes) {
    const std::uint64_t size = (bytes + page_bytes_ - 1) / page_bytes_ * page_bytes_;
    std::uint64_t at = 0;
    std::size_t place = 0;
    for (; place < used_.size() && used_[place].at - at < size; ++place) at = used_[place].at + used_[place].bytes;
    if (at > bytes_.size() || bytes_.size() - at < size) return std::nullopt;
    used_.insert(used_.begin() + static_cast<std::ptrdiff_t>(place), Used{at, size});
    return Piece{bytes_.subspan(at, bytes), address_ + at};
  }
  // A span that allocate() gave, or an empty one, which is nothing.
  void free(std::span<std::byte> bytes) {
    std::erase_if(used_, [&](const Used& used) { return !bytes.empty() && bytes_.data() + used.at == bytes.data(); });
  }

 private:
  struct Used {
    std::uint64_t at;
    std::uint64_t bytes;
  };
  std::span<std::byte> bytes_;
  DmaAddress address_;
  std::uint64_t page_bytes_ = 4096;
  std::vector<Used> used_;  // in order
};

}  // namespace barter::drivers::nvme
