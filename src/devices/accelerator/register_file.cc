#include "devices/accelerator/register_file.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::accelerator {
namespace {

// A register, by its place and width. A switch over these is the table of section 2.
constexpr std::uint64_t key(std::uint64_t at, unsigned width_bytes) { return at << 4 | width_bytes; }
template <class R>
constexpr std::uint64_t kKey = key(R::kOffset, sizeof(typename R::Word));

}  // namespace

RegisterFile::RegisterFile(const FixedRegisters& fixed, LinkPorts& links, Report report)
    : fixed_(fixed), links_(links), report_(std::move(report)) {}

void RegisterFile::report(const char* what, std::uint64_t at, unsigned width_bytes) {
  report_(fmt::format("{} at {:#x}, {} bytes wide", what, at, width_bytes));
}

std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  const std::uint64_t channel = (at - kChannels) / kChannelStride;
  if (at >= kChannels && channel < fixed_.channels())
    return read_channel(channels_[channel], static_cast<std::uint32_t>((at - kChannels) % kChannelStride), width_bytes);
  switch (key(at, width_bytes)) {
    case kKey<Identity>:
      return Identity::kBxac;
    case kKey<Version>:
      return Version::k1_1;
    case kKey<MemoryBytes>:
      return fixed_.memory_bytes;
    case kKey<WindowBytes>:
      return fixed_.window_bytes;
    case kKey<Engines>:
      return Engines{}
          .with(Engines::ring_log2, fixed_.ring_log2)
          .with(Engines::compute, fixed_.compute_channels)
          .with(Engines::copy, fixed_.copy_channels)
          .raw;
    case kKey<Links>:
      return Links{}.with(Links::ports, fixed_.links).raw;
    case kKey<Unit>:
      return links_.unit();
    case kKey<Control>: {
      const std::scoped_lock lock(mutex_);
      return Control{}.with(Control::enable, enable_).raw;
    }
    case kKey<Status>:
      return status_.load(std::memory_order_acquire);
    case kKey<WindowBase>:
      return window_base();
    case kKey<TableRoot>:
      return table_root().raw;
    case kKey<FaultAddress>:
      return fault_address_.load(std::memory_order_acquire);
    case kKey<Fault>:
      return fault_.load(std::memory_order_acquire);
    case kKey<Invalidate>:
      return invalidate_.load(std::memory_order_acquire);
    case kKey<Scratch>:
      return scratch_.load(std::memory_order_acquire);
    default:
      if (const auto value = links_.read(at, width_bytes)) return *value;
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
    case kKey<CompletionHead>:
      return channel.completion_head.load(std::memory_order_acquire);
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
      case kKey<Progress>:
        return channel.settings.progress.raw;
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

bool RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  const std::uint64_t channel = (at - kChannels) / kChannelStride;
  if (at >= kChannels && channel < fixed_.channels()) {
    write_channel(channels_[channel], static_cast<std::uint32_t>((at - kChannels) % kChannelStride), width_bytes,
                  value);
    return false;
  }
  switch (key(at, width_bytes)) {
    case kKey<Control>:
      write_control(Control::from(static_cast<std::uint32_t>(value)));
      return false;
    case kKey<WindowBase>:
      return write_window_base(value);
    case kKey<TableRoot>:
      if ((value & TableRoot::kReserved) != 0) report("reserved bits of TABLE_ROOT", at, width_bytes);
      table_root_.store(value & ~TableRoot::kReserved, std::memory_order_release);
      return false;
    case kKey<Invalidate>:
      if ((value & Invalidate::kReserved) != 0) report("reserved bits of INVALIDATE", at, width_bytes);
      if ((value & 1) != 0) {
        invalidate_.store(1, std::memory_order_release);
        attention_.store(true, std::memory_order_release);
      }
      return false;
    case kKey<Scratch>:
      scratch_.store(static_cast<std::uint32_t>(value), std::memory_order_release);
      return false;
    default:
      if (!links_.write(at, width_bytes, value))
        report("a write to no register, or to one that can't be written", at, width_bytes);
      return false;
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
  }
  attention_.store(true, std::memory_order_release);
}

bool RegisterFile::write_window_base(std::uint64_t base) {
  if (base % kMemoryUnitBytes != 0 || base >= fixed_.memory_bytes) {
    report("a WINDOW_BASE that is no multiple of 64 KiB, or outside the memory", WindowBase::kOffset, 8);
    return false;
  }
  window_base_.store(base, std::memory_order_release);
  return true;
}

void RegisterFile::write_channel(Channel& channel, std::uint32_t at, unsigned width_bytes, std::uint64_t value) {
  const auto low = static_cast<std::uint32_t>(value);
  bool while_running = false;
  switch (key(at, width_bytes)) {
    case kKey<Tail>:
      channel.tail.store(low, std::memory_order_release);
      return;
    case kKey<CompletionHead>:
      channel.completion_head.store(low, std::memory_order_release);
      return;
    case kKey<ChannelControl>:
      return write_run(channel, ChannelControl::from(low));
    case kKey<RingBase>:
    case kKey<CompletionBase>:
    case kKey<Progress>:
    case kKey<RingLog2>: {
      const std::scoped_lock lock(mutex_);
      while_running = channel.run;
      if (at == RingBase::kOffset) channel.settings.ring_base = value;
      if (at == CompletionBase::kOffset) channel.settings.completion_base = value;
      if (at == Progress::kOffset) channel.settings.progress.raw = value;
      if (at == RingLog2::kOffset) channel.settings.ring_log2 = low;
      break;
    }
    default:
      return report("a write to no register of a channel, or to one that can't be written", at, width_bytes);
  }
  if (while_running) report("a channel's setting changed while it runs", at, width_bytes);
}

void RegisterFile::write_run(Channel& channel, ChannelControl wanted) {
  if ((wanted.raw & ChannelControl::kReserved) != 0) report("reserved bits of CHANNEL_CONTROL", 0x1c, 4);
  const bool on = wanted.get(ChannelControl::run);
  bool too_early = false;
  {
    const std::scoped_lock lock(mutex_);
    if (channel.run && !on) channel.was_stopped = true;
    if (!channel.run && on) {
      channel.tail.store(0, std::memory_order_release);
      channel.completion_head.store(0, std::memory_order_release);
      too_early = !Status::from(status_.load(std::memory_order_acquire)).get(Status::ready);
    }
    channel.run = on;
  }
  attention_.store(true, std::memory_order_release);
  if (too_early) report("RUN before READY", ChannelControl::kOffset, 4);
}

RegisterFile::Wish RegisterFile::take_enable() {
  const std::scoped_lock lock(mutex_);
  return {enable_, std::exchange(was_disabled_, false)};
}

RegisterFile::Wish RegisterFile::take_run(std::uint32_t channel, ChannelSettings& settings) {
  Channel& of = channels_[channel];
  const std::scoped_lock lock(mutex_);
  settings = of.settings;
  return {of.run, std::exchange(of.was_stopped, false)};
}

void RegisterFile::set_fault(std::uint32_t channel, std::uint64_t address, bool was_write) {
  fault_address_.store(address, std::memory_order_release);
  fault_.store(Fault{}
                   .with(Fault::happened, true)
                   .with(Fault::was_write, was_write)
                   .with(Fault::channel, static_cast<std::uint8_t>(channel))
                   .raw,
               std::memory_order_release);
}

void RegisterFile::reset() {
  const std::scoped_lock lock(mutex_);
  enable_ = was_disabled_ = false;
  window_base_.store(0, std::memory_order_release);
  table_root_.store(0, std::memory_order_release);
  fault_address_.store(0, std::memory_order_release);
  fault_.store(0, std::memory_order_release);
  status_.store(0, std::memory_order_release);
  invalidate_.store(0, std::memory_order_release);
  scratch_.store(0, std::memory_order_release);
  attention_.store(false, std::memory_order_release);
  for (Channel& channel : channels_) {
    channel.settings = {};
    channel.run = channel.was_stopped = false;
    channel.status.store(0, std::memory_order_release);
    channel.tail.store(0, std::memory_order_release);
    channel.completion_head.store(0, std::memory_order_release);
  }
}

}  // namespace barter::devices::accelerator
