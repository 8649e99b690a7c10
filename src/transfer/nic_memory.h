// The memory of one message or access, as a NIC is told it: each part of what a pointer points to where it is, if its owner lets the
// NIC have it, and by way of a buffer otherwise.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "barter/io.hpp"
#include "barter/memory.hpp"
#include "barter/registration.hpp"
#include "barter/result.hpp"
#include "machine/state.h"
#include "pci/function.h"
#include "peer/segments.h"

namespace barter::transfer {

class NicMemory {
 public:
  NicMemory() = default;
  // `access` is what the NIC's DMA does to it. Nothing of it is copied yet.
  [[nodiscard]] static Result<NicMemory> of(const std::shared_ptr<machine::State>& machine, machine::DriveUnit& unit,
                                            std::span<std::byte> memory, RegisterOptions options);
  // Of leases that live longer than it.
  [[nodiscard]] static Result<NicMemory> of(const machine::DriveUnit& unit, std::span<const Lease> leases,
                                            Access access);
  void keep(std::vector<Lease> leases) { leases_ = std::move(leases); }

  [[nodiscard]] std::span<const DmaSegment> segments() const { return segments_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] const IoReport& way() const { return way_; }
  // Has an owner taken some of it back meanwhile?
  [[nodiscard]] bool is_taken_back() const;

  // What goes by way of the buffer: into it, and out of it, as far as the first `bytes` of all go.
  void fill_buffer();
  void empty_buffer(std::uint64_t bytes) const;

 private:
  // By way of the buffer.
  struct Copied {
    std::span<std::byte> own;
    std::uint64_t offset = 0;  // within all of it
    std::size_t in_buffer = 0;
  };
  // Destroyed from the last to the first.
  std::vector<Registration> registrations_;
  std::vector<Lease> leases_;
  pci::DmaBuffer buffer_;
  std::vector<Copied> copied_;
  peer::SegmentList segments_;
  std::uint64_t size_bytes_ = 0;
  IoReport way_;
};

}  // namespace barter::transfer
