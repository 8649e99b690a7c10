#include "peer/exchange.h"

#include <utility>

#include "peer/core.h"

namespace barter::peer {

Exchange::Exchange(base::Clock& clock, RouteRule rule) : core_(std::make_shared<Core>(clock, std::move(rule))) {}
Exchange::~Exchange() { core_->shut(); }

Result<void> Exchange::add(Exporter& exporter) { return core_->add(exporter); }
Result<void> Exchange::add(Importer& importer) { return core_->add(importer); }
Result<RevokeReport> Exchange::withdraw(Exporter& exporter, RevokeOptions options) {
  return core_->withdraw(exporter, options);
}
Result<RevokeReport> Exchange::remove(Importer& importer, RevokeOptions options) {
  return core_->remove(importer, options);
}
Result<RevokeReport> Exchange::revoke_all(Exporter& exporter, RevokeOptions options) {
  return core_->revoke_all(exporter, options);
}
Result<Region> Exchange::allocate(Exporter& exporter, std::uint64_t bytes, std::uint64_t alignment) {
  return core_->allocate(exporter, bytes, alignment);
}
std::expected<Mapping, NotMapped> Exchange::try_map(Importer& importer, const Region& region, MapOptions options) {
  return core_->map(importer, *region.state(), options);
}
std::expected<Mapping, NotMapped> Exchange::try_map(Importer& importer, RegionState& region, MapOptions options) {
  return core_->map(importer, region, options);
}
std::expected<Mapping, NotMapped> Exchange::try_map_at(DmaAddress at, Importer& importer, RegionState& region,
                                                       MapOptions options) {
  return core_->map(importer, region, options, at);
}
Result<Mapping> Exchange::map(Importer& importer, const Region& region, MapOptions options) {
  auto mapping = try_map(importer, region, options);
  if (!mapping) return fail(std::move(mapping.error().error));
  return std::move(*mapping);
}
std::expected<std::vector<MappedPart>, NotMapped> Exchange::try_map_parts(Importer& importer, const Region& region,
                                                                          MapOptions options) {
  return core_->map_parts(importer, *region.state(), options);
}
Result<std::vector<MappedPart>> Exchange::map_parts(Importer& importer, const Region& region, MapOptions options) {
  auto parts = try_map_parts(importer, region, options);
  if (!parts) return fail(std::move(parts.error().error));
  return std::move(*parts);
}
Result<Lease> Exchange::lease(MappingId id) { return core_->lease(id); }
Result<ProviderChoice> Exchange::nearest_provider(std::span<const Bdf> clients, ProviderNeeds needs) {
  return core_->nearest_provider(clients, needs);
}
Result<void> Exchange::add(Interconnect& interconnect) { return core_->add(interconnect); }
RouteAnswer Exchange::route(Bdf client, Bdf provider) { return core_->route(client, provider); }
RouteAnswer Exchange::route_by_pcie(Bdf client, Bdf provider) { return core_->route_by_pcie(client, provider); }
std::vector<InterconnectAnswer> Exchange::interconnects(Bdf client, Bdf provider) {
  return core_->ask_interconnects(client, provider);
}
RouteChoice Exchange::choose_route(Bdf client, Bdf provider, Access access) {
  return core_->choose_route(client, provider, access);
}
void Exchange::routes_changed() { core_->routes_changed(); }
void Exchange::readmit(Importer& importer) { core_->readmit(importer); }
PeerCounters Exchange::counters() const { return core_->counters(); }
Pointers& Exchange::pointers() { return core_->pointers(); }

}  // namespace barter::peer
