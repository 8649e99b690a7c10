// The public handles of barter/memory.hpp.
#include <utility>

#include "peer/core.h"

namespace barter::peer {

// A compare-and-swap and not an addition, so that a lease that is refused was never there, not even for a moment.
MappingState::Taken MappingState::take(const std::uint32_t* generation) {
  std::uint64_t seen = word_.load(std::memory_order_relaxed);
  do {
    if (generation != nullptr && generation_of(seen) != *generation) return Taken::stale;
    if ((seen & kClosed) != 0) return Taken::closed;
    if ((seen & kLeases) == kLeases) return Taken::too_many;
  } while (!word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed));
  return Taken::yes;
}

bool MappingState::become_sitter() {
  const std::uint32_t self = base::this_thread();
  std::uint32_t nobody = 0;
  return self != base::kUncounted && sitter_.compare_exchange_strong(nobody, self, std::memory_order_seq_cst);
}

bool MappingState::is_another_threads_seat() const {
  const std::uint32_t sitter = sitter_.load(std::memory_order_seq_cst);
  return sitter != 0 && sitter != base::this_thread();
}

bool MappingState::shut_if_idle() {
  std::uint8_t seat = kFree;
  const bool is_shut = seat_.compare_exchange_strong(seat, kShut, std::memory_order_seq_cst) || seat == kShut;
  return is_shut && leases() == 0;
}

Result<Lease> MappingState::lease_or_error(Taken taken) {
  if (taken == Taken::yes) return Lease(this, false);
  if (taken == Taken::too_many)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "taking a lease",
                 .why = "the mapping has as many leases as it can have",
                 .cure = "end some of them"});
  return fail({.code = ErrorCode::revoked,
               .doing = "taking a lease",
               .why = taken == Taken::stale ? "the mapping is gone" : "the owner has taken the memory back",
               .cure = "map it again, or go by way of host memory"});
}

Result<Lease> MappingState::lease_by_count() { return lease_or_error(take(nullptr)); }
Result<Lease> MappingState::lease(std::uint32_t generation) { return lease_or_error(take(&generation)); }

void MappingState::leave_closed_seat() {
  const std::shared_ptr<Core> core = core_;
  core->end_closed_seat(*this);
}

void MappingState::end_lease() {
  std::uint64_t seen = word_.load(std::memory_order_relaxed);
  while ((seen & kClosed) == 0)
    if (word_.compare_exchange_weak(seen, seen - 1, std::memory_order_release, std::memory_order_relaxed)) return;
  const std::shared_ptr<Core> core = core_;  // this place may give its own share back
  core->end_closed_lease(*this);
}

void MappingState::drop_handle() {
  const std::shared_ptr<Core> core = core_;
  core->drop_handle(*this);
}

bool RegionState::is_revoked() const { return core_->is_revoked(*this); }
std::span<std::byte> RegionState::cpu_bytes() { return core_->cpu_bytes(*this); }
std::span<std::byte> RegionState::show_cpu_bytes() {
  const std::span<std::byte> bytes = cpu_bytes();
  const std::byte* none = nullptr;
  // If the table has no room, transfers take it for host memory, which is slower and right.
  if (!bytes.empty() && shown_.compare_exchange_strong(none, bytes.data()))
    static_cast<void>(core_->pointers().add(bytes, weak_from_this()));
  return bytes;
}
Result<RevokeReport> RegionState::revoke(RevokeOptions options) { return core_->take_back(*this, true, options); }
Result<RevokeReport> RegionState::invalidate(RevokeOptions options) { return core_->take_back(*this, false, options); }
Result<RevokeReport> RegionState::invalidate_part(MemoryRange part, RevokeOptions options) {
  return core_->take_back(*this, false, options, {range_.offset + part.offset, part.bytes});
}
void RegionState::limit_pins(std::optional<std::uint64_t> bytes) { core_->limit_pins(*this, bytes); }
void RegionState::release() { core_->release(*this); }

}  // namespace barter::peer

namespace barter {

void Lease::end() {
  if (is_seated_) [[likely]]
    mapping_->leave_seat();
  else
    mapping_->end_lease();
}
std::span<const DmaSegment> Lease::segments() const {
  return mapping_ == nullptr ? std::span<const DmaSegment>{} : std::as_const(*mapping_).segments();
}
Bdf Lease::importer() const { return mapping_->importer(); }
Access Lease::access() const { return mapping_->access(); }

Mapping::Mapping(Mapping&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
Mapping& Mapping::operator=(Mapping&& other) noexcept {
  Mapping old(std::move(*this));
  state_ = std::exchange(other.state_, nullptr);
  return *this;
}
Mapping::~Mapping() {
  if (state_ != nullptr) state_->drop_handle();
}
Route Mapping::route() const { return state_->route(); }
Access Mapping::access() const { return state_->access(); }
Hold Mapping::hold() const { return state_->hold(); }
std::uint64_t Mapping::size_bytes() const { return state_->size_bytes(); }
Bdf Mapping::importer() const { return state_->importer(); }
Result<Lease> Mapping::lease() const { return state_->lease(); }
bool Mapping::is_revoked() const { return state_->is_closed(); }

Region::Region(std::shared_ptr<peer::RegionState> state) : state_(std::move(state)) {}
Region::Region(Region&&) noexcept = default;
Region& Region::operator=(Region&& other) noexcept {
  Region old(std::move(*this));
  state_ = std::move(other.state_);
  return *this;
}
Region::~Region() {
  if (state_ != nullptr) state_->release();
}
Bdf Region::exporter() const { return state_->exporter(); }
MemoryRange Region::range() const { return state_->range(); }
std::uint64_t Region::size_bytes() const { return state_->range().bytes; }
bool Region::is_revoked() const { return state_->is_revoked(); }
std::span<std::byte> Region::cpu_bytes() const { return state_->show_cpu_bytes(); }
Result<RevokeReport> Region::revoke(RevokeOptions options) { return state_->revoke(options); }
Result<RevokeReport> Region::invalidate(RevokeOptions options) { return state_->invalidate(options); }

}  // namespace barter
