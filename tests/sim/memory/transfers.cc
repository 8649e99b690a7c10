// Transfers begin, end, fail, and are cut off.
#include <algorithm>
#include <array>
#include <utility>

#include "world.h"

namespace barter::sim {

using machine::Direction;

namespace {

constexpr std::uint64_t kTagSlots = 256;
constexpr std::uint32_t kMostCells = 16;
constexpr int kRogueTurns = 2000;

// Where bytes are not what they should have become, and what they were before.
std::string difference(std::span<const std::byte> now, std::span<const std::byte> wanted,
                       std::span<const std::byte> before) {
  const auto [found, other] = std::ranges::mismatch(now, wanted);
  const auto at = static_cast<std::size_t>(found - now.begin());
  return fmt::format("byte {} of {} is {:#04x}, should have become {:#04x}, and was {:#04x}", at, now.size(),
                     static_cast<unsigned>(now[at]), static_cast<unsigned>(wanted[at]),
                     static_cast<unsigned>(before[at]));
}

bool allows(Access access, Direction direction) {
  const Access wanted = direction == Direction::from_endpoint ? Access::write : Access::read;
  return (static_cast<unsigned>(access) & static_cast<unsigned>(wanted)) != 0;
}

}  // namespace

// A place for a transfer of these cells of the unit's own, which nobody else touches from now on. Null: not now.
Transfer* World::begin(std::uint32_t unit, Direction direction, Cells cells) {
  const auto free = std::ranges::find(transfers_, false, &Transfer::is_active);
  const auto local = local_of(units_[unit]);
  if (free == transfers_.end() || !local || !units_[unit].is_up()) return nullptr;
  Place& place = places_[local->place];
  const bool is_read = direction == Direction::from_endpoint;
  if (is_read ? !place.may_read(cells) : !place.may_write(cells)) return nullptr;
  *free = {};
  free->is_active = true;
  free->unit = unit;
  free->direction = direction;
  free->tag = ++serial_ * kTagSlots + static_cast<std::uint64_t>(free - transfers_.begin());
  free->local = {local->place, cells};
  is_read ? place.begin_read(cells) : place.begin_write(cells);
  return &*free;
}

bool World::add_part(Transfer& transfer, Part part) {
  Place& place = places_[part.place];
  const bool is_written = transfer.direction == Direction::from_endpoint;
  if (!part.is_cut_off) {
    if (is_written ? !place.may_write(part.cells) : !place.may_read(part.cells)) return false;
    is_written ? place.begin_write(part.cells) : place.begin_read(part.cells);
  }
  transfer.parts[transfer.part_count++] = std::move(part);
  return true;
}

bool World::submit(Transfer& transfer) {
  Unit& unit = units_[transfer.unit];
  std::array<DmaSegment, kMaxParts> segments;
  for (std::uint32_t part = 0; part < transfer.part_count; ++part) segments[part] = transfer.parts[part].at;
  const auto sent = unit.endpoint->submit({.direction = transfer.direction,
                                           .offset = transfer.local.cells.offset(),
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
  if (chance_.chance(0.8)) unit.endpoint->ring();
  return true;
}

// It was never started.
void World::abandon(Transfer& transfer) {
  const bool is_read = transfer.direction == Direction::from_endpoint;
  Place& local = places_[transfer.local.place];
  is_read ? local.end_read(transfer.local.cells) : local.end_write(transfer.local.cells);
  for (std::uint32_t index = 0; index < transfer.part_count; ++index) {
    const Part& part = transfer.parts[index];
    if (part.is_cut_off) continue;
    is_read ? places_[part.place].end_write(part.cells) : places_[part.place].end_read(part.cells);
  }
  transfer = {};
}

std::optional<Part> World::part_of(SharedMapping& mapping, std::uint32_t most) {
  const Cells cells = some_cells({0, mapping.cells.count}, most);
  auto lease = mapping.handle->lease();
  if (lease.has_value() == mapping.is_closed)
    blame(mapping.is_closed ? "a mapping that was taken back gives a lease" : "a live mapping gives no lease");
  if (!lease) return std::nullopt;
  const DmaSegment whole = lease->segments()[0];
  Part part{.place = *units_[mapping.region_unit].memory,
            .cells = mapping.cells.part(cells.first, cells.count),
            .at = {whole.address + cells.offset(), cells.bytes()},
            .lease = std::move(*lease),
            .region = mapping.region,
            .before = {}};
  return part;
}

std::optional<Part> World::part_of_host(std::uint32_t unit, std::uint32_t cells, bool is_written) {
  const Place& place = places_[units_[unit].host];
  if (!place.exists()) return std::nullopt;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Cells there = some_cells({0, place.cells()}, place.cells());
    if (there.first + cells > place.cells()) continue;
    there.count = cells;
    if (is_written ? !place.may_write(there) : !place.may_read(there)) continue;
    return Part{.place = units_[unit].host,
                .cells = there,
                .at = {units_[unit].buffer.address() + there.offset(), there.bytes()},
                .lease = {},
                .before = {}};
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
  auto part = part_of(*mapping, kMostCells);
  if (!part) return Outcome::refused;
  std::optional<Part> second;
  // A command names memory of its own drive or other memory, and not both (NVMe base 2.0, 8.5).
  if (mapping->region_unit != unit && chance_.chance(0.2))
    second = part_of_host(unit, 1 + below(4), direction == Direction::from_endpoint);
  const auto local = local_of(units_[unit]);
  const std::uint32_t count = part->cells.count + (second ? second->cells.count : 0);
  if (!local || local->cells.count < count) return Outcome::not_then;
  Transfer* const made = begin(unit, direction, {local->cells.first + below(local->cells.count - count + 1), count});
  if (made == nullptr) return Outcome::not_then;
  say("{} cells {}+{}, region {} cells {}+{}{}", units_[unit].name, made->local.cells.first, count, mapping->region,
      part->cells.first, part->cells.count, second ? " and host memory" : "");
  if (!add_part(*made, std::move(*part)) || (second && !add_part(*made, std::move(*second)))) {
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
  auto part = part_of_host(*unit, cells.count, direction == Direction::from_endpoint);
  if (!part) return Outcome::not_then;
  Transfer* const made = begin(*unit, direction, cells);
  if (made == nullptr) return Outcome::not_then;
  say("{} cells {}+{}", units_[*unit].name, cells.first, cells.count);
  if (!add_part(*made, std::move(*part))) {
    abandon(*made);
    return Outcome::not_then;
  }
  return submit(*made) ? Outcome::done : Outcome::refused;
}

// Is this an address that the unit may use for something now? The IOMMU gives addresses out again.
bool World::is_known_address(std::uint32_t unit, DmaSegment at) const {
  const auto overlaps = [&](DmaSegment other) {
    const std::uint64_t start = other.address.value & ~std::uint64_t{4095};
    const std::uint64_t end = (other.address.value + other.bytes + 4095) & ~std::uint64_t{4095};
    return at.address.value < end && start < at.address.value + at.bytes;
  };
  for (const SharedMapping& mapping : mappings_)
    if (mapping.handle && mapping.unit == unit && !mapping.is_closed && overlaps(mapping.at)) return true;
  for (const LooseLease& lease : leases_)
    if (lease.region != 0 && lease.region != kTakenBack && lease.unit == unit && overlaps(lease.at)) return true;
  for (const Transfer& transfer : transfers_)
    for (std::uint32_t part = 0; part < transfer.part_count; ++part)
      if (transfer.is_active && transfer.unit == unit && !transfer.parts[part].is_cut_off &&
          overlaps(transfer.parts[part].at))
        return true;
  for (const Copy& copy : copies_)
    for (const auto* mapping : {&copy.write, &copy.read})
      if (*mapping && (*mapping)->importer() == units_[unit].bdf)
        if (const auto lease = (*mapping)->lease(); lease && overlaps(lease->segments()[0])) return true;
  return false;
}

bool World::is_rogue_possible(const StaleAddress& by) const {
  const Unit& unit = units_[by.unit];
  const auto local = local_of(unit);
  return unit.is_up() && local && local->cells.count >= by.cells.count;
}

// An importer that goes on with an address that was taken back, or does what its mapping does not allow: nothing of it may arrive
// anywhere, or be read.
Outcome World::rogue() {
  if (chance_.chance(0.3)) return wrong_access();
  if (stale_count_ == 0) return Outcome::not_then;
  const StaleAddress stale = stale_[below(stale_count_)];
  if (!is_rogue_possible(stale) || is_known_address(stale.unit, stale.at)) return Outcome::not_then;
  return rogue(stale, chance_.chance(0.5) ? Direction::from_endpoint : Direction::to_endpoint);
}

Outcome World::wrong_access() {
  const SharedMapping* const mapping = some_mapping();
  if (mapping == nullptr || mapping->is_closed || mapping->access == Access::read_write ||
      !is_guarded(units_[mapping->unit], mapping->region_unit))
    return Outcome::not_then;
  const StaleAddress by = {
      .unit = mapping->unit, .at = mapping->at, .place = *units_[mapping->region_unit].memory, .cells = mapping->cells};
  if (!is_rogue_possible(by)) return Outcome::not_then;
  say("(access {})", static_cast<int>(mapping->access));
  return rogue(by, mapping->access == Access::read ? Direction::from_endpoint : Direction::to_endpoint);
}

Outcome World::rogue(const StaleAddress& by, Direction direction) {
  Unit& unit = units_[by.unit];
  const auto local = local_of(unit);
  Transfer* const made = begin(by.unit, direction, {local->cells.first, by.cells.count});
  if (made == nullptr) return Outcome::not_then;
  say("{} by an address of {}", unit.name, places_[by.place].name());
  made->is_rogue = true;
  const auto own = places_[local->place].expected(made->local.cells);
  Part part{.place = by.place, .cells = by.cells, .at = by.at, .lease = {}, .is_cut_off = true, .before = {}};
  if (direction == Direction::to_endpoint) part.before.assign(own.begin(), own.end());  // as it is: nothing may come
  static_cast<void>(add_part(*made, std::move(part)));
  const std::uint64_t tag = made->tag;
  const std::uint64_t faults = fabric_->counters().iommu_faults;
  if (!submit(*made)) return Outcome::refused;
  for (int turn = 0; turn < kRogueTurns && made->is_active && made->tag == tag && unit.endpoint; ++turn) {
    fabric_->clock().idle();
    poll(by.unit);
  }
  if (!made->is_active) check_rogue(unit, faults);
  return Outcome::refused;
}

// Where nothing else can have stopped it, the IOMMU has, and has counted it.
void World::check_rogue(const Unit& unit, std::uint64_t faults_before) {
  const bool is_quiet = layout_.lost + layout_.poisoned + layout_.late + layout_.unplug + layout_.link_down == 0;
  if (is_quiet && !layout_.ats && unit.is_plugged_in && !link_down_at_ && unit.is_up() &&
      !unit.importer->was_isolated() && fabric_->counters().iommu_faults == faults_before)
    blame("a request by an address that was taken back failed, and the IOMMU did not count it");
}

void World::poll(std::uint32_t index) {
  Unit& unit = units_[index];
  if (unit.is_broken) return;
  unit.endpoint->ring();
  std::array<machine::PieceResult, 16> results;
  const auto count = unit.endpoint->poll(results);
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
                        unit.endpoint->describe(results[at].status)));
    ++(results[at].ok() ? tally_.transfers_done : tally_.transfers_failed);
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

void World::finish(Transfer& transfer, bool is_done) {
  std::uint32_t less = 0;
  for (std::uint32_t part = 0; part < transfer.part_count; ++part) {
    Part& one = transfer.parts[part];
    const Cells local = transfer.local.cells.part(less, one.cells.count);
    one.is_cut_off ? finish_cut_off(transfer, one, local, is_done) : finish_part(transfer, one, local, is_done);
    less += one.cells.count;
  }
  Place& local = places_[transfer.local.place];
  transfer.direction == Direction::from_endpoint ? local.end_read(transfer.local.cells)
                                                 : local.end_write(transfer.local.cells);
  const std::optional<std::uint32_t> copy = transfer.copy;
  const bool was_disturbed = transfer.is_disturbed;
  release(transfer);
  if (copy) go_on(*copy, is_done && !was_disturbed);
}

void World::finish_part(Transfer& transfer, Part& part, Cells local_cells, bool is_done) {
  Place& local = places_[transfer.local.place];
  Place& place = places_[part.place];
  const bool to_part = transfer.direction == Direction::from_endpoint;
  const Place& target = to_part ? place : local;
  const Cells written = to_part ? part.cells : local_cells;
  const auto source = to_part ? local.expected(local_cells) : place.expected(part.cells);
  if (transfer.is_disturbed) {
    // A reset has wiped one of its ends meanwhile: nothing can be said of the bytes.
  } else if (is_done && !std::ranges::equal(target.now(written), source)) {
    blame(fmt::format("a transfer of {} says that it is done, and {} has other bytes than {}: {}",
                      units_[transfer.unit].name, target.name(), to_part ? local.name() : place.name(),
                      difference(target.now(written), source, target.expected(written))));
  } else if (!is_done && !is_mixture(target.now(written), target.expected(written), source)) {
    blame(fmt::format("a transfer of {} that failed has left bytes that are neither old nor new in {}",
                      units_[transfer.unit].name, target.name()));
  }
  to_part ? place.end_write(part.cells) : place.end_read(part.cells);
}

// Its memory was taken away before it ended: what it says must fit to what had happened by then.
void World::finish_cut_off(const Transfer& transfer, const Part& part, Cells local_cells, bool is_done) {
  const Unit& unit = units_[transfer.unit];
  if (transfer.is_disturbed) return;
  if (is_done && transfer.is_rogue)
    return blame(fmt::format("{} carried out a request that it has no right to", unit.name));
  if (transfer.direction == Direction::from_endpoint) {
    if (is_done && !part.had_arrived)
      blame(fmt::format("a transfer of {} was cut off before its bytes arrived, and says that it is done", unit.name));
    return;
  }
  const Place& local = places_[transfer.local.place];
  const auto now = local.now(local_cells);
  if (is_done ? !std::ranges::equal(now, part.before) : !is_mixture(now, local.expected(local_cells), part.before))
    blame(fmt::format("a transfer of {} has read memory that had been taken back", unit.name));
}

void World::release(Transfer& transfer) {
  Unit& unit = units_[transfer.unit];
  if (std::ranges::any_of(transfer.parts, &Part::is_cut_off)) {
    ++tally_.transfers_cut_off;
    std::uint32_t& count = transfer.is_rogue ? unit.rogues : unit.cut_off;
    if (count > 0) --count;
  }
  if (unit.in_flight > 0) --unit.in_flight;
  // The leases end last: with them may end mappings, and the memory's owner goes on.
  std::array<Part, kMaxParts> parts = std::move(transfer.parts);
  transfer = {};
}

}  // namespace barter::sim
