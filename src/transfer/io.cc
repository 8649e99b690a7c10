#include "barter/io.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "machine/state.h"
#include "peer/segments.h"
#include "transfer/drive_io.h"

namespace barter {
namespace {

using machine::Direction;
using transfer::HostWay;

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

// Can the drive be told all of this memory? Asked before anything is moved.
Result<void> check_pieces(const machine::Endpoint& endpoint, const Drive& drive, Direction direction,
                          const DrivePart& part, std::span<const DmaSegment> memory) {
  peer::SegmentCutter cutter(memory);
  cutter.skip(part.memory_offset);
  peer::SegmentList piece;
  for (std::uint64_t done = 0; done < part.bytes;) {
    const auto bytes = cutter.take({.max_bytes = std::min(part.bytes - done, endpoint.max_piece_bytes()),
                                    .granularity_bytes = endpoint.block_bytes()},
                                   endpoint.segment_limits(), piece);
    if (!bytes) {
      auto error = refuse(ErrorCode::invalid_argument, drive, direction,
                          fmt::format("{} bytes into the memory, the drive can't be told where it is: {}",
                                      part.memory_offset + done, explain(bytes.error())));
      error.error().cure = "let every part of the memory begin and end at a page of 4096 bytes";
      return error;
    }
    done += *bytes;
  }
  return {};
}

// Moves all of it, a few pieces at a time, each as long as the drive takes it. After an error the endpoint goes before the
// memory does, and a queue pair that is gone starts no more DMA.
Result<void> move(machine::Endpoint& endpoint, base::Clock& clock, Direction direction, const DrivePart& part,
                  std::span<const DmaSegment> memory) {
  std::array<machine::PieceResult, kInFlight> results;
  const peer::SegmentLimits limits = endpoint.segment_limits();
  peer::SegmentCutter cutter(memory);
  cutter.skip(part.memory_offset);
  peer::SegmentList piece;
  std::uint64_t submitted = 0;
  std::uint32_t in_flight = 0;
  while (submitted < part.bytes || in_flight > 0) {
    while (submitted < part.bytes && in_flight < std::min(kInFlight, endpoint.capacity())) {
      peer::SegmentCutter ahead = cutter;
      const std::uint64_t bytes = ahead
                                      .take({.max_bytes = std::min(part.bytes - submitted, endpoint.max_piece_bytes()),
                                             .granularity_bytes = endpoint.block_bytes()},
                                            limits, piece)
                                      .value();  // check_pieces
      auto sent =
          endpoint.submit({.direction = direction, .offset = part.offset + submitted, .bytes = bytes, .memory = piece});
      // A piece of many segments may want more room than the one before it.
      if (!sent && sent.error().code == ErrorCode::exhausted && in_flight > 0) break;
      if (!sent) return sent;
      cutter = ahead;
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

// What is wrong with a lease for this transfer, or nothing.
Result<void> check_lease(const Drive& drive, Direction direction, const Lease& lease) {
  if (lease.segments().empty()) return refuse(ErrorCode::invalid_argument, drive, direction, "the lease is empty");
  if (lease.importer() != drive.bdf())
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("the memory is mapped for {}, not for this drive", lease.importer().to_string()));
  const Access needed = direction == Direction::from_endpoint ? Access::write : Access::read;
  if ((static_cast<unsigned>(lease.access()) & static_cast<unsigned>(needed)) == 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  direction == Direction::from_endpoint ? "the memory is mapped for reading only"
                                                        : "the memory is mapped for writing only");
  return {};
}

Result<void> move_leased(const Drive& drive, DrivePart part, Direction direction, std::span<const Lease> leases) {
  if (leases.empty()) return refuse(ErrorCode::invalid_argument, drive, direction, "there is no memory");
  peer::SegmentList memory;
  for (const Lease& lease : leases) {
    if (auto checked = check_lease(drive, direction, lease); !checked) return checked;
    for (const DmaSegment& segment : lease.segments()) peer::append(memory, segment);
  }
  const auto size = peer::size_of(memory);
  if (!size) return refuse(ErrorCode::invalid_argument, drive, direction, std::string(explain(size.error())));
  if (part.bytes == 0 && part.memory_offset < *size) part.bytes = *size - part.memory_offset;
  if (auto checked = check_part(drive, direction, part, *size); !checked) return checked;
  auto endpoint = drive.unit().driver->open_endpoint(kInFlight);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  if (auto checked = check_pieces(**endpoint, drive, direction, part, memory); !checked) return checked;
  return move(**endpoint, drive.machine_state()->backend().clock(), direction, part, memory);
}

template <class Bytes>
Result<HostWay> move_host(const Drive& drive, DrivePart part, Direction direction, Bytes bytes, bool may_lend) {
  if (part.bytes == 0) part.bytes = bytes.size();
  if (part.bytes != bytes.size() || part.memory_offset != 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("the memory has {} bytes, and all of it takes part", bytes.size()));
  if (auto checked = check_part(drive, direction, part, bytes.size()); !checked)
    return std::unexpected(std::move(checked.error()));
  auto endpoint = drive.unit().driver->open_endpoint(kInFlight);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  base::Clock& clock = drive.machine_state()->backend().clock();
  // What is written from is only read.
  const std::span<std::byte> own(const_cast<std::byte*>(bytes.data()), bytes.size());
  if (const auto lent = may_lend ? (*endpoint)->lend(own) : std::nullopt) {
    const DmaSegment memory{lent->address(), bytes.size()};
    auto moved = move(**endpoint, clock, direction, part, {&memory, 1});
    endpoint->reset();  // before the memory: after an error commands may be in flight
    if (!moved) return std::unexpected(std::move(moved.error()));
    return HostWay::lent;
  }
  auto buffer = (*endpoint)->allocate(bytes.size());
  if (!buffer) return std::unexpected(std::move(buffer.error()));
  if (direction == Direction::to_endpoint) std::memcpy(buffer->bytes().data(), bytes.data(), bytes.size());
  const DmaSegment memory{buffer->address(), bytes.size()};
  auto moved = move(**endpoint, clock, direction, part, {&memory, 1});
  endpoint->reset();  // likewise
  if (!moved) return std::unexpected(std::move(moved.error()));
  if constexpr (!std::is_const_v<typename Bytes::element_type>)
    std::memcpy(bytes.data(), buffer->bytes().data(), bytes.size());
  return HostWay::copied;
}

}  // namespace

Result<void> read(const Drive& drive, DrivePart from, const Lease& into) {
  return move_leased(drive, from, Direction::from_endpoint, {&into, 1});
}
Result<void> write(const Drive& drive, DrivePart to, const Lease& from) {
  return move_leased(drive, to, Direction::to_endpoint, {&from, 1});
}
Result<void> read(const Drive& drive, DrivePart from, std::span<const Lease> into) {
  return move_leased(drive, from, Direction::from_endpoint, into);
}
Result<void> write(const Drive& drive, DrivePart to, std::span<const Lease> from) {
  return move_leased(drive, to, Direction::to_endpoint, from);
}
Result<transfer::HostWay> transfer::read_host(const Drive& drive, DrivePart from, std::span<std::byte> into,
                                              bool may_lend) {
  return move_host(drive, from, Direction::from_endpoint, into, may_lend);
}
Result<transfer::HostWay> transfer::write_host(const Drive& drive, DrivePart to, std::span<const std::byte> from,
                                               bool may_lend) {
  return move_host(drive, to, Direction::to_endpoint, from, may_lend);
}

}  // namespace barter
