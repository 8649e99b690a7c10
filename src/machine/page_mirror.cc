#include "machine/page_mirror.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "peer/managed_pages.h"
#include "peer/pages.h"

namespace barter::machine {
namespace {

namespace gpu = drivers::accelerator;

using peer::kPageBytes;

constexpr const char* kShowing = "showing memory to the accelerator";

Access both(Access one, Access other) {
  return static_cast<Access>(static_cast<unsigned>(one) | static_cast<unsigned>(other));
}

}  // namespace

bool PageMirror::Shown::shares_page_with(const Shown& other) const {
  return start / kPageBytes <= (other.end - 1) / kPageBytes && other.start / kPageBytes <= (end - 1) / kPageBytes;
}

Result<void> PageMirror::Shown::lease(Held& held) const {
  for (const ManagedMapping& mapping : managed) {
    auto leases = mapping.lease();
    if (!leases) return std::unexpected(std::move(leases.error()));
    std::ranges::move(*leases, std::back_inserter(held));
  }
  for (const Mapping& mapping : regions) {
    auto lease = mapping.lease();
    if (!lease) return std::unexpected(std::move(lease.error()));
    held.push_back(std::move(*lease));
  }
  return {};
}

bool PageMirror::Shown::any_of(bool (*property)(const Mapping&)) const {
  return std::ranges::any_of(regions, property) || std::ranges::any_of(managed, [&](const ManagedMapping& mapping) {
           return std::ranges::any_of(mapping.parts(), property, &ManagedPart::mapping);
         });
}

bool PageMirror::Shown::is_revoked() const {
  return any_of([](const Mapping& mapping) { return mapping.is_revoked(); });
}

bool PageMirror::Shown::goes_by_link() const {
  return any_of([](const Mapping& mapping) { return mapping.route() == Route::link; });
}

// What is wanted, in order; memory in one page is one piece, because a page is shown once.
std::vector<PageMirror::Shown> PageMirror::pieces_of(std::span<const Wanted> wanted) {
  std::vector<Shown> all;
  for (const Wanted& one : wanted) {
    if (one.memory.empty()) continue;
    const auto start = reinterpret_cast<std::uintptr_t>(one.memory.data());
    all.push_back(
        {.start = start, .end = start + one.memory.size(), .access = one.access, .managed = {}, .regions = {}});
  }
  std::ranges::sort(all, {}, &Shown::start);
  std::vector<Shown> pieces;
  for (Shown& next : all) {
    if (pieces.empty() || !pieces.back().shares_page_with(next)) {
      pieces.push_back(std::move(next));
      continue;
    }
    pieces.back().end = std::max(pieces.back().end, next.end);
    pieces.back().access = both(pieces.back().access, next.access);
  }
  return pieces;
}

const PageMirror::Shown* PageMirror::find(const Shown& piece) const {
  const auto found = std::ranges::find_if(shown_, [&](const Shown& shown) {
    return shown.start <= piece.start && piece.end <= shown.end && both(shown.access, piece.access) == shown.access;
  });
  return found == shown_.end() ? nullptr : &*found;
}

Result<void> PageMirror::show_run(peer::Exchange& exchange, Shown& piece, const peer::PointerRun& run,
                                  Duration deadline) {
  const DmaAddress at{piece.start + run.range.offset};
  const MapOptions options{.access = piece.access, .offset = run.offset, .bytes = run.range.bytes};
  if (run.managed) {
    auto mapping = run.managed->map(importer_, options, deadline, at);
    if (!mapping) return std::unexpected(std::move(mapping.error()));
    piece.managed.push_back(std::move(*mapping));
    return {};
  }
  if (run.region) {
    auto mapping = exchange.try_map_at(at, importer_, *run.region, options);
    if (!mapping) return fail(std::move(mapping.error().error));
    piece.regions.push_back(std::move(*mapping));
    return {};
  }
  return fail({.code = ErrorCode::unsupported,
               .doing = kShowing,
               .subject = importer_.function().to_string(),
               .where = fmt::format("{} bytes at {:#x}", run.range.bytes, at.value),
               .why = "it is ordinary memory of the program, which no device can be shown",
               .cure = "use managed memory, or memory of a device that the CPU sees"});
}

Result<void> PageMirror::show(peer::Exchange& exchange, Shown& piece, Duration deadline) {
  std::erase_if(shown_, [&](const Shown& shown) { return shown.is_revoked() || shown.shares_page_with(piece); });
  if (shown_.size() == kMaxMirrored) shown_.erase(shown_.begin());
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it was a pointer, and pages of it are compared as numbers
  const std::span memory(reinterpret_cast<const std::byte*>(piece.start), piece.end - piece.start);
  for (const peer::PointerRun& run : exchange.pointers().runs(memory))
    if (auto done = show_run(exchange, piece, run, deadline); !done) return done;
  shown_.push_back(std::move(piece));
  return {};
}

Result<PageMirror::Held> PageMirror::hold(peer::Exchange& exchange, std::span<const Wanted> wanted, Duration deadline) {
  const std::vector<Shown> pieces = pieces_of(wanted);
  if (pieces.size() > kMaxMirrored)
    return fail({.code = ErrorCode::exhausted,
                 .doing = kShowing,
                 .subject = importer_.function().to_string(),
                 .why = fmt::format("{} pieces are more than {}", pieces.size(), kMaxMirrored)});
  base::Clock& clock = accelerator_.function().clock();
  const base::TimePoint end = clock.now() + deadline;
  Result<Held> held = Held{};
  const bool in_time = base::wait_until(clock, end, [&] {
    held = Held{};
    for (const Shown& piece : pieces) {
      const Shown* shown = find(piece);
      if (shown == nullptr || shown->is_revoked()) {
        Shown anew{.start = piece.start, .end = piece.end, .access = piece.access, .managed = {}, .regions = {}};
        if (auto done = show(exchange, anew, deadline); !done) {
          held = std::unexpected(std::move(done.error()));
          return true;
        }
        shown = &shown_.back();
      }
      if (!shown->lease(*held)) return false;  // its pages have moved meanwhile
    }
    return true;
  });
  if (in_time) return held;
  return fail({.code = ErrorCode::timed_out,
               .doing = kShowing,
               .subject = importer_.function().to_string(),
               .why = "its pages moved again and again until the deadline",
               .cure = "try again"});
}

bool PageMirror::was_taken_back(std::span<const Wanted> wanted) const {
  return std::ranges::any_of(pieces_of(wanted), [&](const Shown& piece) {
    const Shown* const shown = find(piece);
    return shown == nullptr || shown->is_revoked();
  });
}

bool PageMirror::forget_links(std::span<const Wanted> wanted) {
  bool any = false;
  for (const Shown& piece : pieces_of(wanted))
    any |= std::erase_if(
               shown_, [&](const Shown& shown) { return shown.shares_page_with(piece) && shown.goes_by_link(); }) != 0;
  return any;
}

Result<gpu::CommandResult> PageMirror::run(gpu::Kind kind, const gpu::Command& command) {
  std::unique_ptr<gpu::Channel>& channel = kind == gpu::Kind::copy ? copies_ : computes_;
  if (!channel) {
    auto made = accelerator_.create_channel(kind, {.entries = 2});
    if (!made) return std::unexpected(std::move(made.error()));
    channel = std::move(*made);
  }
  const auto give_up = [&](Error error) {
    channel.reset();  // and with it the command, if it is still under way
    return fail(std::move(error));
  };
  if (auto sent = channel->submit(command); !sent) return std::unexpected(std::move(sent.error()));
  channel->ring();
  std::array<gpu::CommandResult, 1> results;
  while (true) {
    const auto count = channel->poll(results);
    if (!count) return give_up(count.error());
    if (*count != 0) return results[0];
    accelerator_.function().clock().idle();
  }
}

}  // namespace barter::machine
