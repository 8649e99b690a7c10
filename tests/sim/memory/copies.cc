// Copies from drive to drive, in legs: direct by memory of a peer, and by way of host memory when that fails. Whatever happens
// to them on the way, what they say they copied is there.
#include <algorithm>
#include <utility>

#include "peer/mapping.h"
#include "world.h"

namespace barter::sim {

using machine::Direction;

namespace {

constexpr std::uint32_t kPatience = 400;  // steps that a copy waits for a device that is down
constexpr std::uint32_t kMostCellsOfCopy = 16;

}  // namespace

Outcome World::start_copy() {
  const auto free = std::ranges::find(copies_, Leg::none, &Copy::leg);
  if (free == copies_.end()) return Outcome::not_then;
  const auto is_drive = [](const Unit& unit) { return unit.kind == machine::UnitKind::drive && unit.is_up(); };
  const auto from = some_unit(is_drive);
  const auto to = some_unit([&](const Unit& unit) { return is_drive(unit) && &unit != &units_[*from]; });
  if (!from || !to) return Outcome::not_then;
  Place& blocks = places_[*units_[*from].media];
  const Cells source = some_cells({0, blocks.cells()}, kMostCellsOfCopy);
  if (!blocks.may_read(source)) return Outcome::not_then;
  const auto content = blocks.expected(source);
  *free = {};
  free->from = *from;
  free->to = *to;
  free->source = source;
  free->destination = {below(places_[*units_[*to].media].cells() - source.count + 1), source.count};
  free->content.assign(content.begin(), content.end());
  blocks.begin_read(source);
  const auto index = static_cast<std::uint32_t>(free - copies_.begin());
  say("{} cells {}+{} to {} from {} on", units_[*from].name, source.first, source.count, units_[*to].name,
      free->destination.first);
  return start_by_peer(index) ? Outcome::done : Outcome::refused;
}

// Through some region of a peer that is free just now.
bool World::start_by_peer(std::uint32_t index) {
  Copy& copy = copies_[index];
  SharedRegion* const region = some_region();
  copy.leg = Leg::falls_back;
  if (region == nullptr || region->cells.count < copy.source.count ||
      units_[copy.from].cut_off + units_[copy.from].rogues != 0 ||
      units_[copy.to].cut_off + units_[copy.to].rogues != 0) {
    fall_back(copy, peer::FallbackReason::no_provider);
    return false;
  }
  copy.region = region->serial;
  copy.staging_place = *units_[region->unit].memory;
  const std::uint32_t start = below(region->cells.count - copy.source.count + 1);
  copy.staging = region->cells.part(start, copy.source.count);
  MapOptions options{.access = Access::write, .offset = start * kCellBytes, .bytes = copy.source.bytes()};
  for (const bool is_write : {true, false}) {
    options.access = is_write ? Access::write : Access::read;
    auto mapping = try_map(is_write ? copy.from : copy.to, *region, options);
    if (!mapping) {
      const auto plan = peer::decide(P2p::preferred, mapping.error());
      if (!plan || !plan->fallback) blame("a copy that prefers the direct way has no other");
      fall_back(copy, plan && plan->fallback ? *plan->fallback : peer::FallbackReason::transfer_failed);
      return false;
    }
    (is_write ? copy.write : copy.read).emplace(std::move(*mapping));
  }
  if (start_leg(index, Leg::into_peer)) return true;
  fall_back(copy, peer::FallbackReason::revoked);
  return false;
}

// Where the leg reads from or writes to, besides the drive's own blocks.
std::optional<End> World::end_of_copy(Copy& copy, Leg leg) {
  if (leg == Leg::into_host) return end_at_host(copy.from, copy.source.count, true);
  if (leg == Leg::from_host) {
    auto end = end_at_host(copy.to, copy.source.count, true);
    if (!end) return std::nullopt;
    // The processor carries the bytes from one drive's buffer to the other's.
    Place& target = places_[end->place];
    std::ranges::copy(copy.carried, target.now(end->cells).begin());
    target.settle(end->cells);
    return end;
  }
  const Mapping& mapping = leg == Leg::into_peer ? *copy.write : *copy.read;
  auto lease = mapping.lease();
  if (!lease) return std::nullopt;
  const DmaSegment at = lease->segments()[0];
  return End{.place = copy.staging_place,
             .cells = copy.staging,
             .at = at,
             .lease = std::move(*lease),
             .id = mapping.state().id(),
             .region = copy.region,
             .is_guarded = is_guarded(mapping.route())};
}

bool World::start_leg(std::uint32_t index, Leg leg) {
  Copy& copy = copies_[index];
  const bool is_read = leg == Leg::into_peer || leg == Leg::into_host;
  const std::uint32_t unit = is_read ? copy.from : copy.to;
  Transfer* const made = begin(unit, is_read ? Direction::from_endpoint : Direction::to_endpoint,
                               own_end(units_[unit], is_read ? copy.source : copy.destination));
  if (made == nullptr) return false;
  auto end = end_of_copy(copy, leg);
  if (!end) {
    abandon(*made);
    return false;
  }
  if (leg == Leg::into_host) copy.staging = end->cells;  // of the reader's buffer
  made->copy = index;
  if (!add_part(*made, {.end = std::move(*end), .before = {}})) {
    abandon(*made);
    return false;
  }
  if (!submit(*made)) return false;
  copy.leg = leg;
  return true;
}

void World::fall_back(Copy& copy, peer::FallbackReason reason) {
  ++tally_.fallbacks[static_cast<std::size_t>(reason)];
  copy.write.reset();
  copy.read.reset();
  copy.leg = Leg::falls_back;
}

// Only what is to be done next is noted here: this runs in the middle of waits.
void World::go_on(std::uint32_t index, bool is_done) {
  Copy& copy = copies_[index];
  switch (copy.leg) {
    case Leg::into_peer:
      if (!is_done) return fall_back(copy, peer::FallbackReason::transfer_failed);
      // Nobody of this simulation writes there until it is read; in real life that is the region's user's business.
      places_[copy.staging_place].begin_read(copy.staging);
      copy.holds_staging = true;
      copy.leg = Leg::at_peer;
      return;
    case Leg::from_peer:
      if (is_done) return arrived(copy, tally_.copies_direct);
      let_go_of_staging(copy);
      return fall_back(copy, peer::FallbackReason::transfer_failed);
    case Leg::into_host:
      if (is_done) {
        const auto bytes = places_[units_[copy.from].host].now(copy.staging);
        copy.carried.assign(bytes.begin(), bytes.end());
      }
      copy.leg = is_done ? Leg::at_host : Leg::falls_back;
      return;
    case Leg::from_host:
      if (is_done) return arrived(copy, tally_.copies_by_host);
      copy.leg = Leg::at_host;
      return;
    default:
      blame("a copy goes on that has no leg under way");
  }
}

void World::arrived(Copy& copy, std::uint64_t& counter) {
  if (!std::ranges::equal(places_[*units_[copy.to].media].expected(copy.destination), copy.content))
    blame(fmt::format("a copy from {} to {} {} says that it is done, and its bytes are not there",
                      units_[copy.from].name, units_[copy.to].name,
                      copy.leg == Leg::from_peer ? "by a peer" : "by way of host memory"));
  ++counter;
  end_copy(copy);
}

void World::let_go_of_staging(Copy& copy) {
  if (std::exchange(copy.holds_staging, false)) places_[copy.staging_place].end_read(copy.staging);
}

void World::end_copy(Copy& copy) {
  if (copy.leg == Leg::none) return;
  let_go_of_staging(copy);
  places_[*units_[copy.from].media].end_read(copy.source);
  copy = {};
}

void World::look_after_copies() {
  for (std::uint32_t index = 0; index < kMaxCopies; ++index) look_after(index);
}

void World::look_after(std::uint32_t index) {
  Copy& copy = copies_[index];
  switch (copy.leg) {
    case Leg::at_peer:
      if (start_leg(index, Leg::from_peer)) return;
      if (!copy.read->is_revoked() && ++copy.waited < kPatience) return;
      let_go_of_staging(copy);
      return fall_back(copy,
                       copy.read->is_revoked() ? peer::FallbackReason::revoked : peer::FallbackReason::transfer_failed);
    case Leg::falls_back:
      if (start_leg(index, Leg::into_host)) return;
      break;
    case Leg::at_host:
      if (start_leg(index, Leg::from_host)) return;
      break;
    default:
      return;
  }
  if (++copy.waited < kPatience) return;
  ++tally_.copies_failed;
  end_copy(copy);
}

}  // namespace barter::sim
