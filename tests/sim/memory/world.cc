#include "world.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace barter::sim {
namespace {

// A wait of the library that is longer than any that its deadlines allow: several command timeouts in a row take a tenth.
constexpr std::uint64_t kMaxVisitsInStep = 5'000'000;

}  // namespace

World::World(std::uint64_t seed, Break broken, Tally& tally)
    : chance_(seed),
      mishaps_(seed ^ 0x5eed),
      seed_(seed),
      broken_(broken),
      tally_(tally),
      clock_(*this),
      links_(broken) {}

std::unique_ptr<World> World::create(std::uint64_t seed, Break broken, Tally& tally) {
  std::unique_ptr<World> world(new World(seed, broken, tally));
  world->choose_layout();
  if (auto built = world->build(); !built) world->blame("the machine can't be built: " + built.error().message());
  return world;
}

World::~World() {
  if (exchange_) end();
}

void World::blame(std::string what) {
  if (!violation_) violation_ = std::move(what);
}

Cells World::some_cells(Cells within, std::uint32_t most) {
  // Half of them begin at a page, where a drive without scatter-gather lists can take more than one piece.
  std::uint32_t count = 1 + below(std::min(most, within.count));
  std::uint32_t start = below(within.count - count + 1);
  if (chance_.chance(0.5)) start -= start % 8;
  return {within.first + start, count};
}

Duration World::some_deadline() {
  if (layout_.calm) return std::chrono::milliseconds(20);
  static constexpr std::uint32_t kMicroseconds[] = {0, 0, 1, 10, 100, 1000};
  return std::chrono::microseconds(kMicroseconds[below(std::size(kMicroseconds))]);
}

// In the middle of every wait, the library's own included: here a device vanishes, or its link drops.
bool World::watch() {
  if (++visits_ > kMaxVisitsInStep && on_hang) on_hang();
  if (link_down_at_ && fabric_->clock().now() >= link_returns_) {
    const std::uint32_t unit = *std::exchange(link_down_at_, std::nullopt);
    say("(the link of {} is up again)", units_[unit].name);
    fabric_->set_link(units_[unit].bdf, true);
    was_wiped(unit);
  }
  if (layout_.unplug > 0 && mishaps_.chance(layout_.unplug)) {
    Unit& unit = units_[mishaps_.below(units_.size())];
    if (std::exchange(unit.is_plugged_in, false)) {
      ++tally_.kinds[static_cast<std::size_t>(Kind::unplug)].done;
      say("({} is pulled out)", unit.name);
      ++unit.memory_epoch;
      fabric_->remove(unit.bdf);
    }
  }
  if (wire_returns_ && fabric_->clock().now() >= *wire_returns_) {
    wire_returns_.reset();
    set_wire(true);
  }
  if (layout_.wire_breaks > 0 && !wire_returns_ && mishaps_.chance(layout_.wire_breaks)) {
    say("(the link between the accelerators breaks)");
    break_wire(mishaps_);
  }
  if (layout_.link_down > 0 && !link_down_at_ && mishaps_.chance(layout_.link_down)) {
    link_down_at_ = static_cast<std::uint32_t>(mishaps_.below(units_.size()));
    ++tally_.kinds[static_cast<std::size_t>(Kind::link_down)].done;
    say("(the link of {} drops)", units_[*link_down_at_].name);
    drop_link(mishaps_);
  }
  return false;
}

namespace {

struct Weight {
  Kind kind;
  std::uint32_t of;
};
constexpr Weight kWeights[] = {{Kind::allocate, 40},
                               {Kind::drop_region, 12},
                               {Kind::map, 110},
                               {Kind::drop_mapping, 50},
                               {Kind::lease, 25},
                               {Kind::drop_lease, 25},
                               {Kind::read, 180},
                               {Kind::write, 180},
                               {Kind::read_to_host, 30},
                               {Kind::write_from_host, 30},
                               {Kind::copy, 25},
                               {Kind::cpu_write, 40},
                               {Kind::cpu_read, 20},
                               {Kind::map_pages, 40},
                               {Kind::drop_pages, 8},
                               {Kind::read_to_pages, 45},
                               {Kind::write_from_pages, 45},
                               {Kind::move_pages, 30},
                               {Kind::touch_page, 30},
                               {Kind::renew_pages, 5},
                               {Kind::invalidate, 30},
                               {Kind::revoke, 15},
                               {Kind::revoke_all, 2},
                               {Kind::forged_id, 8},
                               {Kind::stale_lease, 8},
                               {Kind::rogue, 12},
                               {Kind::consent, 10},
                               {Kind::limit_pins, 6},
                               {Kind::mood, 10},
                               {Kind::unplug, 1},
                               {Kind::break_link, 3},
                               {Kind::link_down, 1},
                               {Kind::bring_back, 10},
                               {Kind::let_pass, 126}};

constexpr std::uint32_t total_weight() {
  std::uint32_t total = 0;
  for (const Weight& weight : kWeights) total += weight.of;
  return total;
}

}  // namespace

Outcome World::dispatch(Kind kind) {
  switch (kind) {
    case Kind::allocate:
      return allocate();
    case Kind::drop_region:
      return take_back(How::drop);
    case Kind::map:
      return map();
    case Kind::drop_mapping:
      return drop_mapping();
    case Kind::lease:
      return take_lease();
    case Kind::drop_lease:
      return drop_lease();
    case Kind::read:
      return transfer(machine::Direction::from_endpoint);
    case Kind::write:
      return transfer(machine::Direction::to_endpoint);
    case Kind::read_to_host:
      return host_transfer(machine::Direction::from_endpoint);
    case Kind::write_from_host:
      return host_transfer(machine::Direction::to_endpoint);
    case Kind::copy:
      return start_copy();
    case Kind::cpu_write:
      return cpu(true);
    case Kind::cpu_read:
      return cpu(false);
    case Kind::map_pages:
      return map_pages();
    case Kind::drop_pages:
      return drop_pages();
    case Kind::read_to_pages:
      return transfer_pages(machine::Direction::from_endpoint);
    case Kind::write_from_pages:
      return transfer_pages(machine::Direction::to_endpoint);
    case Kind::move_pages:
      return move_pages();
    case Kind::touch_page:
      return touch_page();
    case Kind::renew_pages:
      return renew_pages();
    case Kind::invalidate:
      return take_back(How::invalidate);
    case Kind::revoke:
      return take_back(How::revoke);
    case Kind::revoke_all:
      return take_back(How::revoke_all);
    case Kind::forged_id:
      return forged_id();
    case Kind::stale_lease:
      return stale_lease();
    case Kind::rogue:
      return rogue();
    case Kind::consent:
      return change_consent();
    case Kind::limit_pins:
      return limit_pins();
    case Kind::mood:
      return change_mood();
    case Kind::unplug:
      return unplug();
    case Kind::link_down:
      return link_down();
    case Kind::break_link:
      return break_link();
    case Kind::bring_back:
      return bring_back();
    case Kind::let_pass:
      break;
  }
  for (std::uint32_t time = below(32); time > 0; --time) fabric_->clock().idle();
  return Outcome::done;
}

// The rest of a step: the machine gets on, and whoever waits for completions looks.
void World::let_pass() {
  for (std::uint32_t time = below(6); time > 0; --time) fabric_->clock().idle();
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit)
    if (units_[unit].in_flight > 0 && units_[unit].carrier && chance_.chance(0.5)) poll(unit);
  look_after_copies();
}

void World::step() {
  ++steps_;
  visits_ = 0;
  std::uint32_t drawn = below(total_weight());
  const Weight* weight = kWeights;
  while (drawn >= weight->of) drawn -= (weight++)->of;
  const Kind kind = weight->kind;
  last_.assign(name_of(kind));
  const Outcome outcome = dispatch(kind);
  Tally::Of& of = tally_.kinds[static_cast<std::size_t>(kind)];
  ++(outcome == Outcome::done ? of.done : outcome == Outcome::refused ? of.refused : of.not_then);
  say("{}", outcome == Outcome::done ? "- done" : outcome == Outcome::refused ? "- refused" : "- not then");
  check();  // before anything gets on: what a revocation has settled must be settled now
  let_pass();
  go_on_touching(true);
  if (steps_ == flip_at_) {
    const std::span<std::byte> bytes = places_[*units_[2].media].all();
    bytes[below(bytes.size())] ^= std::byte{1};
  }
  check();
  check_pins();
}

void World::check() {
  for (const Place& place : places_) {
    tally_.bytes_checked += place.all().size();
    const auto wrong = place.first_wrong();
    if (!wrong) continue;
    blame(fmt::format("byte {} of {} is {:#04x} and must be {:#04x}: nothing that was asked for wrote it", *wrong,
                      place.name(), static_cast<unsigned>(place.all()[*wrong]),
                      static_cast<unsigned>(place.expected()[*wrong])));
  }
}

std::uint64_t World::content_digest() const {
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const Place& place : places_) {
    const std::span<const std::byte> bytes = place.expected();
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, 8);
      digest = (std::rotl(digest, 5) ^ word) * 0x9e3779b97f4a7c15;
    }
  }
  return digest;
}

// Everybody goes, in any order: the Exchange before its handles, or after them.
void World::end() {
  last_ = "end";
  visits_ = 0;
  const bool exchange_first = chance_.chance(0.3);
  tally_.add(exchange_->counters());
  for (Unit& unit : units_) unit.is_stubborn = false;
  end_managed();
  for (Transfer& transfer : transfers_) transfer.copy.reset();
  // An Exchange that goes revokes everything; the devices must be there for it until then.
  if (exchange_first) {
    for (std::uint32_t unit = 0; unit < units_.size(); ++unit)
      if (units_[unit].device) stop_carrier(unit);
    exchange_.reset();
  }
  for (Copy& copy : copies_) end_copy(copy);
  for (LooseLease& lease : leases_) lease = {};
  for (std::size_t turn = 0; turn < mappings_.size(); ++turn) mappings_[below(mappings_.size())].handle.reset();
  for (SharedRegion& region : regions_) region.handle.reset();
  for (SharedMapping& mapping : mappings_) mapping.handle.reset();
  check_pins();
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit) take_down(unit);
  check_pins();
  exchange_.reset();
  check();
  const fabric::Counters counters = fabric_->counters();
  tally_.iommu_faults += counters.iommu_faults;
  tally_.blocked_requests += counters.blocked_requests;
  tally_.unsupported_requests += counters.unsupported_requests;
  tally_.lost_completions += counters.lost_completions;
  tally_.poisoned_completions += counters.poisoned_completions;
  tally_.late_completions += counters.late_completions;
  tally_.ignored_invalidations += counters.ignored_invalidations;
  if (!layout_.calm) return;
  for (const std::string& what : fabric_->violations())
    blame("a device was used as its specification forbids: " + what);
}

}  // namespace barter::sim
