#include "devices/dma_engine/register_file.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::dma_engine {
namespace {

// A register, by its place and width. A switch over these is the table of section 2.
constexpr std::uint64_t key(std::uint64_t at, unsigned width_bytes) { return at << 4 | width_bytes; }
template <class R>
constexpr std::uint64_t kKey = key(R::kOffset, sizeof(typename R::Word));

}  // namespace

RegisterFile::RegisterFile(const FixedRegisters& fixed, Report report) : fixed_(fixed), report_(std::move(report)) {}

void RegisterFile::report(const char* what, std::uint64_t at, unsigned width_bytes) {
  report_(fmt::format("{} at {:#x}, {} bytes wide", what, at, width_bytes));
}

std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  const std::uint64_t channel = (at - kChannels) / kChannelStride;
  if (at >= kChannels && channel < fixed_.channels)
    return read_channel(channels_[channel], static_cast<std::uint32_t>((at - kChannels) % kChannelStride), width_bytes);
  switch (key(at, width_bytes)) {
    case kKey<Identity>:
      return Identity::kBxdm;
    case kKey<Version>:
      return Version::k1_0;
    case kKey<Channels>:
      return Channels{}.with(Channels::ring_log2, fixed_.ring_log2).with(Channels::count, fixed_.channels).raw;
    case kKey<Segments>:
      return Segments{}.with(Segments::most, fixed_.segments).raw;
    case kKey<Transfer>:
      return fixed_.transfer_bytes;
    case kKey<Control>: {
      const std::scoped_lock lock(mutex_);
      return Control{}.with(Control::enable, enable_).with(Control::reset, reset_is_asked()).raw;
    }
    case kKey<Status>:
      return status_.load(std::memory_order_acquire);
    case kKey<Scratch>:
      return scratch_.load(std::memory_order_acquire);
    default:
      report("a read of no register", at, width_bytes);
      return 0;
  }
}

std::uint64_t RegisterFile::read_channel(Channel& channel, std::uint32_t at, unsigned width_bytes) {
  switch (key(at, width_bytes)) {
    case kKey<ChannelStatus>:
      return channel.status.load(std::memory_order_acquire);
    case kKey<Tail>:
      return channel.tail.load(std::memory_order_acquire);
    case kKey<Taken>:
      return channel.taken.load(std::memory_order_acquire);
    case kKey<Moved>:
      return channel.moved.load(std::memory_order_acquire);
    default:
      break;
  }
  {
    const std::scoped_lock lock(mutex_);
    switch (key(at, width_bytes)) {
      case kKey<RingBase>:
        return channel.settings.ring_base;
      case kKey<CompletionBase>:
        return channel.settings.completion_base;
      case kKey<RingLog2>:
        return channel.settings.ring_log2;
      case kKey<ChannelControl>:
        return ChannelControl{}.with(ChannelControl::run, channel.run).raw;
      default:
        break;
    }
  }
  report("a read of no register of a channel", at, width_bytes);
  return 0;
}

void RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  const std::uint64_t channel = (at - kChannels) / kChannelStride;
  if (at >= kChannels && channel < fixed_.channels)
    return write_channel(channels_[channel], static_cast<std::uint32_t>((at - kChannels) % kChannelStride), width_bytes,
                         value);
  switch (key(at, width_bytes)) {
    case kKey<Control>:
      return write_control(Control::from(static_cast<std::uint32_t>(value)));
    case kKey<Scratch>:
      return scratch_.store(static_cast<std::uint32_t>(value), std::memory_order_release);
    default:
      report("a write to no register, or to one that can't be written", at, width_bytes);
  }
}

void RegisterFile::write_control(Control wanted) {
  if ((wanted.raw & Control::kReserved) != 0) report("reserved bits of CONTROL", Control::kOffset, 4);
  {
    const std::scoped_lock lock(mutex_);
    const bool on = wanted.get(Control::enable);
    if (enable_ && !on) {
      was_disabled_ = true;
      for (Channel& channel : channels_) channel.was_stopped |= std::exchange(channel.run, false);
    }
    enable_ = on;
    if (wanted.get(Control::reset)) reset_.store(true, std::memory_order_release);
  }
  attention_.store(true, std::memory_order_release);
}

void RegisterFile::write_channel(Channel& channel, std::uint32_t at, unsigned width_bytes, std::uint64_t value) {
  switch (key(at, width_bytes)) {
    case kKey<Tail>:
      return channel.tail.store(static_cast<std::uint32_t>(value), std::memory_order_release);
    case kKey<Taken>:
      return channel.taken.store(static_cast<std::uint32_t>(value), std::memory_order_release);
    case kKey<ChannelControl>:
      return write_run(channel, ChannelControl::from(static_cast<std::uint32_t>(value)));
    case kKey<RingBase>:
    case kKey<CompletionBase>:
    case kKey<RingLog2>:
      return write_setting(channel, at, value);
    default:
      return report("a write to no register of a channel, or to one that can't be written", at, width_bytes);
  }
}

void RegisterFile::write_setting(Channel& channel, std::uint32_t at, std::uint64_t value) {
  bool while_running = false;
  {
    const std::scoped_lock lock(mutex_);
    while_running = channel.run;
    if (at == RingBase::kOffset) channel.settings.ring_base = value;
    if (at == CompletionBase::kOffset) channel.settings.completion_base = value;
    if (at == RingLog2::kOffset) channel.settings.ring_log2 = static_cast<std::uint32_t>(value);
  }
  if (while_running) report("a channel's setting changed while it runs", at, at == RingLog2::kOffset ? 4 : 8);
}

void RegisterFile::write_run(Channel& channel, ChannelControl wanted) {
  if ((wanted.raw & ChannelControl::kReserved) != 0)
    report("reserved bits of CHANNEL_CONTROL", ChannelControl::kOffset, 4);
  const bool on = wanted.get(ChannelControl::run);
  {
    const std::scoped_lock lock(mutex_);
    if (channel.run && !on) channel.was_stopped = true;
    if (!channel.run && on) {
      channel.tail.store(0, std::memory_order_release);
      channel.taken.store(0, std::memory_order_release);
      channel.moved.store(0, std::memory_order_release);
      channel.too_early = !Status::from(status_.load(std::memory_order_acquire)).get(Status::ready);
    }
    channel.run = on;
  }
  attention_.store(true, std::memory_order_release);
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
    channel.moved.store(0, std::memory_order_release);
  }
  reset_.store(false, std::memory_order_release);  // last: it says that all of the above is done
}

}  // namespace barter::devices::dma_engine
