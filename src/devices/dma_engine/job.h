// One descriptor at work (docs/devices/dma_engine.md, section 3): its lists are read and checked as a whole, then the bytes are
// moved in slices, so that the other channels and other devices get their turn.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/dma_engine/descriptors.h"
#include "devices/dma_engine/register_file.h"
#include "devices/ring_device/channel.h"
#include "fabric/device.h"

namespace barter::devices::dma_engine {

class Job {
 public:
  using Descriptor = dma_engine::Descriptor;
  using Status = MoveStatus;
  // Of channel `number`. The registers outlive it.
  Job(std::uint32_t number, RegisterFile& registers);

  // What ring_device::Channel asks of it.
  void attach(fabric::Requester& requester) { requester_ = &requester; }
  [[nodiscard]] std::string start(const ring_device::ChannelSettings&) { return {}; }
  [[nodiscard]] MoveStatus begin(const Descriptor& descriptor);
  [[nodiscard]] MoveStatus advance(std::uint64_t budget_bytes);
  [[nodiscard]] bool is_finished() const { return moved_bytes_ == descriptor_.bytes; }
  [[nodiscard]] std::uint64_t done_bytes() const { return moved_bytes_; }
  void publish(std::uint64_t worked_bytes) { registers_.set_counter(number_, worked_bytes); }
  [[nodiscard]] ring_device::JobEnd end(MoveStatus status) const;
  [[nodiscard]] bool is_stalled() const { return false; }
  void forget() {}
  [[nodiscard]] std::uint32_t completions() const { return 1; }
  [[nodiscard]] std::optional<ring_device::Ring::End> request(MoveStatus) const { return std::nullopt; }
  [[nodiscard]] ring_device::Reply reply(std::uint16_t) const { return ring_device::Reply::none; }

 private:
  // Where one side has come to in its segments.
  struct Side {
    std::vector<Segment> segments;  // room for the longest list
    std::size_t count = 0;
    std::size_t at = 0;
    std::uint32_t offset = 0;  // within the segment
    std::uint64_t piece = 0;   // of a side without a list: its address
    bool is_list = false;
  };
  [[nodiscard]] MoveStatus check_fields() const;
  [[nodiscard]] MoveStatus read_list(Side& side, std::uint64_t address, std::uint16_t segments);
  [[nodiscard]] MoveStatus move_slice(std::uint64_t bytes);
  // Calls back with each part of the next bytes of a side and moves on; false as soon as a call is.
  template <class Part>
  [[nodiscard]] bool walk(Side& side, std::span<std::byte> bytes, Part&& part);

  static constexpr std::size_t kSliceBytes = 65536;

  const std::uint32_t number_;
  RegisterFile& registers_;
  const FixedRegisters& fixed_;
  fabric::Requester* requester_ = nullptr;
  Descriptor descriptor_;
  Side source_;
  Side destination_;
  std::uint64_t moved_bytes_ = 0;
  std::unique_ptr<std::byte[]> slice_;  // what was read and is not written yet
};

}  // namespace barter::devices::dma_engine
