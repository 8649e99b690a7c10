// One BAR of a function behind VFIO, mapped into this process once, and shared by all who use it: the function's Mmio
// handles, and the DMA domains of peers that it is mapped into. As long as one of them lives the kernel keeps the device
// open, so the memory can't come into other hands under a peer's DMA.
//
// While the function's memory is turned off, the kernel answers an access with SIGBUS. So whoever turns it off hides the
// memory first: pages of ones take its place, and loads give all ones, as they do on the bus.
//
// Threads: any for access; hide() and show() for one at a time.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "linux/descriptor.h"
#include "linux/vfio/region_info.h"
#include "pci/function.h"

namespace barter::linux_os::vfio {

class BarMemory {
 public:
  // The descriptor is the device's. Nothing is mapped where the kernel does not allow it: there, accesses are system calls.
  [[nodiscard]] static Result<std::shared_ptr<BarMemory>> create(std::shared_ptr<const Descriptor> device,
                                                                 std::string name, RegionInfo info, BusAddress address);
  ~BarMemory();
  BarMemory(const BarMemory&) = delete;
  BarMemory& operator=(const BarMemory&) = delete;

  [[nodiscard]] std::uint64_t size_bytes() const { return info_.size_bytes; }
  [[nodiscard]] BusAddress bus_address() const { return address_; }
  [[nodiscard]] bool is_shown() const { return is_shown_.load(std::memory_order_acquire); }
  // The CPU's view of a part, wherever it is mapped, shown or not; empty elsewhere.
  [[nodiscard]] std::span<std::byte> view(std::uint64_t offset, std::uint64_t bytes) const;

  template <class Word>
  [[nodiscard]] Word load(std::uint64_t offset) const;
  template <class Word>
  void store(std::uint64_t offset, Word value);

  void hide();
  [[nodiscard]] Result<void> show();

 private:
  BarMemory(std::shared_ptr<const Descriptor> device, std::string name, RegionInfo info, BusAddress address)
      : device_(std::move(device)), name_(std::move(name)), info_(std::move(info)), address_(address) {}
  [[nodiscard]] Result<void> reserve();
  void cover(const RegionArea& area);

  std::shared_ptr<const Descriptor> device_;
  std::string name_;
  RegionInfo info_;
  BusAddress address_;
  std::byte* base_ = nullptr;  // room for all of the BAR, its mappable parts in their places
  std::uint64_t reserved_bytes_ = 0;
  std::atomic<bool> is_shown_{false};
};

// A handle on it, as drivers know it.
class BarMmio final : public pci::Mmio {
 public:
  explicit BarMmio(std::shared_ptr<BarMemory> memory) : memory_(std::move(memory)) {}
  [[nodiscard]] std::uint64_t size_bytes() const override { return memory_->size_bytes(); }
  [[nodiscard]] BusAddress bus_address() const override { return memory_->bus_address(); }
  std::uint32_t load32(BarOffset at) override { return memory_->load<std::uint32_t>(at.value); }
  std::uint64_t load64(BarOffset at) override { return memory_->load<std::uint64_t>(at.value); }
  void store32(BarOffset at, std::uint32_t value) override { memory_->store(at.value, value); }
  void store64(BarOffset at, std::uint64_t value) override { memory_->store(at.value, value); }
  [[nodiscard]] std::span<std::byte> memory(BarOffset at, std::uint64_t bytes) override {
    return memory_->is_shown() ? memory_->view(at.value, bytes) : std::span<std::byte>{};
  }

 private:
  std::shared_ptr<BarMemory> memory_;
};

}  // namespace barter::linux_os::vfio
