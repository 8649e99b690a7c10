#include "devices/accelerator/register_file.h"

#include <utility>

namespace barter::devices::accelerator {

using ring_device::key;
using ring_device::kKey;

RegisterFile::RegisterFile(const FixedRegisters& fixed, LinkPorts& links, ring_device::Report report)
    : ring_device::RegisterFile(kLayout, fixed.channels(), fixed.ring_log2, std::move(report)),
      fixed_(fixed),
      links_(links),
      channels_(fixed.channels()) {}

std::optional<RegisterFile::OwnPlace> RegisterFile::find_own(std::uint64_t at, unsigned width_bytes) {
  if (at < kLayout.channels) return std::nullopt;
  const std::uint64_t channel = (at - kLayout.channels) / kLayout.channel_stride;
  const std::uint64_t own = key((at - kLayout.channels) % kLayout.channel_stride, width_bytes);
  if (channel >= channels_.size() || (own != kKey<Requests> && own != kKey<Answer>)) return std::nullopt;
  return OwnPlace{&channels_[channel], own};
}

void RegisterFile::write_own(OwnPlace place, std::uint64_t value) {
  const auto low = static_cast<std::uint32_t>(value);
  if (place.key == kKey<Requests>) {
    if ((low & Requests::kReserved) != 0) report("reserved bits of REQUESTS", Requests::kOffset, 4);
    place.channel->requests.store(low & ~Requests::kReserved, std::memory_order_release);
    return;
  }
  if ((low & Answer::kReserved) != 0) report("reserved bits of ANSWER", Answer::kOffset, 4);
  place.channel->answer.store((low & ~Answer::kReserved) | kAnswered, std::memory_order_release);
}

void RegisterFile::expect_answer(std::uint32_t channel) {
  if (channels_[channel].answer.exchange(0, std::memory_order_acquire) != 0)
    report("an ANSWER while no command waited", Answer::kOffset, 4);
}

std::optional<bool> RegisterFile::take_answer(std::uint32_t channel, std::uint16_t id) {
  std::atomic<std::uint32_t>& written = channels_[channel].answer;
  if (written.load(std::memory_order_relaxed) == 0) return std::nullopt;
  const Answer answer = Answer::from(written.exchange(0, std::memory_order_acquire) & ~kAnswered);
  if (answer.get(Answer::id) == id) return answer.get(Answer::retry);
  report("an ANSWER to another command than the one that waits", Answer::kOffset, 4);
  return std::nullopt;
}

std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  if (const auto own = find_own(at, width_bytes); own && own->key == kKey<Requests>)
    return own->channel->requests.load(std::memory_order_acquire);
  if (const auto value = read_common(at, width_bytes)) return *value;
  switch (key(at, width_bytes)) {
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
    default:
      if (const auto value = links_.read(at, width_bytes)) return *value;
      report("a read of no register", at, width_bytes);
      return 0;
  }
}

bool RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  if (const auto own = find_own(at, width_bytes)) {
    write_own(*own, value);
    return false;
  }
  if (write_common(at, width_bytes, value)) return false;
  switch (key(at, width_bytes)) {
    case kKey<WindowBase>:
      return write_window_base(value);
    case kKey<TableRoot>:
      if ((value & TableRoot::kReserved) != 0) report("reserved bits of TABLE_ROOT", at, width_bytes);
      table_root_.store(value & ~TableRoot::kReserved, std::memory_order_release);
      call_attention();
      return false;
    case kKey<Invalidate>:
      if ((value & Invalidate::kReserved) != 0) report("reserved bits of INVALIDATE", at, width_bytes);
      if ((value & 1) != 0) {
        invalidate_.store(1, std::memory_order_release);
        call_attention();
      }
      return false;
    default:
      if (!links_.write(at, width_bytes, value))
        report("a write to no register, or to one that can't be written", at, width_bytes);
      return false;
  }
}

bool RegisterFile::write_window_base(std::uint64_t base) {
  if (base % kMemoryUnitBytes != 0 || base >= fixed_.memory_bytes) {
    report("a WINDOW_BASE that is no multiple of 64 KiB, or outside the memory", WindowBase::kOffset, 8);
    return false;
  }
  window_base_.store(base, std::memory_order_release);
  return true;
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

void RegisterFile::clear_own() {
  window_base_.store(0, std::memory_order_release);
  table_root_.store(0, std::memory_order_release);
  fault_address_.store(0, std::memory_order_release);
  fault_.store(0, std::memory_order_release);
  invalidate_.store(0, std::memory_order_release);
  for (OwnChannel& channel : channels_) {
    channel.requests.store(0, std::memory_order_release);
    channel.answer.store(0, std::memory_order_release);
  }
}

}  // namespace barter::devices::accelerator
