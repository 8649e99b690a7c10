// Memory by a pointer, registered for a device: looked up once, mapped piece by piece, and mapped anew when it is to be used and has
// moved meanwhile.
#include "barter/registration.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "barter/nic.hpp"
#include "base/clock.h"
#include "machine/state.h"
#include "peer/managed_pages.h"
#include "peer/mapping.h"
#include "peer/pointers.h"
#include "peer/region.h"

namespace barter {
namespace {

constexpr const char* kRegistering = "registering memory for";

}  // namespace

Error Registration::refusal(ErrorCode code, std::string why, std::string cure) const {
  return {.code = code, .doing = kRegistering, .subject = unit_->name, .why = std::move(why), .cure = std::move(cure)};
}

Bdf Registration::importer() const { return unit_->bdf; }

bool Registration::Piece::is_stale() const {
  return parts.empty() || std::ranges::any_of(parts, &Mapping::is_revoked, &ManagedPart::mapping);
}

bool Registration::is_stale() const { return std::ranges::any_of(pieces_, &Piece::is_stale); }

std::vector<peer::MappingId> Registration::mappings() const {
  std::vector<peer::MappingId> all;
  for (const Piece& piece : pieces_)
    for (const ManagedPart& part : piece.parts) all.push_back(part.mapping.state().id());
  return all;
}

std::vector<Residence> Registration::where() const {
  std::vector<Residence> all;
  for (const Piece& piece : pieces_) {
    std::uint64_t offset = piece.range.offset;
    for (const ManagedPart& part : piece.parts) {
      all.push_back({.range = {offset, part.range.bytes},
                     .state = part.is_direct ? PageState::device : PageState::host,
                     .device = part.is_direct ? part.exporter : Bdf{}});
      offset += part.range.bytes;
    }
  }
  return all;
}

Result<Registration> Registration::create(std::shared_ptr<machine::State> machine, machine::DriveUnit& unit,
                                          std::span<std::byte> memory, RegisterOptions options) {
  Registration made(std::move(machine), unit, memory, options);
  if (memory.empty()) return fail(made.refusal(ErrorCode::invalid_argument, "there are no bytes"));
  if (!unit.importer && unit.why_not_direct) return fail(*unit.why_not_direct);
  if (!unit.importer) return fail(made.refusal(ErrorCode::unsupported, "it does no DMA of its own"));
  for (const peer::PointerRun& run : made.machine_->exchange().pointers().runs(memory)) {
    if (!run.region && !run.managed)
      return fail(
          made.refusal(ErrorCode::unsupported,
                       fmt::format("the {} bytes from {} on are ordinary memory of the program, which no device "
                                   "can be shown",
                                   run.range.bytes, run.range.offset),
                       "use managed memory, or memory of a device that the CPU sees"));
    made.pieces_.push_back(
        {.range = run.range, .region = run.region, .managed = run.managed, .offset = run.offset, .parts = {}});
  }
  if (auto leases = made.lease(); !leases) return std::unexpected(std::move(leases.error()));
  return made;
}

Result<bool> Registration::map(Piece& piece) {
  const MapOptions options{.access = options_.access,
                           .offset = piece.offset,
                           .bytes = piece.range.bytes,
                           .hold = options_.hold,
                           .allow_unknown_route = options_.allow_unknown_route};
  piece.parts.clear();
  if (const auto managed = piece.managed.lock()) {
    auto mapping = managed->map(*unit_->importer, options, options_.deadline);
    if (!mapping) return std::unexpected(std::move(mapping.error()));
    piece.parts = std::move(*mapping).take_parts();
    return true;
  }
  const auto region = piece.region.lock();
  if (!region) return fail(refusal(ErrorCode::revoked, "the memory is gone"));
  auto mapping = machine_->exchange().try_map(*unit_->importer, *region, options);
  const bool is_being_moved = !mapping && mapping.error().reason == peer::Refusal::revoked && !region->is_revoked();
  if (is_being_moved) return false;
  if (!mapping) return fail(std::move(mapping.error().error));
  piece.parts.push_back({.range = {0, piece.range.bytes},
                         .is_direct = true,
                         .exporter = region->exporter(),
                         .mapping = std::move(*mapping)});
  return true;
}

Result<bool> Registration::map_all() {
  for (Piece& piece : pieces_) {
    if (!piece.is_stale()) continue;
    if (options_.hold == Hold::pinned && !piece.parts.empty())
      return fail(refusal(ErrorCode::revoked, "its owner has taken back what was to stay where it was"));
    const auto mapped = map(piece);
    if (!mapped || !*mapped) return mapped;
  }
  return true;
}

Result<std::vector<Lease>> Registration::try_lease() {
  std::vector<Lease> leases;
  for (const Piece& piece : pieces_)
    for (const ManagedPart& part : piece.parts) {
      auto lease = part.mapping.lease();
      if (!lease) return std::unexpected(std::move(lease.error()));
      leases.push_back(std::move(*lease));
    }
  return leases;
}

Result<std::vector<Lease>> Registration::lease() {
  base::Clock& clock = machine_->backend().clock();
  Result<std::vector<Lease>> leases;
  const bool in_time = base::wait_until(clock, clock.now() + options_.deadline, [&] {
    auto mapped = map_all();
    if (!mapped) {
      leases = std::unexpected(std::move(mapped.error()));
      return true;
    }
    if (!*mapped) return false;
    leases = try_lease();
    return leases || leases.error().code != ErrorCode::revoked;
  });
  if (in_time) return leases;
  return fail(refusal(ErrorCode::timed_out, "it moved again and again until the deadline", "try again"));
}

Result<Registration> register_memory(const DmaEngine& importer, std::span<std::byte> memory, RegisterOptions options) {
  return Registration::create(importer.machine_state(), importer.unit(), memory, options);
}

Result<Registration> register_memory(const Nic& importer, std::span<std::byte> memory, RegisterOptions options) {
  return Registration::create(importer.machine_state(), importer.unit(), memory, options);
}

Result<Registration> register_memory(const Drive& importer, std::span<std::byte> memory, RegisterOptions options) {
  return Registration::create(importer.machine_state(), importer.unit(), memory, options);
}

}  // namespace barter
