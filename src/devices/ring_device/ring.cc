#include "devices/ring_device/ring.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::ring_device {

using fabric::Completion;

Ring::Ring(std::uint32_t number, RegisterFile& registers, Report report)
    : number_(number), registers_(registers), report_(std::move(report)) {}

void Ring::report(std::string what) const { report_(fmt::format("channel {}: {}", number_, what)); }

std::optional<ChannelSettings> Ring::follow(bool device_is_ready) {
  ChannelSettings wanted;
  const RegisterFile::Wish run = registers_.take_run(number_, wanted);
  if (run.was_off || (!run.is_on && is_followed_)) stop();
  if (!run.is_on || is_followed_) return std::nullopt;
  is_followed_ = true;
  const auto refuse = [&](Cause cause, std::string why) {
    fail(cause, std::move(why));
    return std::nullopt;
  };
  if (!device_is_ready || run.too_early) return refuse(Cause::run_before_ready, "RUN before READY");
  const Layout& layout = registers_.layout();
  if (wanted.ring_base % layout.ring_alignment != 0 || wanted.completion_base % layout.ring_alignment != 0)
    return refuse(Cause::setting, fmt::format("a ring that begins at no multiple of {}", layout.alignment_words));
  if (wanted.ring_log2 == 0 || wanted.ring_log2 > registers_.longest_ring_log2())
    return refuse(Cause::setting, fmt::format("a ring of 2^{} entries", wanted.ring_log2));
  settings_ = wanted;
  entries_ = 1u << wanted.ring_log2;
  head_ = completion_tail_ = 0;
  phase_ = true;
  late_.reset();
  return wanted;
}

void Ring::show_running() {
  registers_.set_channel_status(number_, ChannelStatus{}.with(ChannelStatus::running, true));
}

void Ring::stop() {
  is_followed_ = false;
  entries_ = 0;
  registers_.set_channel_status(number_, {});
}

// It stays "followed" inside, so that only the host's clearing RUN leads on from here.
void Ring::fail(Cause cause, std::string why) {
  entries_ = 0;
  const Cause told = registers_.layout().tells_cause ? cause : Cause::none;
  registers_.set_channel_status(number_,
                                ChannelStatus{}.with(ChannelStatus::error, true).with(ChannelStatus::cause, told));
  report(std::move(why));
}

Ring::Fetched Ring::fetch(std::span<std::byte, kDescriptorBytes> into, std::uint32_t completions) {
  const std::uint32_t tail = registers_.tail(number_);
  const std::uint32_t taken = registers_.taken(number_);
  if (tail >= entries_ || taken >= entries_) {
    fail(Cause::index_past_ring,
         fmt::format("TAIL is {} and {} {} in a ring of {}", tail, registers_.layout().taken_name, taken, entries_));
    return Fetched::trouble;
  }
  if (late_ && post(late_->entry, late_->interrupt)) late_.reset();
  if (!is_running()) return Fetched::trouble;
  if (late_ || tail == head_ || !has_room(completions, taken)) return Fetched::nothing;
  if (requester_->read({settings_.ring_base + std::uint64_t{head_} * kDescriptorBytes}, into) !=
      Completion::successful) {
    // No mistake of the host, if the device has just been pulled out or may make no requests any more.
    if (!requester_->may_master()) return Fetched::nothing;
    fail(Cause::ring_unreadable, "its ring can't be read");
    return Fetched::trouble;
  }
  head_ = (head_ + 1) % entries_;
  return Fetched::descriptor;
}

bool Ring::tell(DescriptorDword0 descriptor, End what) {
  const std::uint32_t taken = registers_.taken(number_);
  if (taken >= entries_)
    fail(Cause::index_past_ring,
         fmt::format("{} is {} in a ring of {}", registers_.layout().taken_name, taken, entries_));
  if (!is_running() || !has_room(2, taken)) return false;
  return post(make_entry(descriptor, what), true);
}

void Ring::complete(DescriptorDword0 descriptor, End end) {
  const CompletionEntry entry = make_entry(descriptor, end);
  const bool interrupt = descriptor.get(DescriptorDword0::interrupt);
  if (!post(entry, interrupt)) late_ = {.entry = entry, .interrupt = interrupt};
}

CompletionEntry Ring::make_entry(DescriptorDword0 descriptor, End end) const {
  return {
      .result = end.result,
      .dword2 = CompletionDword2{}
                    .with(CompletionDword2::channel, static_cast<std::uint16_t>(number_))
                    .with(CompletionDword2::head, static_cast<std::uint16_t>(head_)),
      .dword3 = CompletionDword3{}
                    .with(CompletionDword3::phase, phase_)
                    .with(CompletionDword3::status, end.status)
                    .with(CompletionDword3::id, descriptor.get(DescriptorDword0::id)),
  };
}

bool Ring::post(const CompletionEntry& entry, bool interrupt) {
  // docs/memory-order.md, rule 3: 16 bytes are published by their last word.
  const std::uint64_t at = settings_.completion_base + std::uint64_t{completion_tail_} * sizeof entry;
  if (requester_->write({at}, std::as_bytes(std::span(&entry, 1))) != Completion::successful) {
    if (!requester_->may_master()) return false;
    fail(Cause::completion_unwritable, "its completion can't be written");
    return true;
  }
  if (++completion_tail_ == entries_) {
    completion_tail_ = 0;
    phase_ = !phase_;
  }
  if (interrupt) requester_->interrupt(number_);
  return true;
}

}  // namespace barter::devices::ring_device
