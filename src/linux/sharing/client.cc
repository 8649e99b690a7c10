// The public handles of barter/sharing.hpp that a client holds, over its Connection.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "barter/sharing.hpp"
#include "linux/sharing/channel.h"
#include "linux/sharing/connection.h"
#include "linux/system_error.h"

namespace barter {

using linux_os::Descriptor;
using linux_os::sharing::Connection;
namespace message = linux_os::sharing;

RegionDescriptor::RegionDescriptor(RegionDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
RegionDescriptor& RegionDescriptor::operator=(RegionDescriptor&& other) noexcept {
  const RegionDescriptor old(std::move(*this));
  number_ = std::exchange(other.number_, -1);
  return *this;
}
RegionDescriptor::~RegionDescriptor() {
  if (number_ >= 0) close(number_);
}

Result<void> pass_region(int socket, const RegionDescriptor& region) {
  // A channel owns its socket, and this one stays the caller's.
  const linux_os::sharing::Channel channel{Descriptor(fcntl(socket, F_DUPFD_CLOEXEC, 0))};
  if (!channel.is_open()) return fail(linux_os::system_error(errno, "passing a region over", "a socket"));
  constexpr std::array<std::byte, 1> kByte{std::byte{'R'}};
  return channel.send(kByte, region.number());
}

Result<RegionDescriptor> receive_region(int socket, Duration deadline) {
  const linux_os::sharing::Channel channel{Descriptor(fcntl(socket, F_DUPFD_CLOEXEC, 0))};
  if (!channel.is_open()) return fail(linux_os::system_error(errno, "receiving a region from", "a socket"));
  linux_os::sharing::Watch watch{.number = socket};
  const auto missing = [](ErrorCode code, std::string why) {
    return fail({.code = code, .doing = "receiving a region from", .subject = "a socket", .why = std::move(why)});
  };
  if (!linux_os::sharing::wait_for_any({&watch, 1}, std::max(deadline, Duration::zero())))
    return missing(ErrorCode::timed_out, "none came in time");
  std::array<std::byte, 1> byte{};
  auto packet = channel.receive(byte);
  if (!packet) return std::unexpected(std::move(packet.error()));
  if (packet->kind == linux_os::sharing::Packet::Kind::end)
    return missing(ErrorCode::device_gone, "the other side is gone");
  if (!packet->descriptor.is_open()) return missing(ErrorCode::malformed, "what came has no descriptor beside it");
  return RegionDescriptor(std::move(packet->descriptor).release());
}

// Regions.

SharedRegion::SharedRegion(std::shared_ptr<Connection> connection, std::uint64_t id, Bdf exporter, MemoryRange range,
                           RegionDescriptor descriptor)
    : connection_(std::move(connection)),
      id_(id),
      exporter_(exporter),
      range_(range),
      descriptor_(std::move(descriptor)) {}
SharedRegion::SharedRegion(SharedRegion&&) noexcept = default;
SharedRegion& SharedRegion::operator=(SharedRegion&& other) noexcept {
  const SharedRegion old(std::move(*this));
  connection_ = std::move(other.connection_);
  id_ = other.id_;
  exporter_ = other.exporter_;
  range_ = other.range_;
  descriptor_ = std::move(other.descriptor_);
  return *this;
}
// Whether the broker could be told makes no difference: it takes the memory back when this process ends, at the latest.
SharedRegion::~SharedRegion() {
  if (!connection_ || !connection_->is_own()) return;
  connection_->drop(message::Free{id_}, "giving back");
  connection_->forget_region(id_);
}

void SharedRegion::on_request(Consent consent) { connection_->set_consent(id_, std::move(consent)); }
void SharedRegion::on_unmap(Unmapped told) { connection_->set_unmapped(id_, std::move(told)); }

Result<void> SharedRegion::limit_pins(std::optional<std::uint64_t> bytes) {
  const auto done = connection_->call_for<message::Done>(
      message::LimitPins{.region = id_, .is_limited = bytes.has_value(), .bytes = bytes.value_or(0)},
      "limiting the pins of memory of");
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<RevokeReport> SharedRegion::take_back(bool for_good, RevokeOptions options) {
  const auto deadline_ns = static_cast<std::uint64_t>(std::max(options.deadline, Duration::zero()).count());
  auto taken = connection_->call_for<message::TakenBack>(
      message::TakeBack{.region = id_, .for_good = for_good, .deadline_ns = deadline_ns}, "taking back memory of");
  if (!taken) return std::unexpected(std::move(taken.error()));
  return RevokeReport{.mappings = taken->mappings, .late = std::move(taken->late)};
}
Result<RevokeReport> SharedRegion::revoke(RevokeOptions options) { return take_back(true, options); }
Result<RevokeReport> SharedRegion::invalidate(RevokeOptions options) { return take_back(false, options); }

Result<void> SharedRegion::load(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const std::size_t count = std::min(into.size(), message::kMaxContentBytes);
    const auto got = connection_->call_for<message::Contents>(
        message::Peek{.region = id_, .offset = offset, .bytes = static_cast<std::uint32_t>(count)}, "reading bytes of");
    if (!got) return std::unexpected(got.error());
    if (got->bytes.size() != count)
      return fail({.code = ErrorCode::malformed,
                   .doing = "reading bytes of",
                   .subject = "a shared machine",
                   .why = "the process that shares it has sent another number of bytes"});
    std::ranges::copy(got->bytes, into.begin());
    into = into.subspan(count);
    offset += count;
  }
  return {};
}

Result<void> SharedRegion::store(std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const auto part = from.first(std::min(from.size(), message::kMaxContentBytes));
    const auto done = connection_->call_for<message::Done>(
        message::Poke{.region = id_, .offset = offset, .bytes = {part.begin(), part.end()}}, "writing bytes of");
    if (!done) return std::unexpected(done.error());
    from = from.subspan(part.size());
    offset += part.size();
  }
  return {};
}

// Leases: their end is told and not waited for, so that a callback may end them.

SharedLease::SharedLease(std::shared_ptr<Connection> connection, std::uint64_t id)
    : connection_(std::move(connection)), id_(id) {}
SharedLease::SharedLease(SharedLease&&) noexcept = default;
SharedLease& SharedLease::operator=(SharedLease&& other) noexcept {
  const SharedLease old(std::move(*this));
  connection_ = std::move(other.connection_);
  id_ = other.id_;
  return *this;
}
SharedLease::~SharedLease() {
  if (connection_) connection_->tell(message::EndLease{id_});
}

// Mappings.

SharedMapping::SharedMapping(std::shared_ptr<Connection> connection, std::uint64_t id, Bdf importer, Route route,
                             Hold hold, std::uint64_t size_bytes)
    : connection_(std::move(connection)),
      id_(id),
      importer_(importer),
      route_(route),
      hold_(hold),
      size_bytes_(size_bytes) {}
SharedMapping::SharedMapping(SharedMapping&&) noexcept = default;
SharedMapping& SharedMapping::operator=(SharedMapping&& other) noexcept {
  const SharedMapping old(std::move(*this));
  connection_ = std::move(other.connection_);
  id_ = other.id_;
  importer_ = other.importer_;
  route_ = other.route_;
  hold_ = other.hold_;
  size_bytes_ = other.size_bytes_;
  return *this;
}
SharedMapping::~SharedMapping() {
  if (!connection_ || !connection_->is_own()) return;
  connection_->drop(message::Unmap{id_}, "unmapping");
  connection_->forget_mapping(id_);
}

bool SharedMapping::is_revoked() const { return !connection_->is_own() || connection_->is_invalidated(id_); }
void SharedMapping::on_invalidate(std::function<void()> callback) {
  if (connection_->is_own()) connection_->set_callback(id_, std::move(callback));
}

Result<SharedLease> SharedMapping::lease() const {
  const auto leased = connection_->call_for<message::Leased>(message::TakeLease{id_}, "taking a lease");
  if (!leased) return std::unexpected(leased.error());
  return SharedLease(connection_, leased->lease);
}

Result<void> SharedMapping::move(DrivePart part, bool to_drive) const {
  const auto moved = connection_->call_for<message::Moved>(
      message::Move{.mapping = id_,
                    .way = to_drive ? message::Way::memory_to_drive : message::Way::drive_to_memory,
                    .drive_offset = part.offset,
                    .bytes = part.bytes,
                    .memory_offset = part.memory_offset},
      to_drive ? "writing to a drive of" : "reading from a drive of");
  if (!moved) return std::unexpected(moved.error());
  return {};
}
Result<void> SharedMapping::read(DrivePart from) const { return move(from, false); }
Result<void> SharedMapping::write(DrivePart to) const { return move(to, true); }

// The machine.

Result<SharedMachine> SharedMachine::connect(const std::filesystem::path& socket, ConnectOptions options) {
  auto connection = Connection::open(socket, options);
  if (!connection) return std::unexpected(std::move(connection.error()));
  return SharedMachine(std::move(*connection));
}
const std::string& SharedMachine::name() const { return connection_->machine(); }
bool SharedMachine::is_connected() const { return connection_->is_connected(); }
Result<SharedRegion> SharedMachine::allocate(std::string_view provider, std::uint64_t bytes,
                                             std::uint64_t alignment) const {
  return connection_->allocate(provider, bytes, alignment);
}
Result<SharedMapping> SharedMachine::map(const RegionDescriptor& region, std::string_view drive,
                                         MapOptions options) const {
  return connection_->map(region, drive, options);
}
Result<std::vector<SharedPart>> SharedMachine::map_parts(const RegionDescriptor& region, std::string_view drive,
                                                         MapOptions options) const {
  return connection_->map_parts(region, drive, options);
}

}  // namespace barter
