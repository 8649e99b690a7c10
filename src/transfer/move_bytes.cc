// What a DMA engine moves: cut into commands of as many segments and bytes as it takes.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "barter/io.hpp"
#include "drivers/dma_engine/engine.h"
#include "machine/state.h"
#include "peer/segments.h"
#include "transfer/leased.h"

namespace barter {
namespace {

namespace dma = drivers::dma_engine;

// One command moves at most this much, so that the engine's lists stay short and a failure is told soon.
constexpr std::uint64_t kCommandBytes = std::uint64_t{16} << 20;
constexpr std::uint32_t kInFlight = 8;

std::unexpected<Error> refuse(ErrorCode code, const DmaEngine& engine, std::string why) {
  return fail({.code = code, .doing = "moving bytes by", .subject = engine.name(), .why = std::move(why)});
}

// From the offset on.
Result<peer::SegmentCutter> cut_from(const DmaEngine& engine, const peer::SegmentList& list, std::uint64_t offset,
                                     const char* side) {
  peer::SegmentCutter cutter(list);
  if (offset >= cutter.left_bytes())
    return refuse(ErrorCode::out_of_range, engine,
                  fmt::format("offset {} is behind the {} bytes of the {}", offset, cutter.left_bytes(), side));
  cutter.skip(offset);
  return cutter;
}

class Move {
 public:
  Move(const DmaEngine& engine, dma::Channel& channel, peer::SegmentCutter from, peer::SegmentCutter to)
      : engine_(engine),
        channel_(channel),
        limits_{.max_segments = channel.max_segments()},
        most_bytes_(std::min(kCommandBytes, engine.unit().dma_engine->facts().max_transfer_bytes)),
        from_(from),
        to_(to) {}

  // A few commands at a time. After an error the channel goes before the leases do, and a channel that is gone starts no more
  // DMA.
  [[nodiscard]] Result<void> run(std::uint64_t bytes) {
    base::Clock& clock = engine_.machine_state()->backend().clock();
    std::array<dma::CommandResult, kInFlight> results;
    while (bytes > 0 || channel_.in_flight() > 0) {
      while (bytes > 0 && channel_.in_flight() < channel_.capacity()) {
        const auto sent = submit(bytes);
        if (!sent) return std::unexpected(sent.error());
        bytes -= *sent;
      }
      channel_.ring();
      const auto count = channel_.poll(results);
      if (!count) return std::unexpected(count.error());
      for (const dma::CommandResult& result : std::span(results).first(*count))
        if (!result.ok()) return refuse(ErrorCode::device_failed, engine_, dma::describe_status(result.status));
      if (*count == 0) clock.idle();
    }
    return {};
  }

 private:
  // One command, as long as both of its lists allow. How many bytes it is to move.
  [[nodiscard]] Result<std::uint64_t> submit(std::uint64_t left_bytes) {
    peer::SegmentCutter ahead = from_;
    auto bytes = ahead.take({.max_bytes = std::min(left_bytes, most_bytes_)}, limits_, sources_);
    if (bytes) bytes = to_.take({.max_bytes = *bytes}, limits_, targets_);
    // Again, where the destination takes less at once.
    if (bytes) bytes = from_.take({.max_bytes = *bytes}, limits_, sources_);
    if (!bytes) return refuse(ErrorCode::invalid_argument, engine_, std::string(explain(bytes.error())));
    if (auto sent = channel_.submit({.from = sources_, .to = targets_}); !sent) return std::unexpected(sent.error());
    return *bytes;
  }

  const DmaEngine& engine_;
  dma::Channel& channel_;
  const peer::SegmentLimits limits_;
  const std::uint64_t most_bytes_;
  peer::SegmentCutter from_, to_;
  peer::SegmentList sources_, targets_;
};

}  // namespace

Result<void> move_bytes(const DmaEngine& engine, std::span<const Lease> from, std::span<const Lease> to,
                        MovePart part) {
  const auto sources = transfer::gather(from, engine.bdf(), Access::read);
  if (!sources) return refuse(ErrorCode::invalid_argument, engine, "the source: " + sources.error());
  const auto targets = transfer::gather(to, engine.bdf(), Access::write);
  if (!targets) return refuse(ErrorCode::invalid_argument, engine, "the destination: " + targets.error());
  const auto source = cut_from(engine, *sources, part.from_offset, "source");
  if (!source) return std::unexpected(source.error());
  const auto target = cut_from(engine, *targets, part.to_offset, "destination");
  if (!target) return std::unexpected(target.error());
  const std::uint64_t most = std::min(source->left_bytes(), target->left_bytes());
  if (part.bytes == 0) part.bytes = most;
  if (part.bytes > most)
    return refuse(ErrorCode::out_of_range, engine,
                  fmt::format("{} bytes are more than the {} that both sides have", part.bytes, most));
  auto channel = engine.unit().dma_engine->create_channel({.entries = kInFlight});
  if (!channel) return std::unexpected(std::move(channel.error()));
  return Move(engine, **channel, *source, *target).run(part.bytes);
}

Result<void> move_bytes(const DmaEngine& engine, const Lease& from, const Lease& to, MovePart part) {
  return move_bytes(engine, std::span(&from, 1), std::span(&to, 1), part);
}

}  // namespace barter
