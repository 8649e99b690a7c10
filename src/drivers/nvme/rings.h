// The two rings of a queue pair, as the host keeps them (NVMe base 2.0, section 3.3.1). They know entries, indices, the
// phase and the doorbells, and nothing of what commands mean: the admin queue and the I/O queues are both made of them.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "drivers/nvme/commands/entry.h"
#include "pci/function.h"

namespace barter::drivers::nvme {

class SubmissionRing {
 public:
  // `memory` holds `entries` submission entries and outlives the ring, as does the Mmio.
  SubmissionRing(std::span<std::byte> memory, std::uint16_t entries, pci::Mmio& mmio, BarOffset doorbell)
      : memory_(memory.data()), entries_(entries), mmio_(&mmio), doorbell_(doorbell) {}

  // The caller keeps fewer than `entries` commands in flight, so there is room: an entry's place is free again once its
  // command has completed. The whole entry goes in one copy, which a write-combining CMB turns into one request.
  void push(const SubmissionEntry& entry) {
    std::memcpy(memory_ + std::size_t{tail_} * sizeof(SubmissionEntry), &entry, sizeof entry);
    tail_ = static_cast<std::uint16_t>(tail_ + 1 == entries_ ? 0 : tail_ + 1);
  }
  // Tells the controller of all that was pushed; nothing new, no store. The entries are there for whoever sees the
  // doorbell, in host memory and in a CMB alike: that is the Mmio's business (docs/memory-order.md, rule 1).
  void ring() {
    if (tail_ == rung_tail_) return;
    mmio_->store32(doorbell_, tail_);
    rung_tail_ = tail_;
  }
  [[nodiscard]] std::uint16_t entries() const { return entries_; }
  [[nodiscard]] std::uint16_t tail() const { return tail_; }
  [[nodiscard]] std::uint16_t rung_tail() const { return rung_tail_; }

 private:
  std::byte* memory_;
  std::uint16_t entries_;
  std::uint16_t tail_ = 0;
  std::uint16_t rung_tail_ = 0;
  pci::Mmio* mmio_;
  BarOffset doorbell_;
};

class CompletionRing {
 public:
  CompletionRing(std::span<std::byte> memory, std::uint16_t entries, pci::Mmio& mmio, BarOffset doorbell)
      : memory_(memory.data()), entries_(entries), mmio_(&mmio), doorbell_(doorbell) {}

  // Takes the next completion, if the controller has written one. The dword with the phase is read first and with
  // acquire: what the controller wrote before it, the rest of the entry and the data, is seen after it
  // (docs/memory-order.md, rules 3 and 4).
  [[nodiscard]] bool take(CompletionEntry& into) {
    std::byte* at = memory_ + std::size_t{head_} * sizeof(CompletionEntry);
    const auto dword3 = load_dword(at + 12, std::memory_order_acquire);
    if (CompletionDword3::from(dword3).get(CompletionDword3::phase) != phase_) return false;
    into = {.dword0 = load_dword(at, std::memory_order_relaxed),
            .dword1 = load_dword(at + 4, std::memory_order_relaxed),
            .dword2 = load_dword(at + 8, std::memory_order_relaxed),
            .dword3 = dword3};
    if (++head_ == entries_) {
      head_ = 0;
      phase_ = !phase_;
    }
    return true;
  }
  // Gives the entries that were taken back to the controller: one doorbell for any number of them.
  void release() {
    if (head_ == released_head_) return;
    mmio_->store32(doorbell_, head_);
    released_head_ = head_;
  }
  [[nodiscard]] std::uint16_t head() const { return head_; }

 private:
  // The memory is a DMA buffer that the device writes; each dword of it is read once, as an atomic.
  static std::uint32_t load_dword(std::byte* at, std::memory_order order) {
    return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at)).load(order);
  }

  std::byte* memory_;
  std::uint16_t entries_;
  std::uint16_t head_ = 0;
  std::uint16_t released_head_ = 0;
  bool phase_ = true;  // the memory is zero at first, and the first pass writes ones
  pci::Mmio* mmio_;
  BarOffset doorbell_;
};

}  // namespace barter::drivers::nvme
