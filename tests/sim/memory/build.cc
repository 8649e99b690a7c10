// The machine of a world: what it is made of, and what goes wrong there how often.
#include <utility>

#include "barter/units.hpp"
#include "carrier.h"
#include "devices/accelerator/accelerator.h"
#include "devices/dma_engine/dma_engine.h"
#include "devices/nic/nic.h"
#include "devices/nvme/backing.h"
#include "devices/nvme/controller.h"
#include "machine/wire_route.h"
#include "peer/host_pages.h"
#include "topology/description.h"
#include "world.h"

namespace barter::sim {

using namespace barter::literals;
using machine::UnitKind;

namespace {

constexpr std::uint64_t kMediaBytes = 32_KiB;
constexpr std::uint64_t kCmbBytes = 32_KiB;
constexpr std::uint64_t kAcceleratorBytes = 128_KiB;  // of which 64 KiB are the driver's own
constexpr const char* kWatch = "watch";

struct UnitPlan {
  const char* name;
  UnitKind kind;
  bool has_memory;
};
constexpr UnitPlan kUnits[] = {{"nvme0", UnitKind::drive, true},      {"nvme1", UnitKind::drive, true},
                               {"nvme2", UnitKind::drive, false},     {"gpu0", UnitKind::accelerator, true},
                               {"gpu1", UnitKind::accelerator, true}, {"dma0", UnitKind::dma_engine, false},
                               {"nic0", UnitKind::nic, false}};

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
  const std::size_t count = std::size(kUnits) + 2;
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
    const char* const other = index == std::size(kUnits) ? kFar : kWatch;
    machine.functions.push_back(function(is_unit ? kUnits[index].name : other, name, is_unit && layout.ats));
  }
  return machine;
}

}  // namespace

void World::choose_layout() {
  layout_.one_switch = chance_.chance(0.6);
  layout_.iommu = chance_.chance(0.6);
  layout_.acs = layout_.one_switch && chance_.chance(0.6);
  layout_.ats = layout_.iommu && chance_.chance(0.3);
  layout_.direct_translated = layout_.ats && chance_.chance(0.5);
  layout_.turns = chance_.chance(0.9);
  layout_.managed = chance_.chance(0.6);
  layout_.linked = chance_.chance(0.7);
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
  layout_.wire_breaks = layout_.linked ? rate(0.0001) : 0;
  layout_.touches = layout_.managed ? 0.003 * below(100) / 100 : 0;
  // What is broken on purpose must have its chance to show.
  if (broken_ == Break::iommu_keeps_mapping) layout_.iommu = layout_.acs = layout_.one_switch = layout_.turns = true;
  if (broken_ == Break::iommu_keeps_mapping) layout_.ats = layout_.direct_translated = false;
  if (broken_ == Break::isolation_does_nothing) layout_.iommu = layout_.acs = layout_.ats = false;
  if (broken_ == Break::link_keeps_grant) layout_.linked = true;
  if (broken_ != Break::none) layout_.calm = false;
  flip_at_ = broken_ == Break::byte_flips ? 1 + chance_.below(200) : 0;
}

std::string World::setup() const {
  return fmt::format(
      "{}{}{}{}{}{}{}{}; rates: lost {:.4f}, poisoned {:.4f}, late {:.4f}, ignored invalidations {:.2f}, drives' "
      "commands "
      "never completed {:.4f}, late {:.2f}, unplug {:.6f}, "
      "link down {:.6f}, links between accelerators {:.6f}",
      layout_.one_switch ? "one switch" : "root ports", layout_.acs ? ", ACS" : "",
      layout_.direct_translated ? ", translated pass" : "", layout_.ats ? ", ATS" : "", layout_.iommu ? ", IOMMU" : "",
      layout_.linked ? ", linked" : "", layout_.managed ? ", managed memory" : "",
      layout_.turns ? "" : ", no way through the root complex", layout_.lost, layout_.poisoned, layout_.late,
      layout_.ignored, layout_.unfinished, layout_.disordered, layout_.unplug, layout_.link_down, layout_.wire_breaks);
}

Result<void> World::plug(const std::string& name, UnitKind kind, bool has_memory) {
  Unit& unit = units_.emplace_back();
  unit.name = name;
  unit.kind = kind;
  unit.has_ats = layout_.ats;
  const auto add_place = [&](std::string_view what) {
    places_.emplace_back(fmt::format("the {} of {}", what, name));
    return static_cast<std::uint32_t>(places_.size() - 1);
  };
  unit.host = add_place("host buffer");
  if (has_memory) unit.memory = add_place("memory");
  if (kind == UnitKind::dma_engine) {
    auto device =
        devices::dma_engine::create_dma_engine({.channels = 1, .bytes_per_step = std::uint64_t{1} << (9 + below(3))});
    if (!device) return fail(device.error());
    unit.model = device->get();
    return fabric_->plug(name, std::move(*device));
  }
  if (kind == UnitKind::nic) {
    auto device = devices::nic::create_nic({.pairs = 1, .bytes_per_step = std::uint64_t{1} << (9 + below(3))});
    auto far = devices::nic::create_nic({.pairs = 1});
    if (!device || !far) return fail(device ? far.error() : device.error());
    if (auto joined = devices::nic::join(**device, **far); !joined) return joined;
    if (auto plugged = fabric_->plug(kFar, std::move(*far)); !plugged) return plugged;
    unit.model = device->get();
    return fabric_->plug(name, std::move(*device));
  }
  if (kind == UnitKind::accelerator) {
    auto device = devices::accelerator::create_accelerator({.memory_bytes = kAcceleratorBytes,
                                                            .links = 1,
                                                            .unit = places_.size(),
                                                            .bytes_per_step = std::uint64_t{1} << (9 + below(3))});
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
    if (auto plugged = plug(plan.name, plan.kind, plan.has_memory); !plugged) return plugged;
  if (layout_.linked)
    if (auto joined = devices::accelerator::connect({*units_[3].model, 0}, {*units_[4].model, 0}); !joined)
      return joined;
  auto watch_device = std::make_unique<fabric::ScratchDevice>(4096);
  watch_device->on_step = [this] { return watch(); };
  if (auto plugged = fabric_->plug(kWatch, std::move(watch_device)); !plugged) return plugged;
  if (auto enumerated = fabric_->enumerate(); !enumerated) return enumerated;
  for (Unit& unit : units_) unit.bdf = fabric_->find(unit.name).value();

  auto topology = Topology::build(fabric_->topology());
  if (!topology) return fail(topology.error());
  exchange_ = std::make_unique<peer::Exchange>(clock_, [topology = std::move(*topology)](Bdf client, Bdf provider) {
    // Whatever the way, a request to host memory goes to the host bridge.
    if (provider == peer::kHostMemory)
      return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
    return machine::wire_route(topology, client, provider);
  });
  if (auto added = exchange_->add(links_); !added) return added;
  if (auto started = start_far(); !started) return started;
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit) bring_up(unit);
  return layout_.managed ? make_managed() : Result<void>{};
}

}  // namespace barter::sim
