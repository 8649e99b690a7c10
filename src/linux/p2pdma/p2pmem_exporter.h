// Memory of a PCI function that the kernel lends to processes (Documentation/driver-api/pci/p2pdma.rst), exported to peers.
//
// Its life: open() reserves addresses for the whole pool and takes nothing. acquire() maps one chunk into its place there,
// which is when the kernel takes it from the pool, for this process alone; release() gives it back. So a region is
// contiguous, its address is pool start + offset, and what no region needs stays free for others. The offsets are ours: the
// kernel places a chunk where it likes and does not tell where.
//
// What is true after release(): the process has no way to the chunk any more, and no I/O can be started on it. I/O that
// was started before and still runs keeps its pages: the kernel gives them to nobody else until that I/O has ended. A chunk
// is not zeroed: whoever had it before may have left bytes there.
//
// Threads: any, as the seam asks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "linux/descriptor.h"
#include "peer/owned_exporter.h"

namespace barter::linux_os {

// What sysfs says of a function's pool.
struct P2pmemPool {
  std::uint64_t size_bytes = 0;
  std::uint64_t available_bytes = 0;  // just now; other processes come and go
  // Its driver offers it to every peer: for an NVMe drive, both RDS and WDS of its controller memory buffer are set.
  bool is_published = false;
};
// `device` is the function's folder, /sys/bus/pci/devices/BDF. Nothing: the kernel lends none of its memory.
[[nodiscard]] Result<std::optional<P2pmemPool>> read_p2pmem(const std::filesystem::path& device);

class P2pmemExporter final : public peer::OwnedExporter {
 public:
  // The function has a pool. Refused: one that is not published, and one that this user may not map.
  [[nodiscard]] static Result<std::unique_ptr<P2pmemExporter>> open(const std::filesystem::path& device, Bdf function);
  ~P2pmemExporter() override;
  P2pmemExporter(const P2pmemExporter&) = delete;
  P2pmemExporter& operator=(const P2pmemExporter&) = delete;

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return addresses_.size(); }
  // An address of this process: see is_known_by_pointer() of the seam.
  [[nodiscard]] BusAddress bus_address() const override;
  [[nodiscard]] bool is_known_by_pointer() const override { return true; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  // Of a range that has been acquired. The CPU reads it uncached, so slowly.
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override;
  [[nodiscard]] Result<void> acquire(MemoryRange range) override;
  void release(MemoryRange range) override;

  // Does this part of the process's addresses belong to the pool?
  [[nodiscard]] bool contains(const void* address) const;

 private:
  P2pmemExporter(std::filesystem::path device, Bdf function, Descriptor allocate, std::span<std::byte> addresses);
  [[nodiscard]] std::optional<Answer> ruled_out(const Request&) const override { return std::nullopt; }
  [[nodiscard]] Error exhausted(std::uint64_t bytes) const;

  std::filesystem::path device_;
  Bdf function_;
  Descriptor allocate_;
  std::span<std::byte> addresses_;  // reserved; a chunk lies in the middle of them where one is acquired
  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> chunks_;  // offset to bytes
};

}  // namespace barter::linux_os
