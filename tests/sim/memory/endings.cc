// Transfers end: done, failed, cancelled, or cut off long before.
#include <algorithm>
#include <array>
#include <utility>

#include "world.h"

namespace barter::sim {
namespace {

// Where bytes are not what they should have become, and what they were before.
std::string difference(std::span<const std::byte> now, std::span<const std::byte> wanted,
                       std::span<const std::byte> before) {
  const auto [found, other] = std::ranges::mismatch(now, wanted);
  const auto at = static_cast<std::size_t>(found - now.begin());
  return fmt::format("byte {} of {} is {:#04x}, should have become {:#04x}, and was {:#04x}", at, now.size(),
                     static_cast<unsigned>(now[at]), static_cast<unsigned>(wanted[at]),
                     static_cast<unsigned>(before[at]));
}

}  // namespace

void World::poll(std::uint32_t index) {
  Unit& unit = units_[index];
  if (unit.is_broken) return;
  unit.carrier->ring();
  std::array<machine::PieceResult, 16> results;
  const auto count = unit.carrier->poll(results);
  if (!count) {
    unit.is_broken = true;
    say("({}: {})", unit.name, name_of(count.error().code));
    if (layout_.calm) blame("a queue broke, and nothing had gone wrong: " + count.error().message());
    return;
  }
  for (std::size_t at = 0; at < *count; ++at) {
    Transfer& transfer = transfers_[results[at].tag % kTagSlots];
    if (!transfer.is_active || transfer.tag != results[at].tag) {
      blame(fmt::format("{} completed what was not in flight", unit.name));
      continue;
    }
    if (layout_.calm && !results[at].ok() && !transfer.is_rogue)
      blame(fmt::format("a transfer of {} failed, and nothing had gone wrong: {}", unit.name,
                        unit.carrier->describe(results[at].status)));
    ++(results[at].ok() ? tally_.transfers_done : tally_.transfers_failed);
    if (is_by_link(transfer)) ++(results[at].ok() ? tally_.done_by_link : tally_.failed_by_link);
    if (units_[transfer.unit].kind == machine::UnitKind::nic)
      ++(transfer.is_cut_off() ? tally_.cut_off_by_nic : results[at].ok() ? tally_.done_by_nic : tally_.failed_by_nic);
    finish(transfer, results[at].ok());
  }
}

// The device's queue is gone, and with it what was in flight.
void World::cancel(std::uint32_t unit) {
  for (Transfer& transfer : transfers_) {
    if (!transfer.is_active || transfer.unit != unit) continue;
    ++tally_.transfers_cancelled;
    finish(transfer, false);
  }
}

// What is to be where the bytes go: what is where they come from, or was when that was cut off.
std::span<const std::byte> World::wanted(const Flow& flow, const Part& part) const {
  if (flow.source.is_cut_off) return part.before;
  return places_[flow.source.place].expected(flow.from);
}

void World::finish(Transfer& transfer, bool is_done) {
  if (!transfer.is_disturbed)  // a reset has wiped one of its ends meanwhile: nothing can be said of the bytes
    for (const Part& part : transfer.all_parts()) finish_part(transfer, part, is_done);
  if (is_done && transfer.local.region != 0) ++tally_.moves_done;
  let_go(transfer);
  Unit& unit = units_[transfer.unit];
  if (transfer.is_cut_off()) {
    ++tally_.transfers_cut_off;
    std::uint32_t& count = transfer.is_rogue ? unit.rogues : unit.cut_off;
    if (count > 0) --count;
  }
  if (unit.in_flight > 0) --unit.in_flight;
  // The leases end last: with them may end mappings, and the memory's owner goes on.
  const Transfer ended = std::exchange(transfer, {});
  if (ended.copy) go_on(*ended.copy, is_done && !ended.is_disturbed);
}

// What it says must fit to the bytes; where memory was taken away before it ended, to what had happened by then.
void World::finish_part(const Transfer& transfer, const Part& part, bool is_done) {
  const std::string& name = units_[transfer.unit].name;
  const Flow flow = flow_of(transfer, part);
  const Place& target = places_[flow.target.place];
  if (is_done && transfer.is_rogue) return blame(fmt::format("{} carried out a request that it has no right to", name));
  if (flow.target.is_cut_off) {
    if (is_done && !part.had_arrived)
      blame(fmt::format("a transfer of {} was cut off before its bytes arrived, and says that it is done", name));
    return;
  }
  const auto now = target.now(flow.to);
  const auto bytes = wanted(flow, part);
  const bool is_right = is_done ? std::ranges::equal(now, bytes) : is_mixture(now, target.expected(flow.to), bytes);
  if (is_right) return;
  if (flow.source.is_cut_off)
    return blame(fmt::format("a transfer of {} has read memory that had been taken back", name));
  if (!is_done)
    return blame(fmt::format("a transfer of {} that failed has left bytes that are neither old nor new in {}", name,
                             target.name()));
  blame(fmt::format("a transfer of {} says that it is done, and {} has other bytes than {}: {}", name, target.name(),
                    places_[flow.source.place].name(), difference(now, bytes, target.expected(flow.to))));
}

// Nobody reads or writes its sides by it any more.
void World::let_go(const Transfer& transfer) {
  const bool is_read = transfer.direction == machine::Direction::from_endpoint;
  for (const Part& part : transfer.all_parts()) {
    if (part.end.is_cut_off) continue;
    is_read ? places_[part.end.place].end_write(part.end.cells) : places_[part.end.place].end_read(part.end.cells);
  }
  if (transfer.local.is_cut_off) return;
  Place& local = places_[transfer.local.place];
  is_read ? local.end_read(transfer.local.cells) : local.end_write(transfer.local.cells);
}

}  // namespace barter::sim
