// Reads and writes of a drive to and from any pointer: what it points to is looked up (peer/pointers.h) and cut into parts, and
// each part goes the shortest way that there is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/io.hpp"
#include "barter/managed.hpp"
#include "machine/state.h"
#include "peer/managed_pages.h"
#include "peer/pointers.h"
#include "peer/region.h"
#include "transfer/drive_io.h"

namespace barter {
namespace {

using machine::Direction;
using peer::PointerRun;

// How long pages that move are waited for, and how often a mapping whose pages move again is made anew.
constexpr Duration kMapDeadline = std::chrono::seconds(10);
constexpr int kAttempts = 16;

// One call: from the drive's bytes at `offset` on to all of the memory, or back.
class PointerIo {
 public:
  PointerIo(const Drive& drive, std::uint64_t offset, Direction direction, std::span<std::byte> memory)
      : drive_(drive), offset_(offset), direction_(direction), memory_(memory), block_bytes_(drive.block_bytes()) {}

  [[nodiscard]] Result<IoReport> run() {
    for (std::uint64_t at = 0; at < memory_.size();) {
      const PointerRun run = pointers().run_at(memory_, at);
      ++report_.parts;
      if (auto done = move(run); !done) return std::unexpected(std::move(done.error()));
      at += run.range.bytes;
    }
    if (auto done = flush(memory_.size()); !done) return std::unexpected(std::move(done.error()));
    return report_;
  }

 private:
  // The whole blocks of a part go by its own way; what is left of it, and host memory, waits for the next flush().
  [[nodiscard]] Result<void> move(const PointerRun& run) {
    const std::uint64_t start = (run.range.offset + block_bytes_ - 1) / block_bytes_ * block_bytes_;
    const std::uint64_t end = (run.range.offset + run.range.bytes) / block_bytes_ * block_bytes_;
    const bool has_owner = run.region || run.managed;
    if (!has_owner || start >= end || !drive_.unit().importer) return {};
    const MemoryRange range{start, end - start};
    auto done = run.region ? by_region(run, range) : by_managed(run, range);
    if (!done) return std::unexpected(std::move(done.error()));
    if (!*done) return {};
    if (auto flushed = flush(start); !flushed) return flushed;
    moved_ = end;
    return {};
  }

  // From where the last part has ended to here: host memory, and what must go by way of it.
  [[nodiscard]] Result<void> flush(std::uint64_t until) {
    if (until <= moved_) return {};
    const std::span<std::byte> memory = memory_.subspan(moved_, until - moved_);
    const DrivePart part{.offset = offset_ + moved_, .bytes = memory.size()};
    const bool may_lend = is_ordinary(memory);
    moved_ = until;
    const auto way = direction_ == Direction::from_endpoint ? transfer::read_host(drive_, part, memory, may_lend)
                                                            : transfer::write_host(drive_, part, memory, may_lend);
    if (!way) return std::unexpected(way.error());
    (*way == transfer::HostWay::lent ? report_.host_bytes : report_.copied_bytes) += memory.size();
    return {};
  }

  [[nodiscard]] bool is_ordinary(std::span<const std::byte> memory) const {
    for (std::uint64_t at = 0; at < memory.size();) {
      const PointerRun run = pointers().run_at(memory, at);
      if (run.region || run.managed) return false;
      at += run.range.bytes;
    }
    return true;
  }

  [[nodiscard]] const peer::Pointers& pointers() const { return drive_.machine_state()->exchange().pointers(); }

  [[nodiscard]] MapOptions options(const PointerRun& run, MemoryRange range) const {
    return {.access = direction_ == Direction::from_endpoint ? Access::write : Access::read,
            .offset = run.offset + (range.offset - run.range.offset),
            .bytes = range.bytes};
  }

  // Not by this way, then: by way of a buffer, and the first reason is told.
  [[nodiscard]] bool not_direct(std::string why) {
    if (report_.why_copied.empty()) report_.why_copied = std::move(why);
    return false;
  }

  // False: not by this way. The memory's owner said no, there is no way, or it was taken back meanwhile.
  [[nodiscard]] Result<bool> by_region(const PointerRun& run, MemoryRange range) {
    auto mapping =
        drive_.machine_state()->exchange().try_map(*drive_.unit().importer, *run.region, options(run, range));
    if (!mapping && mapping.error().reason == peer::Refusal::device_gone) return fail(std::move(mapping.error().error));
    if (!mapping) return not_direct(std::move(mapping.error().error.why));
    const auto lease = mapping->lease();
    if (!lease) return not_direct(lease.error().message());
    const auto done = by_leases({&*lease, 1}, range);
    if (done && *done) report_.direct_bytes += range.bytes;
    return done;
  }

  [[nodiscard]] Result<bool> by_managed(const PointerRun& run, MemoryRange range) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const auto mapping = run.managed->map(*drive_.unit().importer, options(run, range), kMapDeadline);
      if (!mapping && mapping.error().code == ErrorCode::device_gone) return std::unexpected(mapping.error());
      if (!mapping) return not_direct(mapping.error().why);
      const auto leases = mapping->lease();
      if (!leases) continue;  // its pages have moved
      const auto done = by_leases(*leases, range);
      // Cut off under a command: what it has moved is moved again.
      if (!done && std::ranges::any_of(mapping->parts(), &Mapping::is_revoked, &ManagedPart::mapping)) continue;
      if (!done || !*done) return done;
      for (const ManagedPart& part : mapping->parts())
        (part.is_direct ? report_.direct_bytes : report_.host_bytes) += part.range.bytes;
      return true;
    }
    return not_direct("its pages moved again and again");
  }

  // False: this is nothing that the drive can be told. That is no error of the program's, and was found before anything moved.
  [[nodiscard]] Result<bool> by_leases(std::span<const Lease> leases, MemoryRange range) {
    const DrivePart part{.offset = offset_ + range.offset, .bytes = range.bytes};
    const auto done = direction_ == Direction::from_endpoint ? read(drive_, part, leases) : write(drive_, part, leases);
    if (done) return true;
    if (done.error().code == ErrorCode::invalid_argument) return not_direct(done.error().why);
    return std::unexpected(done.error());
  }

  const Drive& drive_;
  const std::uint64_t offset_;
  const Direction direction_;
  const std::span<std::byte> memory_;
  const std::uint64_t block_bytes_;
  std::uint64_t moved_ = 0;  // so many bytes, from the start, are where they belong
  IoReport report_;
};

Result<IoReport> move(const Drive& drive, DrivePart part, Direction direction, std::span<std::byte> memory) {
  const std::uint64_t size = drive.size_bytes();
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail({.code = code,
                 .doing = direction == Direction::from_endpoint ? "reading from" : "writing to",
                 .subject = drive.name(),
                 .why = std::move(why)});
  };
  if (part.bytes == 0) part.bytes = memory.size();
  if (part.bytes != memory.size() || part.memory_offset != 0)
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("the memory has {} bytes, and all of it takes part", memory.size()));
  if (part.offset > size || part.bytes > size - part.offset)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("{} bytes from offset {} on end behind its {} bytes", part.bytes, part.offset, size));
  if (part.offset % drive.block_bytes() != 0 || part.bytes % drive.block_bytes() != 0 || part.bytes == 0)
    return refuse(ErrorCode::invalid_argument, fmt::format("offset {} and size {} are not whole blocks of {} bytes",
                                                           part.offset, part.bytes, drive.block_bytes()));
  return PointerIo(drive, part.offset, direction, memory).run();
}

}  // namespace

Result<IoReport> read(const Drive& drive, DrivePart from, std::span<std::byte> into) {
  return move(drive, from, Direction::from_endpoint, into);
}

Result<IoReport> write(const Drive& drive, DrivePart to, std::span<const std::byte> from) {
  // It is only read.
  return move(drive, to, Direction::to_endpoint, {const_cast<std::byte*>(from.data()), from.size()});
}

}  // namespace barter
