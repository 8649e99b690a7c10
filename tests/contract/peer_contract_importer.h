// An importer that does what the test says: how it lets go, and what it has in flight.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "barter/memory.hpp"
#include "peer/importer.h"

namespace barter::contract {

// How an importer answers when it is told to let go.
enum class LettingGo : std::uint8_t {
  at_once,      // drops its leases within invalidate()
  when_driven,  // within make_progress(), after what was in flight has been done
  never,        // keeps its leases, and goes on with its DMA
};

class ScriptedImporter : public peer::Importer {
 public:
  explicit ScriptedImporter(Bdf function) : function_(function) {}

  [[nodiscard]] Bdf function() const override { return function_; }
  void invalidate(peer::MappingId mapping) override {
    told.push_back(mapping);
    if (on_invalidate) on_invalidate(mapping);
    if (letting_go == LettingGo::at_once) held.clear();
  }
  void make_progress() override {
    if (letting_go != LettingGo::when_driven) return;
    if (in_flight) in_flight();
    held.clear();
  }

  LettingGo letting_go = LettingGo::at_once;
  std::function<void(peer::MappingId)> on_invalidate;  // within invalidate(), before anything else
  std::function<void()> in_flight;                     // its DMA when it is driven, before it lets go
  std::vector<peer::MappingId> told;
  std::vector<Lease> held;  // transfers in flight: it keeps these leases until it lets go

 private:
  Bdf function_;
};

}  // namespace barter::contract
