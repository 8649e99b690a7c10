#include "sharing/broker_state.h"

#include <algorithm>

#include <fmt/format.h>

#include "sharing/session.h"

namespace barter::sharing {

using linux_os::sharing::Watch;

namespace {

constexpr std::uint64_t kPageBytes = 4096;

// With the pages that it has to itself: an owner is asked about whole pages where an IOMMU maps them.
bool covers(MemoryRange region, MemoryRange asked) {
  const std::uint64_t first = region.offset / kPageBytes * kPageBytes;
  const std::uint64_t end = (region.offset + region.bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  return MemoryRange{first, end - first}.contains(asked);
}

}  // namespace

Result<std::shared_ptr<BrokerState>> BrokerState::open(const Machine& machine, const std::filesystem::path& path,
                                                       BrokerOptions options) {
  if (!machine.state()->runs_by_itself())
    return fail({.code = ErrorCode::unsupported,
                 .doing = "sharing the machine",
                 .subject = machine.name(),
                 .why = "its devices do not run by themselves, and processes would wait for each other's turns",
                 .cure = "open this computer, or a software machine with MachineOptions::threaded"});
  auto listener = linux_os::sharing::Listener::open(path);
  if (!listener) return std::unexpected(std::move(listener.error()));
  auto bell = linux_os::sharing::Bell::create();
  if (!bell) return std::unexpected(std::move(bell.error()));
  auto broker = std::make_shared<BrokerState>(machine, std::move(options));
  broker->listener_ = std::move(*listener);
  broker->bell_ = std::move(*bell);
  broker->reader_ = std::thread([state = broker.get()] { state->serve(); });
  return broker;
}

void BrokerState::close() {
  stopping_ = true;
  bell_.ring();
  reader_.join();
  for (const auto& session : sessions_) session->close();
  for (const auto& session : sessions_) session->join();
  sessions_.clear();
  listener_ = {};
  const std::lock_guard lock(machine_mutex_);
  for (const auto& importer : importers_) importer->on_invalidate({});
  for (const auto& exporter : exporters_) {
    exporter->on_request(options_.consent);
    exporter->on_unmap(options_.on_unmap);
  }
}

// Regions and consent.

Result<std::shared_ptr<OwnedRegion>> BrokerState::allocate(const std::shared_ptr<Session>& owner,
                                                           const std::string& provider, std::uint64_t bytes,
                                                           std::uint64_t alignment) {
  auto descriptor = linux_os::sharing::make_region_descriptor();
  if (!descriptor) return std::unexpected(std::move(descriptor.error()));
  const auto identity = linux_os::sharing::identity_of(*descriptor);
  if (!identity) return std::unexpected(identity.error());
  std::unique_lock lock(machine_mutex_);
  const auto unit = state().find_provider(provider);
  if (!unit) return std::unexpected(unit.error());
  own((*unit)->exporter, (*unit)->bdf);
  auto region = machine_.provider(provider)->allocate(bytes, alignment);
  if (!region) return std::unexpected(std::move(region.error()));
  lock.unlock();
  auto owned = std::make_shared<OwnedRegion>(OwnedRegion{.region = std::move(*region),
                                                         .descriptor = std::move(*descriptor),
                                                         .identity = *identity,
                                                         .id = next_id(),
                                                         .owner = owner});
  const std::lock_guard tables(mutex_);
  by_identity_[*identity] = owned;
  by_place_[{owned->region.exporter(), owned->region.range().offset}] = owned;
  ++counters.regions;
  return owned;
}

std::shared_ptr<OwnedRegion> BrokerState::find(linux_os::sharing::FileIdentity identity) {
  const std::lock_guard lock(mutex_);
  const auto found = by_identity_.find(identity);
  return found == by_identity_.end() ? nullptr : found->second.lock();
}

// From now on what is asked about this memory comes here first. With the machine's lock held.
void BrokerState::own(const std::shared_ptr<peer::OwnedExporter>& exporter, Bdf function) {
  if (std::ranges::find(exporters_, exporter) != exporters_.end()) return;
  exporters_.push_back(exporter);
  exporter->on_request([weak = weak_from_this(), function](const Request& request) {
    const auto broker = weak.lock();
    return broker ? broker->decide(function, request) : Answer::direct();
  });
  exporter->on_unmap([weak = weak_from_this(), function](const Request& granted) {
    if (const auto broker = weak.lock()) broker->unmapped(function, granted);
  });
}

void BrokerState::close_to_users(const OwnedRegion& region) {
  const std::lock_guard lock(mutex_);
  by_identity_.erase(region.identity);
}

void BrokerState::forget(const OwnedRegion& region) {
  const std::lock_guard lock(mutex_);
  by_place_.erase({region.region.exporter(), region.region.range().offset});
}

// Another process's, or null.
std::shared_ptr<OwnedRegion> BrokerState::region_at(Bdf exporter, MemoryRange range) {
  std::shared_ptr<OwnedRegion> region;  // goes without the lock: it may be the last share of it
  const std::lock_guard lock(mutex_);
  auto after = by_place_.upper_bound({exporter, range.offset + kPageBytes - 1});
  if (after == by_place_.begin() || (--after)->first.first != exporter) return nullptr;
  region = after->second.lock();
  return region && covers(region->region.range(), range) ? region : nullptr;
}

Answer BrokerState::decide(Bdf exporter, const Request& request) {
  const std::shared_ptr<OwnedRegion> region = region_at(exporter, request.range);
  if (!region) return options_.consent ? options_.consent(request) : Answer::direct();
  const auto owner = region->owner.lock();
  if (!owner) return Answer::refuse("the process that owns the memory has ended");
  ++counters.asked;
  return owner->ask(*region, request);
}

void BrokerState::unmapped(Bdf exporter, const Request& granted) {
  const std::shared_ptr<OwnedRegion> region = region_at(exporter, granted.range);
  if (!region) {
    if (options_.on_unmap) options_.on_unmap(granted);
  } else if (const auto owner = region->owner.lock()) {
    owner->tell_unmapped(*region, granted);
  }
}

// Mappings and their news.

void BrokerState::listen_to(const std::shared_ptr<peer::DrivenImporter>& importer) {
  if (std::ranges::find(importers_, importer) != importers_.end()) return;
  importers_.push_back(importer);
  importer->on_invalidate([weak = weak_from_this()](peer::MappingId mapping) {
    if (const auto broker = weak.lock()) broker->invalidate(mapping);
  });
}

void BrokerState::add_mapping(peer::MappingId mapping, MappingOwner owner) {
  const std::lock_guard lock(mutex_);
  mappings_[mapping] = std::move(owner);
  ++counters.mappings;
}

void BrokerState::announce(peer::MappingId mapping, bool is_revoked) {
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(mapping);
  if (found == mappings_.end()) return;
  MappingOwner& owner = found->second;
  owner.announced = true;
  owner.invalidated |= is_revoked;
  if (const auto session = owner.session.lock(); session && owner.invalidated) session->tell_invalidated(owner.id);
}

void BrokerState::invalidate(peer::MappingId mapping) {
  const std::lock_guard lock(mutex_);
  const auto found = mappings_.find(mapping);
  if (found == mappings_.end() || std::exchange(found->second.invalidated, true) || !found->second.announced) return;
  if (const auto session = found->second.session.lock()) session->tell_invalidated(found->second.id);
}

void BrokerState::remove_mapping(peer::MappingId mapping) {
  const std::lock_guard lock(mutex_);
  if (mappings_.erase(mapping) > 0) --counters.mappings;
}

// The reading thread.

void BrokerState::serve() {
  std::vector<std::byte> buffer(linux_os::sharing::kMaxMessageBytes);
  std::vector<Watch> watches;
  while (!stopping_) {
    watches.assign(
        {Watch{.number = bell_.number()}, Watch{.number = is_full_of_descriptors_ ? -1 : listener_.number()}});
    for (const auto& session : sessions_) {
      watches.push_back({.number = session->channel_number(), .for_room = session->has_unread()});
      watches.push_back({.number = session->process_number()});
    }
    static_cast<void>(
        wait_for_any(watches, is_full_of_descriptors_ ? Duration(std::chrono::milliseconds(100)) : Duration(-1)));
    is_full_of_descriptors_ = false;
    if (watches[0].ready) bell_.quiet();
    for (std::size_t index = 0; index < sessions_.size(); ++index) {
      if (watches[2 + 2 * index].ready) {
        sessions_[index]->read(buffer);
        sessions_[index]->send_unread();
      }
      // What the process had sent before it ended is not carried out any more.
      if (watches[3 + 2 * index].ready) sessions_[index]->close();
    }
    sweep();
    if (watches[1].ready) accept();
  }
}

void BrokerState::accept() {
  auto visitor = listener_.accept();
  if (visitor) return admit(std::move(*visitor));
  // The connection stays in the queue, and would wake us again at once.
  is_full_of_descriptors_ = visitor.error().code == ErrorCode::exhausted;
}

void BrokerState::admit(linux_os::sharing::Visitor visitor) {
  if (sessions_.size() >= kMaxClients) {
    const Error full{.code = ErrorCode::exhausted,
                     .doing = "connecting to a shared machine",
                     .why = fmt::format("it has {} clients already", kMaxClients)};
    static_cast<void>(visitor.channel.send(linux_os::sharing::encode({1, linux_os::sharing::Failed{full}})));
    return;
  }
  ++counters.connected;
  ++counters.clients;
  sessions_.push_back(std::make_shared<Session>(shared_from_this(), std::move(visitor)));
  sessions_.back()->start();
}

void BrokerState::sweep() {
  std::erase_if(sessions_, [&](const auto& session) {
    if (!session->has_departed()) return false;
    session->join();
    return true;
  });
}

}  // namespace barter::sharing
