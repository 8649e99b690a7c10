#include "barter/io.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "machine/state.h"
#include "peer/segments.h"
#include "transfer/borrowed_endpoint.h"
#include "transfer/drive_io.h"
#include "transfer/leased.h"

namespace barter {
namespace {

using machine::Direction;
using transfer::BorrowedEndpoint;
using transfer::HostWay;

// A piece of what goes by way of a buffer. Smaller ones cost the drive more commands, larger ones the computer more memory.
constexpr std::uint64_t kSlotBytes = std::uint64_t{128} << 10;

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

std::unexpected<Error> failed(const machine::Endpoint& endpoint, Direction direction, const DrivePart& part,
                              std::uint16_t status) {
  return fail({.code = ErrorCode::device_failed,
               .doing = direction == Direction::from_endpoint ? "reading from" : "writing to",
               .subject = endpoint.name(),
               .where = fmt::format("offset {}", part.offset),
               .why = endpoint.describe(status)});
}

// Moves all of it, a few pieces at a time, each as long as the drive takes it. After an error pieces may be in flight.
Result<void> move(machine::Endpoint& endpoint, base::Clock& clock, Direction direction, const DrivePart& part,
                  std::span<const DmaSegment> memory) {
  std::array<machine::PieceResult, BorrowedEndpoint::kInFlight> results;
  const peer::SegmentLimits limits = endpoint.segment_limits();
  peer::SegmentCutter cutter(memory);
  cutter.skip(part.memory_offset);
  peer::SegmentList piece;
  std::uint64_t submitted = 0;
  std::uint32_t in_flight = 0;
  while (submitted < part.bytes || in_flight > 0) {
    while (submitted < part.bytes && in_flight < std::min(BorrowedEndpoint::kInFlight, endpoint.capacity())) {
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
      if (!result.ok()) return failed(endpoint, direction, part, result.status);
    }
    if (*count == 0) clock.idle();
  }
  return {};
}

// By way of a buffer that is cut into slots, one for each piece in flight. What is written from is only read. After an error, as move().
Result<void> move_copied(BorrowedEndpoint& endpoint, base::Clock& clock, Direction direction, const DrivePart& part,
                         std::span<std::byte> own) {
  const std::uint64_t most = std::min({part.bytes, kSlotBytes, endpoint->max_piece_bytes()});
  const std::uint64_t slot_bytes = std::max<std::uint64_t>(most / endpoint->block_bytes(), 1) * endpoint->block_bytes();
  const auto buffer = endpoint.buffer(slot_bytes);
  if (!buffer) return std::unexpected(buffer.error());
  std::array<std::span<std::byte>, BorrowedEndpoint::kInFlight> in_slot;  // whose bytes these are; none: it is free
  std::array<machine::PieceResult, BorrowedEndpoint::kInFlight> results;
  const std::size_t slots = std::min<std::size_t>(in_slot.size(), endpoint->capacity());
  std::uint64_t submitted = 0, done = 0;
  while (done < part.bytes) {
    for (std::size_t slot = 0; slot < slots && submitted < part.bytes; ++slot) {
      if (!in_slot[slot].empty()) continue;
      const std::span<std::byte> here = own.subspan(submitted, std::min(slot_bytes, part.bytes - submitted));
      if (direction == Direction::to_endpoint)
        std::ranges::copy(here, (*buffer)->bytes().subspan(slot * slot_bytes).begin());
      const DmaSegment memory{(*buffer)->address() + slot * slot_bytes, here.size()};
      auto sent = endpoint->submit({.direction = direction,
                                    .offset = part.offset + submitted,
                                    .bytes = here.size(),
                                    .memory = {&memory, 1},
                                    .tag = slot});
      if (!sent) return sent;
      in_slot[slot] = here;
      submitted += here.size();
    }
    endpoint->ring();
    const auto count = endpoint->poll(results);
    if (!count) return std::unexpected(count.error());
    for (const machine::PieceResult& result : std::span(results).first(*count)) {
      if (!result.ok()) return failed(*endpoint, direction, part, result.status);
      const std::span<std::byte> here = std::exchange(in_slot[result.tag], {});
      if (direction == Direction::from_endpoint)
        std::ranges::copy((*buffer)->bytes().subspan(result.tag * slot_bytes, here.size()), here.begin());
      done += here.size();
    }
    if (*count == 0) clock.idle();
  }
  return {};
}

Result<void> move_leased(const Drive& drive, DrivePart part, Direction direction, std::span<const Lease> leases) {
  const Access needed = direction == Direction::from_endpoint ? Access::write : Access::read;
  const auto memory = transfer::gather(leases, drive.bdf(), needed);
  if (!memory) return refuse(ErrorCode::invalid_argument, drive, direction, memory.error());
  const std::uint64_t size = peer::SegmentCutter(*memory).left_bytes();
  if (part.bytes == 0 && part.memory_offset < size) part.bytes = size - part.memory_offset;
  if (auto checked = check_part(drive, direction, part, size); !checked) return checked;
  auto endpoint = BorrowedEndpoint::of(drive.unit());
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  if (auto checked = check_pieces(**endpoint, drive, direction, part, *memory); !checked) return checked;
  auto moved = move(**endpoint, drive.machine_state()->backend().clock(), direction, part, *memory);
  if (!moved) endpoint->spoil();
  return moved;
}

Result<HostWay> move_host(const Drive& drive, DrivePart part, Direction direction, std::span<std::byte> own,
                          bool may_lend) {
  if (part.bytes == 0) part.bytes = own.size();
  if (part.bytes != own.size() || part.memory_offset != 0)
    return refuse(ErrorCode::invalid_argument, drive, direction,
                  fmt::format("the memory has {} bytes, and all of it takes part", own.size()));
  if (auto checked = check_part(drive, direction, part, own.size()); !checked)
    return std::unexpected(std::move(checked.error()));
  auto endpoint = BorrowedEndpoint::of(drive.unit());
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  base::Clock& clock = drive.machine_state()->backend().clock();
  const auto lent = may_lend ? (*endpoint)->lend(own) : std::nullopt;
  Result<void> moved;
  if (lent) {
    const DmaSegment memory{lent->address(), own.size()};
    moved = move(**endpoint, clock, direction, part, {&memory, 1});
  } else {
    moved = move_copied(*endpoint, clock, direction, part, own);
  }
  if (moved) return lent ? HostWay::lent : HostWay::copied;
  endpoint->spoil();
  return std::unexpected(std::move(moved.error()));
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
  // It is only read.
  const std::span<std::byte> own(const_cast<std::byte*>(from.data()), from.size());
  return move_host(drive, to, Direction::to_endpoint, own, may_lend);
}

}  // namespace barter
