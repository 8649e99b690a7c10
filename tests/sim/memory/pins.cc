// Memory that importers hold pinned: what may be pinned is counted here a second time.
#include <algorithm>

#include "peer/pages.h"
#include "peer/region.h"
#include "world.h"

namespace barter::sim {

Outcome World::limit_pins() {
  // In pages; mostly there is none.
  static constexpr std::uint64_t kLimits[] = {0, 1, 2, 4, 8};
  const auto limit = chance_.chance(0.5) ? std::nullopt : std::optional(kLimits[below(std::size(kLimits))] * 4096);
  const std::string words = limit ? fmt::format("{} bytes", *limit) : "no limit";
  if (chance_.chance(0.3)) {
    SharedRegion* const region = some_region();
    if (region == nullptr) return Outcome::not_then;
    region->pin_limit = limit;
    region->handle->state()->limit_pins(limit);
    say("of region {}: {}", region->serial, words);
    return Outcome::done;
  }
  const auto index = some_unit([](const Unit& unit) { return unit.device && unit.device->exporter; });
  if (!index) return Outcome::not_then;
  units_[*index].pin_limit = limit;
  units_[*index].device->exporter->limit_pins(limit);
  say("of {}: {}", units_[*index].name, words);
  return Outcome::done;
}

void World::hold_pinned(peer::MappingId id, std::uint64_t region, std::uint32_t region_unit, Cells cells) {
  ++tally_.pins;
  pins_.push_back({.id = id,
                   .region = region,
                   .region_unit = region_unit,
                   .bytes = peer::whole_pages(cells.offset() % peer::kPageBytes + cells.bytes())});
}

// By the handle, or by a lease that outlives it.
bool World::is_held(const Pin& pin) const {
  const auto by_handle = [&](const SharedMapping& mapping) {
    return mapping.handle && !mapping.is_closed && mapping.id == pin.id;
  };
  const auto by_lease = [&](const LooseLease& lease) {
    return lease.region != 0 && lease.region != kTakenBack && lease.id == pin.id;
  };
  const auto by_end = [&](const End& end) { return end.region != 0 && !end.is_cut_off && end.id == pin.id; };
  const auto by_transfer = [&](const Transfer& transfer) {
    return transfer.is_active &&
           (by_end(transfer.local) || std::ranges::any_of(transfer.all_parts(), by_end, &Part::end));
  };
  const auto by_hold = [&](const HeldPart& part) {
    const auto has_it = [&](const ManagedHold& hold) { return std::ranges::count(hold.parts, part.serial) != 0; };
    return !part.is_closed && part.id == pin.id && std::ranges::any_of(holds_, has_it);
  };
  return std::ranges::any_of(mappings_, by_handle) || std::ranges::any_of(held_, by_hold) ||
         std::ranges::any_of(leases_, by_lease) || std::ranges::any_of(transfers_, by_transfer);
}

void World::forget_ended_pins() {
  std::erase_if(pins_, [&](const Pin& pin) { return !is_held(pin); });
}

bool World::is_pinned(std::uint64_t region) {
  forget_ended_pins();
  return std::ranges::count(pins_, region, &Pin::region) != 0;
}

// The owner's promise, or why it can't be had now.
std::optional<std::string> World::why_not_pinned(const SharedRegion& region, const MapOptions& options) {
  if (options.hold != Hold::pinned) return std::nullopt;
  forget_ended_pins();
  const std::uint64_t start = region.handle->range().offset + options.offset;
  const std::uint64_t bytes = peer::whole_pages(start % peer::kPageBytes + options.bytes);
  std::uint64_t of_unit = bytes;
  std::uint64_t of_region = bytes;
  for (const Pin& pin : pins_) {
    if (pin.region_unit == region.unit) of_unit += pin.bytes;
    if (pin.region == region.serial) of_region += pin.bytes;
  }
  const auto& unit_limit = units_[region.unit].pin_limit;
  if (unit_limit && of_unit > *unit_limit) return fmt::format("{} bytes of its device, of {}", of_unit, *unit_limit);
  if (region.pin_limit && of_region > *region.pin_limit)
    return fmt::format("{} bytes of its region, of {}", of_region, *region.pin_limit);
  return std::nullopt;
}

void World::check_refused_pin(const std::optional<std::string>& why_not, const peer::NotMapped& refused,
                              bool was_asked) {
  if (refused.reason == peer::Refusal::pin_limit && !why_not) blame("memory can't be pinned, and the limit allows it");
  if (refused.reason == peer::Refusal::owner_refused && !was_asked && !why_not)
    blame("a pin was refused in the owner's name, who had allowed it");
}

// As many bytes are pinned as importers hold.
void World::check_pins() {
  forget_ended_pins();
  std::uint64_t bytes = 0;
  for (const Pin& pin : pins_) bytes += pin.bytes;
  if (exchange_ && exchange_->counters().pinned_bytes != bytes)
    blame(fmt::format("{} bytes are pinned, and importers hold {}", exchange_->counters().pinned_bytes, bytes));
}

}  // namespace barter::sim
