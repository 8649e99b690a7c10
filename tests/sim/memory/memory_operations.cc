// What owners and importers do with memory, but for taking it back.
#include <algorithm>
#include <utility>

#include "peer/mapping.h"
#include "world.h"

namespace barter::sim {

SharedRegion* World::some_region() {
  // Mostly one that is still good for something.
  const bool any = chance_.chance(0.15);
  const auto first = below(kMaxRegions);
  for (std::size_t turn = 0; turn < kMaxRegions; ++turn) {
    SharedRegion& region = regions_[(first + turn) % kMaxRegions];
    if (region.handle && (any || !region.is_revoked)) return &region;
  }
  return nullptr;
}

SharedRegion* World::region_of(std::uint64_t serial) {
  const auto found = std::ranges::find(regions_, serial, &SharedRegion::serial);
  return found == regions_.end() || !found->handle ? nullptr : &*found;
}

SharedMapping* World::some_mapping() {
  const bool any = chance_.chance(0.15);
  const auto first = below(kMaxSimMappings);
  for (std::size_t turn = 0; turn < kMaxSimMappings; ++turn) {
    SharedMapping& mapping = mappings_[(first + turn) % kMaxSimMappings];
    if (mapping.handle && (any || !mapping.is_closed)) return &mapping;
  }
  return nullptr;
}

Outcome World::allocate() {
  auto free = std::ranges::find_if(regions_, [](const SharedRegion& region) { return !region.handle; });
  if (free == regions_.end()) {  // one that is of no more use makes room
    free = std::ranges::find(regions_, true, &SharedRegion::is_revoked);
    if (free != regions_.end()) take_back(How::drop, *free, some_deadline());
  }
  const auto index =
      some_unit([](const Unit& unit) { return unit.memory && unit.exporter != nullptr && unit.is_known; });
  if (free == regions_.end() || !index) return Outcome::not_then;
  Unit& unit = units_[*index];
  const std::uint64_t bytes = (1 + below(32)) * kCellBytes;
  auto region = exchange_->allocate(*unit.exporter, bytes, chance_.chance(0.2) ? 8192 : 4096);
  if (!region) {
    if (region.error().code != ErrorCode::exhausted && region.error().code != ErrorCode::device_gone)
      blame("memory can't be allocated: " + region.error().message());
    return Outcome::refused;
  }
  const MemoryRange range = region->range();
  *free = {.handle = std::move(*region),
           .serial = ++serial_,
           .unit = *index,
           .cells = {static_cast<std::uint32_t>(range.offset / kCellBytes),
                     static_cast<std::uint32_t>(range.bytes / kCellBytes)}};
  for (const SharedRegion& other : regions_)
    if (&other != &*free && other.handle && other.unit == *index && !other.is_orphan &&
        range.offset < other.handle->range().offset + other.handle->size_bytes() &&
        other.handle->range().offset < range.offset + range.bytes)
      blame(fmt::format("regions {} and {} overlap", free->serial, other.serial));
  for (const ManagedPage& page : pages_)
    if (managed_ && page.place == *unit.memory && !page.is_lost && is_there(page) &&
        page.first_cell < free->cells.first + free->cells.count && free->cells.first < page.first_cell + kCellsInPage)
      blame(fmt::format("region {} overlaps a page of the managed memory", free->serial));
  say("region {} of {}, {} cells from {}", free->serial, unit.name, free->cells.count, free->cells.first);
  return Outcome::done;
}

std::expected<Mapping, peer::NotMapped> World::try_map(std::uint32_t importer, SharedRegion& region,
                                                       const MapOptions& options) {
  const std::uint64_t serial = region.serial;
  const std::uint64_t answers_before = answers_;
  asked_within_ = 0;
  const std::optional<std::string> why_not_pinned = this->why_not_pinned(region, options);
  auto mapping = exchange_->try_map(*units_[importer].importer, *region.handle, options);
  if (why_not_pinned && answers_ != answers_before)
    blame("more was about to be pinned than may be: " + *why_not_pinned);
  if (!mapping) {
    if (mapping.error().reason == peer::Refusal::pin_limit) ++tally_.pins_refused;
    check_refused_pin(why_not_pinned, mapping.error(), answers_ != answers_before);
    say("({})", peer::name_of(mapping.error().reason));
    if (mapping.error().error.message().size() < 20) blame("a refusal that says nothing");
    return mapping;
  }
  if (answers_ == answers_before) blame("memory was mapped and its owner was not asked");
  if (asked_within_ == serial) blame("memory was mapped that its owner took back while it was asked");
  check_mapping(region, importer, options, *mapping);
  return mapping;
}

void World::check_mapping(const SharedRegion& region, std::uint32_t importer, const MapOptions& options,
                          const Mapping& mapping) {
  const MemoryRange range = {region.handle->range().offset + options.offset,
                             options.bytes == 0 ? region.handle->size_bytes() - options.offset : options.bytes};
  if (region.is_revoked) blame(fmt::format("region {} was mapped, and had been revoked for good", region.serial));
  if (last_answer_ != Answer::Kind::direct) blame("memory was mapped against its owner's answer");
  if (!last_range_.contains(range)) blame("more memory was mapped than its owner was asked about");
  if (units_[importer].importer->was_isolated())
    blame(fmt::format("{} was cut off from all memory, and got a mapping", units_[importer].name));
  if (units_[importer].cut_off != 0)
    blame(fmt::format("{} was late, what it had in flight has not ended, and it got a mapping", units_[importer].name));
  if (mapping.hold() != options.hold) blame("a mapping is held otherwise than was asked for");
  if (mapping.size_bytes() != range.bytes) blame("a mapping has another size than was asked for");
}

Outcome World::map() {
  SharedRegion* const region = some_region();
  auto free = std::ranges::find_if(mappings_, [](const SharedMapping& mapping) { return !mapping.handle; });
  if (free == mappings_.end()) free = std::ranges::find(mappings_, true, &SharedMapping::is_closed);
  // One that was late may ask: it is refused. Of requests that have no lease at all nobody knows, and an address that the IOMMU
  // gives out again would mean something else to them.
  const auto importer = some_unit([](const Unit& unit) { return unit.is_known && unit.rogues == 0; });
  if (region == nullptr || !importer || free == mappings_.end()) return Outcome::not_then;
  static constexpr Access kAccesses[] = {Access::read, Access::write, Access::read_write};
  const Cells cells = some_cells({0, region->cells.count}, region->cells.count);
  const MapOptions options = {.access = kAccesses[below(3)],
                              .offset = cells.offset(),
                              .bytes = cells.bytes(),
                              .hold = chance_.chance(0.2) ? Hold::pinned : Hold::dynamic};
  say("region {} cells {}+{} for {}, access {}{}", region->serial, cells.first, cells.count, units_[*importer].name,
      static_cast<int>(options.access), options.hold == Hold::pinned ? ", pinned" : "");
  if (chance_.chance(0.02)) {
    const auto beyond = try_map(*importer, *region, {.offset = region->cells.bytes(), .bytes = kCellBytes});
    if (beyond || beyond.error().reason != peer::Refusal::out_of_range) blame("memory past the end was mapped");
    return Outcome::refused;
  }
  auto mapping = try_map(*importer, *region, options);
  if (!mapping) return Outcome::refused;
  auto lease = mapping->lease();
  if (!lease) {
    blame("a new mapping gives no lease: " + lease.error().message());
    return Outcome::refused;
  }
  free->handle.reset();
  *free = {.handle = std::nullopt,
           .region = region->serial,
           .region_unit = region->unit,
           .unit = *importer,
           .access = options.access,
           .hold = options.hold,
           .is_guarded = is_guarded(mapping->route()),
           .cells = region->cells.part(cells.first, cells.count),
           .at = lease->segments()[0],
           .id = mapping->state().id()};
  free->handle.emplace(std::move(*mapping));
  if (options.hold == Hold::pinned) hold_pinned(free->id, free->region, free->region_unit, free->cells);
  if (free->handle->route() == Route::link) ++tally_.mapped_by_link;
  return Outcome::done;
}

Outcome World::drop_mapping() {
  SharedMapping* const mapping = some_mapping();
  if (mapping == nullptr) return Outcome::not_then;
  say("of region {} for {}", mapping->region, units_[mapping->unit].name);
  mapping->handle.reset();
  if (mapping->hold == Hold::pinned && !mapping->is_closed && is_held({.id = mapping->id})) ++tally_.pins_outlived;
  return Outcome::done;
}

Outcome World::take_lease() {
  SharedMapping* const mapping = some_mapping();
  const auto free = std::ranges::find(leases_, std::uint64_t{0}, &LooseLease::region);
  if (mapping == nullptr || free == leases_.end()) return Outcome::not_then;
  auto lease = mapping->handle->lease();
  if (lease.has_value() == mapping->is_closed)
    blame(mapping->is_closed ? "a mapping that was taken back gives a lease" : "a live mapping gives no lease");
  if (!lease) return Outcome::refused;
  *free = {.lease = std::move(*lease),
           .region = mapping->region,
           .at = mapping->at,
           .unit = mapping->unit,
           .id = mapping->id};
  return Outcome::done;
}

Outcome World::drop_lease() {
  LooseLease& lease = leases_[below(kMaxLooseLeases)];
  if (lease.region == 0) return Outcome::not_then;
  lease = {};
  return Outcome::done;
}

// The program's own loads and stores.
Outcome World::cpu(bool writes) {
  SharedRegion* const region = some_region();
  if (region == nullptr || region->is_orphan) return Outcome::not_then;
  const std::span<std::byte> bytes = region->handle->cpu_bytes();
  if (bytes.empty()) return Outcome::refused;
  Place& place = places_[*units_[region->unit].memory];
  if (bytes.data() != place.now(region->cells).data() || bytes.size() != region->cells.bytes()) {
    blame("the CPU's view is not of the region");
    return Outcome::refused;
  }
  const Cells cells = some_cells(region->cells, 16);
  if (writes ? !place.may_write(cells) : !place.may_read(cells)) return Outcome::not_then;
  const std::span<std::byte> there = bytes.subspan((cells.first - region->cells.first) * kCellBytes, cells.bytes());
  if (!writes) {
    if (!std::ranges::equal(there, place.expected(cells))) blame("the CPU reads what nobody wrote");
    return Outcome::done;
  }
  store(place, cells, chance_.next());
  return Outcome::done;
}

void World::store(Place& place, Cells cells, std::uint64_t noise) {
  const std::span<std::byte> there = place.now(cells);
  for (std::size_t at = 0; at < there.size(); ++at) there[at] = static_cast<std::byte>(((noise | 1) * (at + 1)) >> 32);
  place.settle(cells);
}

Outcome World::forged_id() {
  const peer::MappingId id = {below(64), chance_.chance(0.5) ? below(200) : static_cast<std::uint32_t>(chance_.next())};
  const auto lease = exchange_->lease(id);
  if (!lease) return Outcome::refused;
  bool is_live = false;
  for (const SharedMapping& mapping : mappings_)
    is_live = is_live || (mapping.handle && !mapping.is_closed && mapping.id == id);
  for (const HeldPart& part : held_) is_live = is_live || (!part.is_closed && part.id == id);
  for (const Copy& copy : copies_)
    for (const auto* mapping : {&copy.write, &copy.read})
      is_live = is_live || (*mapping && (*mapping)->state().id() == id && !(*mapping)->is_revoked());
  if (!is_live) blame(fmt::format("the forged id {}.{} got a lease", id.slot, id.generation));
  return Outcome::done;
}

Outcome World::stale_lease() {
  const auto first = below(kMaxSimMappings);
  for (std::size_t turn = 0; turn < kMaxSimMappings; ++turn) {
    const SharedMapping& mapping = mappings_[(first + turn) % kMaxSimMappings];
    if (!mapping.handle || !mapping.is_closed) continue;
    if (mapping.handle->lease() || exchange_->lease(mapping.id)) blame("a mapping that was taken back gives a lease");
    return Outcome::refused;
  }
  return Outcome::not_then;
}

}  // namespace barter::sim
