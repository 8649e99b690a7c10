// One call of map() on its way: what its steps (map.cc, consent.cc) have found so far.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "peer/core.h"

namespace barter::peer {

struct Core::Attempt {
  Attempt(Core& of, Importer& who, RegionState& what, const MapOptions& how)
      : core(of), importer(who), function(who.function()), region(what), options(how) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() {
    if (importer_state == nullptr) return;
    Lock lock(core.mutex_);
    let_go();
  }
  // With the lock held.
  void let_go() {
    core.unpin(region, *exporter_state, std::exchange(pinned_bytes, 0));
    --std::exchange(importer_state, nullptr)->busy;
    --exporter_state->busy;
  }
  [[nodiscard]] NotMapped refusal(Refusal reason, ErrorCode code, std::string why, std::string cure = {}) const {
    return {reason,
            {.code = code,
             .doing = "mapping memory of",
             .subject = fmt::format("{} for {}", region.exporter().to_string(), function.to_string()),
             .why = std::move(why),
             .cure = std::move(cure)}};
  }

  Core& core;
  Importer& importer;
  const Bdf function;  // the importer's
  RegionState& region;
  const MapOptions& options;

  ImporterState* importer_state = nullptr;  // both busy from admission on
  ExporterState* exporter_state = nullptr;
  std::uint64_t epoch = 0;
  MemoryRange range;  // within the exporter's memory
  // What the owner granted of what it was asked about: all of it by one answer, or parts.
  bool is_granted = false;
  std::vector<MemoryRange> parts;
  RouteAnswer answer;
  Route route = Route::unknown;
  BusAddress target;
  std::uint64_t pinned_bytes = 0;  // counted for this attempt, until it is a mapping
  std::optional<DmaAddress> at;    // where the caller wants it
  SegmentKind kind = SegmentKind::iova;
  bool in_domain = false;
  bool translated = false;  // and that domain is an IOMMU's
  bool guarded = false;     // and no request gets by without meeting it
  DmaAddress address;
  std::optional<std::size_t> interconnect;  // the way is one of these, and not PCIe
  LinkAddress link;                         // what it calls the memory, once it is open
  bool pcie_only = false;                   // do not look for one
  std::string why_no_interconnect;          // what is wrong with one that joins the two; empty: none does
  bool could_not_open = false;              // the way by the interconnect; PCIe's is left
  MappingState* mapping = nullptr;
};

}  // namespace barter::peer
