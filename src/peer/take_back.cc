// The ends of mappings: by the last handle and lease, by consent of the importer, or by force.
//
// A revocation closes the mappings, tells the importers, and waits for the leases to end. Past the deadline it takes the
// address away under them: from the IOMMU or the guard of an interconnect where the address came from one, else by taking from
// the importer the right to do any DMA at all. The same is done to an importer whose device keeps what it has asked the IOMMU
// (ATS), where that lets it pass the IOMMU by.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/asymmetric_fence.h"
#include "base/log.h"
#include "peer/core.h"

namespace barter::peer {

namespace {

constexpr Duration kLongestDeadline = std::chrono::hours(24);
// Mappings that an error tells of; it is for people.
constexpr std::size_t kPinsTold = 8;

std::string names_of(const std::vector<Bdf>& functions) {
  std::string names;
  for (const Bdf function : functions) names += (names.empty() ? "" : ", ") + function.to_string();
  return names;
}

// Memory that moves is taken back for now all the time; for good, seldom.
void tell(const Result<RevokeReport>& report, bool for_good) {
  namespace log = base::log;
  if (!report) return log::warn("{}", report.error().message());
  if (!report->late.empty())
    return log::info("took {} mappings back; late, and cut off from the memory: {}", report->mappings,
                     names_of(report->late));
  if (report->mappings == 0) return;
  if (for_good) return log::info("took {} mappings back for good, and nobody was late", report->mappings);
  log::debug("took {} mappings back for now, and nobody was late", report->mappings);
}

}  // namespace

struct Core::TakeBack {
  struct Call {
    ImporterState* importer = nullptr;  // busy until it has been called
    MappingId mapping;
  };
  std::vector<std::shared_ptr<RegionState>> regions;
  std::vector<Taken> taken;
  std::vector<Call> calls;
  std::vector<Bdf> late;
  std::optional<Error> not_cut_off;
  bool for_good = true;
};

Result<RevokeReport> Core::take_back(RegionState& region, bool for_good, RevokeOptions options, MemoryRange part) {
  TakeBack work;
  work.for_good = for_good;
  {
    Lock lock(mutex_);
    look_after_left(lock);
    if (!for_good && region.pinned_mappings_ > 0) {
      if (auto pinned = why_pinned(region, part)) {
        ++counters_.invalidations_refused;
        return fail(std::move(*pinned));
      }
    }
    ++(for_good ? counters_.revocations : counters_.invalidations);
    collect(region, for_good, work, part);
  }
  return run(work, options);
}

// Who pins something of this part, or nothing. With the lock held.
std::optional<Error> Core::why_pinned(const RegionState& region, MemoryRange part) {
  std::string who;
  std::size_t pins = 0;
  for (const MappingState* mapping = region.first_mapping_; mapping != nullptr; mapping = mapping->next_in_region_) {
    if (mapping->hold_ != Hold::pinned || (part.bytes != 0 && !mapping->touches(part))) continue;
    if (pins++ < kPinsTold)
      who += fmt::format("{}{} ({} bytes)", pins == 1 ? "" : ", ", mapping->importer_function_.to_string(),
                         mapping->segment_.bytes);
  }
  if (pins == 0) return std::nullopt;
  if (part.bytes == 0) part = region.range_;
  return Error{.code = ErrorCode::pinned,
               .doing = "taking back for now memory of",
               .subject = region.function_.to_string(),
               .where = fmt::format("{} bytes from {:#x} on", part.bytes, part.offset),
               .why = fmt::format("it is pinned by {} of its mappings, for {}{}", pins, who,
                                  pins > kPinsTold ? " and others" : ""),
               .cure = "wait until they are unmapped, or revoke it for good"};
}

Result<RevokeReport> Core::revoke_all(Exporter& exporter, RevokeOptions options) {
  TakeBack work;
  {
    Lock lock(mutex_);
    ExporterState* const state = find(exporter);
    if (state == nullptr) return RevokeReport{};
    ++counters_.revocations;
    for (RegionState* const region : state->regions) collect(*region, true, work);
  }
  return run(work, options);
}

Result<RevokeReport> Core::withdraw(Exporter& exporter, RevokeOptions options) {
  TakeBack work;
  Lock lock(mutex_);
  ExporterState* const state = find(exporter);
  if (state == nullptr) return RevokeReport{};
  if (std::exchange(state->going, true)) {  // another thread is at it; when we return, it must be done
    wait(lock, [&] { return find(exporter) != state; });
    return RevokeReport{};
  }
  ++counters_.revocations;
  for (RegionState* const region : state->regions) collect(*region, true, work);
  lock.unlock();
  Result<RevokeReport> report = run(work, options);
  lock.lock();
  wait(lock, [&] { return state->busy == 0; });
  while (!state->regions.empty()) unlist(*state->regions.back());
  exporters_.erase(&exporter);
  return report;
}

Result<RevokeReport> Core::remove(Importer& importer, RevokeOptions options) {
  TakeBack work;
  Lock lock(mutex_);
  ImporterState* const state = find(importer);
  if (state == nullptr) return RevokeReport{};
  if (std::exchange(state->going, true)) {
    wait(lock, [&] { return find(importer) != state; });
    return RevokeReport{};
  }
  ++counters_.revocations;
  for (std::uint32_t slot = 0; slot < slots_made_; ++slot) {
    MappingState& mapping = chunks_[slot / kMappingsInChunk][slot % kMappingsInChunk];
    if (!mapping.gone_ && mapping.importer_ == state) add_taken(mapping, work);
  }
  lock.unlock();
  Result<RevokeReport> report = run(work, options);
  lock.lock();
  wait(lock, [&] { return state->busy == 0; });
  importers_.erase(&importer);
  return report;
}

// Closes the region to new mappings and its mappings, or those that touch the part, to new leases. With the lock held.
void Core::collect(RegionState& region, bool for_good, TakeBack& work, MemoryRange part) {
  if (for_good) region.revoked_ = true;
  ++region.epoch_;
  ++region.taking_back_;
  work.regions.push_back(region.shared_from_this());
  for (MappingState* mapping = region.first_mapping_; mapping != nullptr; mapping = mapping->next_in_region_)
    if (part.bytes == 0 || mapping->touches(part)) add_taken(*mapping, work);
}

// To new leases. With the lock held.
void Core::close(MappingState& mapping) {
  mapping.word_.fetch_or(MappingState::kClosed, std::memory_order_seq_cst);
  mapping.closed_at_ = fences_;
}

// Of a closed mapping: is no lease left? Then none can come any more. One fence is enough for all that were closed before it. With
// the lock held.
bool Core::is_idle(MappingState& mapping) {
  if (mapping.closed_at_ == fences_ && mapping.is_another_threads_seat()) {
    base::heavy_fence();
    ++fences_;
  }
  return mapping.shut_if_idle();
}

void Core::add_taken(MappingState& mapping, TakeBack& work) {
  close(mapping);
  work.taken.push_back({&mapping, mapping.id().generation});
  ++counters_.mappings_taken_back;
  if (mapping.claimed_ || std::exchange(mapping.told_, true)) return;
  ++mapping.importer_->busy;
  work.calls.push_back({mapping.importer_, mapping.id()});
}

// What a revocation is, from its first call to its report. Without the lock.
Result<RevokeReport> Core::run(TakeBack& work, RevokeOptions options) {
  // A handle that outlives the Exchange comes here with nothing left to wait for, and perhaps with no clock any more.
  if (!work.taken.empty() || !settled(work)) await_leases(work, options);
  {
    Lock lock(mutex_);
    for (const auto& region : work.regions) {
      const std::vector<Bdf> defied_by = std::exchange(region->defied_by_, {});
      work.late.insert(work.late.end(), defied_by.begin(), defied_by.end());
      --region->taking_back_;
    }
    std::sort(work.late.begin(), work.late.end());
    work.late.erase(std::unique(work.late.begin(), work.late.end()), work.late.end());
    counters_.late_importers += work.late.size();
  }
  Result<RevokeReport> report =
      RevokeReport{.mappings = static_cast<std::uint32_t>(work.taken.size()), .late = std::move(work.late)};
  if (work.not_cut_off) report = fail(std::move(*work.not_cut_off));
  tell(report, work.for_good);
  return report;
}

void Core::await_leases(TakeBack& work, RevokeOptions options) {
  const base::TimePoint deadline = clock_.now() + std::clamp(options.deadline, Duration::zero(), kLongestDeadline);
  for (const TakeBack::Call& call : work.calls) {
    call.importer->importer->invalidate(call.mapping);
    Lock lock(mutex_);
    --call.importer->busy;
  }
  const bool in_time = base::wait_until(clock_, deadline, [&] {
    if (settled(work)) return true;
    make_progress(work);
    return settled(work);
  });
  if (in_time) return;
  for (const Taken& taken : work.taken) cut_off(taken, work);
  // What is left now is in the hands of other threads, on their way through a domain.
  static_cast<void>(base::wait_until(clock_, base::TimePoint::max(), [&] { return settled(work); }));
}

bool Core::is_current(const Taken& taken) {
  return taken.mapping->id().generation == taken.generation && !taken.mapping->gone_;
}

// Does it still hold a lease of memory that was taken from under it? With the lock held.
bool Core::is_late(ImporterState& importer) {
  std::erase_if(importer.late, [this](const Taken& taken) {
    return taken.mapping->id().generation != taken.generation || is_idle(*taken.mapping);
  });
  return !importer.late.empty();
}

// Unmaps what has no lease any more. True once nothing is left.
bool Core::settled(TakeBack& work) {
  Lock lock(mutex_);
  bool all = true;
  for (const Taken& taken : work.taken) {
    if (!is_current(taken)) continue;
    if (!taken.mapping->claimed_ && is_idle(*taken.mapping)) unmap(lock, *taken.mapping, &work);
    if (is_current(taken)) all = false;
  }
  return all && std::all_of(work.regions.begin(), work.regions.end(),
                            [](const auto& region) { return region->in_domains_ == 0; });
}

// Importers whose transfers this very thread drives get on here.
void Core::make_progress(TakeBack& work) {
  std::vector<ImporterState*> waited_for;
  Lock lock(mutex_);
  for (const Taken& taken : work.taken) {
    if (!is_current(taken) || taken.mapping->claimed_) continue;
    ImporterState* const importer = taken.mapping->importer_;
    if (std::find(waited_for.begin(), waited_for.end(), importer) != waited_for.end()) continue;
    ++importer->busy;
    waited_for.push_back(importer);
  }
  for (ImporterState* const importer : waited_for) {
    lock.unlock();
    importer->importer->make_progress();
    lock.lock();
    --importer->busy;
  }
}

// The deadline has passed.
void Core::cut_off(const Taken& taken, TakeBack& work) {
  Lock lock(mutex_);
  MappingState& mapping = *taken.mapping;
  if (!is_current(taken) || mapping.claimed_) return;
  if (is_idle(mapping)) return unmap(lock, mapping, &work);
  mapping.claimed_ = true;
  work.late.push_back(mapping.importer_->function);
  if (mapping.guarded_) {
    // The IOMMU gives out again what it forgets. What is still in flight by the old address must not reach a new mapping: none
    // is made while it may be, and those that are being made have their address before this one is free.
    ImporterState& importer = *mapping.importer_;
    importer.late.push_back(taken);
    wait(lock, [&] { return importer.in_domain == 0; });
  } else {
    isolate(lock, mapping, &work);
  }
  forget_address(lock, mapping, &work);
  tell_owner(lock, mapping);
  finish(mapping);
}

// The mapping is closed, has no lease, and nobody has claimed it.
void Core::unmap(Lock& lock, MappingState& mapping, TakeBack* work) {
  mapping.claimed_ = true;
  forget_address(lock, mapping, work);
  tell_owner(lock, mapping);
  finish(mapping);
}

// The domain forgets the address of a claimed mapping. Lets the lock go meanwhile. A device that goes on by what it has
// asked the domain before is late, whoever held a lease, and must be isolated.
void Core::forget_address(Lock& lock, MappingState& mapping, TakeBack* work) {
  if (mapping.in_domain_) forget_in_domain(lock, mapping, work);
  if (mapping.interconnect_ != 0) close_way(lock, mapping, work);
}

void Core::forget_in_domain(Lock& lock, MappingState& mapping, TakeBack* work) {
  ImporterState& importer = *mapping.importer_;
  ++importer.busy;
  lock.unlock();
  DmaDomain& domain = importer.importer->domain();
  domain.unmap(mapping.segment_.address, mapping.segment_.bytes);
  const bool defied = mapping.guarded_ && domain.is_defied();
  lock.lock();
  --importer.busy;
  if (!defied) return;
  std::vector<Bdf>& late = work != nullptr ? work->late : mapping.region_->defied_by_;
  if (std::find(late.begin(), late.end(), importer.function) == late.end()) late.push_back(importer.function);
  isolate(lock, mapping, work);
}

// The guard of the interconnect closes what it opened for a claimed mapping. Lets the lock go meanwhile.
void Core::close_way(Lock& lock, MappingState& mapping, TakeBack* work) {
  ImporterState& importer = *mapping.importer_;
  Interconnect& interconnect = *interconnects_[mapping.interconnect_ - 1u].load(std::memory_order_acquire);
  const Interconnect::Way way{.client = importer.function,
                              .provider = mapping.region_->function_,
                              .range = {mapping.offset_, mapping.segment_.bytes},
                              .access = mapping.access_};
  const LinkAddress address =
      mapping.in_domain_ ? placed_links_.extract(&mapping).mapped() : LinkAddress{mapping.segment_.address.value};
  ++importer.busy;
  lock.unlock();
  const auto closed = interconnect.close(way, address);
  lock.lock();
  --importer.busy;
  if (closed) return;
  mapping.region_->quarantined_ = true;
  if (work == nullptr || work->not_cut_off) return;
  work->not_cut_off = Error{.code = closed.error().code,
                            .doing = "taking memory back from",
                            .subject = importer.function.to_string(),
                            .why = fmt::format("the {} to it could not be closed ({}): its requests may still arrive",
                                               interconnect.name(), closed.error().message()),
                            .cure = "reset the device that owns the memory; the memory is not used again"};
}

// Takes from the importer of a claimed mapping the right to do any DMA. Lets the lock go meanwhile. Where nobody waits for
// the mapping's end, what went wrong shows in the counters alone.
void Core::isolate(Lock& lock, MappingState& mapping, TakeBack* work) {
  ImporterState& importer = *mapping.importer_;
  if (importer.isolated) return;
  ++importer.busy;
  lock.unlock();
  const Result<void> isolated = importer.importer->isolate();
  base::log::warn("{} did not let go of memory that was taken back: {}", importer.function.to_string(),
                  isolated ? "it may do no DMA until it is reset" : isolated.error().message());
  lock.lock();
  --importer.busy;
  if (isolated || isolated.error().code == ErrorCode::device_gone) {
    if (!std::exchange(importer.isolated, true)) ++counters_.isolated_importers;
    return;
  }
  mapping.region_->quarantined_ = true;
  if (work == nullptr) return;
  work->not_cut_off =
      Error{.code = isolated.error().code,
            .doing = "taking memory back from",
            .subject = importer.function.to_string(),
            .why = fmt::format("it did not let go by the deadline and could not be cut off ({}): its DMA "
                               "may still arrive",
                               isolated.error().message()),
            .cure = "reset the device; the memory is not used again"};
}

void Core::finish(MappingState& mapping) {
  if (mapping.hold_ == Hold::pinned) {
    --mapping.region_->pinned_mappings_;
    unpin(*mapping.region_, *mapping.region_->exporter_, mapping.whole_pages_bytes());
  }
  MappingState* const next = mapping.next_in_region_;
  MappingState* const previous = mapping.previous_in_region_;
  (previous == nullptr ? mapping.region_->first_mapping_ : previous->next_in_region_) = next;
  if (next != nullptr) next->previous_in_region_ = previous;
  mapping.gone_ = true;
  mapping.importer_ = nullptr;
  mapping.region_ = nullptr;
  ++counters_.unmapped;
  recycle_if_free(mapping);
}

void Core::recycle_if_free(MappingState& mapping) {
  if (!mapping.gone_ || mapping.has_handle_) return;
  if (!is_idle(mapping)) return leave_note(mapping);
  const std::uint32_t generation = mapping.id().generation + 1;
  mapping.word_.store(MappingState::word_of(generation) | MappingState::kClosed, std::memory_order_release);
  mapping.core_.reset();
  if (generation == 0xffffffff) return;  // its generations are used up: the place is never used again
  mapping.next_free_ = first_free_;
  first_free_ = mapping.slot_;
}

// A closed mapping may have lost its last lease.
void Core::end_if_idle(Lock& lock, MappingState& mapping) {
  if (mapping.claimed_) return recycle_if_free(mapping);
  if (is_idle(mapping)) return unmap(lock, mapping, nullptr);
  // With a handle, it is being revoked, by somebody who goes on looking.
  if (!mapping.has_handle_) leave_note(mapping);
}

// Whoever ends a counted lease looks here again; whoever sits in the seat may not know that it should.
void Core::leave_note(MappingState& mapping) {
  if (mapping.leases() == 0) left_.push_back({&mapping, mapping.id().generation});
}

void Core::end_closed_lease(MappingState& mapping) {
  Lock lock(mutex_);
  mapping.word_.fetch_sub(1, std::memory_order_acq_rel);
  end_if_idle(lock, mapping);
}

void Core::end_closed_seat(MappingState& mapping) {
  Lock lock(mutex_);
  mapping.seat_.store(MappingState::kShut, std::memory_order_release);
  end_if_idle(lock, mapping);
}

void Core::drop_handle(MappingState& mapping) {
  Lock lock(mutex_);
  look_after_left(lock);
  mapping.has_handle_ = false;
  close(mapping);
  end_if_idle(lock, mapping);
}

// What is left to do for those who did not see that they were the last. Lets the lock go meanwhile.
void Core::look_after_left(Lock& lock) {
  if (left_.empty()) [[likely]]
    return;
  for (const Taken& taken : std::exchange(left_, {}))
    if (taken.mapping->id().generation == taken.generation && !taken.mapping->has_handle_)
      end_if_idle(lock, *taken.mapping);
}

}  // namespace barter::peer
