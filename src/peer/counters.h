// What is counted, and by which reason.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace barter::peer {

// Why a mapping was not made.
enum class Refusal : std::uint8_t {
  no_route,         // the verdict is not_supported
  route_unknown,    // a fact that decides the verdict could not be read
  routes_differ,    // reads and writes go different ways behind an IOMMU: map for one of them
  hardware_access,  // the memory's hardware does not take this access from peers
  owner_asks_host,  // the owner answered: by way of host memory
  owner_refused,    // the owner answered: no
  revoked,          // the owner took the region back, for now or for good
  device_gone,      // the importer or exporter is not known, gone, or isolated
  exhausted,        // the table of mappings, or the IOMMU's address space, is full for now
  iommu_failed,     // the importer's domain did not map
  out_of_range,     // not within the region
  pin_limit,        // as much of this memory is pinned as its owner allows
  late_importer,    // the importer has not yet let go of memory that the IOMMU had to take from it
  address_bits,     // the memory lies at addresses of more bits than the importer has
};
constexpr std::size_t kRefusals = 14;
[[nodiscard]] std::string_view name_of(Refusal refusal);

struct PeerCounters {
  std::uint64_t mapped = 0;                        // mappings made
  std::uint64_t unmapped = 0;                      // and gone again
  std::array<std::uint64_t, kRefusals> refused{};  // by Refusal
  std::uint64_t revocations = 0;                   // revoke(), withdraw() and remove()
  std::uint64_t invalidations = 0;                 // invalidate()
  std::uint64_t invalidations_refused = 0;         // because of pins
  std::uint64_t mappings_taken_back = 0;
  std::uint64_t pinned_bytes = 0;        // now, of all exporters
  std::uint64_t late_importers = 0;      // had not let go by the deadline
  std::uint64_t isolated_importers = 0;  // of those, cut off by Bus Master Enable and not by an IOMMU
  std::uint64_t quarantined_bytes = 0;   // never given out again: a late importer could not be cut off

  [[nodiscard]] std::uint64_t refused_for(Refusal refusal) const { return refused[static_cast<std::size_t>(refusal)]; }
};

}  // namespace barter::peer
