#include "peer/managed_pages.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "peer/pointers.h"

namespace barter::peer {

namespace {

constexpr Duration kLongestMark = std::chrono::seconds(10);

}  // namespace

ManagedPages::ManagedPages(ManagedSetup setup)
    : exchange_(setup.exchange),
      clock_(setup.clock),
      mover_(setup.mover ? std::move(setup.mover) : std::make_unique<CpuMover>()),
      touch_deadline_(setup.touch_deadline),
      on_lost_(std::move(setup.on_lost)),
      pages_(setup.faults->program_bytes().size() / kPageBytes),
      faults_(std::move(setup.faults)),
      host_(std::make_unique<HostPages>(faults_->behind_bytes(), setup.place)) {}

Result<std::shared_ptr<ManagedPages>> ManagedPages::create(ManagedSetup setup) {
  std::shared_ptr<ManagedPages> made(new ManagedPages(std::move(setup)));
  if (auto added = made->exchange_.add(*made->host_); !added) return std::unexpected(std::move(added.error()));
  auto region = made->exchange_.allocate(*made->host_, made->host_->size_bytes());
  if (!region) {
    static_cast<void>(made->exchange_.withdraw(*made->host_));
    return std::unexpected(std::move(region.error()));
  }
  made->host_region_ = std::move(*region);
  auto started = made->faults_->start([pages = made.get()](std::uint64_t page) { pages->on_fault(page); });
  if (!started) return std::unexpected(std::move(started.error()));
  if (auto known = made->exchange_.pointers().add(made->bytes(), made->weak_from_this()); !known)
    return std::unexpected(std::move(known.error()));
  return made;
}

ManagedPages::~ManagedPages() {
  faults_->stop();  // its thread may still be at work, for a touch that is over
  exchange_.pointers().remove(bytes().data());
  host_region_.reset();
  static_cast<void>(exchange_.withdraw(*host_));
}

Error ManagedPages::refusal(ErrorCode code, const char* doing, std::string why, std::string cure) const {
  return {.code = code,
          .doing = doing,
          .subject = fmt::format("managed memory of {} bytes", pages_.size() * kPageBytes),
          .why = std::move(why),
          .cure = std::move(cure)};
}

// The pages that a range touches; without bytes, to the end.
Result<PageRun> ManagedPages::pages_of(MemoryRange range, const char* doing) const {
  const std::uint64_t all = pages_.size() * kPageBytes;
  if (range.bytes == 0 && range.offset < all) range.bytes = all - range.offset;
  if (range.bytes == 0 || !MemoryRange{0, all}.contains(range))
    return fail(refusal(ErrorCode::out_of_range, doing,
                        fmt::format("{} bytes from offset {} on are not within it", range.bytes, range.offset)));
  const std::uint64_t first = range.offset / kPageBytes;
  return PageRun{first, (range.offset + range.bytes - 1) / kPageBytes - first + 1};
}

Result<std::vector<Residence>> ManagedPages::where(MemoryRange range) const {
  const auto pages = pages_of(range, "looking up pages of");
  if (!pages) return std::unexpected(pages.error());
  std::vector<Residence> found;
  const Lock lock(mutex_);
  for (std::uint64_t page = pages->first; page < pages->first + pages->count; ++page) {
    const Page& now = pages_[page];
    const bool has_device = now.state == PageState::device || now.state == PageState::lost;
    const Bdf device = has_device ? devices_[now.device]->exporter().function() : Bdf{};
    if (!found.empty() && found.back().state == now.state && found.back().device == device)
      found.back().range.bytes += kPageBytes;
    else
      found.push_back({.range = {page * kPageBytes, kPageBytes}, .state = now.state, .device = device});
  }
  return found;
}

ManagedCounters ManagedPages::counters() const {
  const Lock lock(mutex_);
  return counters_;
}

Result<void> ManagedPages::renew(MemoryRange range) {
  const auto pages = pages_of(range, "renewing pages of");
  if (!pages) return std::unexpected(pages.error());
  for (std::uint64_t page = pages->first; page < pages->first + pages->count; ++page) {
    // Whoever has just been told of a loss may be here before the page is marked.
    bool is_lost = false;
    static_cast<void>(base::wait_until(clock_, clock_.now() + kLongestMark, [&] {
      const Lock look(mutex_);
      is_lost = pages_[page].state == PageState::lost;
      if (is_lost) pages_[page] = {.state = PageState::moving};
      return is_lost || pages_[page].state != PageState::moving;
    }));
    if (!is_lost) continue;
    auto renewed = faults_->renew({page, 1});
    {
      const Lock lock(mutex_);
      pages_[page].state = renewed ? PageState::host : PageState::lost;
    }
    wake_those_who_wait({page, 1});
    if (!renewed) return renewed;
  }
  return {};
}

}  // namespace barter::peer
