// Pages of managed memory on their way: by request, or because the program has touched them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "peer/managed_pages.h"
#include "peer/region.h"

namespace barter::peer {

namespace {

constexpr const char* kMoving = "moving pages of";

bool overlap(PageRun one, PageRun other) {
  return one.first < other.first + other.count && other.first < one.first + one.count;
}

}  // namespace

Result<void> ManagedPages::move_to(Exporter& device, MemoryRange range, Duration deadline) {
  const auto number = number_of(device);
  if (!number) return std::unexpected(number.error());
  return move_on_request(range, *number, deadline);
}

Result<void> ManagedPages::move_to_host(MemoryRange range, Duration deadline) {
  return move_on_request(range, std::nullopt, deadline);
}

Result<void> ManagedPages::move_on_request(MemoryRange range, std::optional<std::uint8_t> to, Duration deadline) {
  const auto pages = pages_of(range, kMoving);
  if (!pages) return std::unexpected(pages.error());
  const base::TimePoint end = clock_.now() + deadline;
  std::optional<std::uint64_t> own_turn;
  const bool in_time = base::wait_until(clock_, end, [&] {
    const Lock lock(mutex_);
    if (!own_turn) own_turn = next_turn_;
    // An owner who is asked by a mapper may move pages while it decides.
    return std::ranges::none_of(mappers_, [&](const auto& entry) {
      const auto& [turn, mapper] = entry;
      return turn < *own_turn && mapper.thread != std::this_thread::get_id() && overlap(mapper.pages, *pages);
    });
  });
  if (!in_time)
    return fail(
        refusal(ErrorCode::timed_out, kMoving, "another thread still maps some of it at the deadline", "try again"));
  return move(range, to, std::max(end - clock_.now(), Duration::zero()));
}

Result<std::uint8_t> ManagedPages::number_of(Exporter& device) {
  const Lock lock(mutex_);
  for (std::size_t index = 0; index < device_count_; ++index)
    if (&devices_[index]->exporter() == &device) return static_cast<std::uint8_t>(index);
  if (device_count_ == kMaxManagedDevices)
    return fail(refusal(ErrorCode::exhausted, kMoving,
                        fmt::format("its pages have been in {} devices, the most there can be", device_count_)));
  devices_[device_count_] = std::make_unique<DevicePages>(exchange_, device);
  return static_cast<std::uint8_t>(device_count_++);
}

Result<void> ManagedPages::move(MemoryRange range, std::optional<std::uint8_t> to, Duration deadline) {
  const auto all = pages_of(range, kMoving);
  if (!all) return std::unexpected(all.error());
  const base::TimePoint end = clock_.now() + deadline;
  for (PageRun left = *all; left.count != 0;) {
    auto claimed = claim(left, to, end);
    Result<void> moved;
    if (!claimed)
      moved = std::unexpected(std::move(claimed.error()));
    else if (*claimed)
      moved = relocate(**claimed, to, end);
    if (moved) continue;
    moved.error().where = fmt::format("page {} of the {} from {} on", all->count - left.count, all->count, all->first);
    return moved;
  }
  return {};
}

// Marks the next pages that have to move, passes those by that are there, and waits for those that somebody else moves. None:
// nothing is left.
Result<std::optional<ManagedPages::Claim>> ManagedPages::claim(PageRun& left, std::optional<std::uint8_t> to,
                                                               base::TimePoint deadline) {
  std::optional<Result<Claim>> found;
  const bool in_time = base::wait_until(clock_, deadline, [&] {
    const Lock lock(mutex_);
    for (; left.count != 0; ++left.first, --left.count) {
      const Page& page = pages_[left.first];
      if (page.state == PageState::moving) return false;
      if (page.state == PageState::lost) {
        found = fail(refusal(ErrorCode::device_gone, kMoving,
                             fmt::format("its page {} is lost: {} has left with it", left.first,
                                         devices_[page.device]->exporter().function().to_string()),
                             "take new pages in its place (renew)"));
        return true;
      }
      const bool is_there = to ? page.state == PageState::device && page.device == *to : page.state == PageState::host;
      if (is_there) continue;
      found = claim_run(left.first, std::min<std::uint64_t>(left.count, kMaxPagesInMove));
      left.first += (*found)->pages.count;
      left.count -= (*found)->pages.count;
      return true;
    }
    return true;
  });
  if (!in_time)
    return fail(refusal(ErrorCode::timed_out, kMoving,
                        fmt::format("another thread still moves page {} at the deadline", left.first), "try again"));
  if (!found) return std::nullopt;
  if (!*found) return std::unexpected(std::move(found->error()));
  return **found;
}

// The longest run from here on that is in one place. With the lock held.
ManagedPages::Claim ManagedPages::claim_run(std::uint64_t first, std::uint64_t count) {
  const Page start = pages_[first];
  const bool on_device = start.state == PageState::device;
  Claim claim{
      .pages = {first, 0}, .from = on_device ? std::optional(start.device) : std::nullopt, .from_place = start.place};
  while (claim.pages.count < count) {
    Page& page = pages_[first + claim.pages.count];
    if (page.state != start.state) break;
    const std::uint32_t next = start.place + static_cast<std::uint32_t>(claim.pages.count);
    const bool goes_on =
        page.device == start.device && page.place == next && next / kMaxPagesInChunk == start.place / kMaxPagesInChunk;
    if (on_device && !goes_on) break;
    page.state = PageState::moving;
    page.was_on_device = on_device;
    ++claim.pages.count;
  }
  return claim;
}

// These pages of a claim stay where they are.
void ManagedPages::unclaim(const Claim& claim, PageRun pages) {
  {
    const Lock lock(mutex_);
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page)
      pages_[page].state = pages_[page].was_on_device ? PageState::device : PageState::host;
    // Host pages may be closed already; what can't be opened now is tried again when it is touched.
    if (!claim.from) static_cast<void>(faults_->open(pages));
  }
  wake_those_who_wait(pages);
}

Result<void> ManagedPages::relocate(Claim claim, std::optional<std::uint8_t> to, base::TimePoint deadline) {
  DeviceRun target;
  while (to) {
    auto run = devices_[*to]->allocate(static_cast<std::uint32_t>(claim.pages.count));
    if (!run) {
      unclaim(claim, claim.pages);
      return std::unexpected(std::move(run.error()));
    }
    target = *run;
    if (target.count == claim.pages.count) break;
    // The device's memory is in pieces: the first ones go by themselves.
    Claim first = claim;
    first.pages.count = target.count;
    claim.pages.first += target.count;
    claim.pages.count -= target.count;
    claim.from_place += claim.from ? target.count : 0;
    const auto moved = relocate_into(first, to, target, deadline);
    if (moved) continue;
    unclaim(claim, claim.pages);
    return moved;
  }
  return relocate_into(claim, to, target, deadline);
}

Result<void> ManagedPages::relocate_into(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target,
                                         base::TimePoint deadline) {
  Result<void> done;
  if (!claim.from) done = faults_->close(claim.pages);
  if (done) done = take_back(claim, deadline);
  const bool is_free = done.has_value();
  if (done) done = copy(claim, to, target);
  if (!done) {
    if (to) devices_[*to]->free(target);
    // What was in a device that doesn't answer is not there any more.
    if (is_free && claim.from && !devices_[*claim.from]->exporter().is_present())
      give_up(claim, done.error());
    else
      unclaim(claim, claim.pages);
    return done;
  }
  if (to && !claim.from)
    static_cast<void>(faults_->discard(claim.pages));  // else host memory is held for nothing, no more
  // Before anybody is let go on: whoever waits for a touch may be the one thread that may use the machine.
  if (claim.from) devices_[*claim.from]->free({claim.from_place, static_cast<std::uint32_t>(claim.pages.count)});
  settle(claim, to, target);
  return {};
}

// Nobody reaches the pages any more when it returns.
Result<void> ManagedPages::take_back(const Claim& claim, base::TimePoint deadline) {
  const RevokeOptions options{.deadline = std::max(deadline - clock_.now(), Duration::zero())};
  const MemoryRange host_part{claim.pages.first * kPageBytes, claim.pages.count * kPageBytes};
  Result<RevokeReport> report;
  if (claim.from) {
    const DeviceRun run{claim.from_place, static_cast<std::uint32_t>(claim.pages.count)};
    const auto chunk = devices_[*claim.from]->chunk_of(run.first);
    report = chunk->region.state()->invalidate_part({run.offset_bytes(), host_part.bytes}, options);
  } else {
    report = host_region_->state()->invalidate_part(host_part, options);
  }
  if (!report) return std::unexpected(std::move(report.error()));
  if (report->late.empty()) return {};
  const Lock lock(mutex_);
  counters_.late_importers += report->late.size();
  return {};
}

PageBytes ManagedPages::host_end(PageRun pages) const {
  const MemoryRange range{pages.first * kPageBytes, pages.count * kPageBytes};
  return {.exporter = host_.get(), .range = range, .cpu_bytes = host_->cpu_bytes(range)};
}

PageBytes ManagedPages::device_end(std::uint8_t device, DeviceRun run) const {
  const auto chunk = devices_[device]->chunk_of(run.first);
  const std::uint64_t bytes = run.count * kPageBytes;
  const bool is_seen = chunk->cpu_bytes.size() >= run.offset_bytes() + bytes;
  return {.exporter = &devices_[device]->exporter(),
          .range = {chunk->region.range().offset + run.offset_bytes(), bytes},
          .cpu_bytes = is_seen ? chunk->cpu_bytes.subspan(run.offset_bytes(), bytes) : std::span<std::byte>{}};
}

Result<void> ManagedPages::copy(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target) {
  const auto count = static_cast<std::uint32_t>(claim.pages.count);
  const PageBytes source = claim.from ? device_end(*claim.from, {claim.from_place, count}) : host_end(claim.pages);
  const PageBytes destination = to ? device_end(*to, target) : host_end(claim.pages);
  if (auto moved = mover_->move(source, destination); !moved) return moved;
  // Bytes that were read from a device that had left, or was reset, are none. So it is asked afterwards, and not again: one
  // whose link comes back has forgotten them.
  for (const PageBytes* end : {&source, &destination})
    if (!end->exporter->is_present())
      return fail(
          refusal(ErrorCode::device_gone, kMoving,
                  fmt::format("{} does not answer any more, or was reset", end->exporter->function().to_string())));
  return {};
}

// The pages have moved. They are opened with the lock held, so that who goes on finds them where they are said to be, and
// nobody begins to close them before they are open.
void ManagedPages::settle(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target) {
  Result<void> opened;
  {
    const Lock lock(mutex_);
    for (std::uint64_t index = 0; index < claim.pages.count; ++index) {
      Page& page = pages_[claim.pages.first + index];
      page.state = to ? PageState::device : PageState::host;
      page.device = to.value_or(0);
      page.place = to ? target.first + static_cast<std::uint32_t>(index) : 0;
    }
    (to ? counters_.pages_to_device : counters_.pages_to_host) += claim.pages.count;
    if (claim.is_touched) counters_.pages_by_touch += claim.pages.count;
    if (!to) opened = faults_->open(claim.pages);
  }
  // The bytes are there, but the program can't see them yet: whoever waits asks again, and on_fault tries once more.
  if (!opened) faults_->wake(claim.pages);
  wake_those_who_wait(claim.pages);
}

// The pages were in a device that is gone. Said first, because the touch that found it out may end the program.
void ManagedPages::give_up(const Claim& claim, const Error& why) {
  if (on_lost_) on_lost_({claim.pages.first * kPageBytes, claim.pages.count * kPageBytes}, why);
  // If not even that works, a thread would wait for bytes that never come: the program can't go on.
  if (auto lost = faults_->lose(claim.pages); !lost) {
    fmt::print(stderr, "error: {}\n", lost.error().message());
    std::abort();
  }
  {
    const Lock lock(mutex_);
    for (std::uint64_t page = claim.pages.first; page < claim.pages.first + claim.pages.count; ++page) {
      pages_[page].state = PageState::lost;
      pages_[page].is_waited_for = false;
    }
    counters_.pages_lost += claim.pages.count;
  }
  devices_[*claim.from]->free({claim.from_place, static_cast<std::uint32_t>(claim.pages.count)});
}

void ManagedPages::wake_those_who_wait(PageRun pages) {
  const Lock lock(mutex_);
  for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page)
    if (std::exchange(pages_[page].is_waited_for, false)) faults_->wake({page, 1});
}

// On the fault source's own thread.
void ManagedPages::on_fault(std::uint64_t page) {
  Lock lock(mutex_);
  ++counters_.faults;
  switch (pages_[page].state) {
    case PageState::host:
      return open_around(lock, page);
    case PageState::moving:
      pages_[page].is_waited_for = true;
      return;
    case PageState::device: {
      Claim claim = claim_run(page, 1);
      claim.is_touched = true;
      lock.unlock();
      return bring_back(claim);
    }
    case PageState::lost:
      lock.unlock();
      faults_->wake({page, 1});
      return;
  }
}

// A page that is here but was not seen by the program yet: opened with its neighbours, which it will want next.
void ManagedPages::open_around(Lock& lock, std::uint64_t page) {
  const std::uint64_t start = page - page % kPagesOpenedAround;
  PageRun run{page, 1};
  while (run.first > start && pages_[run.first - 1].state == PageState::host) --run.first, ++run.count;
  const std::uint64_t end = std::min<std::uint64_t>(start + kPagesOpenedAround, pages_.size());
  while (run.first + run.count < end && pages_[run.first + run.count].state == PageState::host) ++run.count;
  // With the lock: nobody begins to move, and so to close, what is being opened.
  auto opened = faults_->open(run);
  if (!opened && run.count > 1) opened = faults_->open({page, 1});
  if (opened) return;
  lock.unlock();
  fmt::print(stderr, "error: {}\n", opened.error().message());
  std::abort();
}

void ManagedPages::bring_back(const Claim& claim) {
  const auto moved = relocate(claim, std::nullopt, clock_.now() + touch_deadline_);
  if (moved) return;
  // Lost, and said so; or somebody else has moved it since; or it is in its device and can't be had. The touch must end.
  Lock lock(mutex_);
  const PageState now = pages_[claim.pages.first].state;
  if (now == PageState::device) {
    const Claim again = claim_run(claim.pages.first, 1);
    lock.unlock();
    return give_up(again, moved.error());
  }
  if (now != PageState::lost) faults_->wake(claim.pages);
}

}  // namespace barter::peer
