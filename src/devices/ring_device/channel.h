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
//   bool is_stalled() const;                       // the last advance() did nothing: it waits for another device
//   void forget();                                 // the command is over: it has ended, or its channel was stopped
//   std::uint64_t done_bytes() const;
//   void publish(std::uint64_t worked_bytes);      // of the channel since it runs
//   JobEnd end(Status);                            // the result, and whether an error is the host's mistake
//   std::uint32_t completions() const;             // how much room in the ring a command may need
//   std::optional<Ring::End> request(Status);      // begin() and advance() found this and can't go on without the host: what to ask
//   Reply reply(std::uint16_t id);                 // of the host, to command `id`, since request(); then begin() or advance() again
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
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
enum class Reply : std::uint8_t { none, go_on, give_up };

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
    if (settings || !ring_.is_running()) forget_job();
    if (!settings) return;
    worked_bytes_ = 0;
    if (std::string why = job_.start(*settings); !why.empty()) return ring_.fail(Cause::setting, std::move(why));
    ring_.show_running();
  }
  void stop() {
    forget_job();
    ring_.stop();
  }
  // Tells whether it did anything.
  [[nodiscard]] bool step() {
    std::uint64_t budget_bytes = bytes_per_step_;
    bool has_worked = false;
    has_found_nothing_ = false;
    for (std::uint32_t commands = 0; commands < kMaxCommandsPerStep && budget_bytes != 0 && ring_.is_running();
         ++commands) {
      const bool has_more = has_job_ && waiting_ == Waiting::no;
      const bool goes_on = waiting_ != Waiting::no ? hear() : has_more || fetch();
      if (!goes_on) break;
      if (has_job_ && waiting_ == Waiting::no) work(budget_bytes);
      const bool is_stalled = has_job_ && job_.is_stalled();
      if (!has_more || !is_stalled) has_worked = true;
      if (is_stalled) break;
    }
    return has_worked;
  }
  // Was there no command, or no room for its completion, when the last step looked; or does the channel not run?
  [[nodiscard]] bool has_run_dry() const { return !ring_.is_running() || has_found_nothing_; }

 private:
  using Status = typename Job::Status;
  static_assert(sizeof(typename Job::Descriptor) == kDescriptorBytes);

  // For what a command waits: for room to ask, or for the answer.
  enum class Waiting : std::uint8_t { no, to_ask, to_hear };

  void forget_job() {
    if (has_job_) job_.forget();
    has_job_ = has_begun_ = false;
    waiting_ = Waiting::no;
  }
  // Is there something to do: a command, or trouble that was told?
  [[nodiscard]] bool fetch() {
    const auto bytes = std::as_writable_bytes(std::span<typename Job::Descriptor, 1>(&current_, 1));
    const auto fetched = ring_.fetch(bytes, job_.completions());
    has_job_ = fetched == Ring::Fetched::descriptor;
    has_found_nothing_ = fetched == Ring::Fetched::nothing;
    return fetched != Ring::Fetched::nothing;
  }
  void work(std::uint64_t& budget_bytes) {
    if (!has_begun_) {
      const Status begun = job_.begin(current_);
      has_begun_ = begun == Status{};
      if (!has_begun_ || job_.is_finished()) return settle(begun);
    }
    const std::uint64_t before = job_.done_bytes();
    const Status worked = job_.advance(budget_bytes);
    budget_bytes -= std::min(budget_bytes, job_.done_bytes() - before);
    job_.publish(worked_bytes_ + job_.done_bytes());
    settle(worked);
  }
  void settle(Status status) {
    request_ = job_.request(status);
    if (request_)
      waiting_ = Waiting::to_ask;
    else if (status != Status{} || job_.is_finished())
      complete(status);
    waits_with_ = status;
  }
  // Of a command that waits: can anything be done now?
  [[nodiscard]] bool hear() {
    if (waiting_ == Waiting::to_ask) {
      if (!ring_.tell(current_.dword0, *request_)) return !ring_.is_running();
      waiting_ = Waiting::to_hear;
      return true;
    }
    const Reply reply = job_.reply(current_.dword0.get(DescriptorDword0::id));
    if (reply == Reply::none) return false;
    waiting_ = Waiting::no;
    if (reply == Reply::give_up) complete(waits_with_);
    return true;
  }
  void complete(Status status) {
    const JobEnd end = job_.end(status);
    if (end.is_mistake)
      ring_.report(fmt::format("command {:#06x} ended with status {}", current_.dword0.get(DescriptorDword0::id),
                               static_cast<unsigned>(status)));
    worked_bytes_ += job_.done_bytes();
    forget_job();
    ring_.complete(current_.dword0, {.result = end.result, .status = static_cast<std::uint8_t>(status)});
  }

  Ring ring_;
  Job job_;
  const std::uint64_t bytes_per_step_;
  bool has_job_ = false;
  bool has_begun_ = false;
  bool has_found_nothing_ = false;
  Waiting waiting_ = Waiting::no;
  std::optional<Ring::End> request_;
  Status waits_with_{};  // what it ends with if the host gives up
  typename Job::Descriptor current_;
  std::uint64_t worked_bytes_ = 0;  // of the commands before the current one
};

}  // namespace barter::devices::ring_device
