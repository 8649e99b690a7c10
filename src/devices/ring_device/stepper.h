// What a device does in a step: follows its registers, then gives each channel a turn. Register accesses never take the lock of
// step() and reset(), so a device that is being stepped can be spoken to.
#pragma once
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "devices/ring_device/channel.h"

namespace barter::devices::ring_device {

template <class Job>
class Stepper {
 public:
  using Channels = std::deque<Channel<Job>>;

  // The registers outlive it. `stops` is called before the device stops being ready, or is reset: while its channels are as they were.
  explicit Stepper(
      RegisterFile& registers, std::function<void()> stops = [] {})
      : registers_(registers), stops_(std::move(stops)) {}
  // Before it is attached.
  void add(Channel<Job> channel) { channels_.push_back(std::move(channel)); }
  void attach(fabric::Requester& requester) {
    requester_ = &requester;
    for (Channel<Job>& channel : channels_) channel.attach(requester);
  }
  // While it follows the registers and no slice is under way, it calls follow_more(whether the device becomes ready now).
  template <class FollowMore>
  [[nodiscard]] bool step(FollowMore&& follow_more) {
    return step(follow_more, [](const Channels&) { return false; });
  }
  // The same, for a device that has more to do, when its channels have had their turn: work_more(channels) tells whether it did.
  template <class FollowMore, class WorkMore>
  [[nodiscard]] bool step(FollowMore&& follow_more, WorkMore&& work_more) {
    if (is_resetting_.load(std::memory_order_relaxed)) return false;
    const std::scoped_lock lock(mutex_);
    bool has_worked = false;
    if (registers_.attention()) {
      follow(follow_more);
      has_worked = true;
    }
    // With Bus Master Enable off no request may be started; the doorbells keep.
    if (!is_ready_ || !requester_->may_master()) return has_worked;
    for (std::size_t turn = 0; turn < channels_.size(); ++turn)
      if (channels_[(next_channel_ + turn) % channels_.size()].step()) has_worked = true;
    next_channel_ = (next_channel_ + 1) % channels_.size();
    if (work_more(std::as_const(channels_))) has_worked = true;
    return has_worked;
  }
  // As after power-on; clear_more() clears what else there is.
  template <class ClearMore>
  void reset(ClearMore&& clear_more) {
    is_resetting_.store(true, std::memory_order_relaxed);
    const std::scoped_lock lock(mutex_);
    is_resetting_.store(false, std::memory_order_relaxed);
    clear();
    clear_more();
  }

 private:
  template <class FollowMore>
  void follow(FollowMore&& follow_more) {
    registers_.forget_attention();
    if (registers_.reset_is_asked()) return clear();
    const RegisterFile::Wish enable = registers_.take_enable();
    if (enable.was_off || !enable.is_on) {
      stops_();
      for (Channel<Job>& channel : channels_) channel.stop();
      is_ready_ = false;
      registers_.set_status({});
    }
    const bool becomes_ready = enable.is_on && !is_ready_;
    follow_more(becomes_ready);
    if (becomes_ready) {
      is_ready_ = true;
      registers_.set_status(Status{}.with(Status::ready, true));
    }
    for (Channel<Job>& channel : channels_) channel.follow(is_ready_);
  }
  void clear() {
    stops_();
    for (Channel<Job>& channel : channels_) channel.stop();
    is_ready_ = false;
    registers_.clear();
  }

  RegisterFile& registers_;
  const std::function<void()> stops_;
  fabric::Requester* requester_ = nullptr;
  std::mutex mutex_;
  std::atomic<bool> is_resetting_ = false;  // a thread that steps all the time lets reset() in
  Channels channels_;
  std::size_t next_channel_ = 0;  // whose turn it is
  bool is_ready_ = false;
};

}  // namespace barter::devices::ring_device
