// Importers that use what was taken from them.
#include <utility>

#include "world.h"

namespace barter::sim {

using machine::Direction;

namespace {

constexpr int kRogueTurns = 2000;

}  // namespace

// Is this an address that the unit may use for something now? The IOMMU gives addresses out again.
bool World::is_known_address(std::uint32_t unit, DmaSegment at, std::optional<peer::MappingId> except) {
  const auto overlaps = [&](DmaSegment other) {
    if ((other.kind == SegmentKind::link) != (at.kind == SegmentKind::link)) return false;
    const std::uint64_t start = other.address.value & ~std::uint64_t{4095};
    const std::uint64_t end = (other.address.value + other.bytes + 4095) & ~std::uint64_t{4095};
    return at.address.value < end && start < at.address.value + at.bytes;
  };
  for (const SharedMapping& mapping : mappings_)
    if (mapping.handle && mapping.unit == unit && !mapping.is_closed && mapping.id != except && overlaps(mapping.at))
      return true;
  for (const LooseLease& lease : leases_)
    if (lease.region != 0 && lease.region != kTakenBack && lease.unit == unit && lease.id != except &&
        overlaps(lease.at))
      return true;
  for (const HeldPart& part : held_)
    if (part.unit == unit && !part.is_closed && part.id != except && overlaps(part.at)) return true;
  bool is_in_flight = false;  // the whole mapping lives as long as its leases
  for (Transfer& transfer : transfers_)
    if (transfer.unit == unit)
      transfer.each_held([&](const End& end) {
        is_in_flight = is_in_flight || (end.id != except && overlaps(end.lease.segments()[0]));
      });
  if (is_in_flight) return true;
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
  if (mapping == nullptr || mapping->is_closed || mapping->access == Access::read_write || !mapping->is_guarded)
    return Outcome::not_then;
  // Who has two rights by a link has both of them by the same address.
  if (mapping->at.kind == SegmentKind::link && is_known_address(mapping->unit, mapping->at, mapping->id))
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
  Transfer* const made = begin(by.unit, direction, own_end(unit, {local->cells.first, by.cells.count}));
  if (made == nullptr) return Outcome::not_then;
  say("{} by an address of {}", unit.name, places_[by.place].name());
  made->is_rogue = true;
  const auto own = places_[local->place].expected(made->local.cells);
  Part part{.end = {.place = by.place, .cells = by.cells, .at = by.at, .lease = {}, .id = {}, .is_cut_off = true},
            .before = {}};
  if (direction == Direction::to_endpoint) part.before.assign(own.begin(), own.end());  // as it is: nothing may come
  static_cast<void>(add_part(*made, std::move(part)));
  const std::uint64_t tag = made->tag;
  const std::uint64_t faults = fabric_->counters().iommu_faults;
  if (!submit(*made)) return Outcome::refused;
  for (int turn = 0; turn < kRogueTurns && made->is_active && made->tag == tag && unit.carrier; ++turn) {
    fabric_->clock().idle();
    poll(by.unit);
  }
  if (!made->is_active && by.at.kind != SegmentKind::link) check_rogue(unit, faults);
  if (!made->is_active && by.at.kind == SegmentKind::link) ++tally_.rogues_by_link;
  return Outcome::refused;
}

// Where nothing else can have stopped it, the IOMMU has, and has counted it.
void World::check_rogue(const Unit& unit, std::uint64_t faults_before) {
  const bool is_quiet = layout_.lost + layout_.poisoned + layout_.late + layout_.unplug + layout_.link_down == 0;
  if (is_quiet && !layout_.ats && unit.is_plugged_in && !link_down_at_ && unit.is_up() &&
      !unit.importer->was_isolated() && fabric_->counters().iommu_faults == faults_before)
    blame("a request by an address that was taken back failed, and the IOMMU did not count it");
}

}  // namespace barter::sim
