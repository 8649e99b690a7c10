// Submission and completion queues: NVM Express base specification 2.0, sections 3.3.1 and 3.3.3. Only the controller's
// step touches them; what the host's threads touch is in doorbells.h.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "devices/nvme/bus.h"
#include "devices/nvme/commands.h"
#include "devices/nvme/doorbells.h"

namespace barter::devices::nvme {

struct SubmissionQueue {
  std::uint64_t base = 0;
  std::uint32_t entries = 0;  // 0: does not exist
  std::uint32_t head = 0;
  std::uint16_t id = 0;
  std::uint16_t completion_queue = 0;
  bool is_in_buffer = false;
};

struct CompletionQueue {
  std::uint64_t base = 0;
  std::uint32_t entries = 0;  // 0: does not exist
  std::uint32_t tail = 0;
  std::uint16_t vector = 0;
  std::uint16_t submission_queues = 0;  // that use it
  bool interrupts = false;
  bool phase = true;      // of the entries written in this lap
  bool has_news = false;  // entries that no interrupt has told of yet
};

class Queues {
 public:
  Queues(std::uint16_t io_queues, Doorbells& doorbells)
      : doorbells_(doorbells), submission_(io_queues + std::size_t{1}), completion_(io_queues + std::size_t{1}) {}

  [[nodiscard]] bool has_submission(std::uint32_t id) const {
    return id < submission_.size() && submission_[id].entries;
  }
  [[nodiscard]] bool has_completion(std::uint32_t id) const {
    return id < completion_.size() && completion_[id].entries;
  }
  [[nodiscard]] SubmissionQueue& submission(std::uint16_t id) { return submission_[id]; }
  [[nodiscard]] CompletionQueue& completion(std::uint16_t id) { return completion_[id]; }
  // One more than the highest submission queue that exists.
  [[nodiscard]] std::uint16_t submission_end() const { return submission_end_; }
  [[nodiscard]] std::uint32_t io_queues() const { return io_queues_; }

  void create_completion(std::uint16_t id, const CompletionQueue& queue);
  void create_submission(const SubmissionQueue& queue);
  void delete_completion(std::uint16_t id);
  void delete_submission(std::uint16_t id);
  void delete_all();

  // Entries that the host has put there and the controller has not taken.
  [[nodiscard]] std::uint32_t waiting(const SubmissionQueue& queue) const {
    const std::uint32_t tail = doorbells_.tail_of(queue.id).value.load(std::memory_order_acquire);
    return Doorbells::distance(queue.head, tail, queue.entries);
  }
  // Entries that the host has taken, or never had: one stays empty.
  [[nodiscard]] std::uint32_t free(std::uint16_t completion_queue) const {
    const CompletionQueue& queue = completion_[completion_queue];
    const std::uint32_t head = doorbells_.head_of(completion_queue).value.load(std::memory_order_acquire);
    return queue.entries - 1 - Doorbells::distance(head, queue.tail, queue.entries);
  }
  // Takes the entry at the head, which the caller has read.
  void advance(SubmissionQueue& queue) {
    if (++queue.head == queue.entries) queue.head = 0;
    doorbells_.tail_of(queue.id).controller.store(queue.head, std::memory_order_release);
  }
  // Writes a completion entry, with the phase tag put in; there is room for it. False when the bus refuses.
  [[nodiscard]] bool post(const Bus& bus, std::uint16_t completion_queue, CompletionEntry entry);
  // Calls interrupt(vector) for each queue with news that wants interrupts.
  template <class Interrupt>
  void tell_news(Interrupt&& interrupt) {
    if (!has_news_) return;
    has_news_ = false;
    for (CompletionQueue& queue : completion_) {
      if (!queue.has_news) continue;
      queue.has_news = false;
      if (queue.interrupts) interrupt(queue.vector);
    }
  }

 private:
  Doorbells& doorbells_;
  std::vector<SubmissionQueue> submission_;
  std::vector<CompletionQueue> completion_;
  std::uint16_t submission_end_ = 0;
  std::uint32_t io_queues_ = 0;
  bool has_news_ = false;
};

}  // namespace barter::devices::nvme
