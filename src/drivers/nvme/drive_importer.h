// A drive as a function that does DMA to other functions' memory (peer/importer.h).
//
// A drive has no state for a mapping: what it reaches is what the commands in flight name. Letting go of a mapping is
// therefore the business of whoever submits: new commands need a new lease, which a mapping that was taken back
// refuses, and the old leases end as commands complete. This class brings the word to the transfer, and is the last
// resort.
//
// Threads: any. The controller and the domain outlive the importer.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "drivers/nvme/controller.h"
#include "peer/importer.h"

namespace barter::drivers::nvme {

class DriveImporter final : public peer::Importer {
 public:
  using OnInvalidate = std::move_only_function<void(peer::MappingId)>;

  DriveImporter(Controller& controller, peer::DmaDomain& domain, OnInvalidate on_invalidate = {});

  // Called for each mapping that is taken back, on the thread that takes it back; must return at once. Afterwards the
  // old callback is not running any more. It must not call back into this object.
  void on_invalidate(OnInvalidate callback);
  // Was this mapping taken back? It remembers the last kRemembered; lease() of the mapping itself never forgets.
  [[nodiscard]] bool was_invalidated(peer::MappingId mapping) const;
  static constexpr std::size_t kRemembered = 64;

  // What the thread that drives this drive's transfers does, when it is itself the one that waits for the leases: polls
  // its queues. Set and cleared by that thread; on every other thread make_progress() does nothing.
  void on_progress(std::function<void()> callback);

  [[nodiscard]] Bdf function() const override { return bdf_; }
  [[nodiscard]] peer::DmaDomain& domain() override { return *domain_; }
  void invalidate(peer::MappingId mapping) override;
  void make_progress() override;
  // Clears Bus Master Enable. The controller must be created anew before it is of use again.
  [[nodiscard]] Result<void> isolate() override;

 private:
  Controller* controller_;
  peer::DmaDomain* domain_;
  Bdf bdf_;
  mutable std::mutex mutex_;
  OnInvalidate on_invalidate_;
  std::array<peer::MappingId, kRemembered> invalidated_{};
  std::uint64_t invalidations_ = 0;
  std::function<void()> on_progress_;
  std::thread::id progress_thread_;
};

}  // namespace barter::drivers::nvme
