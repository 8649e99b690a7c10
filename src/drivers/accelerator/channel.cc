#include "drivers/accelerator/channel.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"

namespace barter::drivers::accelerator {
namespace {

constexpr std::uint16_t kSlotMask = 0x0fff;
constexpr std::uint16_t kUse = 0x1000;
// poll() looks at the clock once in so many calls: a look costs as much as several empty polls.
constexpr unsigned kPollsPerClockLook = 64;
constexpr std::string_view kSubmitting = "submitting a command to the accelerator";
constexpr std::string_view kPolling = "waiting for completions of the accelerator";

// How many bytes a command reads or writes at each operand, and whether the operand is used at all.
struct Extents {
  std::uint64_t source = 0;
  std::uint64_t second = 0;
  std::uint64_t destination = 0;
  bool destination_is_optional = false;
};

std::optional<Extents> extents_of(const Command& command) {
  constexpr std::uint64_t kMostWords = ~std::uint64_t{0} / 4;
  const std::uint64_t count = command.count;
  switch (command.opcode) {
    case Opcode::nop:
      return Extents{};
    case Opcode::copy:
      return Extents{.source = count, .destination = count};
    case Opcode::fill:
      if (count % 8 != 0) return std::nullopt;
      return Extents{.destination = count};
    case Opcode::add:
      if (count > kMostWords) return std::nullopt;
      return Extents{.source = count * 4, .second = count * 4, .destination = count * 4};
    case Opcode::sum:
      if (count > kMostWords) return std::nullopt;
      return Extents{.source = count * 4, .destination = 8, .destination_is_optional = true};
    case Opcode::histogram:
      return Extents{.source = count, .destination = 256 * 8};
    case Opcode::checksum:
      return Extents{.source = count, .destination = 8, .destination_is_optional = true};
    case Opcode::filter: {
      const std::uint64_t width = count & 0xffffffff;
      const std::uint64_t height = count >> 32;
      if (width == 0 || width > 16384 || command.parameter > 15) return std::nullopt;
      return Extents{.source = width * height, .second = 18, .destination = width * height};
    }
  }
  return std::nullopt;
}

// The alignment that the words of each operand ask for.
std::uint64_t source_alignment(Opcode opcode) { return opcode == Opcode::add || opcode == Opcode::sum ? 4 : 1; }
std::uint64_t second_alignment(Opcode opcode) { return opcode == Opcode::add ? 4 : opcode == Opcode::filter ? 2 : 1; }
std::uint64_t destination_alignment(Opcode opcode) {
  if (opcode == Opcode::copy || opcode == Opcode::filter) return 1;
  return opcode == Opcode::add ? 4 : 8;
}

// Where the memory ends in which a local address lies: the own one, or that behind a link, whose size only its owner knows.
std::uint64_t end_of(std::uint64_t address, const AcceleratorFacts& facts) {
  const std::uint64_t link = address >> kLinkAddressShift;
  if (link == 0) return facts.memory_bytes;
  return link <= facts.link_ports ? (link + 1) << kLinkAddressShift : 0;
}

bool fits(Operand operand, std::uint64_t bytes, std::uint64_t alignment, const AcceleratorFacts& facts) {
  if (operand.space() == Operand::Space::none) return bytes == 0;
  if (bytes == 0 || operand.address() % alignment != 0) return false;
  const std::uint64_t end = operand.space() == Operand::Space::local            ? end_of(operand.address(), facts)
                            : operand.space() == Operand::Space::virtual_memory ? std::uint64_t{1} << 48
                                                                                : ~std::uint64_t{0};
  return operand.address() <= end && bytes <= end - operand.address();
}

std::uint32_t load_dword(std::byte* at, std::memory_order order) {
  return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at)).load(order);
}

}  // namespace

std::string describe_status(std::uint8_t status) {
  constexpr const char* kWords[] = {"done",
                                    "invalid opcode",
                                    "invalid field in the command",
                                    "a local address outside the memory",
                                    "page fault",
                                    "the bus did not carry out a request",
                                    "a link was not up",
                                    "the accelerator behind a link did not grant the access"};
  if (status < std::size(kWords)) return fmt::format("{} (status {})", kWords[status], status);
  return fmt::format("status {}, which no specification has", status);
}

ChannelImpl::ChannelImpl(ChannelParts parts)
    : parts_(std::move(parts)),
      place_(channel_place(parts_.number)),
      slots_(parts_.entries - 1),
      free_(slots_.size()),
      free_count_(static_cast<std::uint32_t>(slots_.size())),
      polls_until_clock_(kPollsPerClockLook) {
  for (std::uint16_t index = 0; index < slots_.size(); ++index) {
    free_[index] = static_cast<std::uint16_t>(slots_.size() - 1 - index);
    slots_[index].next_id = index;
  }
}

Result<std::unique_ptr<ChannelImpl>> ChannelImpl::create(ChannelParts parts) {
  std::unique_ptr<ChannelImpl> channel(new ChannelImpl(std::move(parts)));
  if (auto started = channel->start(); !started) return fail(std::move(started.error()));
  return channel;
}

ChannelImpl::~ChannelImpl() { parts_.owner.retire(parts_.number); }

Result<void> ChannelImpl::start() {
  pci::Mmio& registers = *parts_.device.registers;
  write(registers, RingBaseRegister::from(parts_.descriptors.address().value), place_);
  write(registers, CompletionBaseRegister::from(parts_.completions.address().value), place_);
  const std::uint64_t counter = parts_.device.control_offset + std::uint64_t{8} * parts_.number;
  write(registers, ProgressRegister::from(counter).with(ProgressRegister::on, true), place_);
  write(registers, RingSizeRegister::from(static_cast<std::uint32_t>(std::countr_zero(parts_.entries))), place_);
  write(registers, RunRegister{}.with(RunRegister::run, true), place_);
  ChannelStatusRegister status;
  const bool in_time = parts_.device.wait([&] {
    status = read<ChannelStatusRegister>(registers, place_);
    return status.raw != 0;
  });
  if (in_time && !status.is_gone() && status.get(ChannelStatusRegister::running) &&
      !status.get(ChannelStatusRegister::error))
    return {};
  return fail(parts_.device.silence("starting a channel of the accelerator",
                                    fmt::format("channel {} has status {:#x}", parts_.number, status.raw)));
}

Result<void> ChannelImpl::check(const Command& command) const {
  const Device& device = parts_.device;
  if (free_count_ == 0)
    return fail(device.error(ErrorCode::exhausted, kSubmitting,
                             fmt::format("all {} commands of channel {} are in flight", capacity(), parts_.number),
                             "poll for completions first"));
  const bool is_compute = command.opcode >= Opcode::add;
  if (command.opcode != Opcode::nop && is_compute != (parts_.kind == Kind::compute))
    return fail(device.error(ErrorCode::invalid_argument, kSubmitting, "the channel is of the other kind"));
  const auto extents = extents_of(command);
  if (!extents || (command.count == 0 && command.opcode != Opcode::nop))
    return fail(device.error(
        ErrorCode::invalid_argument, kSubmitting,
        fmt::format("a count of {:#x} or parameter of {:#x} is not possible", command.count, command.parameter)));
  const bool has_destination = !extents->destination_is_optional || command.destination.space() != Operand::Space::none;
  const AcceleratorFacts& facts = device.facts;
  if (!fits(command.source, extents->source, source_alignment(command.opcode), facts) ||
      !fits(command.second, extents->second, second_alignment(command.opcode), facts) ||
      !fits(command.destination, has_destination ? extents->destination : 0, destination_alignment(command.opcode),
            facts))
    return fail(device.error(ErrorCode::out_of_range, kSubmitting,
                             "an operand is missing, is not used, is not aligned, or ends outside its memory"));
  return {};
}

Result<void> ChannelImpl::submit(const Command& command) {
  if (broken_) return fail(*broken_);
  if (auto checked = check(command); !checked) return checked;
  const std::uint16_t index = free_[--free_count_];
  Slot& slot = slots_[index];
  slot.tag = command.tag;
  slot.is_open = true;
  const CommandFields fields{
      .word = CommandWord{}
                  .with(CommandWord::opcode, static_cast<std::uint32_t>(command.opcode))
                  .with(CommandWord::interrupt, command.interrupt)
                  .with(CommandWord::id, slot.next_id)
                  .raw,
      .spaces = SpacesWord{}
                    .with(SpacesWord::source, static_cast<std::uint32_t>(command.source.space()))
                    .with(SpacesWord::second, static_cast<std::uint32_t>(command.second.space()))
                    .with(SpacesWord::destination, static_cast<std::uint32_t>(command.destination.space()))
                    .raw,
      .source = command.source.address(),
      .second = command.second.address(),
      .destination = command.destination.address(),
      .count = command.count,
      .parameter = command.parameter,
  };
  std::memcpy(parts_.descriptors.bytes().data() + tail_ * kDescriptorBytes, &fields, sizeof fields);
  tail_ = (tail_ + 1) % parts_.entries;
  return {};
}

// The descriptors are there for whoever sees the doorbell (docs/memory-order.md, rule 1).
void ChannelImpl::ring() {
  if (tail_ == rung_tail_ || broken_) return;
  write(*parts_.device.registers, TailDoorbell::from(tail_), place_);
  rung_tail_ = tail_;
}

Result<std::size_t> ChannelImpl::poll(std::span<CommandResult> results) {
  if (broken_) return fail(*broken_);
  std::size_t taken = 0;
  while (taken < results.size() && take(results[taken])) ++taken;
  if (taken != 0) {
    write(*parts_.device.registers, CompletionDoorbell::from(completion_head_), place_);
    quiet_since_ = {};
  }
  if (--polls_until_clock_ == 0) look_at_the_clock();
  // What was taken before the trouble is delivered first; the next call tells the trouble.
  if (broken_ && taken == 0) return fail(*broken_);
  return taken;
}

// The last dword is read first and with acquire: what the device wrote before it, the rest of the entry and the data, is
// seen after it (docs/memory-order.md, rules 3 and 4).
bool ChannelImpl::take(CommandResult& result) {
  std::byte* const at = parts_.completions.bytes().data() + completion_head_ * kCompletionBytes;
  const std::uint32_t word = load_dword(at + 12, std::memory_order_acquire);
  if (CompletionWord::from(word).get(CompletionWord::phase) != phase_) return false;
  const std::uint64_t low = load_dword(at, std::memory_order_relaxed);
  const std::uint64_t high = load_dword(at + 4, std::memory_order_relaxed);
  const std::uint32_t place = load_dword(at + 8, std::memory_order_relaxed);
  if (!accept(place, word, high << 32 | low, result)) return false;
  if (++completion_head_ == parts_.entries) {
    completion_head_ = 0;
    phase_ = !phase_;
  }
  return true;
}

bool ChannelImpl::accept(std::uint32_t place, std::uint32_t word, std::uint64_t result_word, CommandResult& result) {
  const auto where = CompletionPlace::from(place);
  const auto what = CompletionWord::from(word);
  const auto id = static_cast<std::uint16_t>(what.get(CompletionWord::id));
  const std::size_t index = id & kSlotMask;
  const bool is_known = index < slots_.size() && slots_[index].is_open && slots_[index].next_id == id;
  const bool is_true = is_known && where.get(CompletionPlace::channel) == parts_.number &&
                       where.get(CompletionPlace::head) < parts_.entries && what.get(CompletionWord::zero) == 0 &&
                       what.get(CompletionWord::status) <= 7;
  if (!is_true) {
    break_with(parts_.device.error(
        ErrorCode::device_failed, kPolling,
        is_known
            ? fmt::format("channel {} completed with {:#010x} {:#010x}, which can't be", parts_.number, place, word)
            : fmt::format("channel {} completed command {:#06x}, which is not in flight", parts_.number, id),
        "reset it"));
    return false;
  }
  Slot& slot = slots_[index];
  result = {
      .tag = slot.tag, .result = result_word, .status = static_cast<std::uint8_t>(what.get(CompletionWord::status))};
  slot.is_open = false;
  slot.next_id = static_cast<std::uint16_t>(id + kUse);
  free_[free_count_++] = static_cast<std::uint16_t>(index);
  return true;
}

// A long command is not an overdue one: as long as its counter moves, it is waited for.
void ChannelImpl::look_at_the_clock() {
  polls_until_clock_ = kPollsPerClockLook;
  if (in_flight() == 0) {
    quiet_since_ = {};
    return;
  }
  const base::TimePoint now = parts_.device.clock().now();
  const std::uint64_t counted = progress().value_or(0);
  if (quiet_since_ == base::TimePoint{} || counted != progress_when_quiet_) {
    quiet_since_ = now;
    progress_when_quiet_ = counted;
    return;
  }
  const auto status = read<ChannelStatusRegister>(*parts_.device.registers, place_);
  if (!status.is_gone() && status.get(ChannelStatusRegister::error)) {
    break_with(parts_.device.error(ErrorCode::device_failed, kPolling,
                                   fmt::format("channel {} has stopped with an error", parts_.number), "reset it"));
  } else if (status.is_gone() || now - quiet_since_ >= parts_.device.options.command_timeout) {
    break_with(parts_.device.silence(kPolling, fmt::format("channel {} has {} commands in flight and status {:#x}",
                                                           parts_.number, in_flight(), status.raw)));
  }
}

bool ChannelImpl::take_interrupt() {
  return parts_.device.options.use_interrupts && parts_.device.function->take_interrupt(parts_.number);
}

std::optional<std::uint64_t> ChannelImpl::progress() {
  const Device& device = parts_.device;
  const std::uint64_t counter = device.control_offset + std::uint64_t{8} * parts_.number;
  if (counter < device.window_base || counter - device.window_base >= device.facts.window_bytes) return std::nullopt;
  return device.memory->load64({counter - device.window_base});
}

void ChannelImpl::break_with(Error error) {
  if (broken_) return;
  base::log::warn("the accelerator failed: {}", error.message());
  broken_ = std::move(error);
}

}  // namespace barter::drivers::accelerator
