#include "devices/nvme/register_file.h"

#include <fmt/format.h>

#include <utility>

namespace barter::devices::nvme {
namespace {

constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }
// One half of a 64-bit register replaced.
constexpr std::uint64_t with_half(std::uint64_t whole, bool is_high, std::uint32_t half) {
  return is_high ? std::uint64_t{half} << 32 | low(whole) : (whole & ~std::uint64_t{0xffffffff}) | half;
}

}  // namespace

RegisterFile::RegisterFile(const FixedRegisters& fixed, std::uint32_t queues, Report report)
    : fixed_(fixed), report_(std::move(report)), doorbells_(queues) {}

void RegisterFile::report(const char* what, std::uint64_t at, unsigned width_bytes) {
  report_(fmt::format("{} at register offset {:#x}, {} bytes wide", what, at, width_bytes));
}

bool RegisterFile::is_native_qword(std::uint64_t at) const {
  return at == Capabilities::kOffset || at == AdminSubmissionQueue::kOffset || at == AdminCompletionQueue::kOffset ||
         at == BufferControl::kOffset;
}

// Base 2.0, 3.1.3: registers are read in their native width or as aligned dwords; anything else is undefined. What is
// undefined reads as ones here, like a device that isn't there.
std::uint64_t RegisterFile::read(std::uint64_t at, unsigned width_bytes) {
  if (at >= kDoorbells) {
    report("a doorbell was read", at, width_bytes);
    return 0;
  }
  const bool is_dword = width_bytes == 4 && at % 4 == 0;
  const bool is_qword = width_bytes == 8 && is_native_qword(at);
  if (!is_dword && !is_qword) {
    report("a read of a width or alignment that the register does not have", at, width_bytes);
    return ~std::uint64_t{0};
  }
  if (at == InterruptMaskSet::kOffset || at == InterruptMaskClear::kOffset) {
    report("an interrupt mask register was read, which MSI-X makes undefined", at, width_bytes);
    return 0;
  }
  const std::scoped_lock lock(mutex_);
  const auto offset = static_cast<std::uint32_t>(at);
  if (is_dword) return read_dword(offset);
  return std::uint64_t{read_dword(offset + 4)} << 32 | read_dword(offset);
}

// Reserved registers read as 0.
std::uint32_t RegisterFile::read_dword(std::uint32_t at) const {
  const bool shows_buffer = buffer_is_shown();
  switch (at) {
    case Capabilities::kOffset:
      return low(fixed_.capabilities.raw);
    case Capabilities::kOffset + 4:
      return high(fixed_.capabilities.raw);
    case Version::kOffset:
      return Version{}.with(Version::major, 2).raw;
    case Configuration::kOffset:
      return configuration_.raw;
    case ControllerStatus::kOffset:
      return status().raw;
    case AdminQueueAttributes::kOffset:
      return admin_queues_.raw;
    case AdminSubmissionQueue::kOffset:
      return low(admin_submission_queue_);
    case AdminSubmissionQueue::kOffset + 4:
      return high(admin_submission_queue_);
    case AdminCompletionQueue::kOffset:
      return low(admin_completion_queue_);
    case AdminCompletionQueue::kOffset + 4:
      return high(admin_completion_queue_);
    case BufferLocation::kOffset:
      return shows_buffer ? fixed_.buffer_location.raw : 0;
    case BufferSize::kOffset:
      return shows_buffer ? fixed_.buffer_size.raw : 0;
    case BufferControl::kOffset:
      return low(buffer_control().raw);
    case BufferControl::kOffset + 4:
      return high(buffer_control().raw);
    case BufferStatus::kOffset:
      return BufferStatus{}.with(BufferStatus::base_invalid, buffer_base_is_invalid()).raw;
    case ReadyTimeouts::kOffset: {
      const std::uint16_t timeout = fixed_.capabilities.get(Capabilities::timeout_500ms);
      return ReadyTimeouts{}.with(ReadyTimeouts::with_media_500ms, timeout).raw;
    }
    default:
      return 0;
  }
}

bool RegisterFile::write(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  if (at >= kDoorbells) {
    write_doorbell(at, width_bytes, value);
    return false;
  }
  const bool is_dword = width_bytes == 4 && at % 4 == 0;
  const bool is_qword = width_bytes == 8 && is_native_qword(at);
  if (!is_dword && !is_qword) {
    report("a write of a width or alignment that the register does not have", at, width_bytes);
    return false;
  }
  const auto offset = static_cast<std::uint32_t>(at);
  if (is_dword) return write_dword(offset, low(value));
  // The upper half first, so that a base address is whole before the bits beside it take effect.
  const bool upper = write_dword(offset + 4, high(value));
  return write_dword(offset, low(value)) || upper;
}

bool RegisterFile::write_dword(std::uint32_t at, std::uint32_t value) {
  switch (at) {
    case Configuration::kOffset:
      write_configuration(Configuration::from(value));
      return false;
    case AdminQueueAttributes::kOffset:
    case AdminSubmissionQueue::kOffset:
    case AdminSubmissionQueue::kOffset + 4:
    case AdminCompletionQueue::kOffset:
    case AdminCompletionQueue::kOffset + 4:
      write_admin_queue(at, value);
      return false;
    case BufferControl::kOffset:
    case BufferControl::kOffset + 4:
      return write_buffer_control(at, value);
    case InterruptMaskSet::kOffset:
    case InterruptMaskClear::kOffset:
      report("an interrupt mask register was written, which MSI-X makes undefined", at, 4);
      return false;
    default:
      report("a read-only or reserved register was written", at, 4);
      return false;
  }
}

void RegisterFile::write_doorbell(std::uint64_t at, unsigned width_bytes, std::uint64_t value) {
  const std::uint32_t stride = doorbell_stride(fixed_.capabilities.get(Capabilities::doorbell_stride_log2));
  const std::uint64_t index = (at - kDoorbells) / stride;
  if (width_bytes != 4 || (at - kDoorbells) % stride != 0 || index >= doorbells_.count()) {
    report("a write beside the doorbells", at, width_bytes);
    return;
  }
  if (fixed_.ignores_doorbells) return;
  const DoorbellVerdict verdict = doorbells_.write(static_cast<std::uint32_t>(index), low(value));
  if (verdict == DoorbellVerdict::valid) return;
  const bool is_tail = index % 2 == 0;
  report_(fmt::format("{} {} doorbell of queue {} was written with {}",
                      verdict == DoorbellVerdict::invalid_register ? "the absent" : "an impossible value: the",
                      is_tail ? "tail" : "head", index / 2, value));
  doorbell_errors_.fetch_or(1u << static_cast<unsigned>(verdict), std::memory_order_acq_rel);
}

// Base 2.0, 3.1.3.5, the rules of each field.
void RegisterFile::write_configuration(Configuration wanted) {
  Configuration old;
  {
    const std::scoped_lock lock(mutex_);
    old = configuration_;
    const bool stays_enabled = old.get(Configuration::enable) && wanted.get(Configuration::enable);
    configuration_ = Configuration::from(wanted.raw & ~Configuration::kReserved);
    if (stays_enabled) {
      configuration_ = configuration_.with(Configuration::command_set, old.get(Configuration::command_set))
                           .with(Configuration::page_size_log2_4k, old.get(Configuration::page_size_log2_4k))
                           .with(Configuration::arbitration, old.get(Configuration::arbitration));
    }
    if (old.get(Configuration::enable) && !wanted.get(Configuration::enable)) was_disabled_ = true;
  }
  check_enable(old, wanted);
  attention_.store(true, std::memory_order_release);
}

void RegisterFile::check_enable(Configuration old, Configuration wanted) {
  constexpr std::uint32_t kAt = Configuration::kOffset;
  if ((wanted.raw & Configuration::kReserved) != 0 || wanted.get(Configuration::ready_independent_of_media)) {
    report("reserved bits of CC were set", kAt, 4);
  }
  const ControllerStatus now = status();
  const bool was_enabled = old.get(Configuration::enable);
  const bool is_enabled = wanted.get(Configuration::enable);
  if (!was_enabled && is_enabled && now.get(ControllerStatus::ready)) {
    report("CC.EN was set before CSTS.RDY had become 0", kAt, 4);
  }
  const bool may_disable =
      now.get(ControllerStatus::ready) || now.get(ControllerStatus::fatal) || fixed_.is_never_ready;
  if (was_enabled && !is_enabled && !may_disable) report("CC.EN was cleared before CSTS.RDY had become 1", kAt, 4);
  if (!was_enabled || !is_enabled) return;
  const bool keeps_fixed = old.get(Configuration::command_set) == wanted.get(Configuration::command_set) &&
                           old.get(Configuration::page_size_log2_4k) == wanted.get(Configuration::page_size_log2_4k) &&
                           old.get(Configuration::arbitration) == wanted.get(Configuration::arbitration);
  if (!keeps_fixed) report("CC.CSS, MPS or AMS was changed while CC.EN is 1", kAt, 4);
  const bool keeps_sizes =
      old.get(Configuration::submission_entry_log2) == wanted.get(Configuration::submission_entry_log2) &&
      old.get(Configuration::completion_entry_log2) == wanted.get(Configuration::completion_entry_log2);
  if (!keeps_sizes && io_queues_.load(std::memory_order_relaxed) != 0) {
    report("CC.IOSQES or IOCQES was changed while I/O queues exist", kAt, 4);
  }
}

void RegisterFile::write_admin_queue(std::uint32_t at, std::uint32_t value) {
  bool is_enabled = false;
  bool is_reserved = false;
  {
    const std::scoped_lock lock(mutex_);
    is_enabled = configuration_.get(Configuration::enable);
    const bool is_high = at % 8 == 4;
    if (!is_enabled && at == AdminQueueAttributes::kOffset) {
      is_reserved = (value & AdminQueueAttributes::kReserved) != 0;
      admin_queues_ = AdminQueueAttributes::from(value & ~AdminQueueAttributes::kReserved);
    } else if (!is_enabled) {
      const bool is_submission = at < AdminCompletionQueue::kOffset;
      std::uint64_t& base = is_submission ? admin_submission_queue_ : admin_completion_queue_;
      is_reserved = !is_high && (value & kAdminQueueReserved) != 0;
      base = with_half(base, is_high, value) & ~kAdminQueueReserved;
    }
  }
  if (is_enabled) report("an admin queue register was written while CC.EN is 1", at, 4);
  if (is_reserved) report("reserved bits of an admin queue register were set", at, 4);
}

bool RegisterFile::write_buffer_control(std::uint32_t at, std::uint32_t value) {
  if (fixed_.buffer_bytes == 0) {
    report("CMBMSC was written on a controller without a memory buffer", at, 4);
    return false;
  }
  const bool is_high = at != BufferControl::kOffset;
  if (!is_high && (value & BufferControl::kReserved) != 0) report("reserved bits of CMBMSC were set", at, 4);
  const std::scoped_lock lock(mutex_);
  const bool was_shown = buffer_is_shown();
  const std::uint64_t whole = with_half(buffer_control().raw, is_high, value) & ~BufferControl::kReserved;
  buffer_control_.store(whole, std::memory_order_release);
  return was_shown != buffer_is_shown();
}

bool RegisterFile::buffer_is_shown() const {
  return fixed_.buffer_bytes != 0 && buffer_control().get(BufferControl::capabilities);
}

bool RegisterFile::buffer_base_is_invalid() const {
  const BufferControl control = buffer_control();
  if (!buffer_is_shown() || !control.get(BufferControl::memory_space)) return false;
  const std::uint64_t base = control.get(BufferControl::base_4k) << 12;
  return fixed_.buffer_bytes > ~base;
}

RegisterFile::Requests RegisterFile::take_requests() {
  const std::scoped_lock lock(mutex_);
  attention_.store(false, std::memory_order_relaxed);
  return {configuration_, admin_queues_, admin_submission_queue_, admin_completion_queue_,
          std::exchange(was_disabled_, false)};
}

void RegisterFile::reset() {
  const std::scoped_lock lock(mutex_);
  configuration_ = {};
  admin_queues_ = {};
  admin_submission_queue_ = admin_completion_queue_ = 0;
  was_disabled_ = false;
  buffer_control_.store(0, std::memory_order_release);
  status_.store(0, std::memory_order_release);
  doorbell_errors_.store(0, std::memory_order_relaxed);
  attention_.store(false, std::memory_order_relaxed);
}

}  // namespace barter::devices::nvme
