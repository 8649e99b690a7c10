#include "devices/dma_engine/channel.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace barter::devices::dma_engine {

using fabric::Completion;

Channel::Channel(std::uint32_t number, RegisterFile& registers, Report report, std::uint64_t bytes_per_step)
    : number_(number),
      registers_(registers),
      report_(std::move(report)),
      bytes_per_step_(bytes_per_step),
      job_(registers.fixed()) {}

void Channel::attach(fabric::Requester& requester) {
  requester_ = &requester;
  job_.attach(requester);
}

void Channel::follow(bool engine_is_ready) {
  ChannelSettings settings;
  const RegisterFile::Wish run = registers_.take_run(number_, settings);
  if (run.was_off || (!run.is_on && is_running_)) stop();
  if (!run.is_on || is_running_) return;
  is_running_ = true;
  if (!engine_is_ready || run.too_early) return fail(Cause::run_before_ready, "RUN before READY");
  start(settings);
}

void Channel::start(const ChannelSettings& settings) {
  settings_ = settings;
  has_job_ = false;
  head_ = completion_tail_ = 0;
  phase_ = true;
  finished_bytes_ = 0;
  if (settings.ring_base % kRingAlignment != 0 || settings.completion_base % kRingAlignment != 0)
    return fail(Cause::setting, "a ring that begins at no multiple of 64");
  if (settings.ring_log2 == 0 || settings.ring_log2 > registers_.fixed().ring_log2)
    return fail(Cause::setting, fmt::format("a ring of 2^{} entries", settings.ring_log2));
  entries_ = 1u << settings.ring_log2;
  registers_.set_channel_status(number_, ChannelStatus{}.with(ChannelStatus::running, true));
}

void Channel::stop() {
  is_running_ = has_job_ = false;
  entries_ = 0;
  registers_.set_channel_status(number_, {});
}

// It stays "running" inside, so that only the host's clearing RUN leads on from here.
void Channel::fail(Cause cause, std::string why) {
  entries_ = 0;
  has_job_ = false;
  registers_.set_channel_status(number_,
                                ChannelStatus{}.with(ChannelStatus::error, true).with(ChannelStatus::cause, cause));
  report_(fmt::format("channel {}: {}", number_, why));
}

bool Channel::step() {
  std::uint64_t budget_bytes = bytes_per_step_;
  bool has_worked = false;
  for (std::uint32_t taken = 0; taken < kMaxDescriptorsPerStep && budget_bytes != 0 && entries_ != 0; ++taken) {
    if (!has_job_ && !fetch()) break;
    has_worked = true;
    if (has_job_) work(budget_bytes);
  }
  return has_worked;
}

// Takes the next descriptor, if there is one and a place for its completion.
bool Channel::fetch() {
  const std::uint32_t tail = registers_.tail(number_);
  const std::uint32_t taken = registers_.taken(number_);
  if (tail >= entries_ || taken >= entries_) {
    fail(Cause::index_past_ring, fmt::format("TAIL is {} and TAKEN {} in a ring of {}", tail, taken, entries_));
    return true;
  }
  if (tail == head_ || (completion_tail_ + 1) % entries_ == taken) return false;
  const std::uint64_t at = settings_.ring_base + std::uint64_t{head_} * sizeof(Descriptor);
  if (requester_->read({at}, std::as_writable_bytes(std::span(&current_, 1))) != Completion::successful) {
    // No mistake of the host, if the device has just been pulled out or may make no requests any more.
    if (!requester_->may_master()) return false;
    fail(Cause::ring_unreadable, "its ring can't be read");
    return true;
  }
  head_ = (head_ + 1) % entries_;
  has_job_ = true;
  if (const auto begun = job_.begin(current_); begun != MoveStatus::done || job_.is_finished()) complete(begun);
  return true;
}

void Channel::work(std::uint64_t& budget_bytes) {
  const std::uint64_t before = job_.moved_bytes();
  const MoveStatus moved = job_.advance(budget_bytes);
  budget_bytes -= std::min(budget_bytes, job_.moved_bytes() - before);
  registers_.set_moved(number_, finished_bytes_ + job_.moved_bytes());
  if (moved != MoveStatus::done || job_.is_finished()) complete(moved);
}

void Channel::complete(MoveStatus status) {
  // What the bus refuses is nobody's mistake here; all else is the host's.
  const bool is_mistake =
      status == MoveStatus::invalid_opcode || status == MoveStatus::invalid_field || status == MoveStatus::invalid_list;
  if (is_mistake)
    report_(fmt::format("channel {}: descriptor {:#06x} ended with status {}", number_,
                        current_.dword0.get(DescriptorDword0::id), static_cast<unsigned>(status)));
  finished_bytes_ += job_.moved_bytes();
  has_job_ = false;
  const CompletionEntry entry{
      .moved_bytes = job_.moved_bytes(),
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
    return fail(Cause::completion_unwritable, "its completion can't be written");
  }
  if (++completion_tail_ == entries_) {
    completion_tail_ = 0;
    phase_ = !phase_;
  }
  if (current_.dword0.get(DescriptorDword0::interrupt)) requester_->interrupt(number_);
}

}  // namespace barter::devices::dma_engine
