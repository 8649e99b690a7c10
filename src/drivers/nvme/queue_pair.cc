#include "drivers/nvme/queue_pair.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "drivers/nvme/commands/io.h"

namespace barter::drivers::nvme {
namespace {

constexpr std::uint16_t kSlotMask = 0x0fff;
constexpr std::uint16_t kGenerationStep = 0x1000;
constexpr std::uint16_t kIdMask = 0x7fff;    // generation and slot
constexpr std::uint32_t kMaxBlocks = 65536;  // NLB is 0-based in 16 bits

// poll() looks at the clock once in so many calls: a look costs as much as several empty polls.
constexpr unsigned kPollsPerClockLook = 64;
// And it looks through the slots, and at the controller's status, no more often than this.
constexpr Duration kLookInterval = std::chrono::milliseconds(10);

constexpr std::string_view kSubmitting = "submitting a command to the NVMe drive";
constexpr std::string_view kPolling = "waiting for completions of the NVMe drive";

std::span<std::byte> submission_memory(const QueueParts& parts) {
  return parts.submissions_in_cmb.empty() ? parts.submissions.bytes : parts.submissions_in_cmb;
}

}  // namespace

QueuePairImpl::QueuePairImpl(QueueParts parts)
    : parts_(std::move(parts)),
      submissions_(submission_memory(parts_), parts_.entries, *parts_.device.registers,
                   submission_doorbell(parts_.id, parts_.device.doorbell_stride_bytes)),
      completions_(parts_.completions.bytes, parts_.entries, *parts_.device.registers,
                   completion_doorbell(parts_.id, parts_.device.doorbell_stride_bytes)),
      slot_count_(static_cast<std::uint16_t>(parts_.entries - 1)),
      slots_(slot_count_),
      free_(slot_count_),
      free_count_(slot_count_),
      polls_until_clock_(kPollsPerClockLook) {
  // The top of the stack is slot 0, so that a short queue uses few lists.
  for (std::uint16_t index = 0; index < slot_count_; ++index) {
    free_[index] = static_cast<std::uint16_t>(slot_count_ - 1 - index);
    slots_[index].next_id = index;
  }
}

QueuePairImpl::~QueuePairImpl() { parts_.owner.retire(*this); }

Result<void> QueuePairImpl::submit(const Command& command) {
  if (free_count_ == 0 || is_broken_) [[unlikely]]
    return fail(refuse(command));
  if (last_namespace_ == nullptr || last_namespace_->id != command.namespace_id) [[unlikely]] {
    const auto found = std::ranges::lower_bound(parts_.namespaces, command.namespace_id, {}, &NamespaceFacts::id);
    if (found == parts_.namespaces.end() || found->id != command.namespace_id) return fail(refuse(command));
    last_namespace_ = &*found;
  }
  if (command.opcode != Opcode::flush) return submit_data(command);
  auto entry = flush(command.namespace_id);
  start(free_[free_count_ - 1], entry, command.tag);
  return {};
}

Result<void> QueuePairImpl::submit_data(const Command& command) {
  const NamespaceFacts& space = *last_namespace_;
  const std::uint64_t bytes = std::uint64_t{command.blocks} * space.block_bytes;
  const bool is_within = command.blocks != 0 && command.blocks <= kMaxBlocks && command.blocks <= space.blocks &&
                         command.block <= space.blocks - command.blocks && bytes <= parts_.max_transfer_bytes;
  if (!is_within) [[unlikely]]
    return fail(refuse(command));

  const std::uint16_t slot = free_[free_count_ - 1];
  const std::size_t list_at = std::size_t{slot} * kListBytes;
  auto* words = reinterpret_cast<std::uint64_t*>(parts_.lists.bytes.data() + list_at);
  const ListPage list{.words = std::span<std::uint64_t, kListPrpEntries>(words, kListPrpEntries),
                      .address = parts_.lists.address + list_at};
  const auto data = describe_data(command.data, bytes, parts_.rules, list);
  if (!data) [[unlikely]]
    return fail(parts_.device.error(ErrorCode::invalid_argument, kSubmitting, std::string(explain(data.error()))));
  auto entry = ReadWrite{.opcode = command.opcode == Opcode::write ? kOpcodeWrite : kOpcodeRead,
                         .namespace_id = command.namespace_id,
                         .block = command.block,
                         .blocks = command.blocks}
                   .entry();
  entry.set_data(*data);
  start(slot, entry, command.tag);
  return {};
}

void QueuePairImpl::start(std::uint16_t index, SubmissionEntry& entry, std::uint64_t tag) {
  Slot& slot = slots_[index];
  slot.tag = tag;
  slot.seen_at = {};
  slot.open_id = slot.next_id;
  --free_count_;
  entry.set_command_id(slot.open_id);
  submissions_.push(entry);
}

// Why submit() says no: in words, away from the path that says yes.
Error QueuePairImpl::refuse(const Command& command) const {
  const Device& device = parts_.device;
  if (broken_) return *broken_;
  if (free_count_ == 0)
    return device.error(ErrorCode::exhausted, kSubmitting,
                        fmt::format("all {} commands of queue {} are in flight", capacity(), parts_.id),
                        "poll for completions first");
  const auto found = std::ranges::find(parts_.namespaces, command.namespace_id, &NamespaceFacts::id);
  if (found == parts_.namespaces.end())
    return device.error(ErrorCode::not_found, kSubmitting,
                        fmt::format("it has no usable namespace {}", command.namespace_id));
  const std::uint64_t bytes = std::uint64_t{command.blocks} * found->block_bytes;
  if (command.blocks == 0 || command.blocks > kMaxBlocks || bytes > parts_.max_transfer_bytes)
    return device.error(ErrorCode::invalid_argument, kSubmitting,
                        fmt::format("one command moves 1 to {} blocks of {} bytes, and not {}",
                                    std::min<std::uint64_t>(kMaxBlocks, parts_.max_transfer_bytes / found->block_bytes),
                                    found->block_bytes, command.blocks));
  return device.error(ErrorCode::out_of_range, kSubmitting,
                      fmt::format("blocks {} and {} more are not within the {} blocks of namespace {}", command.block,
                                  command.blocks - 1, found->blocks, command.namespace_id));
}

void QueuePairImpl::ring() {
  if (!is_broken_) submissions_.ring();
}

Result<std::size_t> QueuePairImpl::poll(std::span<CommandResult> results) {
  if (is_broken_) [[unlikely]]
    return fail(*broken_);
  std::size_t taken = 0;
  CompletionEntry completion;
  while (taken < results.size() && completions_.take(completion)) {
    if (!accept(completion, results[taken])) [[unlikely]]
      break;
    ++taken;
  }
  if (taken != 0) completions_.release();
  if (--polls_until_clock_ == 0) look_at_the_clock();
  // What was taken before the trouble is delivered first; the next call tells the trouble.
  if (is_broken_ && taken == 0) [[unlikely]]
    return fail(*broken_);
  return taken;
}

bool QueuePairImpl::accept(const CompletionEntry& completion, CommandResult& result) {
  const auto dword2 = CompletionDword2::from(completion.dword2);
  const auto dword3 = CompletionDword3::from(completion.dword3);
  const auto command_id = static_cast<std::uint16_t>(dword3.get(CompletionDword3::command_id));
  const std::size_t index = command_id & kSlotMask;
  const auto head = static_cast<std::uint16_t>(dword2.get(CompletionDword2::queue_head));
  const bool is_known = index < slot_count_ && command_id <= kIdMask && slots_[index].open_id == command_id;
  const bool is_true = is_known && dword2.get(CompletionDword2::queue_id) == parts_.id && head < parts_.entries;
  if (!is_true) [[unlikely]] {
    const std::string lie =
        !is_known ? fmt::format("it completed command {:#06x}, which is not in flight", command_id)
        : head >= parts_.entries
            ? fmt::format("it puts the head of the submission queue at {} of {} entries", head, parts_.entries)
            : fmt::format("it completed a command of queue {} here", dword2.get(CompletionDword2::queue_id));
    break_with(parts_.device.error(ErrorCode::device_failed, kPolling, lie + "; " + state(), "reset the drive"));
    return false;
  }
  Slot& slot = slots_[index];
  result.tag = slot.tag;
  result.status = static_cast<std::uint16_t>(dword3.get(CompletionDword3::status));
  slot.open_id = kNoCommand;
  slot.next_id = static_cast<std::uint16_t>((command_id + kGenerationStep) & kIdMask);
  free_[free_count_++] = static_cast<std::uint16_t>(index);
  controller_head_ = head;
  return true;
}

// A command is overdue once it has been in flight for the timeout since a look first found it. Submitting reads no
// clock; what that costs is that a timeout may be told late by a few looks.
void QueuePairImpl::look_at_the_clock() {
  polls_until_clock_ = kPollsPerClockLook;
  const base::TimePoint now = parts_.device.clock().now();
  if (free_count_ == slot_count_ || now < next_look_) return;
  const Duration timeout = parts_.device.options.command_timeout;
  next_look_ = now + std::min(kLookInterval, timeout / 4);

  base::TimePoint oldest = now;
  for (Slot& slot : slots_) {
    if (!slot.is_in_flight()) continue;
    if (slot.seen_at == base::TimePoint{}) slot.seen_at = now;
    oldest = std::min(oldest, slot.seen_at);
  }
  if (oldest == now) return;
  // Something has been open since the last look: is the drive still there, and sane?
  const auto status = read<Status>(*parts_.device.registers);
  if (now - oldest >= timeout || status.is_gone() || status.get(Status::fatal))
    break_with(parts_.device.silence(kPolling, state()));
}

std::string QueuePairImpl::state() const {
  return fmt::format(
      "queue {}: {} of {} commands in flight, submission tail {} (rung {}), head {} as last told, "
      "completion head {}",
      parts_.id, in_flight(), capacity(), submissions_.tail(), submissions_.rung_tail(), controller_head_,
      completions_.head());
}

bool QueuePairImpl::take_interrupt() {
  return parts_.interrupt_vector && parts_.device.function->take_interrupt(*parts_.interrupt_vector);
}

void QueuePairImpl::break_with(Error error) {
  if (is_broken_) return;
  base::log::warn("the drive failed: {}", error.message());
  broken_ = std::move(error);
  is_broken_ = true;
}

}  // namespace barter::drivers::nvme
