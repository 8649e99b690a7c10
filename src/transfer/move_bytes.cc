// What a DMA engine moves: cut into commands of as many segments and bytes as it takes.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/io.hpp"
#include "drivers/dma_engine/engine.h"
#include "machine/state.h"
#include "transfer/staging.h"

namespace barter {
namespace {

namespace dma = drivers::dma_engine;

// One command moves at most this much, so that the engine's lists stay short and a failure is told soon.
constexpr std::uint64_t kCommandBytes = std::uint64_t{16} << 20;
constexpr std::uint32_t kInFlight = 8;

std::unexpected<Error> refuse(ErrorCode code, const DmaEngine& engine, std::string why) {
  return fail({.code = code, .doing = "moving bytes by", .subject = engine.name(), .why = std::move(why)});
}

// How many bytes the lease gives from the offset on.
Result<std::uint64_t> check_lease(const DmaEngine& engine, const Lease& lease, std::uint64_t offset, Access needed) {
  const char* const side = needed == Access::read ? "source" : "destination";
  std::uint64_t bytes = 0;
  for (const DmaSegment& segment : lease.segments()) bytes += segment.bytes;
  if (bytes == 0) return refuse(ErrorCode::invalid_argument, engine, fmt::format("the lease of the {} is empty", side));
  if (lease.importer() != engine.bdf())
    return refuse(ErrorCode::invalid_argument, engine,
                  fmt::format("the {} is mapped for {}, not for this engine", side, lease.importer().to_string()));
  if ((static_cast<unsigned>(lease.access()) & static_cast<unsigned>(needed)) == 0)
    return refuse(ErrorCode::invalid_argument, engine, fmt::format("the {} is mapped for the other access only", side));
  if (offset >= bytes)
    return refuse(ErrorCode::out_of_range, engine,
                  fmt::format("offset {} is behind the {} bytes of the {}", offset, bytes, side));
  return bytes - offset;
}

// Moves all of it, a few commands at a time. After an error the channel goes before the leases do, and a channel that is gone
// starts no more DMA.
Result<void> move(const DmaEngine& engine, dma::Channel& channel, const Lease& from, const Lease& to, MovePart part) {
  base::Clock& clock = engine.machine_state()->backend().clock();
  std::array<dma::CommandResult, kInFlight> results;
  std::vector<DmaSegment> sources, targets;
  const std::uint64_t most = std::min(kCommandBytes, engine.unit().dma_engine->facts().max_transfer_bytes);
  std::uint64_t submitted = 0;
  while (submitted < part.bytes || channel.in_flight() > 0) {
    while (submitted < part.bytes && channel.in_flight() < channel.capacity()) {
      const std::uint64_t bytes = std::min(part.bytes - submitted, most);
      transfer::cut(from.segments(), part.from_offset + submitted, bytes, sources);
      transfer::cut(to.segments(), part.to_offset + submitted, bytes, targets);
      if (auto sent = channel.submit({.from = sources, .to = targets}); !sent) return sent;
      submitted += bytes;
    }
    channel.ring();
    const auto count = channel.poll(results);
    if (!count) return std::unexpected(count.error());
    for (const dma::CommandResult& result : std::span(results).first(*count))
      if (!result.ok()) return refuse(ErrorCode::device_failed, engine, dma::describe_status(result.status));
    if (*count == 0) clock.idle();
  }
  return {};
}

}  // namespace

Result<void> move_bytes(const DmaEngine& engine, const Lease& from, const Lease& to, MovePart part) {
  const auto source = check_lease(engine, from, part.from_offset, Access::read);
  if (!source) return std::unexpected(source.error());
  const auto target = check_lease(engine, to, part.to_offset, Access::write);
  if (!target) return std::unexpected(target.error());
  const std::uint64_t most = std::min(*source, *target);
  if (part.bytes == 0) part.bytes = most;
  if (part.bytes > most)
    return refuse(ErrorCode::out_of_range, engine,
                  fmt::format("{} bytes are more than the {} that both sides have", part.bytes, most));
  auto channel = engine.unit().dma_engine->create_channel({.entries = kInFlight});
  if (!channel) return std::unexpected(std::move(channel.error()));
  return move(engine, **channel, from, to, part);
}

}  // namespace barter
