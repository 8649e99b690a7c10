#include "devices/accelerator/links.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace barter::devices::accelerator {
namespace {

constexpr std::uint64_t key(std::uint64_t at, unsigned width_bytes) { return at << 4 | width_bytes; }
template <class R>
constexpr std::uint64_t kKey = key(R::kOffset, sizeof(typename R::Word));

// How many bytes from `at` on this grant lets through.
std::uint64_t reach(const Link::Grant& grant, std::uint64_t at, bool is_write) {
  const bool allows = is_write ? grant.size.get(GrantSize::write) : grant.size.get(GrantSize::read);
  const std::uint64_t bytes = grant.size.get(GrantSize::bytes);
  return allows && at >= grant.start && at - grant.start < bytes ? bytes - (at - grant.start) : 0;
}

bool is_granted(const Link::End& end, std::uint64_t at, std::uint64_t bytes, bool is_write) {
  while (bytes != 0) {
    std::uint64_t most = 0;
    for (const Link::Grant& grant : end.grants) most = std::max(most, reach(grant, at, is_write));
    if (most == 0) return false;
    most = std::min(most, bytes);
    at += most;
    bytes -= most;
  }
  return true;
}

}  // namespace

bool Link::is_up() const {
  return works && std::ranges::all_of(ends, [](const End& end) {
           return end.owner != nullptr && end.is_enabled && end.owner->is_on();
         });
}

LinkPorts::LinkPorts(std::uint32_t count, LinkOwner owner, Report report)
    : owner_(std::move(owner)), report_(std::move(report)), ports_(count) {
  for (std::uint32_t port = 0; port < count; ++port) {
    ports_[port].link = std::make_shared<Link>();
    ports_[port].link->ends[0] = {.owner = &owner_, .port = port};
  }
}

LinkPorts::~LinkPorts() {
  for (Port& port : ports_) {
    const std::scoped_lock lock(port.link->mutex);
    port.link->ends[port.side].owner = nullptr;
  }
}

bool LinkPorts::connect(LinkPorts& first, std::uint32_t first_port, LinkPorts& second, std::uint32_t second_port) {
  if (&first == &second || first_port >= first.count() || second_port >= second.count()) return false;
  Port& one = first.ports_[first_port];
  Port& other = second.ports_[second_port];
  const auto is_free = [](const Port& port) { return port.link->ends[1 - port.side].owner == nullptr; };
  if (!is_free(one) || !is_free(other)) return false;
  one.link->ends[1] = {.owner = &second.owner_, .port = second_port};
  other = {.link = one.link, .side = 1};
  return true;
}

void LinkPorts::set_works(std::uint32_t port, bool works) {
  if (port >= count()) return;
  const std::scoped_lock lock(ports_[port].link->mutex);
  ports_[port].link->works = works;
}

std::optional<std::uint64_t> LinkPorts::read_port(Port& port, std::uint64_t at, unsigned width_bytes) {
  const std::scoped_lock lock(port.link->mutex);
  const Link::End& here = port.link->ends[port.side];
  const Link::End& there = port.link->ends[1 - port.side];
  const bool is_wired = there.owner != nullptr;
  switch (key(at, width_bytes)) {
    case kKey<LinkStatus>:
      return LinkStatus{}.with(LinkStatus::wired, is_wired).with(LinkStatus::up, port.link->is_up()).raw;
    case kKey<LinkControl>:
      return LinkControl{}.with(LinkControl::enable, here.is_enabled).raw;
    case kKey<PeerUnit>:
      return is_wired ? there.owner->unit : 0;
    case kKey<PeerBytes>:
      return is_wired ? there.owner->memory.size() : 0;
    case kKey<PeerLink>:
      return is_wired ? there.port : 0;
    case kKey<LinkReadBytes>:
      return here.read_bytes;
    case kKey<LinkWrittenBytes>:
      return here.written_bytes;
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> LinkPorts::read(std::uint64_t at, unsigned width_bytes) {
  if (at >= kLinks && (at - kLinks) / kLinkStride < count())
    return read_port(ports_[(at - kLinks) / kLinkStride], (at - kLinks) % kLinkStride, width_bytes);
  if (at < kGrants || (at - kGrants) / kGrantsStride >= count() || width_bytes != 8) return std::nullopt;
  Port& port = ports_[(at - kGrants) / kGrantsStride];
  const std::scoped_lock lock(port.link->mutex);
  const Link::Grant& grant = port.link->ends[port.side].grants[(at - kGrants) % kGrantsStride / kGrantStride];
  return at % kGrantStride == GrantStart::kOffset ? grant.start : grant.size.raw;
}

bool LinkPorts::write_grant(Link::Grant& grant, std::uint64_t at, std::uint64_t value, std::string& wrong) const {
  if (at % kGrantStride == GrantStart::kOffset) {
    if (grant.size.raw != 0)
      wrong = "GRANT_START of something that is granted";
    else
      grant.start = value;
    return true;
  }
  const GrantSize wanted = GrantSize::from(value);
  const std::uint64_t bytes = wanted.get(GrantSize::bytes);
  if ((value & GrantSize::kReserved) != 0)
    wrong = "reserved bits of GRANT_SIZE";
  else if (value != 0 && (grant.start > owner_.memory.size() || bytes > owner_.memory.size() - grant.start))
    wrong = "a grant outside the memory";
  else
    grant.size = wanted;
  return true;
}

bool LinkPorts::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  std::string wrong;
  bool is_known = false;
  if (at >= kLinks && (at - kLinks) / kLinkStride < count()) {
    Port& port = ports_[(at - kLinks) / kLinkStride];
    is_known = key((at - kLinks) % kLinkStride, width_bytes) == kKey<LinkControl>;
    if (is_known) {
      if ((value & LinkControl::kReserved) != 0) wrong = "reserved bits of LINK_CONTROL";
      const std::scoped_lock lock(port.link->mutex);
      port.link->ends[port.side].is_enabled =
          LinkControl::from(static_cast<std::uint32_t>(value)).get(LinkControl::enable);
    }
  } else if (at >= kGrants && (at - kGrants) / kGrantsStride < count() && width_bytes == 8) {
    Port& port = ports_[(at - kGrants) / kGrantsStride];
    const std::scoped_lock lock(port.link->mutex);
    auto& grants = port.link->ends[port.side].grants;
    is_known = write_grant(grants[(at - kGrants) % kGrantsStride / kGrantStride], at, value, wrong);
  }
  if (!wrong.empty()) report_(fmt::format("{} at {:#x}", wrong, at));
  return is_known;
}

void LinkPorts::reset() {
  for (Port& port : ports_) {
    const std::scoped_lock lock(port.link->mutex);
    Link::End& end = port.link->ends[port.side];
    end = {.owner = end.owner, .port = end.port};
  }
}

template <class Move>
CommandStatus LinkPorts::access(std::uint32_t port, std::uint64_t offset, std::uint64_t bytes, bool is_write,
                                Move&& move) {
  Link& link = *ports_[port].link;
  Link::End& here = link.ends[ports_[port].side];
  const Link::End& there = link.ends[1 - ports_[port].side];
  const std::scoped_lock lock(link.mutex);
  if (!link.is_up()) return CommandStatus::link_down;
  // A grant never reaches past the memory.
  if (!is_granted(there, offset, bytes, is_write)) return CommandStatus::not_granted;
  move(there.owner->memory.subspan(offset, bytes));
  (is_write ? here.written_bytes : here.read_bytes) += bytes;
  return CommandStatus::done;
}

CommandStatus LinkPorts::fetch(std::uint32_t port, std::uint64_t offset, std::span<std::byte> into) {
  return access(port, offset, into.size(), false,
                [&](std::span<std::byte> memory) { std::memcpy(into.data(), memory.data(), into.size()); });
}

CommandStatus LinkPorts::store(std::uint32_t port, std::uint64_t offset, std::span<const std::byte> from) {
  return access(port, offset, from.size(), true,
                [&](std::span<std::byte> memory) { std::memcpy(memory.data(), from.data(), from.size()); });
}

}  // namespace barter::devices::accelerator
