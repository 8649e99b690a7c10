// The seam between a driver and the machine it runs on: one PCI function, as its driver sees it.
//
// The software fabric implements it, and on real Linux VFIO does. A driver that knows nothing but this header can't tell
// the two apart. The contract is the suite in tests/contract/function_contract.h.
//
// Threads: different functions may be used from different threads. One Function is used by one thread at a time, but an
// Mmio and a DmaBuffer may be used by any thread once they exist.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "base/clock.h"

namespace barter::pci {

// One mapped BAR. Each load and store is one access of its width on the bus, naturally aligned and within the BAR;
// anything else is a broken invariant of the caller. Stores are posted: they arrive in order, at some later time, and a
// load from the same function pushes them through. docs/memory-order.md says what a driver may rely on.
// A read of a device that is gone gives all ones, as on a real bus.
class Mmio {
 public:
  virtual ~Mmio() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual BusAddress bus_address() const = 0;
  virtual std::uint32_t load32(BarOffset at) = 0;
  virtual std::uint64_t load64(BarOffset at) = 0;
  virtual void store32(BarOffset at, std::uint32_t value) = 0;
  virtual void store64(BarOffset at, std::uint64_t value) = 0;
  // Device memory that the CPU may use as memory, or nothing if that part of the BAR is registers, disabled, or not
  // mappable. The span lives as long as this Mmio; what it shows after the device is gone is all ones or stale.
  [[nodiscard]] virtual std::span<std::byte> memory(BarOffset at, std::uint64_t bytes) = 0;
};

// What a piece of host memory is for. The machine counts the traffic to each apart, so that "0 bytes of data through host
// memory" can be told from the queues and lists that live there.
enum class DmaUse : std::uint8_t { control, data };

// Host memory that the CPU and this function's DMA both reach: contiguous for both, zeroed, page-aligned. Gives the
// memory back when it goes; the machine must outlive it.
class DmaBuffer {
 public:
  DmaBuffer() = default;
  DmaBuffer(std::span<std::byte> bytes, DmaAddress address, std::move_only_function<void()> release)
      : bytes_(bytes), address_(address), release_(std::move(release)) {}
  DmaBuffer(DmaBuffer&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})),
        address_(other.address_),
        release_(std::exchange(other.release_, {})) {}
  DmaBuffer& operator=(DmaBuffer&& other) noexcept {
    DmaBuffer old(std::move(*this));
    bytes_ = std::exchange(other.bytes_, {});
    address_ = other.address_;
    release_ = std::exchange(other.release_, {});
    return *this;
  }
  ~DmaBuffer() {
    if (release_) release_();
  }

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  [[nodiscard]] DmaAddress address() const { return address_; }
  [[nodiscard]] DmaSegment segment() const { return {address_, bytes_.size()}; }

 private:
  std::span<std::byte> bytes_;
  DmaAddress address_;
  std::move_only_function<void()> release_;
};

class Function {
 public:
  virtual ~Function() = default;

  [[nodiscard]] virtual Bdf bdf() const = 0;
  // Waiting on this function's answers is done with this clock.
  [[nodiscard]] virtual base::Clock& clock() = 0;

  // Config space, little-endian, offsets 0 to 4095. The width is 1, 2 or 4 and the offset is aligned to it.
  [[nodiscard]] virtual Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width_bytes) = 0;
  [[nodiscard]] virtual Result<void> write_config(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) = 0;

  // Maps a memory BAR (0 to 5). Each call is a mapping of its own; it must not outlive the Function.
  [[nodiscard]] virtual Result<std::unique_ptr<Mmio>> map_bar(unsigned index) = 0;

  [[nodiscard]] virtual Result<DmaBuffer> allocate_dma(std::uint64_t bytes, DmaUse use) = 0;

  // Makes a buffer that another function of the same machine has allocated reachable for this one too: the same bytes,
  // under the address that this function's requests must carry. The original must outlive the result.
  [[nodiscard]] virtual Result<DmaBuffer> share_dma(const DmaBuffer& other) = 0;

  // Enables `count` MSI-X vectors. take_interrupt tells whether one has arrived since the last call for it, and forgets
  // it; it is cheap enough to poll.
  [[nodiscard]] virtual Result<void> enable_interrupts(unsigned count) = 0;
  [[nodiscard]] virtual bool take_interrupt(unsigned vector) = 0;

  // Function-level reset. BARs and Command are back at their values afterwards, everything else is as after power-on.
  [[nodiscard]] virtual Result<void> reset() = 0;

  // Whoever lent the function to this process asks for it back: it is about to be unplugged, or given to another driver.
  // Its user starts nothing new and closes it; what it shared has been taken back already. Cheap enough to ask each time.
  [[nodiscard]] virtual bool is_wanted_back() const { return false; }
};

}  // namespace barter::pci
