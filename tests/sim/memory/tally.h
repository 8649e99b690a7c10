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
  invalidate,
  revoke,
  revoke_all,
  forged_id,
  stale_lease,
  rogue,    // a request by an address that was taken back
  consent,  // an owner changes its mind
  mood,     // an importer begins or ceases to ignore what it is told
  unplug,
  link_down,
  bring_back,
  let_pass,  // time goes by
};
inline constexpr std::size_t kKinds = static_cast<std::size_t>(Kind::let_pass) + 1;
[[nodiscard]] std::string_view name_of(Kind kind);

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
  std::uint64_t transfers_cut_off = 0;     // the memory was taken away under them
  std::uint64_t parts_cut_off_before = 0;  // by how much of them had arrived then: nothing,
  std::uint64_t parts_cut_off_midway = 0;  // something,
  std::uint64_t parts_cut_off_after = 0;   // all, and its completion had not been seen
  std::uint64_t transfers_cancelled = 0;   // their device was reset
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
  [[nodiscard]] std::string text() const;
};

}  // namespace barter::sim
