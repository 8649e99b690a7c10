// The endpoint of a drive for one read or write. Where its driver allows that, it is kept in the drive's unit until the next one, with
// the buffer for bytes that go by way of host memory.
//
// One thread at a time uses a machine.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "barter/result.hpp"
#include "machine/endpoint.h"
#include "machine/state.h"

namespace barter::transfer {

class BorrowedEndpoint {
 public:
  static constexpr std::uint32_t kInFlight = 8;

  [[nodiscard]] static Result<BorrowedEndpoint> of(machine::DriveUnit& unit);
  BorrowedEndpoint(BorrowedEndpoint&& other) noexcept
      : unit_(other.unit_), held_(std::move(other.held_)), is_whole_(std::exchange(other.is_whole_, false)) {}
  BorrowedEndpoint& operator=(BorrowedEndpoint&&) = delete;
  // Gives it back, or ends it.
  ~BorrowedEndpoint();

  [[nodiscard]] machine::Endpoint& operator*() const { return *held_.endpoint; }
  [[nodiscard]] machine::Endpoint* operator->() const { return held_.endpoint.get(); }
  // Host memory for as many slots as pieces may be in flight, each this long.
  [[nodiscard]] Result<const pci::DmaBuffer*> buffer(std::uint64_t slot_bytes);
  // Commands may be in flight that nobody waits for: the endpoint goes, before what they move to or from does, and with it they do.
  void spoil();

 private:
  BorrowedEndpoint(machine::DriveUnit& unit, machine::IdleEndpoint held) : unit_(&unit), held_(std::move(held)) {}

  machine::DriveUnit* unit_;
  machine::IdleEndpoint held_;
  bool is_whole_ = true;
};

}  // namespace barter::transfer
