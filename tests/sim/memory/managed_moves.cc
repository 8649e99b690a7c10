// Managed memory: how it is made, and what is seen of each move of its pages.
#include <algorithm>
#include <utility>

#include "peer/host_pages.h"
#include "world.h"

namespace barter::sim {

Result<void> World::make_managed() {
  auto buffer = fabric_->allocate_host(kManagedPages * peer::kPageBytes);
  if (!buffer) return fail(std::move(buffer.error()));
  const BusAddress address{buffer->address().value};
  managed_place_ = static_cast<std::uint32_t>(places_.size());
  places_.emplace_back("the managed memory in the host");
  auto faults = std::make_unique<SteppedFaults>(std::move(*buffer), [this](Cells cells) {
    Place& place = places_[managed_place_];
    if (!place.may_write(cells)) blame("host memory was given back that a transfer reaches");
    place.settle(cells);
  });
  faults_ = faults.get();
  places_[managed_place_].lies_at(faults_->behind_bytes());
  for (std::uint32_t page = 0; page < kManagedPages; ++page)
    pages_[page] = {.place = managed_place_, .first_cell = page * kCellsInPage, .carried_to = {}};
  auto made = peer::ManagedPages::create(
      {.exchange = *exchange_,
       .clock = clock_,
       .faults = std::move(faults),
       .place = {.address = address},
       .mover = std::make_unique<WatchedMover>(
           [this](const peer::PageBytes& from, const peer::PageBytes& to) { before_move(from, to); },
           [this](const peer::PageBytes& from, const peer::PageBytes& to) { after_move(from, to); }),
       .touch_deadline = layout_.calm ? std::chrono::milliseconds(20) : std::chrono::milliseconds(1),
       .on_lost = [this](MemoryRange range, const Error& why) { pages_were_lost(range, why); }});
  if (!made) return fail(std::move(made.error()));
  managed_ = std::move(*made);
  return {};
}

World::Spot World::spot_of(const peer::PageBytes& bytes) const {
  Spot spot{.place = managed_place_,
            .cells = {static_cast<std::uint32_t>(bytes.range.offset / kCellBytes),
                      static_cast<std::uint32_t>(bytes.range.bytes / kCellBytes)}};
  if (bytes.exporter->function() == peer::kHostMemory) return spot;
  for (const Unit& unit : units_)
    if (unit.bdf == bytes.exporter->function() && unit.memory) spot.place = *unit.memory;
  spot.in = bytes.exporter;
  return spot;
}

// The pages that are there; none if these are not pages that lie together.
std::optional<peer::PageRun> World::pages_at(const Spot& spot) const {
  const auto is_at = [&](const ManagedPage& page, std::uint32_t cell) {
    return !page.is_lost && page.place == spot.place && page.in == spot.in && page.first_cell == cell;
  };
  const auto first =
      std::ranges::find_if(pages_, [&](const ManagedPage& page) { return is_at(page, spot.cells.first); });
  const auto start = static_cast<std::uint32_t>(first - pages_.begin());
  const std::uint32_t count = spot.cells.count / kCellsInPage;
  if (start + count > kManagedPages) return std::nullopt;
  for (std::uint32_t page = 0; page < count; ++page)
    if (!is_at(pages_[start + page], spot.cells.first + page * kCellsInPage)) return std::nullopt;
  return peer::PageRun{start, count};
}

// Does the memory that the page is in still hold what was put there?
bool World::is_there(const ManagedPage& page) const {
  if (page.place == managed_place_) return true;
  const auto unit = std::ranges::find_if(units_, [&](const Unit& one) { return one.memory == page.place; });
  const bool is_cut = link_down_at_ && &units_[*link_down_at_] == &*unit;
  return unit->is_plugged_in && !is_cut && unit->memory_epoch == page.epoch;
}

World::Concerns World::of_pages(peer::PageRun pages) {
  return [this, pages](std::uint64_t serial, std::uint32_t) {
    const auto held = std::ranges::find(held_, serial, &HeldPart::serial);
    return held != held_.end() && held->pages.first < pages.first + pages.count &&
           pages.first < held->pages.first + held->pages.count;
  };
}

// Pages are about to be carried: nobody may reach them any more.
void World::before_move(const peer::PageBytes& from, const peer::PageBytes& to) {
  const Spot source = spot_of(from);
  const Spot target = spot_of(to);
  const auto pages = pages_at(source);
  if (!pages) return blame("what moves is no page of the managed memory");
  const Concerns concerns = of_pages(*pages);
  const std::uint32_t late = keeping(concerns);
  if (late != 0 && managed_->counters().late_importers == late_importers_)
    blame("pages move that somebody holds a lease of, and nobody is counted as late");
  late_importers_ = managed_->counters().late_importers;
  after({.how = moving_}, concerns, nullptr);
  for (std::uint64_t page = pages->first; page < pages->first + pages->count; ++page)
    pages_[page].was_there = is_there(pages_[page]);
  if (!pages_[pages->first].was_there) return;  // what lies there now is of no importance
  const Place& place = places_[source.place];
  if (!place.may_write(source.cells)) blame("pages move while a transfer reaches them");
  if (!places_[target.place].may_write(target.cells))
    blame(fmt::format("page {} moves to where a transfer is under way, {} cells {}+{}", pages->first,
                      places_[target.place].name(), target.cells.first, target.cells.count));
  if (is_in_use(target)) blame("pages move to memory that is somebody else's");
}

void World::after_move(const peer::PageBytes& from, const peer::PageBytes& to) {
  const Spot source = spot_of(from);
  const Spot target = spot_of(to);
  places_[target.place].settle(target.cells);
  const auto pages = pages_at(source);
  if (!pages) return;
  // What a device has forgotten, and whether it arrives, is of no importance: look_at_page() sees that nobody takes it for the page.
  if (pages_[pages->first].was_there &&
      !std::ranges::equal(places_[source.place].expected(source.cells), places_[target.place].expected(target.cells)))
    blame("pages were carried, and other bytes have arrived");
  for (std::uint32_t page = 0; page < pages->count; ++page)
    pages_[pages->first + page].carried_to = {
        .place = target.place, .first_cell = target.cells.first + page * kCellsInPage, .in = target.in};
}

// By a region, or by another page.
bool World::is_in_use(const Spot& spot) const {
  const auto overlaps = [&](std::uint32_t place, Cells cells) {
    return place == spot.place && cells.first < spot.cells.first + spot.cells.count &&
           spot.cells.first < cells.first + cells.count;
  };
  for (const SharedRegion& region : regions_)
    if (region.handle && !region.is_orphan && overlaps(*units_[region.unit].memory, region.cells)) return true;
  for (const Unit& unit : units_)
    if (const auto local = unit.home ? local_of(unit) : std::nullopt; local && overlaps(local->place, local->cells))
      return true;
  return std::ranges::any_of(pages_, [&](const ManagedPage& page) {
    return spot.place != managed_place_ && !page.is_lost && is_there(page) &&
           overlaps(page.place, {page.first_cell, kCellsInPage});
  });
}

// What the library says of the pages must be what was seen of their moves.
void World::look_at_pages() {
  if (!managed_) return;
  late_importers_ = managed_->counters().late_importers;
  const auto residences = managed_->where({});
  if (!residences) return blame("where pages are can't be told: " + residences.error().message());
  for (const Residence& run : *residences)
    for (std::uint64_t page = run.range.offset / peer::kPageBytes;
         page < (run.range.offset + run.range.bytes) / peer::kPageBytes; ++page)
      look_at_page(static_cast<std::uint32_t>(page), run);
}

void World::look_at_page(std::uint32_t number, const Residence& now) {
  ManagedPage& page = pages_[number];
  const auto carried = page.carried_to;
  if (now.state == PageState::moving) return;  // by whoever waits just now
  page.carried_to.reset();
  if (now.state == PageState::lost) {
    if (!page.is_lost) blame(fmt::format("page {} is lost, and nobody was told", number));
    return;
  }
  std::uint32_t place = managed_place_;
  std::uint64_t epoch = 0;
  for (const Unit& unit : units_)
    if (now.state == PageState::device && unit.bdf == now.device) {
      place = *unit.memory;
      epoch = unit.memory_epoch;
    }
  if (page.is_lost && now.state == PageState::host)
    page = {.place = managed_place_, .first_cell = number * kCellsInPage, .carried_to = {}};  // renewed
  if (page.place == place) return;
  if (!carried || carried->place != place)
    return blame(
        fmt::format("page {} is said to be in {}, and was never carried there", number, places_[place].name()));
  if (!page.was_there) return blame(fmt::format("page {} came back from a device that had forgotten it", number));
  page.place = place;
  page.first_cell = carried->first_cell;
  page.in = carried->in;
  page.epoch = epoch;
  ++(place == managed_place_ ? tally_.pages_to_host : tally_.pages_to_device);
}

void World::pages_were_lost(MemoryRange range, const Error& why) {
  for (std::uint64_t page = range.offset / peer::kPageBytes; page < (range.offset + range.bytes) / peer::kPageBytes;
       ++page) {
    ++tally_.pages_lost;
    if (is_there(pages_[page]))
      blame(fmt::format("page {} was lost, and its device still has it: {}", page, why.message()));
    pages_[page].is_lost = true;
  }
}

bool World::are_pinned(peer::PageRun pages) {
  forget_ended_pins();
  const Concerns concerns = of_pages(pages);
  return std::ranges::any_of(pins_, [&](const Pin& pin) { return concerns(pin.region, 0); });
}

// The states of the transfers of those that are not there yet.
void World::count_pages_to_move(peer::PageRun pages, std::optional<std::uint32_t> to) {
  for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page)
    if (pages_[page].place != (to ? *units_[*to].memory : managed_place_))
      static_cast<void>(before(How::move, of_pages({page, 1})));
}

HeldPart& World::held_part(std::uint64_t serial) { return *std::ranges::find(held_, serial, &HeldPart::serial); }

// The memory goes before the mappings of it, or after them.
void World::end_managed() {
  if (!managed_) return;
  waiting_.clear();
  look_at_pages();
  for (ManagedHold& hold : holds_)
    if (chance_.chance(0.5)) drop_hold(hold);
  const Concerns concerns = of_pages({0, kManagedPages});
  const Before before_it = before(How::withdraw, concerns);
  managed_.reset();
  after(before_it, concerns, nullptr);
  for (ManagedHold& hold : holds_) drop_hold(hold);
}

// In the middle of the library's waits, the program goes on: it touches pages, those too that are moving just now.
void World::between_turns() {
  if (!managed_ || layout_.touches == 0) return;
  go_on_touching(false);
  if (!is_touching_ && mishaps_.chance(under_way_ ? 20 * layout_.touches : layout_.touches)) {
    const peer::PageRun pages = under_way_.value_or(peer::PageRun{0, kManagedPages});
    const auto page = static_cast<std::uint32_t>(pages.first + mishaps_.below(pages.count));
    say("(a touch of page {})", page);
    ++tally_.touches_in_waits;
    static_cast<void>(touch(page, mishaps_.chance(0.5)));
  }
}

}  // namespace barter::sim
