#include "shadow.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace barter::sim {

void Place::lies_at(std::span<std::byte> bytes) {
  bytes_ = bytes;
  expected_.assign(bytes.begin(), bytes.end());
  readers_.assign(bytes.size() / kCellBytes, 0);
  writers_.assign(bytes.size() / kCellBytes, 0);
  writing_ = 0;
}

bool Place::may_read(Cells cells) const {
  if (cells.first + cells.count > writers_.size()) return false;
  const auto first = writers_.begin() + cells.first;
  return std::all_of(first, first + cells.count, [](std::uint8_t count) { return count == 0; });
}

bool Place::may_write(Cells cells) const {
  if (!may_read(cells)) return false;
  const auto first = readers_.begin() + cells.first;
  return std::all_of(first, first + cells.count, [](std::uint8_t count) { return count == 0; });
}

void Place::begin_read(Cells cells) {
  for (std::uint32_t cell = cells.first; cell < cells.first + cells.count; ++cell) ++readers_[cell];
}

void Place::end_read(Cells cells) {
  for (std::uint32_t cell = cells.first; cell < cells.first + cells.count; ++cell) {
    assert(readers_[cell] > 0);
    --readers_[cell];
  }
}

void Place::begin_write(Cells cells) {
  for (std::uint32_t cell = cells.first; cell < cells.first + cells.count; ++cell) ++writers_[cell];
  writing_ += cells.count;
}

void Place::end_write(Cells cells) {
  for (std::uint32_t cell = cells.first; cell < cells.first + cells.count; ++cell) {
    assert(writers_[cell] > 0);
    --writers_[cell];
  }
  writing_ -= cells.count;
  settle(cells);
}

void Place::settle(Cells cells) {
  std::memcpy(expected_.data() + cells.offset(), bytes_.data() + cells.offset(), cells.bytes());
}

std::optional<std::uint64_t> Place::first_wrong() const {
  if (bytes_.empty() || std::memcmp(bytes_.data(), expected_.data(), bytes_.size()) == 0) return std::nullopt;
  for (std::uint32_t cell = 0; cell < writers_.size(); ++cell) {
    if (writers_[cell] != 0) continue;
    for (std::uint64_t at = cell * kCellBytes; at < (cell + 1) * kCellBytes; ++at)
      if (bytes_[at] != expected_[at]) return at;
  }
  return std::nullopt;
}

bool is_mixture(std::span<const std::byte> bytes, std::span<const std::byte> before, std::span<const std::byte> after) {
  for (std::size_t at = 0; at < bytes.size(); ++at)
    if (bytes[at] != before[at] && bytes[at] != after[at]) return false;
  return true;
}

}  // namespace barter::sim
