#include "devices/accelerator/channel.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <fmt/format.h>

namespace barter::devices::accelerator {

using fabric::Completion;

Channel::Channel(std::uint32_t number, Engine engine, RegisterFile& registers, MemoryAccess& memory, Report report,
                 std::uint64_t bytes_per_step)
    : number_(number),
      bytes_per_step_(bytes_per_step),
      registers_(registers),
      memory_(memory),
      report_(std::move(report)),
      job_(memory, engine) {}

void Channel::follow(bool device_is_ready) {
  ChannelSettings settings;
  const RegisterFile::Wish run = registers_.take_run(number_, settings);
  if (run.was_off || (!run.is_on && is_running_)) stop();
  if (!run.is_on || is_running_) return;
  start(settings);
  if (!device_is_ready) fail("RUN before READY");
}

void Channel::start(const ChannelSettings& settings) {
  settings_ = settings;
  is_running_ = true;
  has_job_ = false;
  head_ = completion_tail_ = 0;
  phase_ = true;
  finished_bytes_ = 0;
  const std::uint64_t counter = settings.progress.get(Progress::address_8) << 3;
  if (settings.ring_base % kRingAlignment != 0 || settings.completion_base % kRingAlignment != 0)
    return fail("a ring that begins at no multiple of 4 KiB");
  if (settings.ring_log2 == 0 || settings.ring_log2 > registers_.fixed().ring_log2)
    return fail(fmt::format("a ring of 2^{} entries", settings.ring_log2));
  if ((settings.progress.raw & Progress::kReserved) != 0 ||
      (settings.progress.get(Progress::on) && counter > memory_.memory().size() - sizeof(std::uint64_t)))
    return fail(fmt::format("a progress counter at {:#x}", settings.progress.raw));
  entries_ = 1u << settings.ring_log2;
  publish_progress();
  registers_.set_channel_status(number_, ChannelStatus{}.with(ChannelStatus::running, true));
}

void Channel::stop() {
  is_running_ = has_job_ = false;
  registers_.set_channel_status(number_, {});
}

// It stays "running" inside, so that only the host's clearing RUN leads on from here.
void Channel::fail(std::string why) {
  entries_ = 0;
  has_job_ = false;
  registers_.set_channel_status(number_, ChannelStatus{}.with(ChannelStatus::error, true));
  report_(fmt::format("channel {}: {}", number_, why));
}

bool Channel::step() {
  if (!is_running_ || entries_ == 0) return false;
  std::uint64_t budget_bytes = bytes_per_step_;
  bool has_worked = false;
  for (std::uint32_t commands = 0; commands < kMaxCommandsPerStep && budget_bytes != 0; ++commands) {
    if (!has_job_ && !fetch()) break;
    has_worked = true;
    if (has_job_) work(budget_bytes);
    if (has_job_ || entries_ == 0) break;
  }
  return has_worked;
}

// Takes the next descriptor, if there is one and a place for its completion.
bool Channel::fetch() {
  const std::uint32_t tail = registers_.tail(number_);
  if (tail >= entries_) {
    fail(fmt::format("TAIL is {} in a ring of {}", tail, entries_));
    return true;
  }
  if (tail == head_ || !has_room_to_complete()) return false;
  const std::uint64_t at = settings_.ring_base + std::uint64_t{head_} * sizeof(Descriptor);
  if (requester_->read({at}, std::as_writable_bytes(std::span(&current_, 1))) != Completion::successful) {
    // No mistake of the host, if the device has just been pulled out or may make no requests any more.
    if (!requester_->may_master()) return false;
    fail("its ring can't be read");
    return true;
  }
  head_ = (head_ + 1) % entries_;
  has_job_ = true;
  if (const auto begun = job_.begin(current_); begun != CommandStatus::done) complete(begun);
  return true;
}

bool Channel::has_room_to_complete() {
  const std::uint32_t completion_head = registers_.completion_head(number_);
  if (completion_head >= entries_) {
    fail(fmt::format("COMPLETION_HEAD is {} in a ring of {}", completion_head, entries_));
    return false;
  }
  return (completion_tail_ + 1) % entries_ != completion_head;
}

void Channel::work(std::uint64_t& budget_bytes) {
  const std::uint64_t before = job_.done_bytes();
  const CommandStatus worked = job_.advance(budget_bytes);
  budget_bytes -= std::min(budget_bytes, job_.done_bytes() - before);
  publish_progress();
  if (worked != CommandStatus::done || job_.is_finished()) complete(worked);
}

void Channel::complete(CommandStatus status) {
  std::uint64_t result = job_.result();
  if (status == CommandStatus::page_fault) {
    result = memory_.last_fault().address;
    registers_.set_fault(number_, result, memory_.last_fault().was_write);
  } else if (status != CommandStatus::done) {
    result = 0;
    // Nor are these the host's mistakes: what it named may have gone, or have been taken back.
    if (status != CommandStatus::bus_error && status != CommandStatus::link_down &&
        status != CommandStatus::not_granted)
      report_(fmt::format("channel {}: command {:#06x} ended with status {}", number_,
                          current_.dword0.get(DescriptorDword0::id), static_cast<unsigned>(status)));
  }
  finished_bytes_ += job_.done_bytes();
  has_job_ = false;
  CompletionEntry entry{
      .result = result,
      .dword2 = CompletionDword2{}
                    .with(CompletionDword2::channel, static_cast<std::uint16_t>(number_))
                    .with(CompletionDword2::head, static_cast<std::uint16_t>(head_)),
      .dword3 = CompletionDword3{}
                    .with(CompletionDword3::phase, phase_)
                    .with(CompletionDword3::status, static_cast<std::uint8_t>(status))
                    .with(CompletionDword3::id, current_.dword0.get(DescriptorDword0::id)),
  };
  // docs/memory-order.md, rule 3: 16 bytes are published by their last word.
  const std::uint64_t at = settings_.completion_base + std::uint64_t{completion_tail_} * sizeof entry;
  if (requester_->write({at}, std::as_bytes(std::span(&entry, 1))) != Completion::successful) {
    if (!requester_->may_master()) return;
    return fail("its completion can't be written");
  }
  if (++completion_tail_ == entries_) {
    completion_tail_ = 0;
    phase_ = !phase_;
  }
  if (current_.dword0.get(DescriptorDword0::interrupt)) requester_->interrupt(number_);
}

// One store with release: whoever sees it by an acquire load sees the bytes that it counts.
void Channel::publish_progress() {
  if (!settings_.progress.get(Progress::on)) return;
  const std::uint64_t at = settings_.progress.get(Progress::address_8) << 3;
  auto* const counter = reinterpret_cast<std::uint64_t*>(memory_.memory().data() + at);
  const std::uint64_t now = finished_bytes_ + (has_job_ ? job_.done_bytes() : 0);
  std::atomic_ref<std::uint64_t>(*counter).store(now, std::memory_order_release);
}

}  // namespace barter::devices::accelerator
