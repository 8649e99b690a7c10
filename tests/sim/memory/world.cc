#include "world.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "barter/units.hpp"
#include "devices/accelerator/accelerator.h"
#include "devices/nvme/backing.h"
#include "devices/nvme/controller.h"
#include "machine/wire_route.h"
#include "topology/description.h"

namespace barter::sim {

using namespace barter::literals;

namespace {

constexpr std::uint64_t kMediaBytes = 32_KiB;
constexpr std::uint64_t kCmbBytes = 32_KiB;
constexpr std::uint64_t kAcceleratorBytes = 128_KiB;  // of which 64 KiB are the driver's own
constexpr const char* kWatch = "watch";
// A wait of the library that is longer than any that its deadlines allow: several command timeouts in a row take a tenth.
constexpr std::uint64_t kMaxVisitsInStep = 5'000'000;

struct UnitPlan {
  const char* name;
  bool is_drive;
  bool has_memory;
};
constexpr UnitPlan kUnits[] = {
    {"nvme0", true, true}, {"nvme1", true, true}, {"nvme2", true, false}, {"gpu0", false, true}, {"gpu1", false, true}};

topology::PortDescription port(std::string name, const Layout& layout) {
  topology::PortDescription made{.name = std::move(name), .vendor_id = 0x1b36, .device_id = 0x000c};
  // PCIe 6.0, 7.7.11.2: source validation, request and completion redirection, upstream forwarding; or without the
  // redirection of completions, and translated requests pass directly.
  if (layout.acs)
    made.acs = topology::AcsDescription{.capability = 0x005f,
                                        .control = static_cast<std::uint16_t>(layout.direct_translated ? 0x55 : 0x1d),
                                        .egress_control_vector = {}};
  return made;
}

topology::FunctionDescription function(std::string name, std::string below, bool ats) {
  return {.name = std::move(name),
          .below = std::move(below),
          .vendor_id = 0x1b36,
          .device_id = 5,
          .class_code = 0x088000,
          .ats = ats};
}

topology::Description describe(const Layout& layout) {
  topology::Description machine;
  machine.name = "sim";
  machine.iommu = layout.iommu ? IommuMode::translate : IommuMode::off;
  machine.root_complexes = {
      {.name = "rc0", .host_bridge_device = 0x2020, .turns_reads = layout.turns, .turns_writes = layout.turns}};
  const std::size_t count = std::size(kUnits) + 1;
  if (layout.one_switch) {
    machine.root_ports = {{port("rp0", {}), "rc0"}};
    machine.switches = {{.name = "sw0", .below = "rp0", .upstream = port("sw0", {}), .downstream = {}}};
  }
  for (std::size_t index = 0; index < count; ++index) {
    const std::string name = fmt::format("{}{}", layout.one_switch ? "sw0." : "rp", index);
    if (layout.one_switch)
      machine.switches[0].downstream.push_back(port(name, layout));
    else
      machine.root_ports.push_back({port(name, layout), "rc0"});
    const bool is_unit = index < std::size(kUnits);
    machine.functions.push_back(function(is_unit ? kUnits[index].name : kWatch, name, is_unit && layout.ats));
  }
  return machine;
}

}  // namespace

World::World(std::uint64_t seed, Break broken, Tally& tally)
    : chance_(seed), mishaps_(seed ^ 0x5eed), seed_(seed), broken_(broken), tally_(tally) {}

std::unique_ptr<World> World::create(std::uint64_t seed, Break broken, Tally& tally) {
  std::unique_ptr<World> world(new World(seed, broken, tally));
  world->choose_layout();
  if (auto built = world->build(); !built) world->blame("the machine can't be built: " + built.error().message());
  return world;
}

World::~World() {
  if (exchange_) end();
}

void World::choose_layout() {
  layout_.one_switch = chance_.chance(0.6);
  layout_.iommu = chance_.chance(0.6);
  layout_.acs = layout_.one_switch && chance_.chance(0.6);
  layout_.ats = layout_.iommu && chance_.chance(0.3);
  layout_.direct_translated = layout_.ats && chance_.chance(0.5);
  layout_.turns = chance_.chance(0.9);
  layout_.calm = chance_.chance(0.15);
  const auto rate = [&](double most) { return chance_.chance(0.4) && !layout_.calm ? most * below(100) / 100 : 0; };
  layout_.lost = rate(0.002);
  layout_.poisoned = rate(0.01);
  layout_.late = rate(0.01);
  layout_.unfinished = rate(0.005);
  layout_.disordered = rate(0.3);
  layout_.ignored = layout_.ats ? rate(0.1) : 0;
  layout_.unplug = rate(0.00003);
  layout_.link_down = rate(0.00003);
  // What is broken on purpose must have its chance to show.
  if (broken_ == Break::iommu_keeps_mapping) layout_.iommu = layout_.acs = layout_.one_switch = layout_.turns = true;
  if (broken_ == Break::iommu_keeps_mapping) layout_.ats = layout_.direct_translated = false;
  if (broken_ == Break::isolation_does_nothing) layout_.iommu = layout_.acs = layout_.ats = false;
  if (broken_ != Break::none) layout_.calm = false;
  flip_at_ = broken_ == Break::byte_flips ? 1 + chance_.below(200) : 0;
}

std::string World::setup() const {
  return fmt::format(
      "{}{}{}{}{}{}; rates: lost {:.4f}, poisoned {:.4f}, late {:.4f}, ignored invalidations {:.2f}, drives' commands "
      "never completed {:.4f}, late {:.2f}, unplug {:.6f}, "
      "link down {:.6f}",
      layout_.one_switch ? "one switch" : "root ports", layout_.acs ? ", ACS" : "",
      layout_.direct_translated ? ", translated pass" : "", layout_.ats ? ", ATS" : "", layout_.iommu ? ", IOMMU" : "",
      layout_.turns ? "" : ", no way through the root complex", layout_.lost, layout_.poisoned, layout_.late,
      layout_.ignored, layout_.unfinished, layout_.disordered, layout_.unplug, layout_.link_down);
}

Result<void> World::plug(const std::string& name, bool is_drive, bool has_memory) {
  Unit& unit = units_.emplace_back();
  unit.name = name;
  unit.is_drive = is_drive;
  unit.has_ats = layout_.ats;
  const auto add_place = [&](std::string_view what) {
    places_.emplace_back(fmt::format("the {} of {}", what, name));
    return static_cast<std::uint32_t>(places_.size() - 1);
  };
  unit.host = add_place("host buffer");
  if (has_memory) unit.memory = add_place("memory");
  if (!is_drive) {
    auto device = devices::accelerator::create_accelerator(
        {.memory_bytes = kAcceleratorBytes, .bytes_per_step = std::uint64_t{1} << (9 + below(3))});
    if (!device) return fail(device.error());
    unit.model = device->get();
    return fabric_->plug(name, std::move(*device));
  }
  auto backing = devices::nvme::create_memory_backing(kMediaBytes);
  if (!backing) return fail(backing.error());
  unit.media = add_place("blocks");
  const std::span<std::byte> blocks = (*backing)->memory();
  for (std::byte& byte : blocks) byte = static_cast<std::byte>(chance_.next());
  places_[*unit.media].lies_at(blocks);
  devices::nvme::ControllerSetup setup{
      .serial = name,
      .namespaces = {},
      .sgl = name != "nvme1",
      .misbehaviour = {
          .lost_completions = layout_.unfinished, .late_completions = layout_.disordered, .seed = chance_.next()}};
  setup.namespaces.push_back({.backing = std::move(*backing), .block_bytes = kCellBytes});
  if (has_memory) setup.cmb_bytes = kCmbBytes;
  auto device = devices::nvme::create_controller(std::move(setup));
  if (!device) return fail(device.error());
  unit.model = device->get();
  return fabric_->plug(name, std::move(*device));
}

Result<void> World::build() {
  const topology::Description description = describe(layout_);
  auto fabric = fabric::Fabric::create(description, {.seed = chance_.next(),
                                                     .faults = {.lost_completion = layout_.lost,
                                                                .poisoned_completion = layout_.poisoned,
                                                                .late_completion = layout_.late,
                                                                .ignored_invalidation = layout_.ignored},
                                                     .host_memory_bytes = 4_MiB,
                                                     .invalidation_deadline = std::chrono::microseconds(100)});
  if (!fabric) return fail(fabric.error());
  fabric_ = std::move(*fabric);
  units_.reserve(std::size(kUnits));
  for (const UnitPlan& plan : kUnits)
    if (auto plugged = plug(plan.name, plan.is_drive, plan.has_memory); !plugged) return plugged;
  auto watch_device = std::make_unique<fabric::ScratchDevice>(4096);
  watch_device->on_step = [this] { return watch(); };
  if (auto plugged = fabric_->plug(kWatch, std::move(watch_device)); !plugged) return plugged;
  if (auto enumerated = fabric_->enumerate(); !enumerated) return enumerated;
  for (Unit& unit : units_) unit.bdf = fabric_->find(unit.name).value();

  auto topology = Topology::build(fabric_->topology());
  if (!topology) return fail(topology.error());
  exchange_ =
      std::make_unique<peer::Exchange>(fabric_->clock(), [topology = std::move(*topology)](Bdf client, Bdf provider) {
        return machine::wire_route(topology, client, provider);
      });
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit) bring_up(unit);
  return {};
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
      fabric_->remove(unit.bdf);
    }
  }
  if (layout_.link_down > 0 && !link_down_at_ && mishaps_.chance(layout_.link_down)) {
    link_down_at_ = static_cast<std::uint32_t>(mishaps_.below(units_.size()));
    link_returns_ = fabric_->clock().now() + std::chrono::microseconds(1 + mishaps_.below(200));
    ++tally_.kinds[static_cast<std::size_t>(Kind::link_down)].done;
    say("(the link of {} drops)", units_[*link_down_at_].name);
    fabric_->set_link(units_[*link_down_at_].bdf, false);
  }
  return false;
}

namespace {

struct Weight {
  Kind kind;
  std::uint32_t of;
};
constexpr Weight kWeights[] = {
    {Kind::allocate, 40},     {Kind::drop_region, 12},     {Kind::map, 110},     {Kind::drop_mapping, 50},
    {Kind::lease, 25},        {Kind::drop_lease, 25},      {Kind::read, 180},    {Kind::write, 180},
    {Kind::read_to_host, 30}, {Kind::write_from_host, 30}, {Kind::copy, 25},     {Kind::cpu_write, 40},
    {Kind::cpu_read, 20},     {Kind::invalidate, 30},      {Kind::revoke, 15},   {Kind::revoke_all, 2},
    {Kind::forged_id, 8},     {Kind::stale_lease, 8},      {Kind::rogue, 12},    {Kind::consent, 10},
    {Kind::mood, 10},         {Kind::unplug, 1},           {Kind::link_down, 1}, {Kind::bring_back, 10},
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
    case Kind::mood:
      return change_mood();
    case Kind::unplug:
      return unplug();
    case Kind::link_down:
      return link_down();
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
    if (units_[unit].in_flight > 0 && units_[unit].endpoint && chance_.chance(0.5)) poll(unit);
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
  if (steps_ == flip_at_) {
    const std::span<std::byte> bytes = places_[*units_[2].media].all();
    bytes[below(bytes.size())] ^= std::byte{1};
  }
  check();
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
  for (Transfer& transfer : transfers_) transfer.copy.reset();
  // An Exchange that goes revokes everything; the devices must be there for it until then.
  if (exchange_first) {
    for (std::uint32_t unit = 0; unit < units_.size(); ++unit)
      if (units_[unit].device) stop_endpoint(unit);
    exchange_.reset();
  }
  for (Copy& copy : copies_) end_copy(copy);
  for (LooseLease& lease : leases_) lease = {};
  for (std::size_t turn = 0; turn < mappings_.size(); ++turn) mappings_[below(mappings_.size())].handle.reset();
  for (SharedRegion& region : regions_) region.handle.reset();
  for (SharedMapping& mapping : mappings_) mapping.handle.reset();
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit) take_down(unit);
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
