// The public handles of machine.hpp, over State.
#include "barter/machine.hpp"

#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "machine/host.h"
#include "machine/software.h"
#include "machine/sources.h"
#include "machine/state.h"
#include "topology/builtin_machines.h"

namespace barter {

namespace {

Result<std::shared_ptr<machine::State>> open_state(std::string_view name, const MachineOptions& options) {
  if (name == "host") return machine::open_host(options);
  auto source = machine::find_source(name);
  if (!source) return std::unexpected(std::move(source.error()));
  return source->description ? machine::open_software(*source->description, options)
                             : machine::open_capture(std::move(*source), options);
}

}  // namespace

Result<Machine> Machine::open(std::string_view name, const MachineOptions& options) {
  auto state = open_state(name, options);
  if (!state) return std::unexpected(std::move(state.error()));
  base::log::info("the machine {} is open: {} functions{}", (*state)->name(), (*state)->topology().functions().size(),
                  (*state)->can_move() ? "" : ", and nothing can be moved on it");
  return Machine(std::move(*state));
}

std::vector<std::string> Machine::builtin_names() {
  std::vector<std::string> names;
  for (const topology::BuiltinMachine& machine : topology::builtin_machines()) names.emplace_back(machine.name);
  return names;
}

const std::string& Machine::name() const { return state_->name(); }
const Topology& Machine::topology() const { return state_->topology(); }

namespace {

std::vector<std::string> names_of(const machine::State& state, machine::UnitKind kind) {
  std::vector<std::string> names;
  for (const auto& unit : state.drives())
    if (unit->kind == kind) names.push_back(unit->name);
  return names;
}

// The importer of a drive or an engine, or why it has none.
Result<peer::Importer*> importer_of(const machine::DriveUnit& unit) {
  if (unit.importer) return unit.importer.get();
  if (unit.why_not_direct) return fail(*unit.why_not_direct);
  return fail({.code = ErrorCode::unsupported,
               .doing = "mapping device memory for",
               .subject = unit.name,
               .why = "it does no DMA of its own"});
}

}  // namespace

std::vector<std::string> Machine::drive_names() const { return names_of(*state_, machine::UnitKind::drive); }
std::vector<std::string> Machine::accelerator_names() const {
  return names_of(*state_, machine::UnitKind::accelerator);
}
std::vector<std::string> Machine::dma_engine_names() const { return names_of(*state_, machine::UnitKind::dma_engine); }
std::vector<std::string> Machine::nic_names() const { return names_of(*state_, machine::UnitKind::nic); }

Result<Drive> Machine::drive(std::string_view name) const { return state_->drive(name); }
Result<Accelerator> Machine::accelerator(std::string_view name) const { return state_->accelerator(name); }
Result<DmaEngine> Machine::dma_engine(std::string_view name) const { return state_->dma_engine(name); }
Result<Nic> Machine::nic(std::string_view name) const { return state_->nic(name); }
Result<Provider> Machine::provider(std::string_view name) const { return state_->provider(name); }
Result<Provider> Machine::nearest_provider(std::span<const Bdf> clients) const {
  return state_->nearest_provider(clients);
}

std::vector<InterconnectAnswer> Machine::interconnects(VerdictQuery query) const {
  if (!state_->can_move()) return {};
  return state_->exchange().interconnects(query.client, query.provider);
}

RouteChoice Machine::best_route(VerdictQuery query) const {
  if (state_->can_move()) return state_->exchange().choose_route(query.client, query.provider, Access::read_write);
  const Route route = topology().verdict(query).by_linux.route;
  return {.by = route == Route::not_supported ? "" : "pcie",
          .route = route,
          .why = fmt::format("Linux's rule says {}", name_of(route))};
}

Bdf DeviceHandle::bdf() const { return unit_->bdf; }
const std::string& DeviceHandle::name() const { return unit_->name; }
std::uint64_t Provider::size_bytes() const { return unit_->exporter->size_bytes(); }
void Provider::on_request(Consent consent) { unit_->exporter->on_request(std::move(consent)); }
void Provider::on_unmap(Unmapped told) { unit_->exporter->on_unmap(std::move(told)); }
void Provider::limit_pins(std::optional<std::uint64_t> bytes) { unit_->exporter->limit_pins(bytes); }

Result<Region> Provider::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  auto region = machine_->exchange().allocate(*unit_->exporter, bytes, alignment);
  if (!region && bytes > size_bytes() && !unit_->what_bounds_memory.empty()) {
    region.error().why += "; " + unit_->what_bounds_memory;
    region.error().cure = "ask for less, or give it a larger window";
  }
  return region;
}

Result<RevokeReport> Provider::take_back(RevokeOptions options) {
  return machine_->exchange().revoke_all(*unit_->exporter, options);
}

std::uint64_t Drive::size_bytes() const { return unit_->size_bytes; }
std::uint32_t Drive::block_bytes() const { return unit_->block_bytes; }
Result<Provider> Drive::memory() const { return machine_->provider(unit_->bdf.to_string()); }

Result<Mapping> Drive::map(const Region& region, MapOptions options) const {
  const auto importer = importer_of(*unit_);
  if (!importer) return std::unexpected(importer.error());
  return machine_->exchange().map(**importer, region, options);
}

Result<std::vector<MappedPart>> Drive::map_parts(const Region& region, MapOptions options) const {
  const auto importer = importer_of(*unit_);
  if (!importer) return std::unexpected(importer.error());
  return machine_->exchange().map_parts(**importer, region, options);
}

Result<Provider> Accelerator::memory() const { return machine_->provider(unit_->bdf.to_string()); }
Result<Mapping> Accelerator::map(const Region& region, MapOptions options) const {
  const auto importer = importer_of(*unit_);
  if (!importer) return std::unexpected(importer.error());
  return machine_->exchange().map(**importer, region, options);
}

Result<Mapping> Nic::map(const Region& region, MapOptions options) const {
  const auto importer = importer_of(*unit_);
  if (!importer) return std::unexpected(importer.error());
  return machine_->exchange().map(**importer, region, options);
}

Result<Mapping> DmaEngine::map(const Region& region, MapOptions options) const {
  const auto importer = importer_of(*unit_);
  if (!importer) return std::unexpected(importer.error());
  return machine_->exchange().map(**importer, region, options);
}

}  // namespace barter
