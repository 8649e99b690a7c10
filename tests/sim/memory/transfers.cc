// Transfers begin.
#include <algorithm>
#include <array>
#include <utility>

#include "world.h"

namespace barter::sim {

using machine::Direction;

namespace {

constexpr std::uint32_t kMostCells = 16;

}  // namespace

// A place for a transfer of these cells of the unit's own, which nobody else touches from now on. Null: not now.
Transfer* World::begin(std::uint32_t unit, Direction direction, End local) {
  const auto free = std::ranges::find(transfers_, false, &Transfer::is_active);
  if (free == transfers_.end() || !units_[unit].is_up()) return nullptr;
  Place& place = places_[local.place];
  const bool is_read = direction == Direction::from_endpoint;
  if (is_read ? !place.may_read(local.cells) : !place.may_write(local.cells)) return nullptr;
  *free = {};
  free->is_active = true;
  free->unit = unit;
  free->direction = direction;
  free->tag = ++serial_ * kTagSlots + static_cast<std::uint64_t>(free - transfers_.begin());
  is_read ? place.begin_read(local.cells) : place.begin_write(local.cells);
  free->local = std::move(local);
  return &*free;
}

bool World::add_part(Transfer& transfer, Part part) {
  const End& end = part.end;
  Place& place = places_[end.place];
  const bool is_written = transfer.direction == Direction::from_endpoint;
  if (!end.is_cut_off) {
    if (is_written ? !place.may_write(end.cells) : !place.may_read(end.cells)) return false;
    is_written ? place.begin_write(end.cells) : place.begin_read(end.cells);
  }
  transfer.parts[transfer.part_count++] = std::move(part);
  return true;
}

bool World::submit(Transfer& transfer) {
  Unit& unit = units_[transfer.unit];
  std::array<DmaSegment, kMaxParts> segments;
  for (std::uint32_t part = 0; part < transfer.part_count; ++part) segments[part] = transfer.parts[part].end.at;
  const auto sent = unit.carrier->submit({.direction = transfer.direction,
                                          .offset = transfer.local.cells.offset(),
                                          .local = transfer.local.at,
                                          .bytes = transfer.local.cells.bytes(),
                                          .memory = std::span(segments).first(transfer.part_count),
                                          .tag = transfer.tag});
  if (!sent) {
    say("({})", name_of(sent.error().code));
    abandon(transfer);
    return false;
  }
  ++unit.in_flight;
  if (transfer.is_rogue) ++unit.rogues;
  if (chance_.chance(0.8)) unit.carrier->ring();
  return true;
}

// It was never started.
void World::abandon(Transfer& transfer) {
  let_go(transfer);
  transfer = {};
}

// These cells of what is mapped.
std::optional<End> World::end_of(SharedMapping& mapping, Cells cells) {
  auto lease = mapping.handle->lease();
  if (lease.has_value() == mapping.is_closed)
    blame(mapping.is_closed ? "a mapping that was taken back gives a lease" : "a live mapping gives no lease");
  if (!lease) return std::nullopt;
  DmaSegment at = lease->segments()[0];
  at.address = at.address + cells.offset();
  at.bytes = cells.bytes();
  return End{.place = *units_[mapping.region_unit].memory,
             .cells = mapping.cells.part(cells.first, cells.count),
             .at = at,
             .lease = std::move(*lease),
             .id = mapping.id,
             .region = mapping.region,
             .is_guarded = mapping.is_guarded};
}

std::optional<End> World::end_at_host(std::uint32_t unit, std::uint32_t cells, bool is_written) {
  const Place& place = places_[units_[unit].host];
  if (!place.exists()) return std::nullopt;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Cells there = some_cells({0, place.cells()}, place.cells());
    if (there.first + cells > place.cells()) continue;
    there.count = cells;
    if (is_written ? !place.may_write(there) : !place.may_read(there)) continue;
    return End{.place = units_[unit].host,
               .cells = there,
               .at = {units_[unit].buffer.address() + there.offset(), there.bytes()},
               .lease = {},
               .id = {}};
  }
  return std::nullopt;
}

// What the unit reads from, or writes to, when it reads or writes memory of others: its own; or, if it is an engine, memory of
// others once more.
std::optional<End> World::local_end(std::uint32_t unit, Direction direction, std::uint32_t cells) {
  if (units_[unit].kind == machine::UnitKind::dma_engine && chance_.chance(0.9))
    if (auto end = end_elsewhere(unit, direction, cells)) return end;
  const auto local = local_of(units_[unit]);
  if (!local || local->cells.count < cells) return std::nullopt;
  return own_end(units_[unit], {local->cells.first + below(local->cells.count - cells + 1), cells});
}

std::optional<End> World::end_elsewhere(std::uint32_t unit, Direction direction, std::uint32_t cells) {
  const Direction opposite = direction == Direction::from_endpoint ? Direction::to_endpoint : Direction::from_endpoint;
  const auto first = below(kMaxSimMappings);
  for (std::size_t turn = 0; turn < kMaxSimMappings; ++turn) {
    SharedMapping& mapping = mappings_[(first + turn) % kMaxSimMappings];
    if (!mapping.handle || mapping.is_closed || mapping.unit != unit || mapping.cells.count < cells) continue;
    if (allows(mapping.access, opposite)) return end_of(mapping, {below(mapping.cells.count - cells + 1), cells});
  }
  return std::nullopt;
}

Outcome World::transfer(Direction direction) {
  const auto fits = [&](const SharedMapping* one) {
    return one != nullptr && units_[one->unit].is_up() && allows(one->access, direction);
  };
  SharedMapping* mapping = some_mapping();
  for (int draw = 0; draw < 4 && !fits(mapping); ++draw) mapping = some_mapping();
  if (!fits(mapping)) return Outcome::not_then;
  const std::uint32_t unit = mapping->unit;
  auto end = end_of(*mapping, some_cells({0, mapping->cells.count}, kMostCells));
  if (!end) return Outcome::refused;
  std::optional<End> second;
  // A command names memory of its own drive or other memory, and not both (NVMe base 2.0, 8.5).
  if (mapping->region_unit != unit && chance_.chance(0.2))
    second = end_at_host(unit, 1 + below(4), direction == Direction::from_endpoint);
  return launch(unit, direction, std::move(*end), std::move(second));
}

// Between one or two ends that the unit may reach, and what it has itself.
Outcome World::launch(std::uint32_t unit, Direction direction, End end, std::optional<End> second) {
  const std::uint32_t count = end.cells.count + (second ? second->cells.count : 0);
  auto local = local_end(unit, direction, count);
  if (!local) return Outcome::not_then;
  Transfer* const made = begin(unit, direction, std::move(*local));
  if (made == nullptr) return Outcome::not_then;
  const auto words = [&](const End& one) {
    return fmt::format("{} cells {}+{}",
                       one.region != 0 ? fmt::format("region {}", one.region) : places_[one.place].name(),
                       one.cells.first, one.cells.count);
  };
  say("{}: {}, {}{}", units_[unit].name, words(made->local), words(end), second ? ", " + words(*second) : "");
  if (!add_part(*made, {.end = std::move(end), .before = {}}) ||
      (second && !add_part(*made, {.end = std::move(*second), .before = {}}))) {
    abandon(*made);
    return Outcome::not_then;
  }
  return submit(*made) ? Outcome::done : Outcome::refused;
}

Outcome World::host_transfer(Direction direction) {
  const auto unit = some_unit([](const Unit& one) { return one.is_up(); });
  if (!unit) return Outcome::not_then;
  const auto local = local_of(units_[*unit]);
  if (!local) return Outcome::not_then;
  const Cells cells = some_cells(local->cells, kMostCells);
  auto end = end_at_host(*unit, cells.count, direction == Direction::from_endpoint);
  if (!end) return Outcome::not_then;
  Transfer* const made = begin(*unit, direction, own_end(units_[*unit], cells));
  if (made == nullptr) return Outcome::not_then;
  say("{} cells {}+{}", units_[*unit].name, cells.first, cells.count);
  if (!add_part(*made, {.end = std::move(*end), .before = {}})) {
    abandon(*made);
    return Outcome::not_then;
  }
  return submit(*made) ? Outcome::done : Outcome::refused;
}

}  // namespace barter::sim
