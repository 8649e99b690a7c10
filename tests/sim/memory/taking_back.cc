// Owners take memory back, in every state of a transfer; and what must be so when that has returned.
#include <algorithm>
#include <utility>

#include "world.h"

namespace barter::sim {

// Whoever holds a lease of what is concerned, in bits.
std::uint32_t World::keeping(const Concerns& concerns) {
  std::uint32_t units = 0;
  for (const LooseLease& lease : leases_)
    if (lease.region != 0 && lease.region != kTakenBack && concerns(lease.region, lease.unit))
      units |= 1u << lease.unit;
  for (Transfer& transfer : transfers_)
    transfer.each_held([&](const End& end) {
      if (concerns(end.region, transfer.unit)) units |= 1u << transfer.unit;
    });
  return units;
}

Moment World::moment_of(const Transfer& transfer, const Part& part) const {
  const Flow flow = flow_of(transfer, part);
  const Place& target = places_[flow.target.place];
  const auto now = target.now(flow.to);
  if (std::ranges::equal(now, target.expected(flow.to))) return Moment::nothing;
  return std::ranges::equal(now, wanted(flow, part)) ? Moment::everything : Moment::something;
}

World::Before World::before(How how, const Concerns& concerns) {
  for (Transfer& transfer : transfers_) {
    const auto is_concerned = [&](const End& end) {
      return end.region != 0 && !end.is_cut_off && concerns(end.region, transfer.unit);
    };
    if (!transfer.is_active || transfer.is_cut_off()) continue;
    for (const Part& part : transfer.all_parts())
      if (is_concerned(transfer.local) || is_concerned(part.end))
        ++tally_.met[static_cast<std::size_t>(how)][static_cast<std::size_t>(moment_of(transfer, part))];
  }
  // A device that keeps translations may have kept them from any mapping that it had.
  if (layout_.ats && !layout_.calm) return {how, ~0u};
  return {how, keeping(concerns)};
}

void World::after(const Before& before, const Concerns& concerns, const RevokeReport* report) {
  const std::uint32_t now_keeping = keeping(concerns);
  if (report != nullptr) check_report(before, now_keeping, *report);
  for (Transfer& transfer : transfers_)
    transfer.each_held([&](End& end) {
      if (!concerns(end.region, transfer.unit)) return;
      check_isolation(transfer, end);
      cut_off(before.how, transfer, end);
    });
  close(concerns);
}

void World::check_report(const Before& before, std::uint32_t keeping, const RevokeReport& report) {
  std::uint32_t late = 0;
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit)
    if (broken_ != Break::report_forgets_late && std::ranges::count(report.late, units_[unit].bdf) != 0)
      late |= 1u << unit;
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit) {
    const std::uint32_t bit = 1u << unit;
    if ((late & bit) != 0) say("({} was late)", units_[unit].name);
    if ((keeping & bit & ~late) != 0)
      blame(fmt::format("{} still holds a lease, and the revocation does not report it as late", units_[unit].name));
    if ((late & bit & ~before.may_be_late) != 0)
      blame(fmt::format("{} held no lease, and is reported as late", units_[unit].name));
  }
  if (layout_.calm && late != 0) blame("an importer that does as it is told was late, with time enough");
}

// Of the handles, when their memory is taken back.
void World::close(const Concerns& concerns) {
  for (SharedMapping& mapping : mappings_) {
    if (!mapping.handle || !concerns(mapping.region, mapping.unit)) continue;
    if (!mapping.is_closed && mapping.hold == Hold::pinned) ++tally_.pins_taken_back;
    mapping.is_closed = true;
    if (!mapping.handle->is_revoked()) blame("a mapping does not know that it was taken back");
  }
  for (LooseLease& lease : leases_)
    if (lease.region != 0 && lease.region != kTakenBack && concerns(lease.region, lease.unit))
      lease.region = kTakenBack;
  for (HeldPart& part : held_) {
    if (part.is_closed || !concerns(part.serial, part.unit)) continue;
    if (part.hold == Hold::pinned) ++tally_.pins_taken_back;
    part.is_closed = true;
  }
  for (const ManagedHold& hold : holds_)
    for (std::size_t part = 0; part < hold.parts.size(); ++part)
      if (held_part(hold.parts[part]).is_closed && !hold.handle->parts()[part].mapping.is_revoked())
        blame("a mapping of managed memory does not know that it was taken back");
}

void World::check_isolation(const Transfer& transfer, const End& end) {
  const Unit& unit = units_[transfer.unit];
  if (end.is_guarded || !unit.is_plugged_in) return;
  if (unit.importer && !unit.importer->was_isolated())
    blame(fmt::format("{} was late, no IOMMU guards its way, and it was not cut off from all memory", unit.name));
}

// From now on not a byte of the memory may change by this transfer, and it may read none of it.
void World::cut_off(How how, Transfer& transfer, End& end) {
  Unit& unit = units_[transfer.unit];
  if (!transfer.is_cut_off()) ++unit.cut_off;
  if (transfer.local.region != 0) ++(transfer.is_cut_off() ? tally_.moves_cut_off_twice : tally_.moves_cut_off);
  const bool is_local = &end == &transfer.local;
  const bool is_source = is_local == (transfer.direction == machine::Direction::from_endpoint);
  for (Part& part : transfer.all_parts())
    if (is_local || &part.end == &end) cut_off(how, transfer, part, is_source);
  if (std::ranges::count(pins_, end.id, &Pin::id) != 0) ++tally_.pinned_parts_cut_off;
  if (end.at.kind == SegmentKind::link) ++tally_.cut_off_by_link;
  end.is_cut_off = true;
  if (transfer.copy) let_go_of_staging(copies_[*transfer.copy]);  // the memory may be anybody's now
  Place& place = places_[end.place];
  is_source ? place.end_read(end.cells) : place.end_write(end.cells);
  if (stale_count_ < kMaxStale && end.is_guarded)
    stale_[stale_count_++] = {.unit = transfer.unit, .at = end.at, .place = end.place, .cells = end.cells};
}

void World::cut_off(How how, const Transfer& transfer, Part& part, bool is_source) {
  const Flow flow = flow_of(transfer, part);
  if (flow.target.is_cut_off) return;  // what has arrived is final already
  const auto bytes = wanted(flow, part);
  const Moment moment = moment_of(transfer, part);
  ++tally_.cut_off[static_cast<std::size_t>(how)][static_cast<std::size_t>(moment)];
  if (is_source) {
    part.before.assign(bytes.begin(), bytes.end());
    return;
  }
  const Place& target = places_[flow.target.place];
  if (!transfer.is_disturbed && !is_mixture(target.now(flow.to), target.expected(flow.to), bytes))
    blame(fmt::format("a transfer of {} that was cut off has left bytes that are neither old nor new in {}",
                      units_[transfer.unit].name, target.name()));
  part.had_arrived = std::ranges::equal(target.now(flow.to), bytes);
}

bool World::take_back(How how, SharedRegion& region, Duration deadline) {
  const std::uint64_t serial = region.serial;
  const Concerns concerns = [serial](std::uint64_t concerned, std::uint32_t) { return concerned == serial; };
  const bool is_to_stay = how == How::invalidate && is_pinned(serial);
  const std::uint64_t told = told_;
  const Before before_it = is_to_stay ? Before{} : before(how, concerns);
  if (how != How::invalidate) region.is_revoked = true;
  if (how == How::drop) {
    region.handle.reset();
    after(before_it, concerns, nullptr);
    return true;
  }
  const auto report = how == How::invalidate ? region.handle->invalidate({.deadline = deadline})
                                             : region.handle->revoke({.deadline = deadline});
  if (is_to_stay) {
    ++tally_.invalidations_refused;
    say("(it is pinned)");
    if (report || report.error().code != ErrorCode::pinned) blame("memory was taken back for now that is pinned");
    if (told_ != told) blame("an importer was told to let go of memory that stays");
    return false;
  }
  if (!report) blame("memory can't be taken back: " + report.error().message());
  after(before_it, concerns, report ? &*report : nullptr);
  if (how == How::revoke && !region.handle->is_revoked()) blame("a region does not know that it is revoked");
  return true;
}

// Mostly one that is being read or written just now.
SharedRegion* World::some_busy_region() {
  const auto first = below(kMaxTransfers);
  for (std::size_t turn = 0; turn < kMaxTransfers && !chance_.chance(0.02); ++turn) {
    const Transfer& transfer = transfers_[(first + turn) % kMaxTransfers];
    if (!transfer.is_active || transfer.is_rogue || transfer.parts[0].end.region == 0) continue;
    if (SharedRegion* const region = region_of(transfer.parts[0].end.region)) return region;
  }
  return some_region();
}

// Lets the machine get on until a transfer of this memory has moved some of its bytes and not all; not for long.
void World::await_midway(const Concerns& concerns) {
  constexpr int kTurns = 40;
  const auto is_midway = [&](const Transfer& transfer) {
    if (!transfer.is_active || transfer.is_cut_off()) return false;
    const Part& part = transfer.parts[0];
    const auto is_concerned = [&](const End& end) { return end.region != 0 && concerns(end.region, transfer.unit); };
    return (is_concerned(part.end) || is_concerned(transfer.local)) && moment_of(transfer, part) == Moment::something;
  };
  for (int turn = 0; turn < kTurns && std::ranges::none_of(transfers_, is_midway); ++turn) fabric_->clock().idle();
}

Outcome World::take_back(How how) {
  SharedRegion* const region = chance_.chance(0.5) ? some_busy_region() : some_region();
  if (region == nullptr) return Outcome::not_then;
  say("region {} of {}", region->serial, units_[region->unit].name);
  if (chance_.chance(0.3))
    await_midway([serial = region->serial](std::uint64_t of, std::uint32_t) { return of == serial; });
  const Duration deadline = some_deadline();
  if (how == How::revoke_all) {
    if (!units_[region->unit].device || region->is_orphan) return Outcome::not_then;
    take_back_all(how, region->unit, deadline);
    return Outcome::done;
  }
  // Dropping waits for a tenth of a second, which is long: where somebody will be late, mostly revoked before.
  const std::uint64_t serial = region->serial;
  if (how == How::drop && keeping([&](std::uint64_t of, std::uint32_t) { return of == serial; }) != 0 &&
      chance_.chance(0.9))
    take_back(How::revoke, *region, deadline);
  return take_back(how, *region, deadline) ? Outcome::done : Outcome::refused;
}

// All that a device has handed out.
void World::take_back_all(How how, std::uint32_t unit, Duration deadline) {
  std::vector<std::uint64_t> serials;
  for (const SharedRegion& region : regions_)
    if (region.handle && region.unit == unit && !region.is_orphan) serials.push_back(region.serial);
  for (const HeldPart& part : held_)
    if (!part.is_closed && part.place == units_[unit].memory) serials.push_back(part.serial);
  const Concerns concerns = [&serials](std::uint64_t concerned, std::uint32_t) {
    return concerned != 0 && std::ranges::count(serials, concerned) != 0;
  };
  const Before before_it = before(how, concerns);
  for (SharedRegion& region : regions_)
    if (region.handle && region.unit == unit && !region.is_orphan) {
      region.is_revoked = true;
      region.is_orphan = how == How::withdraw;
    }
  peer::Exporter& exporter = *units_[unit].exporter;
  const auto report = how == How::withdraw ? exchange_->withdraw(exporter, {.deadline = deadline})
                                           : exchange_->revoke_all(exporter, {.deadline = deadline});
  if (!report) blame("memory can't be taken back: " + report.error().message());
  after(before_it, concerns, report ? &*report : nullptr);
}

void World::remove_importer(std::uint32_t unit, Duration deadline) {
  const Concerns concerns = [unit](std::uint64_t, std::uint32_t importer) { return importer == unit; };
  const Before before_it = before(How::remove, concerns);
  const auto report = exchange_->remove(*units_[unit].importer, {.deadline = deadline});
  if (!report) blame("an importer can't be removed: " + report.error().message());
  after(before_it, concerns, report ? &*report : nullptr);
}

}  // namespace barter::sim
