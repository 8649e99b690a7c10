// Memory as the controller sees it: its own memory buffer where it claims the address, the bus everywhere else.
// NVM Express base specification 2.0, section 8.5 (Controller Memory Buffer).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "fabric/device.h"

namespace barter::devices::nvme {

// The addresses that the controller keeps to itself: from CMBMSC.CBA on, while CMBMSC.CMSE is set. Such a request is
// answered inside the controller and never seen on the bus. Empty while the buffer is off.
struct Claim {
  std::uint64_t base = 0;
  std::span<std::byte> memory;
};

enum class Place : std::uint8_t { outside, buffer, mixed };

class Bus {
 public:
  void attach(fabric::Requester& requester) { requester_ = &requester; }
  void claim(Claim claim) { claim_ = claim; }

  // Where these bytes are; `mixed` when they cross an edge of the buffer.
  [[nodiscard]] Place place(std::uint64_t at, std::uint64_t bytes) const {
    const std::uint64_t size = claim_.memory.size();
    if (at >= claim_.base) {
      const std::uint64_t offset = at - claim_.base;
      if (offset >= size) return Place::outside;
      return bytes <= size - offset ? Place::buffer : Place::mixed;
    }
    return size == 0 || bytes <= claim_.base - at ? Place::outside : Place::mixed;
  }

  // As Requester's functions. A run ends at an edge of the buffer, and is over with the next access.
  [[nodiscard]] fabric::Requester::Run run(std::uint64_t at, std::uint64_t bytes, Access access) const {
    if (claim_.memory.empty()) [[likely]]
      return outside_run(at, bytes, access);
    switch (place(at, bytes)) {
      case Place::buffer:
        return {claim_.memory.subspan(at - claim_.base, bytes)};
      case Place::outside:
        return outside_run(at, bytes, access);
      case Place::mixed:
        break;
    }
    if (at >= claim_.base) return {claim_.memory.subspan(at - claim_.base)};
    return outside_run(at, claim_.base - at, access);
  }

  [[nodiscard]] fabric::Completion read(std::uint64_t from, std::span<std::byte> into) const;
  [[nodiscard]] fabric::Completion write(std::uint64_t to, std::span<const std::byte> from) const;
  // A completion entry: whoever polls its last dword sees the others once the phase tag there has changed.
  [[nodiscard]] fabric::Completion publish(std::uint64_t to, std::span<const std::byte, 16> entry) const;

 private:
  [[nodiscard]] fabric::Requester::Run outside_run(std::uint64_t at, std::uint64_t bytes, Access access) const {
    if (bytes > ~at) return {{}, fabric::Completion::unsupported_request};  // past the end of all addresses
    return requester_->run({at}, bytes, access);
  }

  fabric::Requester* requester_ = nullptr;
  Claim claim_;
};

}  // namespace barter::devices::nvme
