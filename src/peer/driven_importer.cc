#include "peer/driven_importer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace barter::peer {

void DrivenImporter::on_invalidate(OnInvalidate callback) {
  const std::lock_guard lock(mutex_);
  on_invalidate_ = std::move(callback);
}

bool DrivenImporter::was_invalidated(MappingId mapping) const {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(invalidations_, kRemembered));
  return std::find(invalidated_.begin(), invalidated_.begin() + count, mapping) != invalidated_.begin() + count;
}

void DrivenImporter::invalidate(MappingId mapping) {
  const std::lock_guard lock(mutex_);
  invalidated_[invalidations_++ % kRemembered] = mapping;
  if (on_invalidate_) on_invalidate_(mapping);
}

void DrivenImporter::on_progress(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  on_progress_ = std::move(callback);
  progress_thread_ = std::this_thread::get_id();
}

void DrivenImporter::make_progress() {
  std::function<void()> callback;
  {
    // The callback runs without the lock: it may complete commands, and what that leads to may come back here. It can't
    // be cleared meanwhile, because the thread that would clear it is this one.
    const std::lock_guard lock(mutex_);
    if (progress_thread_ != std::this_thread::get_id()) return;
    callback = on_progress_;
  }
  if (callback) callback();
}

}  // namespace barter::peer
