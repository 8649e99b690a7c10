// A function whose driver is in the kernel, as an importer: its requests are I/O that this process starts with addresses of
// its own, and the kernel makes DMA addresses of them, or refuses to.
//
// What can be promised here is less than a driver of our own can (docs/peer-contract.md): I/O that has been started can't be
// cut off, only waited for. The kernel ends every one, if need be by its own time limit and a reset of the drive, and until
// then it gives the memory to nobody else.
//
// Threads: any.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "peer/driven_importer.h"

namespace barter::linux_os {

// Addresses of this process go through as they are. Nothing can be cut off here.
class PointerDomain final : public peer::DmaDomain {
 public:
  [[nodiscard]] bool translates() const override { return false; }
  [[nodiscard]] bool takes_pointers() const override { return true; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override;
  void unmap(DmaAddress, std::uint64_t) override {}
};

class KernelImporter final : public peer::DrivenImporter {
 public:
  // The clock outlives the importer.
  KernelImporter(Bdf function, base::Clock& clock) : function_(function), clock_(clock) {}

  // Around each I/O to memory of a peer. False: it must not be started, because the importer has been isolated.
  [[nodiscard]] bool begin();
  void end() { in_flight_.fetch_sub(1, std::memory_order_release); }

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] peer::DmaDomain& domain() override { return domain_; }
  // Starts nothing more and waits until all that was started has ended, for longer than the kernel lets I/O run.
  [[nodiscard]] Result<void> isolate() override;

 private:
  Bdf function_;
  base::Clock& clock_;
  PointerDomain domain_;
  std::atomic<std::uint64_t> in_flight_{0};
  std::atomic<bool> isolated_{false};
};

}  // namespace barter::linux_os
