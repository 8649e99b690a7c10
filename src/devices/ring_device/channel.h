// One channel's turn: takes descriptors from its ring, has each one worked through by a Job, and completes it. Belongs to the
// device's step.
//
// What a Job has (devices/dma_engine/job.h is the plain one):
//
//   struct Descriptor;                             // 64 bytes, dword0 first
//   enum class Status;                             // 0 is done
//   void attach(fabric::Requester& requester);
//   std::string start(const ChannelSettings&);     // the channel begins anew; or why it can't, by its settings
//   Status begin(const Descriptor&);               // checks it as a whole
//   Status advance(std::uint64_t budget_bytes);    // works through about so many bytes more
//   bool is_finished() const;
//   std::uint64_t done_bytes() const;
//   void publish(std::uint64_t worked_bytes);      // of the channel since it runs
//   JobEnd end(Status);                            // the result, and whether an error is the host's mistake
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "devices/ring_device/ring.h"

namespace barter::devices::ring_device {

// What a channel may do in one step. A slice that is under way is finished all the same.
inline constexpr std::uint64_t kMaxBytesPerStep = std::uint64_t{1} << 20;
inline constexpr std::uint32_t kMaxCommandsPerStep = 32;

struct JobEnd {
  std::uint64_t result = 0;
  bool is_mistake = false;
};

template <class Job>
class Channel {
 public:
  Channel(Ring ring, Job job, std::uint64_t bytes_per_step)
      : ring_(std::move(ring)), job_(std::move(job)), bytes_per_step_(bytes_per_step) {}

  void attach(fabric::Requester& requester) {
    ring_.attach(requester);
    job_.attach(requester);
  }
  // Follows CHANNEL_CONTROL.
  void follow(bool device_is_ready) {
    const auto settings = ring_.follow(device_is_ready);
    if (settings || !ring_.is_running()) has_job_ = false;
    if (!settings) return;
    worked_bytes_ = 0;
    if (std::string why = job_.start(*settings); !why.empty()) return ring_.fail(Cause::setting, std::move(why));
    ring_.show_running();
  }
  void stop() {
    has_job_ = false;
    ring_.stop();
  }
  // Tells whether it did anything.
  [[nodiscard]] bool step() {
    std::uint64_t budget_bytes = bytes_per_step_;
    bool has_worked = false;
    for (std::uint32_t commands = 0; commands < kMaxCommandsPerStep && budget_bytes != 0 && ring_.is_running();
         ++commands) {
      if (!has_job_ && !begin()) break;
      has_worked = true;
      if (has_job_) work(budget_bytes);
    }
    return has_worked;
  }

 private:
  using Status = typename Job::Status;
  static_assert(sizeof(typename Job::Descriptor) == kDescriptorBytes);

  [[nodiscard]] bool begin() {
    const auto bytes = std::as_writable_bytes(std::span<typename Job::Descriptor, 1>(&current_, 1));
    if (const auto fetched = ring_.fetch(bytes); fetched != Ring::Fetched::descriptor)
      return fetched == Ring::Fetched::trouble;
    has_job_ = true;
    if (const Status begun = job_.begin(current_); begun != Status{} || job_.is_finished()) complete(begun);
    return true;
  }
  void work(std::uint64_t& budget_bytes) {
    const std::uint64_t before = job_.done_bytes();
    const Status worked = job_.advance(budget_bytes);
    budget_bytes -= std::min(budget_bytes, job_.done_bytes() - before);
    job_.publish(worked_bytes_ + job_.done_bytes());
    if (worked != Status{} || job_.is_finished()) complete(worked);
  }
  void complete(Status status) {
    const JobEnd end = job_.end(status);
    if (end.is_mistake)
      ring_.report(fmt::format("command {:#06x} ended with status {}", current_.dword0.get(DescriptorDword0::id),
                               static_cast<unsigned>(status)));
    worked_bytes_ += job_.done_bytes();
    has_job_ = false;
    ring_.complete(current_.dword0, {.result = end.result, .status = static_cast<std::uint8_t>(status)});
  }

  Ring ring_;
  Job job_;
  const std::uint64_t bytes_per_step_;
  bool has_job_ = false;
  typename Job::Descriptor current_;
  std::uint64_t worked_bytes_ = 0;  // of the commands before the current one
};

}  // namespace barter::devices::ring_device
