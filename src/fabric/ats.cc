// Address Translation Services (PCIe 6.0, chapter 10), from both ends: the function, which asks for translations, keeps them
// and sends requests by them, and the IOMMU, which answers and takes translations back. Page requests (10.4) are not here: a
// function that gets no translation does not wait for one.
//
// What the specification leaves to a function, ours does so: it asks about every address; what it is given no translation
// for, because the page is not mapped, the access is not allowed, U is set or the IOMMU answers Unsupported Request, it
// sends untranslated, so that the IOMMU refuses and reports it as any other; and a Translation Request that ACS blocks
// ends the memory request that it was for.
#include <mutex>

#include "fabric/system.h"
#include "pci/capabilities/ats.h"

namespace barter::fabric {

// The function's side.

Resolution FunctionRequester::find_way(std::uint64_t address, Access access) {
  const MemoryRequest untranslated{.address = address, .access = access};
  if (!uses_ats()) return resolve(system_, node_, untranslated);
  const Translation* known = translations_->find(address);
  if (known == nullptr || !known->allows(access)) {
    ++system_.ats_traffic.translation_requests;
    const TranslationCompletion answer = request_translation(system_, node_, untranslated);
    if (answer.is_blocked) {
      Resolution nowhere;
      nowhere.status = Completion::unsupported_request;
      return nowhere;
    }
    known = answer.translation ? &translations_->insert(*answer.translation) : nullptr;
  }
  if (known == nullptr || known->untranslated_only || !known->allows(access))
    return resolve(system_, node_, untranslated);
  return resolve(system_, node_, {.address = address, .access = access, .translation = known});
}

void FunctionRequester::drop_translations(Span range) {
  if (translations_) translations_->drop(range);
}

// Turning ATS on starts with an empty cache, and so does a reset (PCIe 6.0, 10.3.7 and 10.5.1.3). Turning it off empties it
// at once, which is as good: nothing goes by it then.
void FunctionRequester::publish_ats() {
  if (!translations_) return;
  const auto control = node_.registers.get<pci::ats::Control>(node_.capabilities.ats);
  const bool enabled = control.get(pci::ats::Control::enable);
  if (enabled != uses_ats()) translations_->clear();
  uses_ats_.store(enabled, std::memory_order_release);
}

bool FunctionRequester::still_reaches(Span range) const {
  bool reaches = false;
  translations_->for_each(range, [&](const Translation& known) {
    for (const Access access : {Access::read, Access::write}) {
      if (!known.allows(access) || known.untranslated_only) continue;
      for (const std::uint64_t address : {known.start, known.start + known.bytes - 1})
        reaches = reaches || would_reach(system_, node_, {.address = address, .access = access, .translation = &known});
    }
  });
  return reaches;
}

bool FunctionRequester::knows_any(Span range) const {
  bool any = false;
  translations_->for_each(range, [&](const Translation&) { any = true; });
  return any;
}

// The IOMMU's side.

bool Domain::device_translates() const { return translates() && node_.requester && node_.requester->uses_ats(); }

// The size that field S tells is a power of two, and both addresses are aligned to it (PCIe 6.0, 10.2.3.2): the largest such
// block around the address that one mapping covers. IOVAs are chosen so that it is large.
std::optional<Translation> Domain::answer(std::uint64_t address) const {
  const auto mapped = translate(address);
  if (!mapped) return std::nullopt;
  const std::uint64_t offset = mapped->target - address;
  Translation answer{.start = address & ~(kPageBytes - 1), .bytes = kPageBytes, .access = mapped->access};
  while (true) {
    const std::uint64_t bytes = answer.bytes * 2;
    const std::uint64_t start = address & ~(bytes - 1);
    if (start < mapped->mapping_start || mapped->mapping_end - start < bytes || offset % bytes != 0) break;
    answer.start = start;
    answer.bytes = bytes;
  }
  answer.target = answer.start + offset;
  return answer;
}

// Sends an Invalidate Request for the range (PCIe 6.0, 10.3.1): one is enough, because the smallest power of two around a
// mapping holds no other one. Tells whether the device holds none of it any more, once its requests so far are over: those
// go ahead of the Invalidate Completion (10.3.3). System's mutex is held.
bool Domain::invalidate(const IovaAllocator::Range& range) {
  const Span addresses{range.iova, range.iova + range.bytes};
  // A function that can't be reached reaches nothing itself, and comes back from a reset, if at all.
  if (!node_.routable) {
    node_.requester->drop_translations(addresses);
    return true;
  }
  // A function that has been cut off is not asked any more: what it has, it keeps.
  if (!ats_allowed_) return !node_.requester->knows_any(addresses);
  ++system_.ats_traffic.invalidate_requests;
  const double ignored = system_.options.faults.ignored_invalidation;
  if (ignores_invalidations_ || (ignored > 0 && chance_.chance(ignored))) return false;
  node_.requester->drop_translations(addresses);
  return true;
}

// The deadline passes without an Invalidate Completion. From now on the context entry lets none of the function's translated
// requests through the root complex, which is the end of it unless a switch lets them pass directly.
void Domain::cut_off(const IovaAllocator::Range& range, bool was_asked) {
  if (was_asked) system_.runner->delay(system_.options.invalidation_deadline);
  {
    const std::lock_guard lock(system_.mutex);
    ats_allowed_ = false;
    if (was_asked) ++system_.ats_traffic.ignored_invalidations;
    if (node_.requester->still_reaches({range.iova, range.iova + range.bytes}))
      defied_.store(true, std::memory_order_release);
    node_.requester->forget();
  }
  system_.wait_until_idle(node_);
}

void Domain::function_was_reset() {
  if (node_.requester) node_.requester->drop_translations({0, ~std::uint64_t{0}});
  ats_allowed_ = ats_wanted_;
  defied_.store(false, std::memory_order_release);
}

}  // namespace barter::fabric
