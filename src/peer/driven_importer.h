// An importer without a state for its mappings: what it reaches is what the commands in flight name. What drives share,
// whoever drives them.
//
// Letting go of a mapping is therefore the business of whoever submits: new commands need a new lease, which a mapping that
// was taken back refuses, and the old leases end as commands complete. This class brings the word to the transfer.
//
// Threads: any.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "peer/importer.h"

namespace barter::peer {

class DrivenImporter : public Importer {
 public:
  using OnInvalidate = std::move_only_function<void(MappingId)>;

  // Called for each mapping that is taken back, on the thread that takes it back; must return at once. Afterwards the
  // old callback is not running any more. It must not call back into this object.
  void on_invalidate(OnInvalidate callback);
  // Was this mapping taken back? It remembers the last kRemembered; lease() of the mapping itself never forgets.
  [[nodiscard]] bool was_invalidated(MappingId mapping) const;
  static constexpr std::size_t kRemembered = 64;

  // What the thread that drives the transfers does, when it is itself the one that waits for the leases: polls its queues.
  // Set and cleared by that thread; on every other thread make_progress() does nothing.
  void on_progress(std::function<void()> callback);

  void invalidate(MappingId mapping) final;
  void make_progress() final;

 private:
  mutable std::mutex mutex_;
  OnInvalidate on_invalidate_;
  std::array<MappingId, kRemembered> invalidated_{};
  std::uint64_t invalidations_ = 0;
  std::function<void()> on_progress_;
  std::thread::id progress_thread_;
};

}  // namespace barter::peer
