#include "transfer/pipeline.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"

namespace barter::transfer {
namespace {

// After the owner has taken the memory back, this many chunks go by way of host memory before the next try to get some
// again: often enough to notice, seldom enough that refused tries cost nothing that counts.
constexpr std::uint64_t kChunksBetweenTries = 32;

// How long run() waits for what is in flight after an error.
constexpr Duration kSettleTime = std::chrono::seconds(2);

}  // namespace

Pipeline::Pipeline(Job job, Manner manner, base::Clock& clock)
    : source_{job.source, job.source_offset},
      destination_{job.destination, job.destination_offset},
      bytes_(job.bytes),
      shape_(job.shape),
      manner_(std::move(manner)),
      clock_(clock),
      slots_(job.shape.slots) {
  piece_memory_.reserve(64);
}

Result<Outcome> Pipeline::run() {
  Result<void> ok = manner_.stage ? stage_again() : Result<void>{};
  while (ok && done_bytes_ < bytes_) ok = step();
  if (ok) {
    for (peer::FallbackLog::Entry& entry : fallbacks_.entries())
      outcome_.fallbacks.push_back({.code = std::string(name_of(entry.reason)),
                                    .reason = std::move(entry.why),
                                    .chunks = entry.count,
                                    .bytes = entry.bytes});
    return outcome_;
  }
  settle();
  return fail(with_progress(std::move(ok.error())));
}

// Nothing may be in flight to memory that is about to be given back.
void Pipeline::settle() {
  const bool settled = base::wait_until(clock_, clock_.now() + kSettleTime, [this] {
    // A drive that can't even be polled has nothing more to tell; the other one is waited for all the same.
    const bool source_polled = poll(source_, [](std::uint32_t) {}).has_value();
    const bool destination_polled = poll(destination_, [](std::uint32_t) {}).has_value();
    return in_flight_ == 0 || !(source_polled || destination_polled);
  });
  static_cast<void>(settled);  // is_quiet() tells the same, and the caller asks
}

void Pipeline::drain() {
  for (Side* side : {&source_, &destination_}) {
    if (broken_) return;
    if (auto reaped = reap(*side); !reaped) broken_ = std::move(reaped.error());
  }
}

Result<void> Pipeline::step() {
  if (broken_) return fail(std::move(*broken_));
  if (auto started = start_chunks(); !started) return started;
  for (std::uint32_t index = 0; index < slots_.size(); ++index) {
    if (slots_[index].phase == Phase::read && writing_ < most_writing())
      if (auto started = start_writing(index); !started) return started;
    if (auto submitted = submit_pieces(index); !submitted) return submitted;
  }
  for (Side* side : {&source_, &destination_}) {
    if (!std::exchange(side->must_ring, false)) continue;
    side->endpoint.ring();
  }
  const std::uint64_t done_before = done_bytes_;
  const auto from_source = reap(source_);
  if (!from_source) return std::unexpected(from_source.error());
  const auto from_destination = reap(destination_);
  if (!from_destination) return std::unexpected(from_destination.error());
  patience_.after_look(*from_source + *from_destination != 0);
  if (done_bytes_ != done_before && manner_.progress) manner_.progress({done_bytes_, bytes_});
  return {};
}

std::uint32_t Pipeline::usable_slots() const { return direct_ ? direct_->slots() : shape_.slots; }

// Half of them. A drive that works on all that it has at once ends all at once: chunks that were read together would be written
// together, and each drive would wait for the other in turn.
std::uint32_t Pipeline::most_writing() const { return std::max(usable_slots() / 2, 1u); }

Result<void> Pipeline::start_chunks() {
  if (next_offset_ == bytes_) return {};
  if (manner_.stage && !direct_ && host_chunks_since_try_ >= kChunksBetweenTries)
    if (auto staged = stage_again(); !staged) return staged;
  for (std::uint32_t index = 0; index < usable_slots() && next_offset_ < bytes_; ++index) {
    Slot& slot = slots_[index];
    if (slot.phase != Phase::idle) continue;
    slot.offset = next_offset_;
    slot.bytes = std::min(direct_ ? direct_->chunk_bytes() : shape_.chunk_bytes, bytes_ - next_offset_);
    next_offset_ += slot.bytes;
    if (auto started = start_reading(index); !started) return started;
  }
  return {};
}

Result<void> Pipeline::start_reading(std::uint32_t index) {
  Slot& slot = slots_[index];
  slot.phase = Phase::reading;
  slot.submitted = 0;
  slot.status = 0;
  if (!direct_) return go_by_host(index, why_not_direct_);
  auto lease = direct_->lease_for_source();
  if (!lease) return lose_direct(index, std::move(lease.error()));
  slot.staging = direct_;
  slot.lease = std::move(*lease);
  return {};
}

Result<void> Pipeline::start_writing(std::uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.staging) {
    auto lease = slot.staging->lease_for_destination();
    if (!lease) return lose_direct(index, std::move(lease.error()));
    slot.lease = std::move(*lease);
  }
  slot.phase = Phase::writing;
  slot.submitted = 0;
  ++writing_;
  return {};
}

// The owner has taken the memory back: what this chunk had there is gone, and it starts again.
Result<void> Pipeline::lose_direct(std::uint32_t index, Error error) {
  if (manner_.direct_only) return fail(std::move(error));
  // Once for the staging, however many chunks it had.
  if (direct_ && (direct_ == slots_[index].staging || !slots_[index].staging)) {
    base::log::info("by way of host memory from here on: {}", error.message());
    direct_ = nullptr;
  }
  why_not_direct_ = {.reason = peer::FallbackReason::revoked, .error = std::move(error)};
  return go_by_host(index, why_not_direct_);
}

Result<void> Pipeline::go_by_host(std::uint32_t index, const NotStaged& why) {
  Slot& slot = slots_[index];
  slot.lease = {};
  slot.staging = nullptr;
  slot.phase = Phase::reading;
  slot.submitted = 0;
  slot.status = 0;
  if (!host_) {
    auto pool = create_host_pool(source_.endpoint, destination_.endpoint, shape_);
    if (!pool) return std::unexpected(std::move(pool.error()));
    host_ = std::move(*pool);
  }
  auto bounce = host_->take();
  if (!bounce) return std::unexpected(std::move(bounce.error()));
  slot.bounce.emplace(std::move(*bounce));
  ++host_chunks_since_try_;
  if (manner_.stage) fallbacks_.note(why.reason, why.error.message(), slot.bytes);
  return {};
}

Result<void> Pipeline::stage_again() {
  host_chunks_since_try_ = 0;
  auto staging = manner_.stage();
  if (staging) {
    if (host_) base::log::info("direct again, by way of {}", (*staging)->provider().name);
    direct_ = std::move(*staging);
    return {};
  }
  if (manner_.direct_only) return std::unexpected(std::move(staging.error().error));
  // Each try in vain says the same, as a rule.
  if (std::string why = staging.error().error.message(); why != why_not_direct_.error.message())
    base::log::info("by way of host memory: {}", why);
  why_not_direct_ = std::move(staging.error());
  return {};
}

Result<void> Pipeline::submit_pieces(std::uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.phase != Phase::reading && slot.phase != Phase::writing) return {};
  const bool reading = slot.phase == Phase::reading;
  Side& side = reading ? source_ : destination_;
  while (slot.submitted < slot.bytes && slot.status == 0 && side.in_flight < side.endpoint.capacity()) {
    const std::uint64_t bytes = std::min(slot.bytes - slot.submitted, side.endpoint.max_piece_bytes());
    cut(view(index), slot.submitted, bytes, piece_memory_);
    const auto submitted = side.endpoint.submit({
        .direction = reading ? machine::Direction::from_endpoint : machine::Direction::to_endpoint,
        .offset = side.offset + slot.offset + slot.submitted,
        .bytes = bytes,
        .memory = piece_memory_,
        .tag = index,
    });
    if (!submitted) return submitted;
    slot.submitted += bytes;
    ++slot.in_flight;
    ++side.in_flight;
    ++in_flight_;
    side.must_ring = true;
  }
  return {};
}

// Takes what has ended and calls done(index) for each slot whose phase has nothing more in flight or to submit.
template <class Done>
Result<std::size_t> Pipeline::poll(Side& side, Done&& done) {
  if (side.in_flight == 0) return 0;
  std::array<machine::PieceResult, 64> results;
  const auto count = side.endpoint.poll(results);
  if (!count) return count;
  for (const machine::PieceResult& result : std::span(results).first(*count)) {
    assert(result.tag < slots_.size());
    const auto index = static_cast<std::uint32_t>(result.tag);
    Slot& slot = slots_[index];
    --slot.in_flight;
    --side.in_flight;
    --in_flight_;
    if (!result.ok() && slot.status == 0) slot.status = result.status;
    if (slot.in_flight == 0 && (slot.submitted == slot.bytes || slot.status != 0)) done(index);
  }
  return count;
}

Result<std::size_t> Pipeline::reap(Side& side) {
  Result<void> ok;
  const auto count = poll(side, [&](std::uint32_t index) {
    if (auto finished = finish_phase(index, side); !finished && ok) ok = std::move(finished);
  });
  if (!ok) return std::unexpected(std::move(ok.error()));
  return count;
}

Result<void> Pipeline::finish_phase(std::uint32_t index, const Side& side) {
  Slot& slot = slots_[index];
  const bool reading = slot.phase == Phase::reading;
  slot.lease = {};
  if (!reading) --writing_;
  if (slot.status != 0) {
    const std::string words = side.endpoint.describe(slot.status);
    Error error{.code = ErrorCode::device_failed,
                .doing = reading ? "reading from" : "writing to",
                .subject = side.endpoint.name(),
                .where = fmt::format("offset {}", side.offset + slot.offset),
                .why = words};
    if (!slot.staging || manner_.direct_only) return fail(std::move(error));
    return go_by_host(index, {.reason = peer::FallbackReason::transfer_failed, .error = std::move(error)});
  }
  if (reading) {
    slot.phase = Phase::read;
    return {};
  }
  count(slot);
  slot.staging = nullptr;
  slot.bounce.reset();
  slot.phase = Phase::idle;
  return {};
}

void Pipeline::count(const Slot& slot) {
  done_bytes_ += slot.bytes;
  if (!slot.staging) {
    outcome_.host_bytes += slot.bytes;
    return;
  }
  const auto* provider = &slot.staging->provider();
  auto through = std::ranges::find(outcome_.direct, provider, &Through::provider);
  if (through == outcome_.direct.end()) through = outcome_.direct.insert(through, {.provider = provider});
  through->bytes += slot.bytes;
}

Error Pipeline::with_progress(Error error) const {
  error.why += fmt::format(" ({} of {} bytes had been copied)", done_bytes_, bytes_);
  return error;
}

std::span<const DmaSegment> Pipeline::view(std::uint32_t index) const {
  const Slot& slot = slots_[index];
  if (slot.phase == Phase::reading)
    return slot.staging ? slot.staging->source_view(index) : std::span(&(*slot.bounce)->source_view, 1);
  return slot.staging ? slot.staging->destination_view(index) : std::span(&(*slot.bounce)->destination_view, 1);
}

}  // namespace barter::transfer
