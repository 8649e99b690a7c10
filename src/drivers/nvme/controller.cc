#include "drivers/nvme/controller.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "drivers/nvme/bring_up.h"
#include "drivers/nvme/cmb.h"
#include "drivers/nvme/commands/queues.h"
#include "drivers/nvme/inventory.h"
#include "drivers/nvme/queue_memory.h"
#include "drivers/nvme/queue_pair.h"

namespace barter::drivers::nvme {
namespace {

constexpr std::string_view kCreating = "creating a queue pair of the NVMe drive";
constexpr std::string_view kDeleting = "deleting a queue pair of the NVMe drive";

class ControllerImpl final : public Controller, public QueueOwner {
 public:
  ControllerImpl(std::unique_ptr<pci::Function> function, ControllerOptions options) {
    device_.function = std::move(function);
    device_.options = options;
    device_.name = device_.function->bdf().to_string();
  }
  ~ControllerImpl() override {
    // Whatever state bring-up has left: the memory below must not go while the controller can still write to it.
    if (!admin_) return;
    (void)shut_down();
    stop();
  }

  [[nodiscard]] Result<void> bring_up();

  [[nodiscard]] pci::Function& function() override { return *device_.function; }
  [[nodiscard]] const ControllerFacts& facts() const override { return inventory_.facts; }
  [[nodiscard]] std::span<const NamespaceFacts> namespaces() const override { return inventory_.namespaces; }
  [[nodiscard]] const std::optional<ControllerMemoryInfo>& controller_memory() const override { return memory_info_; }
  [[nodiscard]] BusAddress controller_memory_address() const override {
    return memory_ ? memory_->address : BusAddress{};
  }
  [[nodiscard]] std::span<std::byte> controller_memory_bytes() override {
    return memory_ ? memory_->bytes : std::span<std::byte>{};
  }
  [[nodiscard]] Result<std::unique_ptr<QueuePair>> create_queue_pair(QueueOptions options) override;
  [[nodiscard]] Result<void> shut_down() override;
  void retire(QueuePairImpl& queue) override;

 private:
  [[nodiscard]] Result<void> set_up_memory_buffer();
  void stop();
  void give_up(const Error& error);
  [[nodiscard]] Result<void> check(const QueueOptions& options) const;
  [[nodiscard]] Result<QueueParts> allocate(const QueueOptions& options, std::uint16_t id, std::uint16_t entries);
  [[nodiscard]] Result<void> announce(const QueueParts& parts);
  [[nodiscard]] Result<void> delete_on_device(std::uint16_t id);
  [[nodiscard]] std::uint16_t free_queue_id() const;

  // In order of life: the memory of the admin queue goes before the function that gave it.
  Device device_;
  std::unique_ptr<AdminQueue> admin_;
  Inventory inventory_;
  std::optional<MemoryBuffer> memory_;
  std::optional<ControllerMemoryInfo> memory_info_;
  bool is_enabled_ = false;
  bool is_shut_down_ = false;  // no more commands
  bool is_stopped_ = false;    // no more DMA
  // Guards what follows, and the making and unmaking of queues, which may happen on different threads.
  std::recursive_mutex mutex_;
  QueueMemory queue_memory_;  // the end of the CMB
  std::vector<QueuePairImpl*> queues_;
};

// NVMe base 2.0, section 3.5.1. Steps 7 to 9 are the inventory's; no asynchronous events are asked for (step 11).
Result<void> ControllerImpl::bring_up() {
  if (auto done = open_function(device_); !done) return done;
  if (auto done = read_capabilities(device_); !done) return done;
  if (auto done = disable(device_); !done) return done;

  auto admin = AdminQueue::create(device_);
  if (!admin) return fail(std::move(admin.error()));
  admin_ = std::move(*admin);
  if (auto done = enable(device_, *admin_); !done) return done;
  is_enabled_ = true;

  if (device_.options.interrupt_vectors != 0)
    if (auto done = device_.function->enable_interrupts(device_.options.interrupt_vectors); !done) return done;
  auto inventory = take_inventory(device_, *admin_);
  if (!inventory) return fail(std::move(inventory.error()));
  inventory_ = std::move(*inventory);
  return device_.options.use_controller_memory ? set_up_memory_buffer() : Result<void>{};
}

void ControllerImpl::stop() {
  if (!std::exchange(is_stopped_, true)) stop_dma(device_);
}

// A controller that doesn't take back a queue may still write to it, and to the memory of its commands. The other
// queues go down with it.
void ControllerImpl::give_up(const Error& error) {
  is_shut_down_ = true;
  stop();
  admin_->break_with(error);
  for (QueuePairImpl* queue : queues_) queue->break_with(error);
}

Result<void> ControllerImpl::set_up_memory_buffer() {
  auto memory = enable_memory_buffer(device_);
  if (!memory) return fail(std::move(memory.error()));
  const std::uint64_t wanted = device_.options.controller_memory_for_queues_bytes;
  if (!memory->has_value()) {
    if (wanted != 0) inventory_.facts.remarks.emplace_back("the drive has no memory buffer to keep queues in");
    return {};
  }
  memory_ = std::move(*memory);
  memory_info_ = memory_->info;
  const std::uint64_t page = device_.page_bytes();
  const std::uint64_t kept = (std::min(wanted, memory_info_->size_bytes) + page - 1) / page * page;
  if (wanted == 0) return {};
  if (!memory_info_->submission_queues || memory_->bytes.empty() || wanted >= memory_info_->size_bytes ||
      kept > memory_info_->size_bytes) {
    inventory_.facts.remarks.emplace_back(
        "the drive's memory buffer takes no submission queues, or is too small for them, or the CPU can't reach it");
    return {};
  }
  inventory_.facts.controller_memory_for_queues_bytes = kept;
  const std::uint64_t start = memory_info_->size_bytes - kept;
  queue_memory_ = QueueMemory(memory_->bytes.subspan(start), DmaAddress{memory_->address.value + start}, page);
  return {};
}

Result<void> ControllerImpl::check(const QueueOptions& options) const {
  const auto refuse = [&](std::string why, std::string cure) {
    return fail(device_.error(ErrorCode::invalid_argument, kCreating, std::move(why), std::move(cure)));
  };
  if (is_shut_down_) return fail(device_.error(ErrorCode::cancelled, kCreating, "the drive is shut down"));
  if (options.entries < 2) return refuse("a queue has two entries at least", "ask for more entries");
  if (options.interrupt_vector && *options.interrupt_vector >= device_.options.interrupt_vectors)
    return refuse(fmt::format("interrupt vector {} is not among the {} that were enabled", *options.interrupt_vector,
                              device_.options.interrupt_vectors),
                  "raise ControllerOptions::interrupt_vectors");
  return {};
}

std::uint16_t ControllerImpl::free_queue_id() const {
  for (std::uint16_t id = 1; id <= inventory_.facts.io_queues; ++id)
    if (std::ranges::none_of(queues_, [&](const QueuePairImpl* queue) { return queue->id() == id; })) return id;
  return 0;
}

Result<QueueParts> ControllerImpl::allocate(const QueueOptions& options, std::uint16_t id, std::uint16_t entries) {
  QueueParts parts{.device = device_,
                   .owner = *this,
                   .namespaces = inventory_.namespaces,
                   .rules = {.page_log2 = device_.page_log2,
                             .sgl = device_.options.use_sgl ? inventory_.identity.sgl : SglSupport::none},
                   .own_memory = memory_info_
                                     ? DmaSegment{{controller_memory_address().value}, memory_info_->size_bytes}
                                     : DmaSegment{},
                   .max_transfer_bytes = inventory_.facts.max_transfer_bytes,
                   .id = id,
                   .entries = entries,
                   .interrupt_vector = options.interrupt_vector};
  auto completions = allocate_control(device_, entries * sizeof(CompletionEntry));
  if (!completions) return fail(std::move(completions.error()));
  parts.completions = std::move(*completions);
  auto lists = allocate_control(device_, (entries - 1u) * kListBytes);
  if (!lists) return fail(std::move(lists.error()));
  parts.lists = std::move(*lists);

  const std::uint64_t ring_bytes = entries * sizeof(SubmissionEntry);
  if (options.submissions_in_controller_memory) {
    auto piece = queue_memory_.allocate(ring_bytes);
    if (!piece)
      return fail(
          device_.error(ErrorCode::exhausted, kCreating,
                        fmt::format("no {} bytes are left of what the memory buffer keeps for queues", ring_bytes),
                        "raise ControllerOptions::controller_memory_for_queues_bytes"));
    parts.submissions_in_cmb = piece->bytes;
    parts.submissions.address = piece->address;
  } else {
    auto submissions = allocate_control(device_, ring_bytes);
    if (!submissions) return fail(std::move(submissions.error()));
    parts.submissions = std::move(*submissions);
  }
  return parts;
}

// The completion queue first: the submission queue names it.
Result<void> ControllerImpl::announce(const QueueParts& parts) {
  const CreateCompletionQueue completions{.queue_id = parts.id,
                                          .entries = parts.entries,
                                          .ring = parts.completions.address,
                                          .interrupt_vector = parts.interrupt_vector};
  if (auto done = admin_->execute(completions.entry(), kCreating); !done) {
    // A controller that refuses has made no queue; one that is silent, or lies, may have.
    if (admin_->is_broken()) give_up(done.error());
    return fail(std::move(done.error()));
  }
  const CreateSubmissionQueue submissions{.queue_id = parts.id,
                                          .completion_queue_id = parts.id,
                                          .entries = parts.entries,
                                          .ring = parts.submissions.address};
  auto done = admin_->execute(submissions.entry(), kCreating);
  if (done) return {};
  if (auto undone = admin_->execute(delete_completion_queue(parts.id), kDeleting); !undone) give_up(undone.error());
  return fail(std::move(done.error()));
}

Result<std::unique_ptr<QueuePair>> ControllerImpl::create_queue_pair(QueueOptions options) {
  const std::lock_guard lock(mutex_);
  if (auto fine = check(options); !fine) return fail(std::move(fine.error()));
  const std::uint16_t id = free_queue_id();
  if (id == 0)
    return fail(device_.error(ErrorCode::exhausted, kCreating,
                              fmt::format("all {} I/O queues that it grants are in use", inventory_.facts.io_queues),
                              "delete one, or raise ControllerOptions::io_queues"));
  auto parts = allocate(options, id, std::min(options.entries, inventory_.facts.max_queue_entries));
  if (!parts) return fail(std::move(parts.error()));
  if (auto done = announce(*parts); !done) {
    queue_memory_.free(parts->submissions_in_cmb);
    return fail(std::move(done.error()));
  }
  auto queue = std::make_unique<QueuePairImpl>(std::move(*parts));
  queues_.push_back(queue.get());
  return queue;
}

Result<void> ControllerImpl::delete_on_device(std::uint16_t id) {
  if (auto done = admin_->execute(delete_submission_queue(id), kDeleting); !done) return fail(std::move(done.error()));
  if (auto done = admin_->execute(delete_completion_queue(id), kDeleting); !done) return fail(std::move(done.error()));
  return {};
}

void ControllerImpl::retire(QueuePairImpl& queue) {
  const std::lock_guard lock(mutex_);
  std::erase(queues_, &queue);
  if (!is_shut_down_)
    if (auto done = delete_on_device(queue.id()); !done) give_up(done.error());
  queue_memory_.free(queue.submissions_in_cmb());
}

Result<void> ControllerImpl::shut_down() {
  const std::lock_guard lock(mutex_);
  if (is_shut_down_ || !is_enabled_) return {};
  is_shut_down_ = true;
  const Error over =
      device_.error(ErrorCode::cancelled, "using a queue pair of the NVMe drive", "the drive is shut down");
  Result<void> result;
  for (QueuePairImpl* queue : queues_) {
    queue->break_with(over);
    if (result) result = delete_on_device(queue->id());
  }
  if (result) {
    const auto named = std::chrono::microseconds(inventory_.identity.shutdown_latency_us);
    result = announce_shutdown(device_, std::max<Duration>(device_.options.shutdown_timeout, named));
  }
  admin_->break_with(over);
  if (result) is_stopped_ = true;
  stop();
  return result;
}

}  // namespace

Result<std::unique_ptr<Controller>> Controller::create(std::unique_ptr<pci::Function> function,
                                                       ControllerOptions options) {
  if (!function)
    return fail(
        {.code = ErrorCode::invalid_argument, .doing = "bringing up the NVMe drive", .why = "there is no function"});
  auto controller = std::make_unique<ControllerImpl>(std::move(function), options);
  if (auto done = controller->bring_up(); !done) return fail(std::move(done.error()));
  return controller;
}

}  // namespace barter::drivers::nvme
