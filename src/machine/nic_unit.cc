#include "machine/nic_unit.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "drivers/function_importer.h"

namespace barter::machine {

Result<void> bring_up(DriveUnit& unit, NicParts parts) {
  unit.kind = UnitKind::nic;
  auto created = drivers::nic::Nic::create(std::move(parts.function), parts.options);
  if (!created) return std::unexpected(std::move(created.error()));
  unit.nic = std::move(*created);
  unit.exposed = std::make_shared<ExposedKeys>(*unit.nic);
  auto importer =
      std::make_shared<drivers::FunctionImporter>(unit.nic->function(), parts.domain, unit.nic->facts().address_bits);
  importer->on_invalidate([keys = unit.exposed](peer::MappingId mapping) { keys->invalidate(mapping); });
  unit.importer = std::move(importer);
  return {};
}

ExposedKeys::Ticket ExposedKeys::announce(std::span<const peer::MappingId> mappings) {
  const std::scoped_lock lock(mutex_);
  shown_[++last_].mappings.assign(mappings.begin(), mappings.end());
  return last_;
}

bool ExposedKeys::show(Ticket ticket, drivers::nic::RemoteKey key, std::vector<Lease> leases) {
  const std::scoped_lock lock(mutex_);
  const auto found = shown_.find(ticket);
  if (found == shown_.end()) return false;
  Shown& shown = found->second;
  shown.key = key;
  shown.leases = std::move(leases);
  if (shown.is_taken_back) end(shown);
  return !shown.is_taken_back;
}

bool ExposedKeys::is_shown(Ticket ticket) const {
  const std::scoped_lock lock(mutex_);
  const auto found = shown_.find(ticket);
  return found != shown_.end() && !found->second.is_taken_back;
}

void ExposedKeys::withdraw(Ticket ticket) {
  const std::scoped_lock lock(mutex_);
  const auto found = shown_.find(ticket);
  if (found == shown_.end()) return;
  end(found->second);
  shown_.erase(found);
}

void ExposedKeys::invalidate(peer::MappingId mapping) {
  const std::scoped_lock lock(mutex_);
  for (auto& [ticket, shown] : shown_) {
    if (shown.is_taken_back || std::ranges::find(shown.mappings, mapping) == shown.mappings.end()) continue;
    shown.is_taken_back = true;
    end(shown);
  }
}

// A NIC that does not let go keeps its leases: whoever waits for them cuts it off.
void ExposedKeys::end(Shown& shown) {
  if (shown.leases.empty()) return;
  if (const auto withdrawn = nic_.withdraw(shown.key); withdrawn)
    shown.leases.clear();
  else
    base::log::warn("a key could not be withdrawn: {}", withdrawn.error().message());
}

}  // namespace barter::machine
