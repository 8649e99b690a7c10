// What becomes of one memory request: routed hop by hop, by address, as PCIe says (route.cc). The answer holds for a whole
// range of addresses, so that a requester can remember it until something changes.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "fabric/device.h"
#include "fabric/node.h"
#include "fabric/span.h"
#include "fabric/translation_cache.h"

namespace barter::fabric {

class System;

// One link that payload crosses: that of the port with this index, upstream or down.
struct Crossing {
  std::uint32_t port = 0;
  bool upstream = false;
  friend bool operator==(const Crossing&, const Crossing&) = default;
};

// Which of the machine's counters the bytes belong to.
enum class Traffic : std::uint8_t { host_data, host_control, peer, interrupt };

// The way payload takes, and how much has taken it. One writer (its requester); anybody may read. Routes live as long as
// their requester, so nothing that was counted is ever lost.
struct Route {
  std::vector<Crossing> crossings;
  Traffic traffic = Traffic::peer;
  Access access = Access::read;
  std::uint32_t redirects = 0;  // how often ACS sends each request, or its completion, up
  std::atomic<std::uint64_t> bytes = 0;
  std::atomic<std::uint64_t> requests = 0;

  [[nodiscard]] bool is_same_way(const Route& other) const {
    return traffic == other.traffic && access == other.access && redirects == other.redirects &&
           crossings == other.crossings;
  }
  // Relaxed, and no read-modify-write: there is one writer (docs/memory-order.md, rule 8).
  void count(std::uint64_t moved) {
    bytes.store(bytes.load(std::memory_order_relaxed) + moved, std::memory_order_relaxed);
    if (redirects != 0) requests.store(requests.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

// What lies at the end of a request's way.
enum class TargetKind : std::uint8_t { none, memory, registers, msix_table, interrupt };

struct Resolution {
  Completion status = Completion::successful;
  TargetKind kind = TargetKind::none;
  Span span;                    // where all this holds, in the addresses that the requester uses
  std::byte* memory = nullptr;  // of span.start
  Node* target = nullptr;       // of registers, MSI-X tables and windows
  std::uint8_t bar = 0;
  std::uint64_t bar_offset = 0;  // of span.start
  std::vector<Crossing> crossings;
  Traffic traffic = Traffic::peer;
  std::uint32_t redirects = 0;
};

struct MemoryRequest {
  std::uint64_t address = 0;                 // as the device uses it
  Access access = Access::read;              // read or write, not both
  const Translation* translation = nullptr;  // the request is translated (AT = 10b), by this; null: untranslated
};

// System's mutex is held. Requests that fail are counted here.
[[nodiscard]] Resolution resolve(System& system, Node& requester, MemoryRequest request);
// Would it arrive? Nothing is counted or reported.
[[nodiscard]] bool would_reach(System& system, Node& requester, MemoryRequest request);

// What comes of a Translation Request (AT = 01b) for an address (PCIe 6.0, 10.2.2 and 10.2.3).
struct TranslationCompletion {
  bool is_blocked = false;  // it did not get to the IOMMU: an ACS violation on the way, or no bus mastering
  std::optional<Translation> translation;  // none: Unsupported Request, or neither reads nor writes are allowed
};
[[nodiscard]] TranslationCompletion request_translation(System& system, Node& requester, MemoryRequest request);

// Where a CPU access to a bus address ends; crossings are those of the request (for a load, payload goes the other way).
[[nodiscard]] Resolution resolve_from_cpu(System& system, std::uint64_t address);

}  // namespace barter::fabric
