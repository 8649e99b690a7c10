// Interrupts, from a function's MSI-X table to the host's vectors (PCIe 6.0, 6.1.4; PCI 3.0, 6.8.2).
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "barter/result.hpp"
#include "fabric/span.h"

namespace barter::fabric {

struct Node;

// The host's side: a message's data is the number of a vector, and an arrived message sets its flag.
class HostVectors {
 public:
  static constexpr std::uint32_t kCount = 65536;  // what the 16 bits of MSI data can tell apart

  HostVectors() : flags_(std::make_unique<std::array<std::atomic<std::uint8_t>, kCount>>()) {}
  // System's mutex is held.
  [[nodiscard]] Result<std::uint32_t> allocate();
  void release(std::uint32_t vector);

  // Any thread. What was written before the message is there for whoever takes it.
  void arrive(std::uint32_t data) { (*flags_)[data % kCount].store(1, std::memory_order_release); }
  [[nodiscard]] bool take(std::uint32_t vector) {
    std::atomic<std::uint8_t>& flag = (*flags_)[vector % kCount];
    return flag.load(std::memory_order_acquire) != 0 && flag.exchange(0, std::memory_order_acq_rel) != 0;
  }

 private:
  std::unique_ptr<std::array<std::atomic<std::uint8_t>, kCount>> flags_;
  std::vector<std::uint32_t> free_;
  std::uint32_t next_ = 0;
};

// The function's side. System's mutex is held for all of these.
void raise_interrupt(Node& node, unsigned vector);
// After anything that may have unmasked a vector: sends what is pending.
void send_pending(Node& node);

// Accesses to the table and the pending bits, by the CPU or a peer: 4 or 8 bytes, aligned; others read as all ones and
// write nothing. `offset` is within the BAR.
[[nodiscard]] std::uint64_t read_msix(const Node& node, std::uint64_t offset, unsigned width_bytes);
void write_msix(Node& node, std::uint64_t offset, unsigned width_bytes, std::uint64_t value);
// Where in this BAR the table and the pending bits lie; empty spans: not here.
struct MsixPlaces {
  Span table;
  Span pending;
};
[[nodiscard]] MsixPlaces msix_places(const Node& node, std::uint8_t bar);
}  // namespace barter::fabric
