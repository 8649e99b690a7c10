// An importer that does what the test says: how it lets go, and what it has in flight.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "barter/memory.hpp"
#include "peer/importer.h"
#include "peer_contract.h"

namespace barter::contract {

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
  std::function<void(peer::MappingId)> on_invalidate;
  std::function<void()> in_flight;
  std::vector<peer::MappingId> told;
  std::vector<Lease> held;

 private:
  Bdf function_;
};

}  // namespace barter::contract
