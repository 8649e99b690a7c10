// What stands behind a ManagedMemory: its pages, the room that devices see them in, and the machine.
#pragma once
#include <memory>

#include "machine/state.h"
#include "peer/managed_pages.h"

namespace barter::machine {

class ManagedUnit {
 public:
  ManagedUnit(std::shared_ptr<State> machine, Backend::HostRoom room)
      : machine_(std::move(machine)), room_(std::move(room)) {}
  void take(std::shared_ptr<peer::ManagedPages> pages) { pages_ = std::move(pages); }
  [[nodiscard]] State& machine() const { return *machine_; }
  [[nodiscard]] Backend::HostRoom& room() { return room_; }
  [[nodiscard]] peer::ManagedPages& pages() const { return *pages_; }

 private:
  // Destroyed from the last to the first.
  std::shared_ptr<State> machine_;
  Backend::HostRoom room_;
  std::shared_ptr<peer::ManagedPages> pages_;
};

}  // namespace barter::machine
