// Where a command's data lies, worked out and checked as a whole before the first byte moves. Filled from PRPs (prp.h) or
// SGLs (sgl.h); what both have in common are the rules for the controller memory buffer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "devices/nvme/buffer_abilities.h"
#include "devices/nvme/bus.h"
#include "devices/nvme/status.h"

namespace barter::devices::nvme {

// Which way the data of a command goes.
enum class Direction : std::uint8_t { to_host, from_host };

struct DataSegment {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  bool is_discarded = false;  // an SGL bit bucket: the bytes go nowhere
};

class DataList {
 public:
  // A list of data blocks that needs more segments than this, after joining what is contiguous, is refused.
  explicit DataList(std::size_t max_segments) : max_segments_(max_segments) { segments_.reserve(max_segments); }

  void start(const BufferAbilities& abilities, Direction direction, bool command_is_in_buffer) {
    segments_.clear();
    abilities_ = &abilities;
    direction_ = direction;
    command_place_ = command_is_in_buffer ? Place::buffer : Place::outside;
    has_data_ = has_list_ = false;
    bytes_ = 0;
  }

  [[nodiscard]] Status add(const Bus& bus, std::uint64_t address, std::uint64_t bytes);
  [[nodiscard]] Status add_discarded(std::uint64_t bytes);
  // A PRP list or SGL segment lies here: may it?
  [[nodiscard]] Status check_list(const Bus& bus, std::uint64_t address, std::uint64_t bytes);

  [[nodiscard]] std::span<const DataSegment> segments() const { return segments_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return bytes_; }
  [[nodiscard]] Direction direction() const { return direction_; }

 private:
  std::size_t max_segments_;
  std::vector<DataSegment> segments_;
  const BufferAbilities* abilities_ = nullptr;
  Direction direction_ = Direction::to_host;
  Place command_place_ = Place::outside;
  Place data_place_ = Place::outside;
  Place list_place_ = Place::outside;
  bool has_data_ = false;
  bool has_list_ = false;
  std::uint64_t bytes_ = 0;
};

}  // namespace barter::devices::nvme
