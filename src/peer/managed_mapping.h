// An importer's right to reach a range of managed memory, in as many parts as its pages are in places. The parts live and end
// each by itself; a lease is of all of them, so that a transfer sees one moment.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "barter/memory.hpp"
#include "barter/result.hpp"

namespace barter::peer {

struct ManagedPart {
  MemoryRange range;       // within the managed memory
  bool is_direct = false;  // in a device's memory; else in host memory
  Bdf exporter;
  Mapping mapping;
};

class ManagedMapping {
 public:
  explicit ManagedMapping(std::vector<ManagedPart> parts) : parts_(std::move(parts)) {}
  [[nodiscard]] const std::vector<ManagedPart>& parts() const { return parts_; }
  // One for each part, in order. ErrorCode::revoked once a page of it has moved or is to move: then map it again.
  [[nodiscard]] Result<std::vector<Lease>> lease() const {
    std::vector<Lease> leases;
    leases.reserve(parts_.size());
    for (const ManagedPart& part : parts_) {
      auto lease = part.mapping.lease();
      if (!lease) return std::unexpected(std::move(lease.error()));
      leases.push_back(std::move(*lease));
    }
    return leases;
  }

 private:
  std::vector<ManagedPart> parts_;
};

}  // namespace barter::peer
