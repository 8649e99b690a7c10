// A device of the simulated machine: a drive, an accelerator, or a DMA engine. Its model lives as long as the machine; what drives it comes
// and goes.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "barter/memory.hpp"
#include "carrier.h"
#include "fabric/fabric.h"
#include "machine/state.h"
#include "managed.h"
#include "peer/importer.h"
#include "shadow.h"

namespace barter::sim {

// A fault in the harness itself, to see that the simulation finds it.
enum class Break : std::uint8_t {
  none,
  iommu_keeps_mapping,     // what was unmapped can still be reached
  isolation_does_nothing,  // an importer that can't be cut off by an IOMMU isn't cut off at all
  byte_flips,              // somewhere, once
  importer_hangs,          // invalidating waits for something that never comes
  report_forgets_late,     // a revocation does not tell who was late
  link_keeps_grant,        // what was reached by a link still is
};

// The importer that the Exchange sees: the driver's own, and a place to break things.
class WatchedImporter final : public peer::Importer {
 public:
  WatchedImporter(peer::Importer& real, fabric::Fabric& fabric, Break broken);

  [[nodiscard]] Bdf function() const override { return real_.function(); }
  [[nodiscard]] peer::DmaDomain& domain() override;
  [[nodiscard]] bool takes_link_addresses() const override { return real_.takes_link_addresses(); }
  void invalidate(peer::MappingId mapping) override { real_.invalidate(mapping); }
  void make_progress() override;
  [[nodiscard]] Result<void> isolate() override;

  [[nodiscard]] bool was_isolated() const { return was_isolated_; }

 private:
  class LeakyDomain;
  peer::Importer& real_;
  fabric::Fabric& fabric_;
  Break broken_;
  std::shared_ptr<LeakyDomain> leaky_;
  bool was_isolated_ = false;
};

struct Unit {
  std::string name;
  Bdf bdf;
  machine::UnitKind kind = machine::UnitKind::drive;
  bool has_ats = false;
  fabric::Device* model = nullptr;  // the fabric owns it

  // Places, by their index; none: it has no such thing.
  std::optional<std::uint32_t> media;
  std::optional<std::uint32_t> memory;
  std::uint32_t host = 0;

  // Destroyed from the last to the first.
  std::unique_ptr<machine::DriveUnit> device;  // null: it is down
  std::unique_ptr<WatchedImporter> importer;
  std::optional<Region> home;        // of an accelerator: what its own commands work on
  pci::DmaBuffer buffer;             // host memory for its DMA
  std::unique_ptr<Carrier> carrier;  // null: of no more use

  bool is_plugged_in = true;
  bool is_broken = false;    // its queue answered with an error
  bool is_known = false;     // to the Exchange
  bool is_stubborn = false;  // ignores what it is told, and keeps its leases
  std::uint32_t in_flight = 0;
  std::uint32_t cut_off = 0;               // of those, transfers whose memory was taken away under them
  std::uint32_t rogues = 0;                // and those that go by an address that they have no lease of
  std::uint8_t owners_mood = 0;            // 0: shares everything; see consent.cc
  std::optional<std::uint64_t> pin_limit;  // of its memory, in bytes
  LastingExporter* exporter = nullptr;     // what the Exchange knows of its memory; the world owns it
  std::uint64_t memory_epoch = 1;          // moves when its memory may have been forgotten

  [[nodiscard]] bool is_up() const { return device != nullptr && carrier != nullptr && !is_broken; }
};

// What the unit's own commands work on: all of a drive's blocks, an accelerator's home, an engine's host memory.
struct Local {
  std::uint32_t place = 0;
  Cells cells;
};

}  // namespace barter::sim
