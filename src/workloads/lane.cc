#include "workloads/lane.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "transfer/staging.h"

namespace barter::workloads {

using machine::Direction;

Lane::Lane(const Pair& pair, std::span<Haul> hauls, P2p policy) : pair_(pair), hauls_(hauls), policy_(policy) {}
Lane::~Lane() = default;

Result<std::unique_ptr<Lane>> Lane::create(const Pair& pair, std::span<Haul> hauls, P2p policy) {
  std::unique_ptr<Lane> lane(new Lane(pair, hauls, policy));
  if (auto opened = lane->open(); !opened) return std::unexpected(std::move(opened.error()));
  return lane;
}

Result<void> Lane::open() {
  auto drive = pair_.drive->open_endpoint(kPieces);
  if (!drive) return std::unexpected(std::move(drive.error()));
  drive_ = std::move(*drive);
  piece_bytes_ = std::min(kPieceBytes, drive_->max_piece_bytes());
  const bool by_host = policy_ == P2p::disabled || !pair_.mapping;
  for (Haul& haul : hauls_) {
    haul.by_host = by_host;
    haul.why_host = policy_ == P2p::disabled ? "" : pair_.why_host;
  }
  return by_host ? make_buffers() : Result<void>{};
}

Result<void> Lane::make_buffers() {
  auto accelerator = pair_.accelerator->open_endpoint(kPieces);
  if (!accelerator) return std::unexpected(std::move(accelerator.error()));
  accelerator_ = std::move(*accelerator);
  piece_bytes_ = std::min(piece_bytes_, accelerator_->max_piece_bytes());
  for (Buffer& buffer : buffers_) {
    auto memory = drive_->allocate(piece_bytes_);
    if (!memory) return std::unexpected(std::move(memory.error()));
    auto shared = accelerator_->share(*memory);
    if (!shared) return std::unexpected(std::move(shared.error()));
    buffer = {.of_drive = std::move(*memory), .of_accelerator = std::move(*shared)};
  }
  has_buffers_ = true;
  return {};
}

bool Lane::drive_goes_first(const Haul& haul) const { return haul.direction == Direction::from_endpoint; }

Result<bool> Lane::step(bool may_start) {
  bool has_worked = false;
  while (may_start) {
    const auto started = start();
    if (!started) return started;
    if (!*started) break;
    has_worked = true;
  }
  drive_->ring();
  if (accelerator_) accelerator_->ring();
  const auto drive = reap(*drive_);
  if (!drive || !accelerator_) return drive ? Result<bool>(*drive || has_worked) : drive;
  const auto accelerator = reap(*accelerator_);
  if (!accelerator) return accelerator;
  return *drive || *accelerator || has_worked;
}

Result<bool> Lane::start() {
  if (next_haul_ == hauls_.size()) return false;
  const auto free = std::ranges::find(pieces_, Phase::idle, &Piece::phase);
  if (free == pieces_.end() || in_flight_ >= drive_->capacity()) return false;
  Haul& haul = hauls_[next_haul_];
  Piece& piece = *free;
  if (!haul.by_host) {
    auto lease = pair_.mapping->lease();
    if (lease) {
      piece.lease = std::move(*lease);
    } else if (policy_ == P2p::required) {
      return std::unexpected(std::move(lease.error()));
    } else {
      haul.by_host = true;
      haul.why_host = lease.error().why;
    }
  }
  if (haul.by_host && !has_buffers_)
    if (auto made = make_buffers(); !made) return std::unexpected(std::move(made.error()));
  piece.haul = &haul;
  piece.offset = next_offset_;
  piece.bytes = std::min(piece_bytes_, haul.bytes - next_offset_);
  piece.phase = haul.by_host ? Phase::first : Phase::only;
  ++in_flight_;
  started_bytes_ += piece.bytes;
  next_offset_ += piece.bytes;
  if (next_offset_ == haul.bytes) {
    ++next_haul_;
    next_offset_ = 0;
  }
  if (auto sent = submit(static_cast<std::size_t>(free - pieces_.begin())); !sent)
    return std::unexpected(std::move(sent.error()));
  return true;
}

Result<void> Lane::submit(std::size_t index) {
  const Piece& piece = pieces_[index];
  const Haul& haul = *piece.haul;
  const std::uint64_t in_region = haul.memory_offset + piece.offset;
  if (piece.phase == Phase::only) {
    transfer::cut(piece.lease.segments(), in_region, piece.bytes, segments_);
    return drive_->submit({.direction = haul.direction,
                           .offset = haul.drive_offset + piece.offset,
                           .bytes = piece.bytes,
                           .memory = segments_,
                           .tag = index});
  }
  if ((piece.phase == Phase::first) == drive_goes_first(haul)) {
    const DmaSegment memory{buffers_[index].of_drive.address(), piece.bytes};
    return drive_->submit({.direction = haul.direction,
                           .offset = haul.drive_offset + piece.offset,
                           .bytes = piece.bytes,
                           .memory = {&memory, 1},
                           .tag = index});
  }
  const DmaSegment memory{buffers_[index].of_accelerator.address(), piece.bytes};
  return accelerator_->submit({.direction = drive_goes_first(haul) ? Direction::to_endpoint : Direction::from_endpoint,
                               .offset = pair_.region->range().offset + in_region,
                               .bytes = piece.bytes,
                               .memory = {&memory, 1},
                               .tag = index});
}

Result<bool> Lane::reap(machine::Endpoint& endpoint) {
  const auto count = endpoint.poll(results_);
  if (!count) return std::unexpected(count.error());
  for (const machine::PieceResult& result : std::span(results_).first(*count)) {
    if (!result.ok())
      return fail({.code = ErrorCode::device_failed,
                   .doing = "moving data between a drive and an accelerator",
                   .subject = endpoint.name(),
                   .why = endpoint.describe(result.status)});
    if (auto done = ended(result.tag); !done) return std::unexpected(std::move(done.error()));
  }
  return *count != 0;
}

Result<void> Lane::ended(std::size_t index) {
  Piece& piece = pieces_[index];
  if (piece.phase == Phase::first) {
    piece.phase = Phase::second;
    return submit(index);
  }
  piece.lease = {};
  piece.phase = Phase::idle;
  --in_flight_;
  return {};
}

Result<void> run_lanes(std::span<const std::unique_ptr<Lane>> lanes, base::Clock& clock, const Pace& pace) {
  const base::TimePoint begin = clock.now();
  base::Patience patience(clock);
  while (true) {
    bool may_start = !pace.stop || !pace.stop();
    const bool is_over =
        std::ranges::all_of(lanes, [&](const auto& lane) { return may_start ? lane->is_done() : lane->is_quiet(); });
    if (is_over) return {};
    if (pace.bytes_per_second > 0) {
      double started = 0;
      for (const auto& lane : lanes) started += static_cast<double>(lane->started_bytes());
      const double seconds = std::chrono::duration<double>(clock.now() - begin).count();
      may_start = may_start && started <= pace.bytes_per_second * seconds;
    }
    bool has_worked = false;
    for (const auto& lane : lanes) {
      const auto stepped = lane->step(may_start);
      if (!stepped) return std::unexpected(stepped.error());
      has_worked = has_worked || *stepped;
    }
    patience.after_look(has_worked);
  }
}

}  // namespace barter::workloads
