// The admin queue: one command at a time, waited for. Any thread; a lock keeps them apart, because queue pairs that
// live on different threads are created and deleted here.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

#include "drivers/nvme/device.h"
#include "drivers/nvme/rings.h"

namespace barter::drivers::nvme {

class AdminQueue {
 public:
  // The device outlives the queue. Memory only: the controller learns of it from the registers, in bring_up.cc.
  [[nodiscard]] static Result<std::unique_ptr<AdminQueue>> create(Device& device);

  static constexpr std::uint16_t kEntries = 16;
  [[nodiscard]] DmaAddress submission_address() const { return memory_.address; }
  [[nodiscard]] DmaAddress completion_address() const;

  // Dword 0 of the completion. An error when the controller reports one, says what makes no sense, or is silent; in the
  // last two cases the queue stays broken and gives the same error again.
  [[nodiscard]] Result<std::uint32_t> execute(SubmissionEntry entry, std::string_view doing);
  // The same with a page of data that the controller writes. `use` sees it while no other command can run.
  template <class Use>
  [[nodiscard]] Result<void> fetch(SubmissionEntry entry, std::string_view doing, Use&& use);
  // From now on every command fails at once with this error.
  void break_with(Error error);
  [[nodiscard]] bool is_broken();

 private:
  AdminQueue(Device& device, ControlMemory memory);
  [[nodiscard]] Result<std::uint32_t> execute_locked(SubmissionEntry entry, std::string_view doing);
  [[nodiscard]] std::span<std::byte> data() const;
  [[nodiscard]] DmaAddress data_address() const;
  [[nodiscard]] std::optional<Error> check(const CompletionEntry& completion, std::string_view doing) const;

  Device* device_;
  ControlMemory memory_;  // three pages: submissions, completions, data
  SubmissionRing submissions_;
  CompletionRing completions_;
  std::uint16_t next_command_id_ = 0;
  std::optional<Error> broken_;
  std::mutex mutex_;
};

template <class Use>
Result<void> AdminQueue::fetch(SubmissionEntry entry, std::string_view doing, Use&& use) {
  const std::lock_guard lock(mutex_);
  entry.set_data({.first = data_address().value});
  auto done = execute_locked(entry, doing);
  if (!done) return fail(std::move(done.error()));
  return use(std::span<const std::byte>(data()));
}

}  // namespace barter::drivers::nvme
