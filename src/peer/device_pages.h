// Pages of one device's memory, for managed memory to live in. They come from regions of up to 2 MiB, because a region costs a
// call of the exporter. Of those whose pages are all free, one is kept for a page that comes and goes; the others go back.
//
// Threads: any.
#pragma once
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "peer/exchange.h"
#include "peer/fault_source.h"
#include "peer/pool.h"

namespace barter::peer {

inline constexpr std::uint64_t kMaxPagesInChunk = 512;

// Memory of the device: up to kMaxPagesInChunk pages that lie together. Whoever holds a share may use its region.
struct DeviceChunk {
  Region region;
  std::span<std::byte> cpu_bytes;  // empty: the CPU has no view
};

// Pages of one chunk.
struct DeviceRun {
  std::uint32_t first = 0;  // chunk 31:9, page of it 8:0
  std::uint32_t count = 0;
  [[nodiscard]] std::uint32_t chunk() const { return first / kMaxPagesInChunk; }
  [[nodiscard]] std::uint64_t offset_bytes() const { return first % kMaxPagesInChunk * kPageBytes; }
};

class DevicePages {
 public:
  // Both outlive it.
  DevicePages(Exchange& exchange, Exporter& exporter) : exchange_(exchange), exporter_(exporter) {}
  DevicePages(const DevicePages&) = delete;
  DevicePages& operator=(const DevicePages&) = delete;

  [[nodiscard]] Exporter& exporter() const { return exporter_; }
  // At least one page and at most `count`, in one run: the longest that is easily had. ErrorCode::exhausted: the device has
  // none.
  [[nodiscard]] Result<DeviceRun> allocate(std::uint32_t count);
  void free(DeviceRun run);
  [[nodiscard]] std::shared_ptr<DeviceChunk> chunk_of(std::uint32_t page) const;
  [[nodiscard]] std::uint64_t pages_in_use() const;

 private:
  struct Place {
    std::shared_ptr<DeviceChunk> chunk;  // null: the place is free
    std::uint32_t pages = 0;
    std::uint32_t used = 0;
    std::bitset<kMaxPagesInChunk> in_use;
  };
  [[nodiscard]] DeviceRun longest_run(std::size_t index, std::uint32_t most) const;
  [[nodiscard]] DeviceRun take(DeviceRun run);
  [[nodiscard]] Result<void> add_chunk(std::uint32_t most_pages);

  Exchange& exchange_;
  Exporter& exporter_;
  mutable std::mutex mutex_;
  std::vector<Place> places_;
};

}  // namespace barter::peer
