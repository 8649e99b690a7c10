// Devices come up, go down, are pulled out and plugged in again, and lose their links.
#include <utility>

#include "drivers/accelerator/accelerator.h"
#include "machine/accelerator_endpoint.h"
#include "machine/dma_engine_unit.h"
#include "machine/nic_unit.h"
#include "machine/nvme_endpoint.h"
#include "world.h"

namespace barter::sim {

using machine::UnitKind;

namespace {

constexpr std::uint32_t kQueueDepth = 8;
constexpr std::uint64_t kHomeBytes = 16384;

// Longer than the latest of late completions, where there are such.
Duration command_timeout(const Layout& layout) {
  return layout.late > 0 ? std::chrono::milliseconds(60) : std::chrono::milliseconds(2);
}

}  // namespace

std::optional<std::uint32_t> World::some_unit(const std::function<bool(const Unit&)>& fits) {
  const auto first = below(units_.size());
  for (std::uint32_t turn = 0; turn < units_.size(); ++turn) {
    const auto unit = static_cast<std::uint32_t>((first + turn) % units_.size());
    if (fits(units_[unit])) return unit;
  }
  return std::nullopt;
}

std::optional<Local> World::local_of(const Unit& unit) const {
  if (unit.kind == UnitKind::drive) return Local{*unit.media, {0, places_[*unit.media].cells()}};
  if (unit.kind == UnitKind::dma_engine || unit.kind == UnitKind::nic)
    return Local{unit.host, {0, places_[unit.host].cells()}};
  if (!unit.home) return std::nullopt;
  return Local{*unit.memory,
               {static_cast<std::uint32_t>(unit.home->range().offset / kCellBytes), kHomeBytes / kCellBytes}};
}

End World::own_end(const Unit& unit, Cells cells) const {
  DmaSegment at;
  if (unit.kind == UnitKind::dma_engine || unit.kind == UnitKind::nic)
    at = {unit.buffer.address() + cells.offset(), cells.bytes()};
  return {.place = local_of(unit)->place, .cells = cells, .at = at, .lease = {}, .id = {}};
}

bool World::is_guarded(Route route) const {
  return route == Route::link || (layout_.iommu && (layout_.ats || route != Route::bus_address));
}

// The NIC at the other end of a wire is nobody's unit: nobody pulls it out, and its own memory is the other NIC's buffer alone.
Result<void> World::start_far() {
  auto function = fabric_->function(fabric_->find(kFar).value());
  if (!function) return fail(function.error());
  const Duration timeout = command_timeout(layout_);
  auto far = drivers::nic::Nic::create(std::move(*function), {.ready_timeout = timeout, .command_timeout = timeout});
  if (!far) return fail(far.error());
  far_ = std::move(*far);
  return {};
}

// Brings the device's driver up and makes both known. Nothing half-done is left when it fails.
void World::bring_up(std::uint32_t index) {
  Unit& unit = units_[index];
  unit.is_broken = false;
  if (auto started = start(index); !started) {
    say("({} does not come up: {})", unit.name, started.error().message());
    take_down(index);
    return;
  }
  unit.in_flight = unit.cut_off = unit.rogues = 0;
  if (unit.kind == UnitKind::accelerator) links_.find(units_);
}

Result<void> World::start(std::uint32_t index) {
  Unit& unit = units_[index];
  unit.device = std::make_unique<machine::DriveUnit>();
  unit.device->name = unit.name;
  unit.device->bdf = unit.bdf;
  auto function = fabric_->function(unit.bdf);
  if (!function) return fail(function.error());
  peer::DmaDomain& domain = fabric_->domain(unit.bdf);
  const Duration timeout = command_timeout(layout_);
  auto up =
      unit.kind == UnitKind::drive
          ? machine::bring_up(*unit.device, machine::NvmeDrive{.function = std::move(*function),
                                                               .domain = domain,
                                                               .reserve = {},
                                                               .options = {.ready_timeout = timeout,
                                                                           .command_timeout = timeout,
                                                                           .shutdown_timeout = timeout}})
      : unit.kind == UnitKind::nic
          ? machine::bring_up(*unit.device,
                              machine::NicParts{.function = std::move(*function),
                                                .domain = domain,
                                                .options = {.ready_timeout = timeout, .command_timeout = timeout}})
      : unit.kind == UnitKind::dma_engine
          ? machine::bring_up(*unit.device, machine::DmaEngineParts{.function = std::move(*function),
                                                                    .domain = domain,
                                                                    .options = {.ready_timeout = timeout,
                                                                                .command_timeout = timeout}})
          : machine::bring_up(*unit.device, machine::AcceleratorParts{
                                                .function = std::move(*function),
                                                .domain = domain,
                                                .options = {.ready_timeout = timeout, .command_timeout = timeout}});
  if (!up) return up;
  auto carrier = Carrier::open(*unit.device, kQueueDepth, *far_);
  if (!carrier) return fail(carrier.error());
  unit.carrier = std::move(*carrier);
  auto buffer = unit.carrier->allocate(kCellsInBuffer * kCellBytes);
  if (!buffer) return fail(buffer.error());
  unit.buffer = std::move(*buffer);
  places_[unit.host].lies_at(unit.buffer.bytes());

  unit.importer = std::make_unique<WatchedImporter>(*unit.device->importer, *fabric_, broken_);
  if (auto added = exchange_->add(*unit.importer); !added) return added;
  unit.is_known = true;
  unit.device->importer->on_progress([this, index] { drive(index); });
  unit.device->importer->on_invalidate([this, index](peer::MappingId id) {
    ++told_;
    if (units_[index].is_stubborn) return;
    for (LooseLease& lease : leases_)
      if (lease.region != 0 && lease.unit == index && lease.id == id) lease = {};
  });
  if (!unit.memory) return {};
  peer::OwnedExporter& exporter = *unit.device->exporter;
  unit.pin_limit = std::nullopt;
  exporter.on_request([this, index](const Request& request) { return decide(index, request); });
  unit.exporter = exporters_.emplace_back(std::make_unique<LastingExporter>(unit.device->exporter)).get();
  if (auto added = exchange_->add(*unit.exporter); !added) return added;
  const std::span<std::byte> bytes = exporter.cpu_bytes({0, exporter.size_bytes()});
  Place& memory = places_[*unit.memory];
  if (!memory.exists() && !bytes.empty()) memory.lies_at(bytes);
  if (unit.kind == UnitKind::drive) return {};
  auto home = exchange_->allocate(*unit.exporter, kHomeBytes);
  if (!home) return fail(home.error());
  unit.home.emplace(std::move(*home));
  return {};
}

// No command of it touches memory any more when this returns.
void World::stop_carrier(std::uint32_t index) {
  units_[index].carrier.reset();
  cancel(index);
}

void World::take_down(std::uint32_t index) {
  Unit& unit = units_[index];
  if (!unit.device) return;
  // Pages may come home before.
  if (managed_ && unit.exporter != nullptr && chance_.chance(0.5)) {
    moving_ = How::move;
    static_cast<void>(managed_->move_to_host({}, some_deadline()));
    look_at_pages();
  }
  const bool revoke_first = chance_.chance(0.5);
  if (!revoke_first) stop_carrier(index);
  if (unit.exporter != nullptr && exchange_) take_back_all(How::withdraw, index, some_deadline());
  if (unit.exporter != nullptr) unit.exporter->leave();
  unit.exporter = nullptr;
  ++unit.memory_epoch;
  unit.home.reset();
  if (unit.is_known && exchange_) remove_importer(index, some_deadline());
  unit.is_known = false;
  stop_carrier(index);
  places_[unit.host].lies_at({});
  unit.buffer = {};
  if (unit.device->importer) {
    unit.device->importer->on_progress({});
    unit.device->importer->on_invalidate({});
  }
  if (unit.device->exporter) unit.device->exporter->on_request({});
  if (unit.kind == UnitKind::accelerator && !links_.forget()) blame("a mapping by a link outlives its device");
  unit.importer.reset();
  unit.device.reset();
  if (unit.kind == UnitKind::accelerator) links_.find(units_);
  // Addresses that it knew mean nothing any more.
  for (std::size_t at = 0; at < stale_count_;)
    if (stale_[at].unit == index)
      stale_[at] = stale_[--stale_count_];
    else
      ++at;
}

// The thread that waits for this importer's leases is the one that drives it.
void World::drive(std::uint32_t index) {
  Unit& unit = units_[index];
  if (unit.is_stubborn) return;
  if (unit.carrier && !unit.is_broken) poll(index);
  // What never completes is cancelled, by stopping the queue.
  if (unit.carrier && unit.is_broken) stop_carrier(index);
}

// A reset has cleared the device's memory: that is what must be there now.
void World::was_wiped(std::uint32_t index) {
  Unit& unit = units_[index];
  if (!unit.memory || !places_[*unit.memory].exists()) return;
  ++unit.memory_epoch;
  Place& memory = places_[*unit.memory];
  memory.settle({0, memory.cells()});
  for (Transfer& transfer : transfers_) {
    if (!transfer.is_active) continue;
    if (transfer.local.place == *unit.memory) transfer.is_disturbed = true;
    for (const Part& part : transfer.all_parts())
      if (part.end.place == *unit.memory) transfer.is_disturbed = true;
  }
}

Outcome World::unplug() {
  const auto index = some_unit([](const Unit& unit) { return unit.is_plugged_in; });
  if (!index || layout_.calm) return Outcome::not_then;
  Unit& unit = units_[*index];
  say("{}", unit.name);
  unit.is_plugged_in = false;
  ++unit.memory_epoch;
  fabric_->remove(unit.bdf);
  return Outcome::done;
}

Outcome World::link_down() {
  if (link_down_at_ || layout_.calm) return Outcome::not_then;
  link_down_at_ = below(units_.size());
  say("{}", units_[*link_down_at_].name);
  drop_link(chance_);
  return Outcome::done;
}

// Mostly for less time than anybody waits for an answer.
void World::drop_link(base::Random& chance) {
  const std::uint64_t most = chance.chance(0.15) ? 10'000 : 200;
  link_returns_ = fabric_->clock().now() + std::chrono::microseconds(1 + chance.below(most));
  fabric_->set_link(units_[*link_down_at_].bdf, false);
}

// A device that is of no more use is taken down, plugged in again if need be, reset, and set up anew. Now and then one that
// works is, too.
Outcome World::bring_back() {
  const bool a_healthy_one = chance_.chance(0.05) && !layout_.calm;
  const auto index = some_unit([&](const Unit& unit) {
    return a_healthy_one || !unit.is_up() || !unit.is_plugged_in || (unit.importer && unit.importer->was_isolated());
  });
  if (!index) return Outcome::not_then;
  Unit& unit = units_[*index];
  say("{}", unit.name);
  take_down(*index);
  if (!std::exchange(unit.is_plugged_in, true)) {
    ++tally_.plugged_again;
    fabric_->put_back(unit.bdf);
    was_wiped(*index);
  }
  if (chance_.chance(0.7)) {
    auto function = fabric_->function(unit.bdf);
    if (function && (*function)->reset()) was_wiped(*index);
  }
  bring_up(*index);
  if (!unit.is_up()) return Outcome::refused;
  ++tally_.brought_back;
  return Outcome::done;
}

Outcome World::change_mood() {
  if (layout_.calm) return Outcome::not_then;
  Unit& unit = units_[below(units_.size())];
  unit.is_stubborn = chance_.chance(0.4);
  say("{} {}", unit.name, unit.is_stubborn ? "ignores what it is told" : "does as it is told");
  return Outcome::done;
}

}  // namespace barter::sim
