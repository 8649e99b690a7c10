#include "machine/device_links.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/links.h"

namespace barter::machine {
namespace gpu = drivers::accelerator;

namespace {

bool is_usable(const DriveUnit& unit) { return unit.accelerator != nullptr && !unit.trouble && unit.exporter; }

}  // namespace

// The link of one port, if what both ends say of it fits together.
std::optional<DeviceLinks::Wire> DeviceLinks::follow(std::span<const std::unique_ptr<DriveUnit>> units,
                                                     const DriveUnit& unit, std::uint32_t port) {
  const auto here = unit.accelerator->links().state(port);
  if (!here || !here->is_wired || here->peer_unit == 0) return std::nullopt;
  const DriveUnit* found = nullptr;
  for (const auto& other : units) {
    if (!is_usable(*other) || other->accelerator->facts().unit != here->peer_unit) continue;
    if (found != nullptr) return std::nullopt;  // two that call themselves the same
    found = other.get();
  }
  if (found == nullptr || found == &unit || here->peer_port >= found->accelerator->links().count()) return std::nullopt;
  const auto there = found->accelerator->links().state(here->peer_port);
  const bool agree = there && there->is_wired && there->peer_unit == unit.accelerator->facts().unit &&
                     there->peer_port == port && here->peer_bytes == found->accelerator->facts().memory_bytes &&
                     there->peer_bytes == unit.accelerator->facts().memory_bytes;
  if (!agree) return std::nullopt;
  return Wire{.client = {&unit, port}, .provider = {found, here->peer_port}};
}

std::unique_ptr<DeviceLinks> DeviceLinks::find(std::span<const std::unique_ptr<DriveUnit>> units) {
  auto links = std::make_unique<DeviceLinks>();
  for (const auto& unit : units) {
    if (!is_usable(*unit)) continue;
    for (std::uint32_t port = 0; port < unit->accelerator->links().count(); ++port)
      if (const auto wire = follow(units, *unit, port)) links->wires_.push_back(*wire);
  }
  if (links->wires_.empty()) return nullptr;
  // One that does not come up stays, as a way that is down.
  for (const Wire& wire : links->wires_)
    static_cast<void>(wire.client.accelerator().links().enable(wire.client.port, true));
  return links;
}

bool DeviceLinks::is_up(const Wire& wire) {
  const auto here = wire.client.accelerator().links().state(wire.client.port);
  const auto there = wire.provider.accelerator().links().state(wire.provider.port);
  return here && there && here->is_up && there->is_up;
}

// The first that is up, or else the first.
const DeviceLinks::Wire* DeviceLinks::wire_between(Bdf client, Bdf provider) const {
  const Wire* found = nullptr;
  for (const Wire& wire : wires_) {
    if (wire.client.unit->bdf != client || wire.provider.unit->bdf != provider) continue;
    if (is_up(wire)) return &wire;
    if (found == nullptr) found = &wire;
  }
  return found;
}

peer::Interconnect::Answer DeviceLinks::ask(Bdf client, Bdf provider) {
  const Wire* const wire = wire_between(client, provider);
  if (wire == nullptr) return {};
  const bool up = is_up(*wire);
  return {
      .is_joined = true,
      .is_up = up,
      .distance = 1,
      .why = fmt::format("link {} of {} leads to link {} of {}, and is {}", wire->client.port, wire->client.unit->name,
                         wire->provider.port, wire->provider.unit->name, up ? "up" : "down")};
}

std::vector<Fact> DeviceLinks::facts(Bdf client, Bdf provider) {
  const Wire* const wire = wire_between(client, provider);
  if (wire == nullptr) return {};
  std::vector<Fact> facts;
  facts.push_back({client.to_string(), fmt::format("PEER_UNIT of link {}", wire->client.port),
                   fmt::format("{:#x}", wire->provider.accelerator().facts().unit),
                   fmt::format("at its other end is link {} of {}, which says the same of this end",
                               wire->provider.port, wire->provider.unit->name)});
  for (const End* end : {&wire->client, &wire->provider}) {
    const auto state = end->accelerator().links().state(end->port);
    facts.push_back({end->unit->bdf.to_string(), fmt::format("LINK_STATUS.UP of link {}", end->port),
                     !state         ? "unknown"
                     : state->is_up ? "1"
                                    : "0",
                     !state ? "the accelerator is no longer there"
                     : state->is_up
                         ? "both ends are enabled, and it works: no bridge, no IOMMU and no host has a part in it"
                         : "an end is disabled, without power or not brought up, or what is between them broken"});
  }
  facts.push_back(
      {provider.to_string(), fmt::format("grants of link {}", wire->provider.port),
       fmt::format("{} of {}", wire->provider.accelerator().links().granted(wire->provider.port), gpu::kGrantsOfLink),
       "so many parts of its memory are open to the other end; a mapping takes one"});
  return facts;
}

Result<LinkAddress> DeviceLinks::open(const Way& way) {
  const Wire* const wire = wire_between(way.client, way.provider);
  if (wire == nullptr || !is_up(*wire))
    return fail({.code = ErrorCode::no_route,
                 .doing = "opening memory to",
                 .subject = way.client.to_string(),
                 .why = "the link between the two is down",
                 .cure = "wait until it is up, or go another way"});
  // What is exported begins where the window did when it was pinned; the link reaches it by its place in the memory.
  gpu::Accelerator& owner = wire->provider.accelerator();
  const MemoryRange local{owner.usable_window().offset + way.range.offset, way.range.bytes};
  const auto grant = owner.links().grant(wire->provider.port, local, way.access);
  if (!grant) return std::unexpected(grant.error());
  const LinkAddress address = gpu::Links::address(wire->client.port, local.offset);
  const std::lock_guard lock(mutex_);
  opened_.push_back(
      {.way = way, .address = address, .provider = wire->provider, .client = wire->client, .grant = *grant});
  return address;
}

// By the owner's end. Where its accelerator is gone or does not do as it is told, what tells is the other end of the link, which
// is down then, or is taken down.
Result<void> DeviceLinks::close(const Way& way, LinkAddress address) {
  Opened opened;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find_if(opened_, [&](const Opened& one) {
      return one.address == address && one.way.client == way.client && one.way.provider == way.provider &&
             one.way.range == way.range && one.way.access == way.access;
    });
    if (found == opened_.end())
      return fail({.code = ErrorCode::not_found,
                   .doing = "closing memory to",
                   .subject = way.client.to_string(),
                   .why = "it was not open"});
    opened = *found;
    *found = opened_.back();
    opened_.pop_back();
  }
  gpu::Links& owners = opened.provider.accelerator().links();
  const auto revoked = owners.revoke(opened.provider.port, opened.grant);
  if (revoked && owners.state(opened.provider.port)) return {};
  gpu::Links& clients = opened.client.accelerator().links();
  if (!revoked) {
    static_cast<void>(owners.enable(opened.provider.port, false));
    static_cast<void>(clients.enable(opened.client.port, false));
  }
  auto down = clients.wait_until_down(opened.client.port);
  return down || revoked ? down : revoked;
}

}  // namespace barter::machine
