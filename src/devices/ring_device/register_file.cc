#include "devices/ring_device/register_file.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::ring_device {

RegisterFile::RegisterFile(const Layout& layout, std::uint32_t channels, std::uint8_t longest_ring_log2, Report report)
    : layout_(layout), longest_ring_log2_(longest_ring_log2), report_(std::move(report)), channels_(channels) {}

void RegisterFile::report(std::string_view what, std::uint64_t at, unsigned width_bytes) const {
  report_(fmt::format("{} at {:#x}, {} bytes wide", what, at, width_bytes));
}

std::optional<RegisterFile::Place> RegisterFile::find_channel(std::uint64_t at) {
  if (at < layout_.channels) return std::nullopt;
  const std::uint64_t channel = (at - layout_.channels) / layout_.channel_stride;
  if (channel >= channels_.size()) return std::nullopt;
  return Place{&channels_[channel], static_cast<std::uint32_t>((at - layout_.channels) % layout_.channel_stride)};
}

std::optional<std::uint64_t> RegisterFile::read_common(std::uint64_t at, unsigned width_bytes) {
  if (const auto place = find_channel(at)) return read_channel(*place, width_bytes);
  if (width_bytes != 4) return std::nullopt;
  if (at == 0) return layout_.identity;
  if (at == 4) return layout_.version;
  if (at == layout_.status) return status_.load(std::memory_order_acquire);
  if (at == layout_.scratch) return scratch_.load(std::memory_order_acquire);
  if (at != layout_.control) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  return Control{}.with(Control::enable, enable_).with(Control::reset, reset_is_asked()).raw;
}

std::uint64_t* RegisterFile::setting(Place place, unsigned width_bytes) const {
  ChannelSettings& settings = place.channel->settings;
  if (width_bytes == 4) return place.at == layout_.ring_log2 ? &settings.ring_log2 : nullptr;
  if (width_bytes != 8) return nullptr;
  if (place.at == layout_.ring_base) return &settings.ring_base;
  if (place.at == layout_.completion_base) return &settings.completion_base;
  return layout_.counter_is_setting && place.at == layout_.counter ? &settings.counter : nullptr;
}

std::uint64_t RegisterFile::read_channel(Place place, unsigned width_bytes) {
  const Channel& channel = *place.channel;
  if (width_bytes == 4) {
    if (place.at == layout_.channel_status) return channel.status.load(std::memory_order_acquire);
    if (place.at == layout_.tail) return channel.tail.load(std::memory_order_acquire);
    if (place.at == layout_.taken) return channel.taken.load(std::memory_order_acquire);
  } else if (width_bytes == 8 && place.at == layout_.counter && !layout_.counter_is_setting) {
    return channel.counter.load(std::memory_order_acquire);
  }
  {
    const std::scoped_lock lock(mutex_);
    if (const std::uint64_t* const kept = setting(place, width_bytes)) return *kept;
    if (width_bytes == 4 && place.at == layout_.channel_control)
      return ChannelControl{}.with(ChannelControl::run, channel.run).raw;
  }
  report("a read of no register of a channel", place.at, width_bytes);
  return 0;
}

bool RegisterFile::write_common(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  if (const auto place = find_channel(at)) {
    write_channel(*place, width_bytes, value);
    return true;
  }
  const auto low = static_cast<std::uint32_t>(value);
  if (width_bytes == 4 && at == layout_.control)
    write_control(Control::from(low));
  else if (width_bytes == 4 && at == layout_.scratch)
    scratch_.store(low, std::memory_order_release);
  else
    return false;
  return true;
}

void RegisterFile::write_control(Control wanted) {
  const std::uint32_t known = Control{}.with(Control::enable, true).with(Control::reset, layout_.has_reset).raw;
  if ((wanted.raw & ~known) != 0) report("reserved bits of CONTROL", layout_.control, 4);
  {
    const std::scoped_lock lock(mutex_);
    const bool on = wanted.get(Control::enable);
    if (enable_ && !on) {
      was_disabled_ = true;
      for (Channel& channel : channels_) channel.was_stopped |= std::exchange(channel.run, false);
    }
    enable_ = on;
    if (layout_.has_reset && wanted.get(Control::reset)) reset_.store(true, std::memory_order_release);
  }
  call_attention();
}

void RegisterFile::write_channel(Place place, unsigned width_bytes, std::uint64_t value) {
  Channel& channel = *place.channel;
  const auto low = static_cast<std::uint32_t>(value);
  if (width_bytes == 4) {
    if (place.at == layout_.tail) return channel.tail.store(low, std::memory_order_release);
    if (place.at == layout_.taken) return channel.taken.store(low, std::memory_order_release);
    if (place.at == layout_.channel_control) return write_run(channel, ChannelControl::from(low));
  }
  bool is_setting = false;
  bool while_running = false;
  {
    const std::scoped_lock lock(mutex_);
    if (std::uint64_t* const kept = setting(place, width_bytes)) {
      *kept = width_bytes == 4 ? low : value;
      is_setting = true;
      while_running = channel.run;
    }
  }
  if (while_running) report("a channel's setting changed while it runs", place.at, width_bytes);
  if (!is_setting)
    report("a write to no register of a channel, or to one that can't be written", place.at, width_bytes);
}

void RegisterFile::write_run(Channel& channel, ChannelControl wanted) {
  if ((wanted.raw & ChannelControl::kReserved) != 0)
    report("reserved bits of CHANNEL_CONTROL", layout_.channel_control, 4);
  const bool on = wanted.get(ChannelControl::run);
  {
    const std::scoped_lock lock(mutex_);
    if (channel.run && !on) channel.was_stopped = true;
    if (!channel.run && on) {
      channel.tail.store(0, std::memory_order_release);
      channel.taken.store(0, std::memory_order_release);
      channel.counter.store(0, std::memory_order_release);
      channel.too_early = !Status::from(status_.load(std::memory_order_acquire)).get(Status::ready);
    }
    channel.run = on;
  }
  call_attention();
}

RegisterFile::Wish RegisterFile::take_enable() {
  const std::scoped_lock lock(mutex_);
  return {.is_on = enable_, .was_off = std::exchange(was_disabled_, false)};
}

RegisterFile::Wish RegisterFile::take_run(std::uint32_t channel, ChannelSettings& settings) {
  Channel& of = channels_[channel];
  const std::scoped_lock lock(mutex_);
  settings = of.settings;
  return {.is_on = of.run, .was_off = std::exchange(of.was_stopped, false), .too_early = of.too_early};
}

void RegisterFile::clear() {
  const std::scoped_lock lock(mutex_);
  enable_ = was_disabled_ = false;
  status_.store(0, std::memory_order_release);
  scratch_.store(0, std::memory_order_release);
  attention_.store(false, std::memory_order_release);
  for (Channel& channel : channels_) {
    channel.settings = {};
    channel.run = channel.was_stopped = channel.too_early = false;
    channel.status.store(0, std::memory_order_release);
    channel.tail.store(0, std::memory_order_release);
    channel.taken.store(0, std::memory_order_release);
    channel.counter.store(0, std::memory_order_release);
  }
  reset_.store(false, std::memory_order_release);  // last: it says that all of the above is done
}

}  // namespace barter::devices::ring_device
