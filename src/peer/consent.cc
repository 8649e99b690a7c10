// The owner's answers: what it is asked about, which part of that an answer holds for, and that it is told once more when
// what it granted is gone.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "peer/attempt.h"
#include "peer/core.h"

namespace barter::peer {

// The owner is asked about everything that would be reachable: an IOMMU maps whole pages. A region begins and ends at
// pages of its own, so the widened range never touches another one.
Request Core::request_for(const Attempt& attempt) {
  Request request{.importer = attempt.importer_state->function,
                  .range = attempt.range,
                  .access = attempt.options.access,
                  .route = attempt.route,
                  .hold = attempt.options.hold};
  if (attempt.translated) {
    const std::uint64_t lead = attempt.target.value % kPageBytes;
    request.range = {attempt.range.offset - lead, whole_pages(attempt.range.bytes + lead)};
  }
  return request;
}

// The answer on the first part of what is asked about; its `bytes` are what it holds for.
Answer Core::ask(const Attempt& attempt, const Request& request) {
  Answer answer = attempt.exporter_state->exporter->decide(request);
  const std::uint64_t all = request.range.bytes;
  if (answer.bytes == 0 || answer.bytes >= all) {
    answer.bytes = all;
    return answer;
  }
  // Parts meet at pages, because nothing smaller can be granted to one and kept from another.
  const std::uint64_t memory_start = attempt.target.value - attempt.range.offset;
  if ((memory_start + request.range.offset + answer.bytes) % kPageBytes == 0) return answer;
  return Answer::refuse(fmt::format("the owner's answer holds for {} bytes, which do not end at a page", answer.bytes))
      .for_first(all);
}

NotMapped Core::refusal_by_owner(const Attempt& attempt, const Answer& answer) {
  if (answer.kind == Answer::Kind::by_way_of_host)
    return attempt.refusal(Refusal::owner_asks_host, ErrorCode::refused,
                           answer.reason.empty() ? "the owner asks to go by way of host memory" : answer.reason,
                           "go by way of host memory");
  return attempt.refusal(Refusal::owner_refused, ErrorCode::refused,
                         answer.reason.empty() ? "the owner of the memory refuses" : answer.reason);
}

NotMapped Core::too_many_parts(const Attempt& attempt) {
  return attempt.refusal(Refusal::exhausted, ErrorCode::exhausted,
                         fmt::format("the owner decides on more than {} parts of it apart", kMaxParts),
                         "map less at a time");
}

// All of it or nothing: the strictest part decides.
std::optional<NotMapped> Core::ask_owner(Attempt& attempt) {
  Request rest = request_for(attempt);
  std::optional<NotMapped> strictest;
  for (std::size_t count = 0; rest.range.bytes > 0; ++count) {
    if (count == kMaxParts) return too_many_parts(attempt);
    const Answer answer = ask(attempt, rest);
    if (answer.kind != Answer::Kind::direct)
      strictest = refusal_by_owner(attempt, answer);
    else if (count == 0 && answer.bytes == rest.range.bytes)
      attempt.is_granted = true;
    else
      attempt.parts.push_back({rest.range.offset, answer.bytes});
    if (answer.kind == Answer::Kind::refuse) break;
    rest.range = {rest.range.offset + answer.bytes, rest.range.bytes - answer.bytes};
  }
  return strictest;
}

// The first part that the owner has one answer for, mapped if that is `direct`.
std::expected<MappedPart, NotMapped> Core::map_first_part(Importer& importer, RegionState& region,
                                                          const MapOptions& options,
                                                          std::optional<std::uint64_t>& epoch) {
  std::string why_not_opened;
  {
    Attempt attempt(*this, importer, region, options);
    auto made = try_map_first_part(attempt, epoch);
    if (made || !attempt.could_not_open) return made;
    why_not_opened = std::move(made.error().error.why);
  }
  Attempt attempt(*this, importer, region, options);
  attempt.pcie_only = true;
  attempt.why_no_interconnect = std::move(why_not_opened);
  return try_map_first_part(attempt, epoch);
}

std::expected<MappedPart, NotMapped> Core::try_map_first_part(Attempt& attempt, std::optional<std::uint64_t>& epoch) {
  std::optional<NotMapped> failed = admit(attempt);
  if (!failed) failed = judge(attempt);
  if (!failed) failed = ask_hardware(attempt);
  if (!failed && epoch.value_or(attempt.epoch) != attempt.epoch)
    failed = attempt.refusal(Refusal::revoked, ErrorCode::revoked,
                             "the owner has taken back the parts that were mapped already", "map it again");
  if (failed) return give_up(attempt, std::move(*failed));
  epoch = attempt.epoch;
  const Request request = request_for(attempt);
  Answer answer = ask(attempt, request);
  const std::uint64_t end = request.range.offset + answer.bytes;
  attempt.range.bytes = std::min(attempt.range.bytes, end - attempt.range.offset);
  answer.bytes = attempt.range.bytes;
  if (answer.kind != Answer::Kind::direct) {
    const Refusal reason = refusal_by_owner(attempt, answer).reason;
    Lock lock(mutex_);
    ++counters_.refused[static_cast<std::size_t>(reason)];
    return MappedPart{.range = attempt.range, .mapping = std::nullopt, .answer = std::move(answer)};
  }
  attempt.is_granted = true;
  failed = pin(attempt);
  if (!failed) failed = find_address(attempt);
  if (!failed) failed = publish(attempt);
  if (failed) return give_up(attempt, std::move(*failed));
  return MappedPart{.range = attempt.range, .mapping = Mapping(attempt.mapping), .answer = std::move(answer)};
}

std::expected<std::vector<MappedPart>, NotMapped> Core::map_parts(Importer& importer, RegionState& region,
                                                                  const MapOptions& options) {
  std::vector<MappedPart> parts;
  std::optional<std::uint64_t> epoch;
  MapOptions rest = options;
  if (rest.bytes == 0 && rest.offset < region.range_.bytes) rest.bytes = region.range_.bytes - rest.offset;
  do {
    if (parts.size() == kMaxParts) {
      const Attempt attempt(*this, importer, region, rest);
      return std::unexpected(too_many_parts(attempt));
    }
    auto part = map_first_part(importer, region, rest, epoch);
    if (!part) return std::unexpected(std::move(part.error()));  // what was mapped goes with it
    rest.offset += part->range.bytes;
    rest.bytes -= part->range.bytes;
    parts.push_back(std::move(*part));
  } while (rest.bytes > 0);
  return parts;
}

// No lock is held. The parts are those of the request that were granted apart; none: it was granted as a whole.
void Core::tell_unmapped(Exporter& exporter, Request granted, std::span<const MemoryRange> parts) {
  if (parts.empty()) return exporter.unmapped(granted);
  for (const MemoryRange part : parts) {
    granted.range = part;
    exporter.unmapped(granted);
  }
}

// The domain has forgotten a claimed mapping: its owner is told. Lets the lock go meanwhile.
void Core::tell_owner(Lock& lock, MappingState& mapping) {
  ExporterState& exporter = *mapping.region_->exporter_;
  const Request granted{.importer = mapping.importer_function_,
                        .range = mapping.asked(),
                        .access = mapping.access_,
                        .route = mapping.route_,
                        .hold = mapping.hold_};
  std::vector<MemoryRange> parts;
  if (std::exchange(mapping.has_parts_, false)) parts = std::move(parts_.extract(&mapping).mapped());
  ++exporter.busy;
  lock.unlock();
  tell_unmapped(*exporter.exporter, granted, parts);
  lock.lock();
  --exporter.busy;
}

}  // namespace barter::peer
