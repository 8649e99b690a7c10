#include "links.h"

#include <algorithm>
#include <utility>

#include "devices/accelerator/accelerator.h"
#include "world.h"

namespace barter::sim {

void Links::find(std::vector<Unit>& units) {
  // It takes what owns them, and keeps what they point to.
  std::vector<std::unique_ptr<machine::DriveUnit>> lent;
  const auto is_usable = [](const Unit& unit) { return unit.kind == machine::UnitKind::accelerator && unit.is_up(); };
  for (Unit& unit : units)
    if (is_usable(unit)) lent.push_back(std::move(unit.device));
  found_ = machine::DeviceLinks::find(lent);
  for (std::unique_ptr<machine::DriveUnit>& device : lent)
    for (Unit& unit : units)
      if (device && device->name == unit.name) unit.device = std::move(device);
}

bool Links::forget() {
  found_.reset();
  return std::exchange(open_, 0) == 0;
}

peer::Interconnect::Answer Links::ask(Bdf client, Bdf provider) {
  return found_ ? found_->ask(client, provider) : Answer{};
}

std::vector<Fact> Links::facts(Bdf client, Bdf provider) {
  return found_ ? found_->facts(client, provider) : std::vector<Fact>{};
}

Result<LinkAddress> Links::open(const Way& way) {
  if (!found_) return fail({.code = ErrorCode::no_route, .doing = "opening memory", .why = "there is no link now"});
  auto address = found_->open(way);
  if (address) ++open_;
  return address;
}

Result<void> Links::close(const Way& way, LinkAddress address) {
  if (!found_) return fail({.code = ErrorCode::not_found, .doing = "closing memory", .why = "there is no link now"});
  --open_;
  if (broken_ == Break::link_keeps_grant) return {};
  return found_->close(way, address);
}

// What is between the accelerators breaks, for a while.
Outcome World::break_link() {
  if (!layout_.linked || layout_.calm || wire_returns_) return Outcome::not_then;
  // Rather under a transfer, in any state of it.
  const auto goes_by_it = [&](const SharedMapping& mapping) {
    return mapping.handle && !mapping.is_closed && mapping.at.kind == SegmentKind::link && units_[mapping.unit].is_up();
  };
  if (const auto by = std::ranges::find_if(mappings_, goes_by_it); by != mappings_.end()) {
    const machine::Direction direction = allows(by->access, machine::Direction::from_endpoint)
                                             ? machine::Direction::from_endpoint
                                             : machine::Direction::to_endpoint;
    if (auto end = end_of(*by, some_cells({0, by->cells.count}, 16)))
      static_cast<void>(launch(by->unit, direction, std::move(*end), std::nullopt));
    for (std::uint32_t time = below(24); time > 0; --time) fabric_->clock().idle();
  }
  break_wire(chance_);
  return Outcome::done;
}

void World::break_wire(base::Random& chance) {
  ++tally_.wire_breaks;
  for (const Transfer& transfer : transfers_)
    if (transfer.is_active && is_by_link(transfer)) ++tally_.in_flight_by_broken_wire;
  wire_returns_ = fabric_->clock().now() + std::chrono::microseconds(1 + chance.below(300));
  set_wire(false);
}

void World::set_wire(bool works) {
  for (const Unit& unit : units_)
    if (unit.kind == machine::UnitKind::accelerator) devices::accelerator::set_link({*unit.model, 0}, works);
}

bool World::is_by_link(const Transfer& transfer) {
  return std::ranges::any_of(transfer.all_parts(),
                             [](const Part& part) { return part.end.at.kind == SegmentKind::link; });
}

}  // namespace barter::sim
