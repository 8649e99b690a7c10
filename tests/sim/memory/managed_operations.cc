// What the program and importers do with managed memory: pages move by request, because they are touched, and because somebody
// can't reach them where they are; what is lost with its device is renewed.
#include <algorithm>
#include <utility>

#include "peer/mapping.h"
#include "world.h"

namespace barter::sim {

namespace {

MemoryRange range_of(peer::PageRun pages) { return {pages.first * peer::kPageBytes, pages.count * peer::kPageBytes}; }

}  // namespace

peer::PageRun World::some_pages() {
  const std::uint32_t first = below(kManagedPages);
  return {first, 1 + below(kManagedPages - first)};
}

Outcome World::move_pages() {
  if (!managed_) return Outcome::not_then;
  const peer::PageRun pages = chance_.chance(0.5) ? some_busy_pages() : some_pages();
  const auto to = some_unit([](const Unit& unit) { return unit.home && unit.is_known; });
  const bool to_host = !to || chance_.chance(0.3);
  say("{}+{} to {}", pages.first, pages.count, to_host ? "the host" : units_[*to].name);
  look_at_pages();
  if (chance_.chance(0.3)) await_midway(of_pages(pages));
  const bool was_pinned = are_pinned(pages);
  count_pages_to_move(pages, to_host ? std::nullopt : to);
  const Duration deadline = some_deadline();
  moving_ = How::move;
  const std::uint64_t touches = touches_;
  under_way_ = pages;
  const auto moved = to_host ? managed_->move_to_host(range_of(pages), deadline)
                             : managed_->move_to(*units_[*to].exporter, range_of(pages), deadline);
  under_way_.reset();
  look_at_pages();
  if (moved) {
    const std::uint32_t place = to_host ? managed_place_ : *units_[*to].memory;
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page)
      if (pages_[page].place != place && touches_ == touches)
        blame(fmt::format("page {} is said to have moved to {}, and is elsewhere", page, places_[place].name()));
    if (!to_host && was_pinned && are_pinned(pages)) blame("pages moved that are pinned");
    return Outcome::done;
  }
  say("({})", name_of(moved.error().code));
  const bool is_pinned = moved.error().code == ErrorCode::pinned;
  if (is_pinned) ++tally_.moves_refused_by_pins;
  if (is_pinned && !was_pinned) blame("pages did not move because of a pin that nobody has");
  if (layout_.calm && !is_pinned && moved.error().code != ErrorCode::exhausted)
    blame("pages can't be moved, and nothing had gone wrong: " + moved.error().message());
  return Outcome::refused;
}

// The program's own loads and stores.
Outcome World::touch_page() {
  if (!managed_) return Outcome::not_then;
  const std::uint32_t page =
      chance_.chance(0.7) ? static_cast<std::uint32_t>(some_busy_pages().first) : below(kManagedPages);
  const bool writes = chance_.chance(0.5);
  say("{} page {}", writes ? "store to" : "load of", page);
  if (chance_.chance(0.3)) await_midway(of_pages({page, 1}));
  return touch(page, writes);
}

Outcome World::touch(std::uint32_t page, bool writes) {
  const auto wait = [&](bool is_asked) {
    if (waiting_.size() < kMaxTouches) waiting_.push_back({.page = page, .writes = writes, .is_asked = is_asked});
    ++tally_.touches_that_waited;
    return Outcome::done;
  };
  if (std::exchange(is_touching_, true)) return wait(false);  // who answers faults is busy with another one
  look_at_pages();
  ++touches_;
  if (pages_[page].place != managed_place_) {
    ++tally_.touches_of_device;
    static_cast<void>(before(How::touch, of_pages({page, 1})));
  }
  const How moved_before = std::exchange(moving_, How::touch);
  const SteppedFaults::Touch touched = faults_->touch(page);
  moving_ = moved_before;
  is_touching_ = false;
  look_at_pages();
  if (touched == SteppedFaults::Touch::waits) return wait(true);
  if (touched == SteppedFaults::Touch::dies) {
    ++tally_.touches_of_lost;
    if (!pages_[page].is_lost) blame(fmt::format("a touch of page {} ended in SIGBUS, and the page is not lost", page));
    return Outcome::refused;
  }
  access_page(page, writes);
  return Outcome::done;
}

void World::access_page(std::uint32_t page, bool writes) {
  if (pages_[page].place != managed_place_ || pages_[page].is_lost)
    return blame(fmt::format("the program reaches page {}, which is not in host memory", page));
  Place& place = places_[managed_place_];
  const Cells cells = {page * kCellsInPage + static_cast<std::uint32_t>(mishaps_.below(kCellsInPage)), 1};
  if (writes ? !place.may_write(cells) : !place.may_read(cells)) return;
  if (writes) return store(place, cells, mishaps_.next());
  if (!std::ranges::equal(place.now(cells), place.expected(cells))) blame("the program reads what nobody wrote");
}

// Of those that wait, whoever was woken goes on. `all` if nobody moves pages any more: then nobody has a reason to wait.
void World::go_on_touching(bool all) {
  if (is_touching_) return;
  for (std::size_t count = waiting_.size(); count > 0; --count) {
    const WaitingTouch waits = waiting_.front();
    waiting_.erase(waiting_.begin());
    const bool goes_on = !waits.is_asked || faults_->is_woken(waits.page);
    if (!goes_on && all) blame(fmt::format("a touch of page {} waits, and nobody will wake it", waits.page));
    if (goes_on)
      static_cast<void>(touch(waits.page, waits.writes));
    else
      waiting_.push_back(waits);
  }
}

Outcome World::map_pages() {
  if (!managed_) return Outcome::not_then;
  const auto importer = some_unit([](const Unit& unit) { return unit.is_known && unit.rogues == 0; });
  if (!importer) return Outcome::not_then;
  ManagedHold& hold = holds_[below(kMaxHolds)];
  static constexpr Access kAccesses[] = {Access::read, Access::write, Access::read_write};
  const Cells cells = some_cells({0, kManagedPages * kCellsInPage}, 4 * kCellsInPage);
  const MapOptions options = {.access = kAccesses[below(3)],
                              .offset = cells.offset(),
                              .bytes = cells.bytes(),
                              .hold = chance_.chance(0.15) ? Hold::pinned : Hold::dynamic};
  say("cells {}+{} for {}, access {}{}", cells.first, cells.count, units_[*importer].name,
      static_cast<int>(options.access), options.hold == Hold::pinned ? ", pinned" : "");
  look_at_pages();
  moving_ = How::move;
  auto mapped = managed_->map(*units_[*importer].importer, options, some_deadline());
  look_at_pages();
  if (!mapped) {
    say("({})", name_of(mapped.error().code));
    return Outcome::refused;
  }
  const Unit& unit = units_[*importer];
  if (unit.importer->was_isolated()) blame(fmt::format("{} was cut off from all memory, and got pages", unit.name));
  if (unit.cut_off != 0) blame(fmt::format("{} was late, and got pages", unit.name));
  drop_hold(hold);  // an importer that ignores even that may be cut off for it
  hold.unit = *importer;
  hold.access = options.access;
  hold.handle.emplace(std::move(*mapped));
  MemoryRange left{options.offset, options.bytes};
  for (const ManagedPart& part : hold.handle->parts()) {
    if (part.range.offset != left.offset || part.range.bytes > left.bytes) blame("parts of managed memory do not meet");
    left = {left.offset + part.range.bytes, left.bytes - part.range.bytes};
    hold_part(hold, part);
  }
  if (left.bytes != 0) blame("less managed memory was mapped than was asked for");
  return Outcome::done;
}

void World::hold_part(ManagedHold& hold, const ManagedPart& part) {
  const std::uint64_t first = part.range.offset / peer::kPageBytes;
  const std::uint64_t last = (part.range.offset + part.range.bytes - 1) / peer::kPageBytes;
  const ManagedPage& start = pages_[first];
  if (part.is_direct == (start.place == managed_place_)) blame("managed memory was mapped where its pages are not");
  if (part.is_direct && part.mapping.hold() == Hold::pinned) blame("pages of a device were pinned");
  auto lease = part.mapping.lease();
  if (!lease) return blame("a new mapping of managed memory gives no lease: " + lease.error().message());
  HeldPart held{.serial = ++serial_,
                .unit = hold.unit,
                .pages = {first, last - first + 1},
                .place = start.place,
                .cells = {start.first_cell + static_cast<std::uint32_t>(part.range.offset / kCellBytes % kCellsInPage),
                          static_cast<std::uint32_t>(part.range.bytes / kCellBytes)},
                .id = part.mapping.state().id(),
                .at = lease->segments()[0],
                .hold = part.mapping.hold(),
                .is_guarded = is_guarded(part.mapping.route())};
  if (held.hold == Hold::pinned) hold_pinned(held.id, held.serial, kNoUnit, held.cells);
  ++(part.is_direct ? tally_.mapped_pages_direct : tally_.mapped_pages_in_host);
  hold.parts.push_back(held.serial);
  held_.push_back(held);
}

void World::drop_hold(ManagedHold& hold) {
  hold.handle.reset();
  hold.parts.clear();
  // What no lease keeps is no more.
  std::erase_if(held_, [&](const HeldPart& part) { return !is_of_use(part); });
}

bool World::is_of_use(const HeldPart& part) {
  for (const ManagedHold& hold : holds_)
    if (std::ranges::count(hold.parts, part.serial) != 0) return true;
  bool is_leased = false;
  for (Transfer& transfer : transfers_)
    transfer.each_held([&](const End& end) { is_leased = is_leased || end.region == part.serial; });
  return is_leased;
}

Outcome World::drop_pages() {
  ManagedHold& hold = holds_[below(kMaxHolds)];
  if (!hold.handle) return Outcome::not_then;
  say("of {}", units_[hold.unit].name);
  drop_hold(hold);
  return Outcome::done;
}

// Some cells of one part, or the end of one and the start of the next.
Outcome World::transfer_pages(machine::Direction direction) {
  ManagedHold& hold = holds_[below(kMaxHolds)];
  if (!hold.handle || !units_[hold.unit].is_up() || !allows(hold.access, direction)) return Outcome::not_then;
  return transfer_pages(hold, below(hold.parts.size()), direction);
}

Outcome World::transfer_pages(const ManagedHold& hold, std::uint32_t index, machine::Direction direction) {
  auto leases = hold.handle->lease();
  const bool is_closed =
      std::ranges::any_of(hold.parts, [&](std::uint64_t serial) { return held_part(serial).is_closed; });
  if (leases.has_value() == is_closed)
    blame(is_closed ? "managed memory that was taken back gives leases" : "live managed memory gives no leases");
  if (!leases || is_closed) return Outcome::refused;
  const auto end_at = [&](std::uint32_t part, Cells cells) {
    const HeldPart& held = held_part(hold.parts[part]);
    DmaSegment at = held.at;
    at.address = at.address + cells.offset();
    at.bytes = cells.bytes();
    return End{.place = held.place,
               .cells = held.cells.part(cells.first, cells.count),
               .at = at,
               .lease = std::move((*leases)[part]),
               .id = held.id,
               .region = held.serial,
               .is_guarded = held.is_guarded};
  };
  const Cells whole = {0, held_part(hold.parts[index]).cells.count};
  if (index + 1 == hold.parts.size() || chance_.chance(0.5))
    return launch(hold.unit, direction, end_at(index, some_cells(whole, 2 * kCellsInPage)), std::nullopt);
  ++tally_.transfers_half_here;
  const std::uint32_t count = 1 + below(std::min(whole.count, kCellsInPage));
  const std::uint32_t rest = held_part(hold.parts[index + 1]).cells.count;
  return launch(hold.unit, direction, end_at(index, {whole.count - count, count}),
                end_at(index + 1, {0, 1 + below(std::min(rest, kCellsInPage))}));
}

// Pages of a device that somebody begins to read or write just now; any, where nobody can.
peer::PageRun World::some_busy_pages() {
  const auto first = below(kMaxHolds);
  for (std::size_t turn = 0; turn < kMaxHolds; ++turn) {
    const ManagedHold& hold = holds_[(first + turn) % kMaxHolds];
    if (!hold.handle || !units_[hold.unit].is_up()) continue;
    for (std::uint32_t part = 0; part < hold.parts.size(); ++part) {
      const HeldPart held = held_part(hold.parts[part]);
      if (held.is_closed || held.place == managed_place_) continue;
      const machine::Direction direction = allows(hold.access, machine::Direction::from_endpoint)
                                               ? machine::Direction::from_endpoint
                                               : machine::Direction::to_endpoint;
      static_cast<void>(transfer_pages(hold, part, direction));
      for (std::uint32_t time = below(16); time > 0; --time) fabric_->clock().idle();
      return held.pages;
    }
  }
  return some_pages();
}

Outcome World::renew_pages() {
  if (!managed_ || std::ranges::none_of(pages_, &ManagedPage::is_lost)) return Outcome::not_then;
  const auto renewed = managed_->renew({});
  if (!renewed) blame("lost pages can't be renewed: " + renewed.error().message());
  look_at_pages();
  if (std::ranges::any_of(pages_, &ManagedPage::is_lost)) blame("pages are lost, and were renewed");
  return Outcome::done;
}

}  // namespace barter::sim
