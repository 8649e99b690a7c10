// What a client can ask for, request by request.
#include <algorithm>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "barter/io.hpp"
#include "peer/exchange.h"
#include "peer/mapping.h"
#include "peer/region.h"
#include "sharing/session.h"

namespace barter::sharing {

using namespace linux_os::sharing;

namespace {

constexpr Duration kLongestDeadline = std::chrono::minutes(1);
// Between two of these an owner gets its memory back without anybody being late.
constexpr std::uint64_t kBytesUnderOneLease = std::uint64_t{1} << 20;

std::unexpected<Error> refuse(ErrorCode code, std::string doing, std::string subject, std::string why,
                              std::string cure = {}) {
  return fail({.code = code,
               .doing = std::move(doing),
               .subject = std::move(subject),
               .why = std::move(why),
               .cure = std::move(cure)});
}

// Whoever is let in may use the machine, but not the files of the process that shares it, which a name could be the path of.
std::optional<Error> why_no_device(const std::string& name, const std::string& doing) {
  if (name.find('/') == std::string::npos) return std::nullopt;
  return Error{.code = ErrorCode::refused,
               .doing = doing,
               .subject = name,
               .why = "devices are shared, and no files",
               .cure = "name a device by its name or its function"};
}

MapOptions options_of(const Map& request) {
  return {.access = request.access,
          .offset = request.offset,
          .bytes = request.bytes,
          .hold = request.hold,
          .allow_unknown_route = request.allow_unknown_route};
}

std::unexpected<Error> too_many(std::string doing, std::size_t count, std::string_view of_what) {
  return refuse(ErrorCode::exhausted, std::move(doing), "a shared machine",
                fmt::format("this process has {} {} already, the most it can have", count, of_what),
                "drop some of them");
}

}  // namespace

Session::Carried Session::carry_out(Job& job) {
  return std::visit(
      [&]<class T>(const T& request) -> Carried {
        if constexpr (std::is_base_of_v<Map, T>)
          return carry_out(request, job.descriptor);
        else if constexpr (requires { this->carry_out(request); })
          return carry_out(request);
        else
          return refuse(ErrorCode::malformed, "serving", "a shared machine", "this is not a request of a client");
      },
      job.message.body);
}

Result<OwnedRegion*> Session::own_region(std::uint64_t id, std::string doing) {
  const auto found = regions_.find(id);
  if (found == regions_.end())
    return refuse(ErrorCode::not_found, std::move(doing), fmt::format("region {}", id),
                  "this process has no such region");
  return found->second.get();
}

Result<Session::HeldMapping*> Session::own_mapping(std::uint64_t id, std::string doing) {
  const auto found = mappings_.find(id);
  if (found == mappings_.end())
    return refuse(ErrorCode::not_found, std::move(doing), fmt::format("mapping {}", id),
                  "this process has no such mapping");
  return &found->second;
}

Session::Carried Session::carry_out(const Allocate& request) {
  const std::string doing = "allocating memory of";
  if (regions_.size() >= kMaxRegionsOfClient) return too_many(doing, kMaxRegionsOfClient, "regions");
  if (auto why = why_no_device(request.provider, doing)) return fail(std::move(*why));
  auto made = broker_->allocate(shared_from_this(), request.provider, request.bytes, request.alignment);
  if (!made) return std::unexpected(std::move(made.error()));
  const OwnedRegion& region = **made;
  regions_[region.id] = *made;
  return Outcome{
      .body = Allocated{.region = region.id, .exporter = region.region.exporter(), .range = region.region.range()},
      .region = *made,
      .announce = {}};
}

// Whom the request is for and what it is about.
Result<Session::Wanted> Session::find_wanted(const Map& request, const linux_os::Descriptor& descriptor,
                                             const std::string& doing) {
  if (mappings_.size() >= kMaxMappingsOfClient) return too_many(doing, kMaxMappingsOfClient, "mappings");
  const auto identity = identity_of(descriptor);
  Wanted wanted{.region = identity ? broker_->find(*identity) : nullptr, .importer = {}, .drive = {}};
  if (!wanted.region) {
    ++broker_->counters.refused_descriptors;
    return refuse(ErrorCode::not_found, doing, request.importer,
                  "the descriptor stands for no region of this machine: it never did, or the region was given back",
                  "get one from the process that owns the region");
  }
  if (auto why = why_no_device(request.importer, doing)) return fail(std::move(*why));
  const std::lock_guard lock(broker_->machine_mutex());
  const auto drive = broker_->machine().drive(request.importer);
  auto other = broker_->state().find_accelerator(request.importer);
  if (!other) other = broker_->state().find_dma_engine(request.importer);
  if (!drive && !other) return std::unexpected(drive.error());
  const machine::DriveUnit& unit = drive ? drive->unit() : **other;
  if (unit.is_file) return refuse(ErrorCode::refused, doing, request.importer, "devices are shared, and no files");
  wanted.importer = unit.importer;
  if (!wanted.importer && unit.why_not_direct) return fail(*unit.why_not_direct);
  if (!wanted.importer) return refuse(ErrorCode::unsupported, doing, request.importer, "it does no DMA of its own");
  if (drive) wanted.drive = *drive;
  broker_->listen_to(wanted.importer);
  return wanted;
}

Session::Announcement Session::hold(Mapping mapping, const std::optional<Drive>& drive) {
  const Announcement news{.mapping = broker_->next_id(), .name = mapping.state().id()};
  broker_->add_mapping(news.name, {.session = weak_from_this(), .id = news.mapping});
  mappings_.emplace(news.mapping, HeldMapping{.mapping = std::move(mapping), .drive = drive});
  return news;
}

Session::Carried Session::carry_out(const Map& request, const linux_os::Descriptor& descriptor) {
  const auto wanted = find_wanted(request, descriptor, "mapping shared memory for");
  if (!wanted) return std::unexpected(wanted.error());
  const ConsentDeadline deadline(broker_->options().consent_deadline);
  auto mapping = broker_->state().exchange().map(*wanted->importer, wanted->region->region, options_of(request));
  if (!mapping) return std::unexpected(std::move(mapping.error()));
  Mapped answer{.importer = mapping->importer(), .route = mapping->route(), .bytes = mapping->size_bytes()};
  const Announcement news = hold(std::move(*mapping), wanted->drive);
  answer.mapping = news.mapping;
  return Outcome{.body = answer, .region = {}, .announce = {news}};
}

Session::Carried Session::carry_out(const MapParts& request, const linux_os::Descriptor& descriptor) {
  const std::string doing = "mapping parts of shared memory for";
  const auto wanted = find_wanted(request, descriptor, doing);
  if (!wanted) return std::unexpected(wanted.error());
  const ConsentDeadline deadline(broker_->options().consent_deadline);
  auto parts = broker_->state().exchange().map_parts(*wanted->importer, wanted->region->region, options_of(request));
  if (!parts) return std::unexpected(std::move(parts.error()));
  if (parts->size() > kMaxPartsInAnswer)
    return refuse(ErrorCode::exhausted, doing, request.importer,
                  fmt::format("the owner decides on {} parts of it apart, and an answer has room for {}", parts->size(),
                              kMaxPartsInAnswer),
                  "map less at a time");
  if (mappings_.size() + parts->size() > kMaxMappingsOfClient) return too_many(doing, mappings_.size(), "mappings");
  MappedInParts answer{.importer = wanted->importer->function(), .route = Route::unknown, .parts = {}};
  std::vector<Announcement> announce;
  for (MappedPart& part : *parts) {
    auto& told = answer.parts.emplace_back();
    told.range = part.range;
    told.kind = part.answer.kind;
    told.reason = std::move(part.answer.reason);
    if (!part.mapping) continue;
    answer.route = part.mapping->route();
    announce.push_back(hold(std::move(*part.mapping), wanted->drive));
    told.mapping = announce.back().mapping;
  }
  return Outcome{.body = std::move(answer), .region = {}, .announce = std::move(announce)};
}

Session::Carried Session::carry_out(const TakeLease& request) {
  const auto held = own_mapping(request.mapping, "taking a lease of");
  if (!held) return std::unexpected(held.error());
  auto lease = (*held)->mapping.lease();
  if (!lease) return std::unexpected(std::move(lease.error()));
  const std::lock_guard lock(mutex_);
  if (leases_.size() >= kMaxLeasesOfClient) return too_many("taking a lease of", kMaxLeasesOfClient, "leases");
  const std::uint64_t id = broker_->next_id();
  leases_.emplace(id, std::move(*lease));
  ++broker_->counters.leases;
  return Outcome{.body = Leased{id}, .region = {}, .announce = {}};
}

Session::Carried Session::carry_out(const Unmap& request) {
  const auto held = own_mapping(request.mapping, "unmapping");
  if (!held) return std::unexpected(held.error());
  broker_->remove_mapping((*held)->mapping.state().id());
  mappings_.erase(request.mapping);
  return Outcome{.body = Done{}, .region = {}, .announce = {}};
}

Session::Carried Session::carry_out(const Move& request) {
  const bool to_drive = request.way == Way::memory_to_drive;
  const std::string doing = to_drive ? "writing to" : "reading from";
  const auto held = own_mapping(request.mapping, doing);
  if (!held) return std::unexpected(held.error());
  if (!(*held)->drive)
    return refuse(ErrorCode::unsupported, doing, (*held)->mapping.importer().to_string(), "it is no drive");
  const std::uint64_t size = (*held)->mapping.size_bytes();
  if (request.memory_offset > size || request.bytes > size - request.memory_offset)
    return refuse(ErrorCode::out_of_range, doing, (*held)->drive->name(),
                  fmt::format("{} bytes from offset {} on end behind the {} bytes of memory", request.bytes,
                              request.memory_offset, size));
  const std::uint64_t bytes = request.bytes == 0 ? size - request.memory_offset : request.bytes;
  std::uint64_t moved = 0;
  do {
    if (is_closed())
      return refuse(ErrorCode::cancelled, doing, (*held)->drive->name(), "the process that wanted it has ended");
    DrivePart part{.offset = request.drive_offset + moved,
                   .bytes = std::min(bytes - moved, kBytesUnderOneLease),
                   .memory_offset = request.memory_offset + moved};
    const std::lock_guard lock(broker_->machine_mutex());
    const auto lease = (*held)->mapping.lease();
    if (!lease) return std::unexpected(lease.error());
    const auto done =
        to_drive ? barter::write(*(*held)->drive, part, *lease) : barter::read(*(*held)->drive, part, *lease);
    if (!done) return std::unexpected(done.error());
    moved += part.bytes;
  } while (moved < bytes);
  return Outcome{.body = Moved{moved}, .region = {}, .announce = {}};
}

Session::Carried Session::carry_out(const TakeBack& request) {
  const auto region = own_region(request.region, "taking back");
  if (!region) return std::unexpected(region.error());
  const std::uint64_t longest = static_cast<std::uint64_t>(kLongestDeadline.count());
  const RevokeOptions options{.deadline = Duration(static_cast<std::int64_t>(std::min(request.deadline_ns, longest)))};
  auto report = request.for_good ? (*region)->region.revoke(options) : (*region)->region.invalidate(options);
  if (!report) return std::unexpected(std::move(report.error()));
  return Outcome{
      .body = TakenBack{.mappings = report->mappings, .late = std::move(report->late)}, .region = {}, .announce = {}};
}

void Session::give_back(std::map<std::uint64_t, std::shared_ptr<OwnedRegion>>::iterator region, RevokeOptions options) {
  const std::shared_ptr<OwnedRegion> owned = std::move(region->second);
  regions_.erase(region);
  broker_->close_to_users(*owned);
  // If somebody could not be cut off, the exchange keeps the memory from everyone for good.
  if (const auto report = owned->region.revoke(options)) broker_->counters.late_importers += report->late.size();
  broker_->forget(*owned);  // not before: its owner is told of the end of what it granted
  --broker_->counters.regions;
}

Session::Carried Session::carry_out(const LimitPins& request) {
  const auto region = own_region(request.region, "limiting the pins of");
  if (!region) return std::unexpected(region.error());
  (*region)->region.state()->limit_pins(request.is_limited ? std::optional(request.bytes) : std::nullopt);
  return Outcome{.body = Done{}, .region = {}, .announce = {}};
}

Session::Carried Session::carry_out(const Free& request) {
  const auto found = regions_.find(request.region);
  if (found == regions_.end()) return std::unexpected(own_region(request.region, "giving back").error());
  give_back(found, {});
  return Outcome{.body = Done{}, .region = {}, .announce = {}};
}

Result<std::span<std::byte>> Session::bytes_of(std::uint64_t id, std::uint64_t offset, std::uint64_t bytes) {
  const std::string doing = "reaching bytes of";
  const auto owned = own_region(id, doing);
  if (!owned) return std::unexpected(owned.error());
  const Region& region = (*owned)->region;
  const std::string subject = region.exporter().to_string();
  if (region.is_revoked())
    return refuse(ErrorCode::revoked, doing, subject, "the memory was taken back, or its device is gone");
  const std::span<std::byte> all = region.cpu_bytes();
  if (all.empty()) return refuse(ErrorCode::unsupported, doing, subject, "a CPU can't reach this memory");
  if (offset > all.size() || bytes > all.size() - offset)
    return refuse(ErrorCode::out_of_range, doing, subject,
                  fmt::format("{} bytes from offset {} on end behind its {} bytes", bytes, offset, all.size()));
  return all.subspan(offset, bytes);
}

// Devices may write there meanwhile, as they may to all memory that the CPU sees: what is read then is what was there at some
// moment, byte by byte. It is loaded and stored as a BAR is, and is no data race that ThreadSanitizer should tell of.
__attribute__((no_sanitize("thread"))) static void load(std::span<const std::byte> from, std::span<std::byte> into) {
  const volatile std::byte* const source = from.data();
  for (std::size_t at = 0; at < into.size(); ++at) into[at] = source[at];
}
__attribute__((no_sanitize("thread"))) static void store(std::span<const std::byte> from, std::span<std::byte> into) {
  volatile std::byte* const target = into.data();
  for (std::size_t at = 0; at < from.size(); ++at) target[at] = from[at];
}

Session::Carried Session::carry_out(const Peek& request) {
  if (request.bytes > kMaxContentBytes)
    return refuse(ErrorCode::out_of_range, "reaching bytes of", "a region",
                  fmt::format("{} bytes are more than one message takes", request.bytes));
  const auto bytes = bytes_of(request.region, request.offset, request.bytes);
  if (!bytes) return std::unexpected(bytes.error());
  Contents contents{std::vector<std::byte>(bytes->size())};
  load(*bytes, contents.bytes);
  return Outcome{.body = std::move(contents), .region = {}, .announce = {}};
}

Session::Carried Session::carry_out(const Poke& request) {
  const auto bytes = bytes_of(request.region, request.offset, request.bytes.size());
  if (!bytes) return std::unexpected(bytes.error());
  store(request.bytes, *bytes);
  return Outcome{.body = Done{}, .region = {}, .announce = {}};
}

}  // namespace barter::sharing
