#include "machine/page_mirror.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

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
  return found == shown_.end() || found->is_revoked() ? nullptr : &*found;
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

Result<void> PageMirror::show(peer::Exchange& exchange, const Shown& piece, Duration deadline) {
  std::erase_if(shown_, [&](const Shown& shown) { return shown.is_revoked() || shown.shares_page_with(piece); });
  if (shown_.size() == kMaxMirrored) shown_.erase(shown_.begin());
  Shown anew{.start = piece.start, .end = piece.end, .access = piece.access, .managed = {}, .regions = {}};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it was a pointer, and pages of it are compared as numbers
  const std::span memory(reinterpret_cast<const std::byte*>(piece.start), piece.end - piece.start);
  for (const peer::PointerRun& run : exchange.pointers().runs(memory))
    if (auto done = show_run(exchange, anew, run, deadline); !done) return done;
  shown_.push_back(std::move(anew));
  return {};
}

Result<void> PageMirror::show_all(peer::Exchange& exchange, std::span<const Shown> pieces, Duration deadline) {
  if (pieces.size() > kMaxMirrored)
    return fail({.code = ErrorCode::exhausted,
                 .doing = kShowing,
                 .subject = importer_.function().to_string(),
                 .why = fmt::format("{} pieces are more than {}", pieces.size(), kMaxMirrored)});
  for (const Shown& piece : pieces) {
    if (find(piece) != nullptr) continue;
    if (auto done = show(exchange, piece, deadline); !done) return done;
  }
  return {};
}

Result<void> PageMirror::meet(peer::Exchange& exchange, const Errand& errand, const gpu::CommandResult& request) {
  const std::vector<Shown> pieces = pieces_of(errand.wanted);
  const auto asked = std::ranges::find_if(pieces, [&](const Shown& piece) {
    return request.result / kPageBytes >= piece.start / kPageBytes && request.result < piece.end &&
           (!request.wants_to_write() || piece.access != Access::read);
  });
  if (asked != pieces.end() && find(*asked) == nullptr) return show(exchange, *asked, errand.deadline);
  return fail({.code = ErrorCode::device_failed,
               .doing = kShowing,
               .subject = importer_.function().to_string(),
               .where = fmt::format("{:#x}", request.result),
               .why = asked == pieces.end() ? "it asks for a page that its command has nothing to do with"
                                            : "it asks for a page that is in its page tables",
               .cure = "reset it"});
}

bool PageMirror::was_taken_back(std::span<const Wanted> wanted) const {
  return std::ranges::any_of(pieces_of(wanted), [&](const Shown& piece) { return find(piece) == nullptr; });
}

bool PageMirror::forget_links(std::span<const Wanted> wanted) {
  bool any = false;
  for (const Shown& piece : pieces_of(wanted))
    any |= std::erase_if(
               shown_, [&](const Shown& shown) { return shown.shares_page_with(piece) && shown.goes_by_link(); }) != 0;
  return any;
}

Result<gpu::CommandResult> PageMirror::run(peer::Exchange& exchange, const Errand& errand) {
  if (auto shown = show_all(exchange, pieces_of(errand.wanted), errand.deadline); !shown)
    return std::unexpected(std::move(shown.error()));
  std::unique_ptr<gpu::Channel>& channel = errand.kind == gpu::Kind::copy ? copies_ : computes_;
  if (!channel) {
    auto made = accelerator_.create_channel(errand.kind, {.entries = 4, .page_requests = true});
    if (!made) return std::unexpected(std::move(made.error()));
    channel = std::move(*made);
  }
  auto result = run_on(*channel, exchange, errand);
  if (!result) channel.reset();  // and with it the command, if it is still under way
  return result;
}

Result<gpu::CommandResult> PageMirror::run_on(gpu::Channel& channel, peer::Exchange& exchange, const Errand& errand) {
  if (auto sent = channel.submit(errand.command); !sent) return std::unexpected(std::move(sent.error()));
  channel.ring();
  std::array<gpu::CommandResult, 1> results;
  while (true) {
    const auto count = channel.poll(results);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) {
      accelerator_.function().clock().idle();
      continue;
    }
    if (!results[0].is_page_request()) return results[0];
    if (auto met = meet(exchange, errand, results[0]); !met) return std::unexpected(std::move(met.error()));
    if (auto answered = channel.answer(gpu::Channel::PageAnswer::there); !answered)
      return std::unexpected(std::move(answered.error()));
  }
}

}  // namespace barter::machine
