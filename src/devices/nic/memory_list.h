// The memory that a descriptor names, in one piece or by a list, which is read and checked as a whole; and how far a command has
// come in it. Belongs to the device's step.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "barter/address.hpp"
#include "devices/nic/descriptors.h"
#include "devices/nic/register_file.h"
#include "fabric/device.h"

namespace barter::devices::nic {

class MemoryList {
 public:
  // What it holds outlives it.
  explicit MemoryList(const FixedRegisters& fixed) : fixed_(fixed), segments_(fixed.segments) {}

  // `done`, or what is wrong with a descriptor's list or piece.
  [[nodiscard]] CommandStatus load(fabric::Requester& requester, const Descriptor& descriptor);
  [[nodiscard]] std::span<const Segment> segments() const { return std::span(segments_).first(count_); }

  // Calls part(address, bytes) for each part of the next bytes and moves on; false as soon as a call is. There are so many.
  template <class Part>
  [[nodiscard]] bool walk(std::span<std::byte> bytes, Part&& part) {
    while (!bytes.empty()) {
      const Segment& segment = segments_[at_];
      const std::size_t most = std::min<std::uint64_t>(bytes.size(), segment.bytes - offset_);
      if (!part(DmaAddress{segment.address + offset_}, bytes.first(most))) return false;
      bytes = bytes.subspan(most);
      offset_ += most;
      if (offset_ != segment.bytes) continue;
      ++at_;
      offset_ = 0;
    }
    return true;
  }

 private:
  [[nodiscard]] bool can_be(const Segment& segment) const;

  const FixedRegisters& fixed_;
  std::vector<Segment> segments_;  // room for the longest list
  std::size_t count_ = 0;
  std::size_t at_ = 0;        // the segment that comes next
  std::uint64_t offset_ = 0;  // within it
};

}  // namespace barter::devices::nic
