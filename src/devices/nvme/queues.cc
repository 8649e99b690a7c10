#include "devices/nvme/queues.h"

#include <algorithm>
#include <bit>

namespace barter::devices::nvme {

void Queues::create_completion(std::uint16_t id, const CompletionQueue& queue) {
  completion_[id] = queue;
  if (id != 0) ++io_queues_;
  doorbells_.head_of(id).open(queue.entries);
}

void Queues::create_submission(const SubmissionQueue& queue) {
  submission_[queue.id] = queue;
  ++completion_[queue.completion_queue].submission_queues;
  if (queue.id != 0) ++io_queues_;
  submission_end_ = std::max(submission_end_, static_cast<std::uint16_t>(queue.id + 1));
  doorbells_.tail_of(queue.id).open(queue.entries);
}

void Queues::delete_completion(std::uint16_t id) {
  doorbells_.head_of(id).close();
  completion_[id] = {};
  if (id != 0) --io_queues_;
}

void Queues::delete_submission(std::uint16_t id) {
  doorbells_.tail_of(id).close();
  --completion_[submission_[id].completion_queue].submission_queues;
  submission_[id] = {};
  if (id != 0) --io_queues_;
  while (submission_end_ > 0 && submission_[submission_end_ - 1u].entries == 0) --submission_end_;
}

void Queues::delete_all() {
  const auto queues = static_cast<std::uint16_t>(submission_.size());  // kMaxIoQueues and the admin queue at most
  for (std::uint16_t id = 0; id < queues; ++id) {
    doorbells_.tail_of(id).close();
    doorbells_.head_of(id).close();
    submission_[id] = {};
    completion_[id] = {};
  }
  submission_end_ = 0;
  io_queues_ = 0;
  has_news_ = false;
}

bool Queues::post(const Bus& bus, std::uint16_t completion_queue, CompletionEntry entry) {
  CompletionQueue& queue = completion_[completion_queue];
  entry.status_and_phase = static_cast<std::uint16_t>(entry.status_and_phase | (queue.phase ? 1 : 0));
  const std::uint64_t at = queue.base + std::uint64_t{queue.tail} * kCompletionEntryBytes;
  if (++queue.tail == queue.entries) {
    queue.tail = 0;
    queue.phase = !queue.phase;
  }
  queue.has_news = has_news_ = true;
  // Before the entry itself: the host may take it and move the head at once.
  doorbells_.head_of(completion_queue).controller.store(queue.tail, std::memory_order_release);
  const auto bytes = std::bit_cast<std::array<std::byte, kCompletionEntryBytes>>(entry);
  return bus.publish(at, bytes) == fabric::Completion::successful;
}

}  // namespace barter::devices::nvme
