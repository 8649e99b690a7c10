#include "tally.h"

#include <fmt/format.h>

namespace barter::sim {

std::string_view name_of(Kind kind) {
  static constexpr std::array<std::string_view, kKinds> kNames = {"allocate",
                                                                  "drop_region",
                                                                  "map",
                                                                  "drop_mapping",
                                                                  "lease",
                                                                  "drop_lease",
                                                                  "read",
                                                                  "write",
                                                                  "read_to_host",
                                                                  "write_from_host",
                                                                  "copy",
                                                                  "cpu_write",
                                                                  "cpu_read",
                                                                  "map_pages",
                                                                  "drop_pages",
                                                                  "read_to_pages",
                                                                  "write_from_pages",
                                                                  "move_pages",
                                                                  "touch_page",
                                                                  "renew_pages",
                                                                  "invalidate",
                                                                  "revoke",
                                                                  "revoke_all",
                                                                  "forged_id",
                                                                  "stale_lease",
                                                                  "rogue",
                                                                  "consent",
                                                                  "limit_pins",
                                                                  "mood",
                                                                  "unplug",
                                                                  "link_down",
                                                                  "break_link",
                                                                  "bring_back",
                                                                  "let_pass"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view name_of(How how) {
  static constexpr std::array<std::string_view, kHows> kNames = {"invalidate", "revoke", "revoke_all", "drop",
                                                                 "withdraw",   "remove", "move",       "touch"};
  return kNames[static_cast<std::size_t>(how)];
}

void Tally::add(const peer::PeerCounters& counters) {
  peer.mapped += counters.mapped;
  peer.unmapped += counters.unmapped;
  for (std::size_t reason = 0; reason < peer::kRefusals; ++reason) peer.refused[reason] += counters.refused[reason];
  peer.revocations += counters.revocations;
  peer.invalidations += counters.invalidations;
  peer.mappings_taken_back += counters.mappings_taken_back;
  peer.late_importers += counters.late_importers;
  peer.isolated_importers += counters.isolated_importers;
  peer.quarantined_bytes += counters.quarantined_bytes;
}

std::uint64_t Tally::cut_off_at(Moment moment) const {
  std::uint64_t count = 0;
  for (const Moments& moments : cut_off) count += moments[static_cast<std::size_t>(moment)];
  return count;
}

std::string Tally::text() const {
  std::string text = text_of_operations() + text_of_moments() + text_of_peers();
  text += fmt::format("faults injected: lost completions {}, poisoned {}, late {}, ignored invalidate requests {}\n",
                      lost_completions, poisoned_completions, late_completions, ignored_invalidations);
  text += fmt::format("faults counted: by the IOMMU {}, blocked {}, unsupported {}\n", iommu_faults, blocked_requests,
                      unsupported_requests);
  text += fmt::format("bytes compared: {} GiB\n", bytes_checked >> 30);
  return text;
}

std::string Tally::text_of_operations() const {
  std::string text = fmt::format("{:<16} {:>10} {:>10} {:>10}\n", "operation", "done", "refused", "not then");
  for (std::size_t kind = 0; kind < kKinds; ++kind)
    text += fmt::format("{:<16} {:>10} {:>10} {:>10}\n", name_of(static_cast<Kind>(kind)), kinds[kind].done,
                        kinds[kind].refused, kinds[kind].not_then);
  text +=
      fmt::format("machines: {}; devices plugged in again {}, set up anew {}\n", episodes, plugged_again, brought_back);
  text += fmt::format("transfers: {} done, {} failed, {} cut off, {} cancelled\n", transfers_done, transfers_failed,
                      transfers_cut_off, transfers_cancelled);
  text += fmt::format("moves from mapping to mapping: {} done, {} cut off at a side, {} of them at both\n", moves_done,
                      moves_cut_off, moves_cut_off_twice);
  text += fmt::format(
      "by links: {} mapped; {} transfers done, {} failed, {} cut off, {} refused that had no right to; {} breaks, "
      "with {} transfers in flight\n",
      mapped_by_link, done_by_link, failed_by_link, cut_off_by_link, rogues_by_link, wire_breaks,
      in_flight_by_broken_wire);
  text +=
      fmt::format("by the NIC: {} transfers done, {} failed, {} cut off\n", done_by_nic, failed_by_nic, cut_off_by_nic);
  text += fmt::format(
      "managed pages: {} to devices, {} to the host, {} lost; {} moves refused by pins; mapped in devices {}, in the "
      "host {}; {} transfers of both\n",
      pages_to_device, pages_to_host, pages_lost, moves_refused_by_pins, mapped_pages_direct, mapped_pages_in_host,
      transfers_half_here);
  text += fmt::format(
      "touches: {} of pages in devices, {} of lost ones, {} that waited for another, {} in the library's waits\n",
      touches_of_device, touches_of_lost, touches_that_waited, touches_in_waits);
  text += fmt::format("copies: {} direct, {} by way of host memory, {} failed\n", copies_direct, copies_by_host,
                      copies_failed);
  text += "fallbacks:";
  for (std::size_t reason = 0; reason < peer::kFallbackReasons; ++reason)
    if (fallbacks[reason] != 0)
      text += fmt::format(" {} {},", peer::name_of(static_cast<peer::FallbackReason>(reason)), fallbacks[reason]);
  text.back() = '\n';
  return text;
}

// The states in which a transfer was when its memory was taken back.
std::string Tally::text_of_moments() const {
  std::string text =
      fmt::format("{:<16} {:>32} {:>32}\n{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "taken back",
                  "in flight then, and of it there:", "not ended in time, and cut off:", "by", "nothing", "something",
                  "all", "nothing", "something", "all");
  for (std::size_t how = 0; how < kHows; ++how)
    text += fmt::format("{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", name_of(static_cast<How>(how)),
                        met[how][0], met[how][1], met[how][2], cut_off[how][0], cut_off[how][1], cut_off[how][2]);
  return text;
}

std::string Tally::text_of_peers() const {
  std::string text = "mappings refused:";
  for (std::size_t reason = 0; reason < peer::kRefusals; ++reason)
    if (peer.refused[reason] != 0)
      text += fmt::format(" {} {},", peer::name_of(static_cast<peer::Refusal>(reason)), peer.refused[reason]);
  text.back() = '\n';
  text += fmt::format("mappings: {} made, {} gone, {} taken back by {} revocations and {} invalidations\n", peer.mapped,
                      peer.unmapped, peer.mappings_taken_back, peer.revocations, peer.invalidations);
  text += fmt::format(
      "pins: {} made, {} past a limit; {} invalidations refused; {} outlived their handles, {} taken back for "
      "good, {} parts of transfers cut off\n",
      pins, pins_refused, invalidations_refused, pins_outlived, pins_taken_back, pinned_parts_cut_off);
  text += fmt::format("late importers: {}, of those cut off from all memory {}; memory in quarantine: {} bytes\n",
                      peer.late_importers, peer.isolated_importers, peer.quarantined_bytes);
  return text;
}

}  // namespace barter::sim
