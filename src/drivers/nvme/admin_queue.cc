#include "drivers/nvme/admin_queue.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "drivers/nvme/commands/identify.h"

namespace barter::drivers::nvme {
namespace {

// While waiting, the status register is looked at once in so many turns: a drive that has left should not cost the
// whole timeout, and a register read on a real bus takes a microsecond.
constexpr unsigned kTurnsPerStatusRead = 1024;

}  // namespace

Result<std::unique_ptr<AdminQueue>> AdminQueue::create(Device& device) {
  auto memory = allocate_control(device, 3 * device.page_bytes());
  if (!memory) return fail(std::move(memory.error()));
  return std::unique_ptr<AdminQueue>(new AdminQueue(device, std::move(*memory)));
}

AdminQueue::AdminQueue(Device& device, ControlMemory memory)
    : device_(&device),
      memory_(std::move(memory)),
      submissions_(memory_.bytes, kEntries, *device.registers, submission_doorbell(0, device.doorbell_stride_bytes)),
      completions_(memory_.bytes.subspan(device.page_bytes()), kEntries, *device.registers,
                   completion_doorbell(0, device.doorbell_stride_bytes)) {}

DmaAddress AdminQueue::completion_address() const { return memory_.address + device_->page_bytes(); }
std::span<std::byte> AdminQueue::data() const {
  return memory_.bytes.subspan(2 * device_->page_bytes(), kIdentifyBytes);
}
DmaAddress AdminQueue::data_address() const { return memory_.address + 2 * device_->page_bytes(); }

Result<std::uint32_t> AdminQueue::execute(SubmissionEntry entry, std::string_view doing) {
  const std::lock_guard lock(mutex_);
  return execute_locked(entry, doing);
}

void AdminQueue::break_with(Error error) {
  const std::lock_guard lock(mutex_);
  if (!broken_) broken_ = std::move(error);
}

bool AdminQueue::is_broken() {
  const std::lock_guard lock(mutex_);
  return broken_.has_value();
}

Result<std::uint32_t> AdminQueue::execute_locked(SubmissionEntry entry, std::string_view doing) {
  if (broken_) return fail(*broken_);
  // What an earlier command left in the data page must not pass for the answer to this one.
  std::ranges::fill(data(), std::byte{0});
  entry.set_command_id(next_command_id_);
  submissions_.push(entry);
  submissions_.ring();

  CompletionEntry completion;
  bool is_complete = false;
  unsigned turns = 0;
  const auto deadline = device_->clock().now() + device_->options.command_timeout;
  (void)base::wait_until(device_->clock(), deadline, [&] {
    is_complete = completions_.take(completion);
    if (is_complete) return true;
    if (++turns % kTurnsPerStatusRead != 0) return false;
    const auto status = read<Status>(*device_->registers);
    return status.is_gone() || status.get(Status::fatal);
  });
  if (!is_complete) {
    broken_ = device_->silence(doing, fmt::format("admin command {:#04x} is open", entry.dword0 & 0xff));
    return fail(*broken_);
  }
  completions_.release();
  if (auto lie = check(completion, doing)) {
    broken_ = std::move(lie);
    return fail(*broken_);
  }
  next_command_id_ = static_cast<std::uint16_t>((next_command_id_ + 1) & 0x7fff);
  const auto status =
      static_cast<std::uint16_t>(CompletionDword3::from(completion.dword3).get(CompletionDword3::status));
  if (status != 0) return fail(device_->error(ErrorCode::device_failed, doing, describe_status(status)));
  return completion.dword0;
}

std::optional<Error> AdminQueue::check(const CompletionEntry& completion, std::string_view doing) const {
  const auto dword2 = CompletionDword2::from(completion.dword2);
  const auto command_id = CompletionDword3::from(completion.dword3).get(CompletionDword3::command_id);
  std::string lie;
  if (command_id != next_command_id_)
    lie = fmt::format("the controller completed admin command {:#x}, but only {:#x} was open", command_id,
                      next_command_id_);
  else if (const auto queue = dword2.get(CompletionDword2::queue_id); queue != 0)
    lie = fmt::format("a completion in the admin queue speaks of submission queue {}", queue);
  else if (const auto head = dword2.get(CompletionDword2::queue_head); head >= kEntries)
    lie = fmt::format("a completion puts the head of the admin queue at {} of {} entries", head, kEntries);
  if (lie.empty()) return std::nullopt;
  return device_->error(ErrorCode::device_failed, doing, std::move(lie), "reset the drive");
}

}  // namespace barter::drivers::nvme
