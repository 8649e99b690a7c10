// What a world keeps of everything that it has handed out and that is under way.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "barter/memory.hpp"
#include "machine/endpoint.h"
#include "peer/importer.h"
#include "shadow.h"

namespace barter::sim {

inline constexpr std::size_t kMaxRegions = 12;
inline constexpr std::size_t kMaxSimMappings = 32;
inline constexpr std::size_t kMaxTransfers = 48;
inline constexpr std::size_t kMaxParts = 2;
inline constexpr std::size_t kMaxLooseLeases = 12;
inline constexpr std::size_t kMaxStale = 16;
inline constexpr std::size_t kMaxCopies = 3;
inline constexpr std::uint32_t kCellsInBuffer = 32;
inline constexpr std::uint32_t kNoUnit = ~0u;
inline constexpr std::uint64_t kTagSlots = 256;  // a tag is a serial number and a place among the transfers

// What differs from machine to machine.
struct Layout {
  bool one_switch = true;
  bool acs = false;                // the switch redirects everything
  bool direct_translated = false;  // but what is translated
  bool ats = false;
  bool iommu = false;
  bool turns = true;    // the root complex turns peer requests around
  bool linked = false;  // a link joins the accelerators
  bool managed = false;
  bool calm = false;  // nothing goes wrong
  double lost = 0, poisoned = 0, late = 0, ignored = 0;
  double unfinished = 0, disordered = 0;  // of drives' commands: done and never completed, and completed late
  double unplug = 0, link_down = 0, wire_breaks = 0;  // for each time that the machine gets on
  double touches = 0;                                 // of managed memory, for each turn of a wait of the library
};

struct SharedRegion {
  std::optional<Region> handle;
  std::uint64_t serial = 0;
  std::uint32_t unit = 0;
  Cells cells;                             // of the unit's memory
  std::optional<std::uint64_t> pin_limit;  // in bytes
  bool is_revoked = false;
  bool is_orphan = false;  // its device has left, and the memory is no longer the region's
};

struct SharedMapping {
  std::optional<Mapping> handle;
  std::uint64_t region = 0;  // its serial
  std::uint32_t region_unit = 0;
  std::uint32_t unit = 0;  // the importer
  Access access = Access::read;
  Hold hold = Hold::dynamic;
  bool is_guarded = false;  // what was taken back can't be reached, whatever the importer does
  Cells cells;              // of the region's unit's memory
  DmaSegment at;
  peer::MappingId id;
  bool is_closed = false;
};

[[nodiscard]] bool allows(Access access, machine::Direction direction);

// One side of a transfer: where it is, and by which right it is reached.
struct End {
  std::uint32_t place = 0;
  Cells cells;
  DmaSegment at;             // as the unit's requests name it; nothing where it is the unit's own memory
  Lease lease;               // none: the unit's own memory, the host's, or an address that was taken back
  peer::MappingId id;        // of the mapping that the lease is of
  std::uint64_t region = 0;  // 0: there is no lease
  bool is_guarded = false;   // as of the mapping
  bool is_cut_off = false;
};

// What goes to or comes from the other side.
struct Part {
  End end;
  bool had_arrived = false;       // the side that is written was cut off, and its bytes were all there at that moment
  std::vector<std::byte> before;  // the side that is read was cut off: its bytes at that moment
};

struct Transfer {
  bool is_active = false;
  bool is_rogue = false;      // goes by an address that was taken back before it began
  bool is_disturbed = false;  // its memory was wiped by a reset
  std::uint32_t unit = 0;
  machine::Direction direction = machine::Direction::from_endpoint;
  std::uint64_t tag = 0;
  End local;  // what the parts add up to
  std::array<Part, kMaxParts> parts;
  std::uint32_t part_count = 0;
  std::optional<std::uint32_t> copy;

  [[nodiscard]] std::span<Part> all_parts() { return std::span(parts).first(part_count); }
  [[nodiscard]] std::span<const Part> all_parts() const { return std::span(parts).first(part_count); }
  [[nodiscard]] bool is_cut_off() const;
  // Calls with each side that needs a lease and was not cut off.
  template <class Visit>
  void each_held(Visit&& visit) {
    if (!is_active) return;
    if (local.region != 0 && !local.is_cut_off) visit(local);
    for (Part& part : all_parts())
      if (part.end.region != 0 && !part.end.is_cut_off) visit(part.end);
  }
};

// The way of one part's bytes.
struct Flow {
  const End& source;
  const End& target;
  Cells from;
  Cells to;
};
[[nodiscard]] Flow flow_of(const Transfer& transfer, const Part& part);

inline constexpr std::uint64_t kTakenBack = ~std::uint64_t{0};  // instead of a region's serial

struct LooseLease {
  Lease lease;
  std::uint64_t region = 0;  // 0: this place is free
  DmaSegment at;
  std::uint32_t unit = 0;
  peer::MappingId id;
};

struct StaleAddress {
  std::uint32_t unit = 0;
  DmaSegment at;
  std::uint32_t place = 0;
  Cells cells;
};

// A mapping that its importer holds pinned, for as long as anything of it is left.
struct Pin {
  peer::MappingId id;
  std::uint64_t region = 0;
  std::uint32_t region_unit = 0;
  std::uint64_t bytes = 0;  // of whole pages
};

// From drive to drive: into memory of a peer and out of it, or by way of host memory.
enum class Leg : std::uint8_t { none, into_peer, at_peer, from_peer, falls_back, into_host, at_host, from_host };

struct Copy {
  Leg leg = Leg::none;
  std::uint32_t from = 0, to = 0;
  Cells source, destination;
  Cells staging;  // of the peer's memory, then of the reader's host buffer
  std::uint32_t staging_place = 0;
  bool holds_staging = false;  // nobody is to write there
  std::uint64_t region = 0;
  std::uint64_t region_offset = 0;
  std::optional<Mapping> write, read;
  std::vector<std::byte> content;  // what is to arrive
  std::vector<std::byte> carried;  // what the processor took out of the reader's buffer
  std::uint32_t waited = 0;        // steps
};

}  // namespace barter::sim
