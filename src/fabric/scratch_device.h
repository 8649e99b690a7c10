// The smallest device there is, for tests of the fabric: some registers, some memory, and a step that a test may give it.
// BAR 0 holds 4 KiB of registers, of which the first 64 remember what was written, and the MSI-X table; BAR 2 is memory.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "fabric/device.h"

namespace barter::fabric {

class ScratchDevice final : public Device {
 public:
  static constexpr unsigned kVectors = 4;
  static constexpr std::size_t kRegisters = 64;

  explicit ScratchDevice(std::uint64_t memory_bytes = 65536) : memory_(memory_bytes) {
    identity_ = {
        .vendor_id = 0x1b36,
        .device_id = 0x0005,
        .subsystem_vendor_id = 0x1af4,
        .subsystem_id = 0x1100,
        .class_code = 0x0880'00,
        .bars = {{.index = 0, .size_bytes = 16384}, {.index = 2, .size_bytes = memory_bytes, .is_prefetchable = true}},
        .msix_vectors = kVectors,
        .msix_bar = 0,
        .msix_table = {8192},
        .msix_pending = {12288}};
  }

  [[nodiscard]] const FunctionIdentity& identity() const override { return identity_; }
  void attach(Requester& requester) override { requester_ = &requester; }
  [[nodiscard]] std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override {
    if (bar != 0 || at.value / 4 >= kRegisters || width_bytes != 4) {
      violation("a read of registers that are not there");
      return 0;
    }
    return registers_[at.value / 4].load(std::memory_order_acquire);
  }
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override {
    if (bar != 0 || at.value / 4 >= kRegisters || width_bytes != 4) {
      violation("a write to registers that are not there");
      return;
    }
    registers_[at.value / 4].store(static_cast<std::uint32_t>(value), std::memory_order_release);
  }
  [[nodiscard]] std::vector<MemoryWindow> windows() override { return {{.bar = 2, .start = {0}, .bytes = memory_}}; }
  bool step() override { return on_step.run(); }
  void reset() override {
    for (auto& reg : registers_) reg.store(0, std::memory_order_relaxed);
    ++resets;
  }

  [[nodiscard]] Requester& bus() { return *requester_; }
  [[nodiscard]] std::span<std::byte> memory() { return memory_; }
  [[nodiscard]] std::uint32_t register_value(std::size_t number) const {
    return registers_[number].load(std::memory_order_acquire);
  }

  // What a step does. It may be replaced while the device's thread runs; the old one is over when that returns.
  class StepFunction {
   public:
    StepFunction& operator=(std::function<bool()> step) {
      const std::lock_guard lock(mutex_);
      step_ = std::move(step);
      return *this;
    }
    bool run() {
      const std::lock_guard lock(mutex_);
      return step_ ? step_() : false;
    }

   private:
    std::mutex mutex_;
    std::function<bool()> step_;
  } on_step;
  std::atomic<int> resets = 0;

 private:
  FunctionIdentity identity_;
  Requester* requester_ = nullptr;
  std::vector<std::byte> memory_;
  std::array<std::atomic<std::uint32_t>, kRegisters> registers_{};
};

}  // namespace barter::fabric
