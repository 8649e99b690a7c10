#include "transfer/borrowed_endpoint.h"

namespace barter::transfer {

Result<BorrowedEndpoint> BorrowedEndpoint::of(machine::DriveUnit& unit) {
  if (unit.idle.endpoint) return BorrowedEndpoint(unit, std::exchange(unit.idle, {}));
  auto opened = unit.driver->open_endpoint(kInFlight);
  if (!opened) return std::unexpected(std::move(opened.error()));
  return BorrowedEndpoint(unit, {.endpoint = std::move(*opened), .buffer = {}});
}

BorrowedEndpoint::~BorrowedEndpoint() {
  if (is_whole_ && unit_->driver->keeps_endpoints()) unit_->idle = std::move(held_);
}

Result<const pci::DmaBuffer*> BorrowedEndpoint::buffer(std::uint64_t slot_bytes) {
  if (held_.buffer.bytes().size() < slot_bytes * kInFlight) {
    held_.buffer = {};
    auto made = held_.endpoint->allocate(slot_bytes * kInFlight);
    if (!made) return std::unexpected(std::move(made.error()));
    held_.buffer = std::move(*made);
  }
  return &held_.buffer;
}

void BorrowedEndpoint::spoil() {
  is_whole_ = false;
  held_.endpoint.reset();
}

}  // namespace barter::transfer
