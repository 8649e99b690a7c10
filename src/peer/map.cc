// Making a mapping: admission, verdict, hardware, pin, consent (consent.cc), address, publication, in this order. Nothing of
// a failed attempt remains.
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "peer/attempt.h"
#include "peer/core.h"
#include "peer/fallback.h"

namespace barter::peer {

std::expected<Mapping, NotMapped> Core::map(Importer& importer, RegionState& region, const MapOptions& options,
                                            std::optional<DmaAddress> at) {
  std::string why_not_opened;
  {
    Attempt attempt(*this, importer, region, options);
    attempt.at = at;
    auto made = try_map(attempt);
    if (made || !attempt.could_not_open) return made;
    why_not_opened = std::move(made.error().error.why);
  }
  Attempt attempt(*this, importer, region, options);
  attempt.pcie_only = true;
  attempt.why_no_interconnect = std::move(why_not_opened);
  return try_map(attempt);
}

std::expected<Mapping, NotMapped> Core::try_map(Attempt& attempt) {
  std::optional<NotMapped> failed = admit(attempt);
  if (!failed) failed = judge(attempt);
  if (!failed) failed = ask_hardware(attempt);
  if (!failed) failed = pin(attempt);
  if (!failed) failed = ask_owner(attempt);
  if (!failed) failed = find_address(attempt);
  if (!failed) failed = publish(attempt);
  if (!failed) return Mapping(attempt.mapping);
  return give_up(attempt, std::move(*failed));
}

// Whoever granted something is told that it is gone.
std::unexpected<NotMapped> Core::give_up(Attempt& attempt, NotMapped failed) {
  if (base::log::is_wanted(base::log::Level::debug))
    base::log::debug("not mapped, {}: {}", name_of(reason_of(failed.reason)), failed.error.message());
  if (attempt.is_granted || !attempt.parts.empty())
    tell_unmapped(*attempt.exporter_state->exporter, request_for(attempt), attempt.parts);
  Lock lock(mutex_);
  ++counters_.refused[static_cast<std::size_t>(failed.reason)];
  return std::unexpected(std::move(failed));
}

// Is what was admitted still so? With the lock held.
std::optional<NotMapped> Core::check_current(const Attempt& attempt) {
  if (attempt.importer_state->going || attempt.exporter_state->going)
    return attempt.refusal(Refusal::device_gone, ErrorCode::device_gone, "one of the two devices has left the machine");
  if (attempt.importer_state->isolated)
    return attempt.refusal(Refusal::device_gone, ErrorCode::device_failed,
                           "the importer was cut off from all memory, because it did not let go of revoked memory",
                           "open the machine anew, which resets the device");
  if (is_late(*attempt.importer_state))
    return attempt.refusal(Refusal::late_importer, ErrorCode::device_failed,
                           "the importer has not yet ended what it had in flight to memory that was taken back from it",
                           "let that end, or open the machine anew, which resets the device");
  if (attempt.region.revoked_)
    return attempt.refusal(Refusal::revoked, ErrorCode::revoked, "the owner has taken the memory back for good");
  if (attempt.region.taking_back_ > 0 || attempt.region.epoch_ != attempt.epoch)
    return attempt.refusal(Refusal::revoked, ErrorCode::revoked, "the owner has just taken the memory back for now",
                           "map it again");
  return std::nullopt;
}

std::optional<NotMapped> Core::admit(Attempt& attempt) {
  const MemoryRange whole = attempt.region.range_;
  const MapOptions& options = attempt.options;
  if (options.offset > whole.bytes || options.bytes > whole.bytes - options.offset || options.offset == whole.bytes)
    return attempt.refusal(Refusal::out_of_range, ErrorCode::out_of_range,
                           fmt::format("{} bytes from {} on are not within the region's {} bytes", options.bytes,
                                       options.offset, whole.bytes));
  attempt.range = {whole.offset + options.offset, options.bytes == 0 ? whole.bytes - options.offset : options.bytes};
  Lock lock(mutex_);
  look_after_left(lock);
  if (attempt.region.core_.get() != this)
    return attempt.refusal(Refusal::device_gone, ErrorCode::invalid_argument, "the memory is of another machine");
  ImporterState* const importer = find(attempt.importer);
  ExporterState* const exporter = attempt.region.exporter_;
  if (importer == nullptr || exporter == nullptr)
    return attempt.refusal(Refusal::device_gone, ErrorCode::device_gone,
                           fmt::format("the {} is not, or no longer, part of this machine",
                                       importer == nullptr ? "importer" : "device that owns the memory"));
  attempt.importer_state = importer;
  attempt.exporter_state = exporter;
  attempt.epoch = attempt.region.epoch_;
  ++importer->busy;
  ++exporter->busy;
  if (auto failed = check_current(attempt)) return failed;
  // A copy without allocation on the way that matters: the sentence is empty where there is a route.
  attempt.answer = route(lock, importer->function, exporter->function);
  return std::nullopt;
}

// What is wrong on PCIe, and with the interconnect that there is beside it.
std::string Core::also(const Attempt& attempt, std::string why) {
  return attempt.why_no_interconnect.empty() ? why : fmt::format("{}; {}", why, attempt.why_no_interconnect);
}

std::optional<NotMapped> Core::judge(Attempt& attempt) {
  choose_interconnect(attempt);
  if (attempt.interconnect) return std::nullopt;
  const RouteAnswer& answer = attempt.answer;
  attempt.route = route_for(answer, attempt.options.access);
  if (attempt.route == Route::not_supported)
    return attempt.refusal(Refusal::no_route, ErrorCode::no_route,
                           also(attempt, answer.why.empty() ? "there is no direct route" : answer.why),
                           "go by way of host memory");
  if (attempt.route == Route::unknown && !attempt.options.allow_unknown_route)
    return attempt.refusal(
        Refusal::route_unknown, ErrorCode::no_route,
        also(attempt, answer.why.empty() ? "whether there is a direct route is unknown" : answer.why),
        "go by way of host memory, or allow the unknown route");
  DmaDomain& domain = attempt.importer_state->importer->domain();
  const bool by_pointer = domain.takes_pointers();
  if (by_pointer != attempt.exporter_state->exporter->is_known_by_pointer())
    return attempt.refusal(Refusal::no_route, ErrorCode::unsupported,
                           by_pointer
                               ? "the importer is driven by the kernel, which does not lend this memory"
                               : "the memory is lent by the kernel, which alone knows where on the bus it lies, and "
                                 "the importer is not driven by the kernel",
                           "drive both by the kernel or both from user space, or go by way of host memory");
  // By bus address a request meets no IOMMU, unless the device asks it for the way before; on every other way it meets it,
  // if there is one. Pointers are the kernel's to translate, whichever way it takes.
  const bool device_translates = domain.device_translates();
  const bool by_bus_address = !by_pointer && !device_translates && attempt.route == Route::bus_address;
  // Its own memory a function reaches without the bus.
  const bool is_own = attempt.function == attempt.region.exporter();
  attempt.kind = by_pointer ? SegmentKind::pointer : by_bus_address ? SegmentKind::bus_address : SegmentKind::iova;
  attempt.in_domain = !by_bus_address || (domain.keeps_bus_addresses() && !is_own);
  attempt.translated = attempt.in_domain && domain.translates();
  attempt.guarded = attempt.translated && !by_bus_address;
  if (attempt.guarded && !device_translates && attempt.options.access == Access::read_write &&
      answer.read != answer.write)
    return attempt.refusal(
        Refusal::routes_differ, ErrorCode::no_route,
        fmt::format("reads go {} and writes go {}, and behind an IOMMU the two need different addresses",
                    name_of(answer.read), name_of(answer.write)),
        "map for reading and for writing apart");
  return std::nullopt;
}

std::optional<NotMapped> Core::ask_hardware(Attempt& attempt) {
  const Exporter& exporter = *attempt.exporter_state->exporter;
  attempt.target = exporter.bus_address() + attempt.range.offset;
  const auto wanted = static_cast<unsigned>(attempt.options.access);
  if ((static_cast<unsigned>(exporter.hardware_access()) & wanted) == wanted) return std::nullopt;
  return attempt.refusal(Refusal::hardware_access, ErrorCode::unsupported,
                         "the memory's hardware does not take this access from peers", "go by way of host memory");
}

// Counts the pages before the owner is asked, so that two attempts at once can't both get the last of them. The owner of the
// device may have set a limit, and whoever has the region another.
std::optional<NotMapped> Core::pin(Attempt& attempt) {
  if (attempt.options.hold != Hold::pinned) return std::nullopt;
  const std::optional<std::uint64_t> of_exporter = attempt.exporter_state->exporter->pin_limit_bytes();
  const std::uint64_t bytes = whole_pages(attempt.target.value % kPageBytes + attempt.range.bytes);
  const auto past = [&](std::optional<std::uint64_t> limit, std::uint64_t pinned) -> std::optional<NotMapped> {
    if (!limit || (pinned <= *limit && bytes <= *limit - pinned)) return std::nullopt;
    return attempt.refusal(
        Refusal::pin_limit, ErrorCode::exhausted,
        fmt::format("{} bytes are to be pinned, {} are pinned already, and the owner allows {}", bytes, pinned, *limit),
        "unmap what is pinned, pin less, or map it dynamic");
  };
  Lock lock(mutex_);
  RegionState& region = attempt.region;
  if (of_exporter == 0u || region.pin_limit_bytes_ == 0u)
    return attempt.refusal(Refusal::owner_refused, ErrorCode::refused, "the owner of the memory lets nobody pin it",
                           "map it dynamic, and map it again whenever it was taken back");
  if (auto failed = past(of_exporter, attempt.exporter_state->pinned_bytes)) return failed;
  if (auto failed = past(region.pin_limit_bytes_, region.pinned_bytes_)) return failed;
  region.pinned_bytes_ += bytes;
  attempt.exporter_state->pinned_bytes += bytes;
  counters_.pinned_bytes += bytes;
  attempt.pinned_bytes = bytes;
  return std::nullopt;
}

// With the lock held.
void Core::unpin(RegionState& region, ExporterState& exporter, std::uint64_t bytes) {
  region.pinned_bytes_ -= bytes;
  exporter.pinned_bytes -= bytes;
  counters_.pinned_bytes -= bytes;
}

void Core::limit_pins(RegionState& region, std::optional<std::uint64_t> bytes) {
  const Lock lock(mutex_);
  region.pin_limit_bytes_ = bytes;
}

std::optional<NotMapped> Core::find_address(Attempt& attempt) {
  if (attempt.interconnect) return open_way(attempt);
  attempt.address = DmaAddress{attempt.target.value};
  if (attempt.at && !attempt.guarded)
    return attempt.refusal(Refusal::iommu_failed, ErrorCode::unsupported,
                           "its addresses are not for the caller to choose");
  if (!attempt.in_domain) return std::nullopt;
  if (attempt.translated) {
    // From here to publication a revocation waits for us: it must not return while the IOMMU lets anything through, and must
    // not free an address that could become ours.
    Lock lock(mutex_);
    if (auto failed = check_current(attempt)) return failed;
    ++attempt.region.in_domains_;
    ++attempt.importer_state->in_domain;
  }
  DmaDomain& domain = attempt.importer_state->importer->domain();
  const Result<DmaAddress> address = attempt.at
                                         ? domain.map_at({.at = *attempt.at,
                                                          .target = attempt.target,
                                                          .bytes = attempt.range.bytes,
                                                          .access = attempt.options.access,
                                                          .route = attempt.route})
                                         : domain.map(attempt.target, attempt.range.bytes, attempt.options.access);
  // Turned around at a switch, a request must carry the bus address: a domain that could not map it there is of no use.
  const bool is_elsewhere = address && attempt.translated && !attempt.guarded && address->value != attempt.target.value;
  if (address && !is_elsewhere) {
    attempt.address = *address;
    return std::nullopt;
  }
  if (is_elsewhere) domain.unmap(*address, attempt.range.bytes);
  if (attempt.translated) {
    Lock lock(mutex_);
    leave_domain(attempt);
  }
  if (is_elsewhere)
    return attempt.refusal(Refusal::iommu_failed, ErrorCode::exhausted,
                           "requests go by bus address, and the IOMMU has something else at that address",
                           "go by way of host memory, or map each range once");
  const Error& error = address.error();
  return attempt.refusal(error.code == ErrorCode::exhausted ? Refusal::exhausted : Refusal::iommu_failed, error.code,
                         error.message(), error.cure);
}

// An interconnect's addresses are its engines' own affair.
std::optional<NotMapped> Core::check_address(const Attempt& attempt) {
  const unsigned bits = attempt.importer_state->importer->address_bits();
  const std::uint64_t last = attempt.address.value + attempt.range.bytes - 1;
  if (attempt.interconnect || std::cmp_less_equal(std::bit_width(last), bits)) return std::nullopt;
  return attempt.refusal(Refusal::address_bits, ErrorCode::unsupported,
                         fmt::format("it lies at addresses up to {:#x}, and the importer's have {} bits", last, bits),
                         "go by way of host memory");
}

std::optional<NotMapped> Core::publish(Attempt& attempt) {
  Lock lock(mutex_);
  std::optional<NotMapped> failed = check_current(attempt);
  if (!failed) failed = check_address(attempt);
  MappingState* const mapping = failed ? nullptr : take_slot();
  if (!failed && mapping == nullptr)
    failed = attempt.refusal(Refusal::exhausted, ErrorCode::exhausted,
                             fmt::format("there are {} mappings already, the most there can be", kMaxMappings),
                             "drop some mappings, or go by way of host memory");
  if (failed) {
    lock.unlock();
    undo(attempt);
    return failed;
  }
  RegionState& region = attempt.region;
  mapping->segment_ = {attempt.address, attempt.range.bytes, attempt.kind};
  mapping->offset_ = attempt.range.offset;
  mapping->importer_function_ = attempt.importer_state->function;
  mapping->route_ = attempt.route;
  mapping->access_ = attempt.options.access;
  mapping->hold_ = attempt.options.hold;
  mapping->in_domain_ = attempt.in_domain;
  mapping->translated_ = attempt.translated;
  mapping->guarded_ = attempt.guarded;
  mapping->interconnect_ = attempt.interconnect ? static_cast<std::uint8_t>(*attempt.interconnect + 1) : 0;
  mapping->has_handle_ = true;
  mapping->told_ = mapping->claimed_ = mapping->gone_ = false;
  mapping->importer_ = attempt.importer_state;
  mapping->region_ = &region;
  mapping->previous_in_region_ = nullptr;
  mapping->next_in_region_ = region.first_mapping_;
  if (region.first_mapping_ != nullptr) region.first_mapping_->previous_in_region_ = mapping;
  region.first_mapping_ = mapping;
  mapping->core_ = region.core_;
  mapping->sitter_.store(0, std::memory_order_relaxed);
  mapping->seat_.store(MappingState::kFree, std::memory_order_relaxed);
  // From here on leases can be taken; what was written above is seen by whoever takes one.
  mapping->word_.fetch_and(~MappingState::kClosed, std::memory_order_release);
  if (attempt.translated || attempt.interconnect) leave_domain(attempt);
  if (mapping->hold_ == Hold::pinned) ++region.pinned_mappings_;
  attempt.pinned_bytes = 0;  // the mapping's now
  if (attempt.interconnect && attempt.in_domain) placed_links_.emplace(mapping, attempt.link);
  mapping->has_parts_ = !attempt.parts.empty();
  if (mapping->has_parts_) parts_.emplace(mapping, std::move(attempt.parts));
  ++counters_.mapped;
  attempt.mapping = mapping;
  attempt.let_go();
  return std::nullopt;
}

void Core::undo(Attempt& attempt) {
  if (attempt.in_domain) attempt.importer_state->importer->domain().unmap(attempt.address, attempt.range.bytes);
  if (attempt.interconnect) return close_way(attempt);
  if (!attempt.translated) return;
  Lock lock(mutex_);
  leave_domain(attempt);
}

// With the lock held.
void Core::leave_domain(const Attempt& attempt) {
  --attempt.region.in_domains_;
  --attempt.importer_state->in_domain;
}

// A free place, or null if there is none. With the lock held.
MappingState* Core::take_slot() {
  if (first_free_ != kNoSlot) {
    MappingState* const mapping =
        chunk_at_[first_free_ / kMappingsInChunk].load(std::memory_order_relaxed) + first_free_ % kMappingsInChunk;
    first_free_ = mapping->next_free_;
    return mapping;
  }
  if (slots_made_ >= kMaxMappings) return nullptr;
  const std::uint32_t slot = slots_made_++;
  const std::size_t chunk = slot / kMappingsInChunk;
  if (slot % kMappingsInChunk == 0) {
    chunks_.push_back(std::make_unique<MappingState[]>(kMappingsInChunk));
    for (std::uint32_t index = 0; index < kMappingsInChunk; ++index) chunks_.back()[index].slot_ = slot + index;
    chunk_at_[chunk].store(chunks_.back().get(), std::memory_order_release);
  }
  return &chunks_[chunk][slot % kMappingsInChunk];
}

Result<Lease> Core::lease(MappingId id) {
  MappingState* const chunk =
      id.slot < kMaxMappings ? chunk_at_[id.slot / kMappingsInChunk].load(std::memory_order_acquire) : nullptr;
  if (chunk == nullptr)
    return fail(
        {.code = ErrorCode::invalid_argument, .doing = "taking a lease", .why = "there never was such a mapping"});
  return chunk[id.slot % kMappingsInChunk].lease(id.generation);
}

}  // namespace barter::peer
