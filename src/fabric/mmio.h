// The CPU's mapping of one BAR. Where its bus addresses lead is found out once and again whenever the machine's epoch has
// moved: an access is then two loads, a comparison and a call of the model.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "fabric/node.h"
#include "fabric/span.h"
#include "pci/function.h"

namespace barter::fabric {

class System;

class MappedBar final : public pci::Mmio {
 public:
  // The BAR lies at `start` now; if it is moved away, this mapping reads all ones.
  MappedBar(System& system, Node& node, std::uint64_t start, std::uint64_t bytes);

  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_; }
  [[nodiscard]] BusAddress bus_address() const override { return {start_}; }
  std::uint32_t load32(BarOffset at) override { return static_cast<std::uint32_t>(load(at, 4)); }
  std::uint64_t load64(BarOffset at) override { return load(at, 8); }
  void store32(BarOffset at, std::uint32_t value) override { store(at, 4, value); }
  void store64(BarOffset at, std::uint64_t value) override { store(at, 8, value); }
  [[nodiscard]] std::span<std::byte> memory(BarOffset at, std::uint64_t bytes) override;

 private:
  // What there is in the BAR. Immutable: a newer one takes its place, and the old ones stay until the mapping goes,
  // because another thread may be looking at one.
  struct Layout {
    bool answers = false;  // false: nobody claims these addresses
    std::uint8_t bar = 0;
    std::vector<MemoryWindow> windows;
    Span msix_table;
    Span msix_pending;
  };

  [[nodiscard]] const Layout& layout();
  [[nodiscard]] const Layout& look_again();
  [[nodiscard]] std::uint64_t load(BarOffset at, unsigned width_bytes);
  void store(BarOffset at, unsigned width_bytes, std::uint64_t value);

  void count(std::atomic<std::uint64_t>& counter, unsigned bytes) const;

  System& system_;
  Node& node_;
  const std::uint64_t start_;
  const std::uint64_t bytes_;
  const bool threaded_;
  std::atomic<std::uint64_t> seen_epoch_ = 0;
  std::atomic<const Layout*> layout_ = nullptr;
  std::vector<std::unique_ptr<const Layout>> layouts_;  // guarded by System's mutex; no two are the same
};

}  // namespace barter::fabric
