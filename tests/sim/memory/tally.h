// What a simulation did and what came of it: counted, and printed at its end.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "peer/counters.h"
#include "peer/fallback.h"

namespace barter::sim {

enum class Kind : std::uint8_t {
  allocate,
  drop_region,
  map,
  drop_mapping,
  lease,
  drop_lease,
  read,   // of an endpoint, into memory of peers
  write,  // to an endpoint, from memory of peers
  read_to_host,
  write_from_host,
  copy,  // from drive to drive, by way of memory of peers or of the host
  cpu_write,
  cpu_read,
  // Of managed memory.
  map_pages,
  drop_pages,
  read_to_pages,
  write_from_pages,
  move_pages,
  touch_page,
  renew_pages,
  invalidate,
  revoke,
  revoke_all,
  forged_id,
  stale_lease,
  rogue,    // a request by an address that was taken back
  consent,  // an owner changes its mind
  limit_pins,
  mood,  // an importer begins or ceases to ignore what it is told
  unplug,
  link_down,
  break_link,  // between accelerators
  bring_back,
  let_pass,  // time goes by
};
inline constexpr std::size_t kKinds = static_cast<std::size_t>(Kind::let_pass) + 1;
[[nodiscard]] std::string_view name_of(Kind kind);

// How memory is taken back: by its owner; all memory from one importer (remove); and pages of managed memory that are to move, by
// request or because the program touches them.
enum class How : std::uint8_t { invalidate, revoke, revoke_all, drop, withdraw, remove, move, touch };
inline constexpr std::size_t kHows = static_cast<std::size_t>(How::touch) + 1;
[[nodiscard]] std::string_view name_of(How how);

// How much of a transfer has arrived.
enum class Moment : std::uint8_t { nothing, something, everything };
inline constexpr std::size_t kMoments = 3;

struct Tally {
  struct Of {
    std::uint64_t done = 0;
    std::uint64_t refused = 0;   // with a clear error
    std::uint64_t not_then = 0;  // there was nothing to do it to
  };
  std::array<Of, kKinds> kinds{};

  std::uint64_t episodes = 0;
  std::uint64_t transfers_done = 0;
  std::uint64_t transfers_failed = 0;
  std::uint64_t transfers_cut_off = 0;    // the memory was taken away under them
  std::uint64_t transfers_cancelled = 0;  // their device was reset
  // Parts of transfers whose memory was taken back while they were in flight; and of those, what was cut off, because it had
  // not ended in time.
  using Moments = std::array<std::uint64_t, kMoments>;
  std::array<Moments, kHows> met{};
  std::array<Moments, kHows> cut_off{};
  // Pinned memory.
  std::uint64_t pins = 0;                   // mappings that hold it
  std::uint64_t pins_refused = 0;           // past a limit
  std::uint64_t invalidations_refused = 0;  // because somebody holds it pinned
  std::uint64_t pins_taken_back = 0;        // for good
  std::uint64_t pinned_parts_cut_off = 0;
  std::uint64_t pins_outlived = 0;  // the handle was dropped, and a lease held on
  // By an engine from one mapping to another; cut off at one side, and then or at once at the other.
  std::uint64_t moves_done = 0;
  std::uint64_t moves_cut_off = 0;
  std::uint64_t moves_cut_off_twice = 0;
  // By links between accelerators.
  std::uint64_t mapped_by_link = 0;
  std::uint64_t done_by_link = 0;
  std::uint64_t failed_by_link = 0;
  std::uint64_t cut_off_by_link = 0;
  std::uint64_t rogues_by_link = 0;
  std::uint64_t done_by_nic = 0;
  std::uint64_t failed_by_nic = 0;
  std::uint64_t cut_off_by_nic = 0;
  std::uint64_t wire_breaks = 0;
  std::uint64_t in_flight_by_broken_wire = 0;
  // Managed memory, in pages.
  std::uint64_t pages_to_device = 0;
  std::uint64_t pages_to_host = 0;
  std::uint64_t pages_lost = 0;
  std::uint64_t moves_refused_by_pins = 0;
  std::uint64_t mapped_pages_direct = 0;  // parts of mappings
  std::uint64_t mapped_pages_in_host = 0;
  std::uint64_t transfers_half_here = 0;  // and half there
  std::uint64_t touches_of_device = 0;    // pages that are in a device
  std::uint64_t touches_of_lost = 0;
  std::uint64_t touches_that_waited = 0;
  std::uint64_t touches_in_waits = 0;  // of the library
  std::uint64_t copies_direct = 0;
  std::uint64_t copies_by_host = 0;
  std::uint64_t copies_failed = 0;
  std::array<std::uint64_t, peer::kFallbackReasons> fallbacks{};

  peer::PeerCounters peer;  // summed over the episodes
  std::uint64_t iommu_faults = 0;
  std::uint64_t blocked_requests = 0;
  std::uint64_t unsupported_requests = 0;
  std::uint64_t lost_completions = 0;
  std::uint64_t poisoned_completions = 0;
  std::uint64_t late_completions = 0;
  std::uint64_t ignored_invalidations = 0;
  std::uint64_t plugged_again = 0;
  std::uint64_t brought_back = 0;  // devices reset and set up anew
  std::uint64_t bytes_checked = 0;

  void add(const peer::PeerCounters& counters);
  [[nodiscard]] std::uint64_t cut_off_at(Moment moment) const;
  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] std::string text_of_operations() const;
  [[nodiscard]] std::string text_of_moments() const;
  [[nodiscard]] std::string text_of_peers() const;
};

}  // namespace barter::sim
