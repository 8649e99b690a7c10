#include "barter/io.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "machine/state.h"
#include "transfer/drive_io.h"
#include "transfer/staging.h"

namespace barter {
namespace {

using machine::Direction;

constexpr std::uint32_t kInFlight = 8;

std::unexpected<Error> refuse(ErrorCode code, const Drive& drive, Direction direction, std::string why) {
  return fail({.code = code,
               .doing = direction == Direction::from_endpoint ? "reading from" : "writing to",
               .subject = drive.name(),
               .why = std::move(why)});
}

Result<void> check_part(const Drive& drive, Direction direction, const DrivePart& part, std::uint64_t memory_bytes) {
  const std::uint64_t size = drive.size_bytes();
  if (part.offset > size || part.bytes > size - part.offset)
    return refuse(ErrorCode::out_of_range, drive, direction,
                  fmt::format("{} bytes from offset {} on end behind its {} bytes", part.bytes, part.offset, size));
  if (part.memory_offset > memory_bytes || part.bytes > memory_bytes - part.memory_offset)
    return refuse(ErrorCode::out_of_range, drive, direction,
                  fmt::format("{} bytes from offset {} on end behind the {} bytes of memory", part.bytes,
                              part.memory_offset, memory_bytes));
  if (part.offset % drive.block_bytes() != 0 || part.bytes % drive.block_bytes() != 0 || part.bytes == 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("offset {} and size {} are not whole blocks of {} bytes", part.offset, part.bytes,
                              drive.block_bytes()));
  return {};
}

// Moves all of it, a few pieces at a time. After an error the endpoint goes before the memory does, and a queue pair that
// is gone starts no more DMA.
Result<void> move(machine::Endpoint& endpoint, base::Clock& clock, Direction direction, const DrivePart& part,
                  std::span<const DmaSegment> memory) {
  std::array<machine::PieceResult, kInFlight> results;
  std::vector<DmaSegment> piece_memory;
  std::uint64_t submitted = 0;
  std::uint32_t in_flight = 0;
  while (submitted < part.bytes || in_flight > 0) {
    while (submitted < part.bytes && in_flight < std::min(kInFlight, endpoint.capacity())) {
      const std::uint64_t bytes = std::min(part.bytes - submitted, endpoint.max_piece_bytes());
      transfer::cut(memory, part.memory_offset + submitted, bytes, piece_memory);
      if (auto sent = endpoint.submit(
              {.direction = direction, .offset = part.offset + submitted, .bytes = bytes, .memory = piece_memory});
          !sent)
        return sent;
      submitted += bytes;
      ++in_flight;
    }
    endpoint.ring();
    const auto count = endpoint.poll(results);
    if (!count) return std::unexpected(count.error());
    for (const machine::PieceResult& result : std::span(results).first(*count)) {
      --in_flight;
      if (!result.ok())
        return fail({.code = ErrorCode::device_failed,
                     .doing = direction == Direction::from_endpoint ? "reading from" : "writing to",
                     .subject = endpoint.name(),
                     .where = fmt::format("offset {}", part.offset),
                     .why = endpoint.describe(result.status)});
    }
    if (*count == 0) clock.idle();
  }
  return {};
}

Result<void> move_leased(const Drive& drive, DrivePart part, Direction direction, const Lease& lease) {
  std::uint64_t memory_bytes = 0;
  for (const DmaSegment& segment : lease.segments()) memory_bytes += segment.bytes;
  if (memory_bytes == 0) return refuse(ErrorCode::invalid_argument, drive, direction, "the lease is empty");
  if (lease.importer() != drive.bdf())
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("the memory is mapped for {}, not for this drive", lease.importer().to_string()));
  const Access needed = direction == Direction::from_endpoint ? Access::write : Access::read;
  if ((static_cast<unsigned>(lease.access()) & static_cast<unsigned>(needed)) == 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  direction == Direction::from_endpoint ? "the memory is mapped for reading only"
                                                        : "the memory is mapped for writing only");
  if (part.bytes == 0 && part.memory_offset < memory_bytes) part.bytes = memory_bytes - part.memory_offset;
  if (auto checked = check_part(drive, direction, part, memory_bytes); !checked) return checked;
  auto endpoint = drive.unit().driver->open_endpoint(kInFlight);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  return move(**endpoint, drive.machine_state()->backend().clock(), direction, part, lease.segments());
}

// `bytes` are the program's; the buffer between is as large.
template <class Bytes>
Result<void> move_by_buffer(const Drive& drive, DrivePart part, Direction direction, Bytes bytes) {
  if (part.bytes == 0) part.bytes = bytes.size();
  if (part.bytes != bytes.size() || part.memory_offset != 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("the memory has {} bytes, and all of it takes part", bytes.size()));
  if (auto checked = check_part(drive, direction, part, bytes.size()); !checked) return checked;
  auto endpoint = drive.unit().driver->open_endpoint(kInFlight);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  auto buffer = (*endpoint)->allocate(bytes.size());
  if (!buffer) return std::unexpected(std::move(buffer.error()));
  if (direction == Direction::to_endpoint) std::memcpy(buffer->bytes().data(), bytes.data(), bytes.size());
  const DmaSegment memory{buffer->address(), bytes.size()};
  auto moved = move(**endpoint, drive.machine_state()->backend().clock(), direction, part, {&memory, 1});
  endpoint->reset();  // before the buffer: after an error commands may be in flight
  if constexpr (!std::is_const_v<typename Bytes::element_type>)
    if (moved) std::memcpy(bytes.data(), buffer->bytes().data(), bytes.size());
  return moved;
}

}  // namespace

Result<void> read(const Drive& drive, DrivePart from, const Lease& into) {
  return move_leased(drive, from, Direction::from_endpoint, into);
}
Result<void> write(const Drive& drive, DrivePart to, const Lease& from) {
  return move_leased(drive, to, Direction::to_endpoint, from);
}
Result<void> transfer::read_by_buffer(const Drive& drive, DrivePart from, std::span<std::byte> into) {
  return move_by_buffer(drive, from, Direction::from_endpoint, into);
}
Result<void> transfer::write_by_buffer(const Drive& drive, DrivePart to, std::span<const std::byte> from) {
  return move_by_buffer(drive, to, Direction::to_endpoint, from);
}

}  // namespace barter
