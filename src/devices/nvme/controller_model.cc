#include "devices/nvme/controller_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace barter::devices::nvme {
namespace {

constexpr std::size_t kMaxLateCompletions = 64;
constexpr std::uint64_t kLatestSteps = 32;
constexpr std::uint8_t kSubmissionEntryLog2 = 6;
constexpr std::uint8_t kCompletionEntryLog2 = 4;

}  // namespace

Controller::Controller(ControllerParts parts)
    : parts_(std::move(parts)),
      registers_(parts_.registers, parts_.io_queues + 1u, [this](std::string what) { record(std::move(what)); }),
      queues_(parts_.io_queues, registers_.doorbells()),
      namespaces_(std::move(parts_.namespaces)),
      data_(bus_, parts_.buffer, parts_.limits),
      io_(namespaces_, data_),
      features_(parts_.io_queues, static_cast<std::uint16_t>(parts_.identity.msix_vectors), kArbitrationBurstLog2),
      admin_({bus_, queues_, data_, namespaces_, features_, logs_, events_, io_, parts_.buffer, parts_.facts,
              parts_.max_queue_entries, static_cast<std::uint16_t>(parts_.identity.msix_vectors)}),
      chance_(parts_.misbehaviour.seed) {
  late_.reserve(kMaxLateCompletions);
}

void Controller::attach(fabric::Requester& requester) {
  requester_ = &requester;
  bus_.attach(requester);
}

void Controller::record(std::string what) {
  const std::scoped_lock lock(violation_mutex_);
  violation(std::move(what));
}

std::uint64_t Controller::read_register(unsigned bar, BarOffset at, unsigned width_bytes) {
  if (bar == 0) return registers_.read(at.value, width_bytes);
  record(fmt::format("a read of BAR {} at {:#x}, where no memory buffer is shown", bar, at.value));
  return ~std::uint64_t{0};
}

void Controller::write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) {
  if (bar != 0) {
    record(fmt::format("a write to BAR {} at {:#x}, where no memory buffer is shown", bar, at.value));
    return;
  }
  if (registers_.write(at.value, width_bytes, value)) requester_->windows_changed();
}

std::vector<fabric::MemoryWindow> Controller::windows() {
  if (!registers_.buffer_is_shown()) return {};
  return {{parts_.buffer_bar, {parts_.buffer_offset}, parts_.buffer_memory.bytes()}};
}

bool Controller::step() {
  if (is_resetting_.load(std::memory_order_relaxed)) return false;
  const std::scoped_lock lock(step_mutex_);
  bool has_worked = false;
  if (registers_.attention()) {
    handle_requests();
    has_worked = true;
  }
  // With Bus Master Enable off no request may be started; the doorbells keep.
  if (!is_serving_ || !requester_->may_master()) return has_worked;
  follow_claim();
  if (report_events()) has_worked = true;
  if (!late_.empty() && post_late()) has_worked = true;
  if (is_serving_ && serve_queues()) has_worked = true;
  queues_.tell_news([this](std::uint16_t vector) { requester_->interrupt(vector); });
  return has_worked;
}

void Controller::reset() {
  bool was_shown = false;
  is_resetting_.store(true, std::memory_order_relaxed);
  {
    const std::scoped_lock lock(step_mutex_);
    is_resetting_.store(false, std::memory_order_relaxed);
    was_shown = registers_.buffer_is_shown();
    registers_.reset();
    clear();
    parts_.buffer_memory.zero(0, parts_.buffer_memory.bytes().size());
  }
  if (was_shown && requester_ != nullptr) requester_->windows_changed();
}

// Base 2.0, 3.5 (initialization), 3.6 (shutdown) and 3.7.2 (controller level reset).
void Controller::handle_requests() {
  const RegisterFile::Requests requests = registers_.take_requests();
  if (requests.was_disabled) {
    clear();
    registers_.set_status({});
  }
  const Configuration& wanted = requests.configuration;
  admin_.set_configuration(wanted.get(Configuration::submission_entry_log2) == kSubmissionEntryLog2 &&
                           wanted.get(Configuration::completion_entry_log2) == kCompletionEntryLog2);
  if (wanted.get(Configuration::enable) && !is_enabled_) enable(requests);
  if (wanted.get(Configuration::shutdown) != 0) shut_down();
}

void Controller::enable(const RegisterFile::Requests& requests) {
  is_enabled_ = true;
  const Configuration& wanted = requests.configuration;
  const std::uint8_t page_log2 = wanted.get(Configuration::page_size_log2_4k);
  const bool is_possible = wanted.get(Configuration::command_set) == 0 && wanted.get(Configuration::arbitration) == 0 &&
                           page_log2 <= kMaxPageLog2;
  if (!is_possible) {
    record(fmt::format("enabled with a command set, page size or arbitration that CAP does not offer: CC {:#x}",
                       wanted.raw));
    fail_fatally();
    return;
  }
  data_.set_page_bytes(std::uint64_t{4096} << page_log2);
  follow_claim();
  if (!open_admin_queues(requests)) {
    record("enabled with admin queues that can't be: AQA, ASQ or ACQ");
    fail_fatally();
    return;
  }
  if (parts_.misbehaviour.never_ready) return;
  is_serving_ = true;
  registers_.set_status(ControllerStatus{}
                            .with(ControllerStatus::ready, true)
                            .with(ControllerStatus::fatal, parts_.misbehaviour.fatal_after_enable));
  if (parts_.misbehaviour.fatal_after_enable) is_serving_ = false;
}

bool Controller::open_admin_queues(const RegisterFile::Requests& requests) {
  const std::uint32_t submissions = requests.admin_queues.get(AdminQueueAttributes::submission_entries_0based) + 1u;
  const std::uint32_t completions = requests.admin_queues.get(AdminQueueAttributes::completion_entries_0based) + 1u;
  if (submissions < 2 || completions < 2) return false;
  const std::uint64_t submission = requests.admin_submission_queue;
  const std::uint64_t completion = requests.admin_completion_queue;
  if (submission % data_.page_bytes() != 0 || completion % data_.page_bytes() != 0) return false;
  const std::uint64_t submission_bytes = std::uint64_t{submissions} * kSubmissionEntryBytes;
  const std::uint64_t completion_bytes = std::uint64_t{completions} * kCompletionEntryBytes;
  if (submission_bytes > ~submission || completion_bytes > ~completion) return false;
  const Place submission_place = bus_.place(submission, submission_bytes);
  const Place completion_place = bus_.place(completion, completion_bytes);
  if (submission_place != Place::outside && !parts_.buffer.submission_queues) return false;
  if (completion_place != Place::outside && !parts_.buffer.completion_queues) return false;
  const bool is_mixed = submission_place == Place::mixed || completion_place == Place::mixed;
  if (is_mixed && !parts_.buffer.queue_mixed) return false;
  queues_.create_completion(0, {.base = completion, .entries = completions, .vector = 0, .interrupts = true});
  queues_.create_submission(
      {.base = submission, .entries = submissions, .is_in_buffer = submission_place == Place::buffer});
  registers_.set_io_queues(0);
  return true;
}

void Controller::shut_down() {
  const ControllerStatus now = registers_.status();
  if (now.get(ControllerStatus::shutdown) == kShutdownComplete) return;
  is_serving_ = false;
  static_cast<void>(namespaces_.flush(kAllNamespaces));  // its error is kept in last_error(); no command waits for it
  registers_.set_status(now.with(ControllerStatus::shutdown, kShutdownComplete));
}

// What a reset of any kind clears inside the controller.
void Controller::clear() {
  is_enabled_ = is_serving_ = false;
  queues_.delete_all();
  features_.reset();
  io_.set_write_cache(true);
  events_.reset();
  logs_.reset();
  late_.clear();
  static_cast<void>(admin_.take_aborted());
  static_cast<void>(registers_.take_doorbell_errors());
  registers_.set_io_queues(0);
  next_queue_ = 0;
}

void Controller::fail_fatally() {
  is_serving_ = false;
  registers_.set_status(registers_.status().with(ControllerStatus::fatal, true));
}

void Controller::follow_claim() {
  const BufferControl control = registers_.buffer_control();
  if (control.raw == claimed_) return;
  claimed_ = control.raw;
  const bool is_on = control.get(BufferControl::capabilities) && control.get(BufferControl::memory_space);
  if (!is_on || registers_.buffer_base_is_invalid()) {
    bus_.claim({});
  } else {
    bus_.claim({control.get(BufferControl::base_4k) << 12, parts_.buffer_memory.bytes()});
  }
}

// Round robin with the arbitration burst of Set Features 01h: base 2.0, 3.4.4.1.
bool Controller::serve_queues() {
  const std::uint16_t end = queues_.submission_end();
  const std::uint32_t burst = features_.arbitration_burst();
  std::uint32_t budget = kMaxCommandsPerStep;
  std::uint16_t queue = next_queue_ < end ? next_queue_ : std::uint16_t{0};
  next_queue_ = static_cast<std::uint16_t>(queue + 1);
  static_cast<void>(io_.take_moved_bytes());
  for (std::uint16_t turn = 0; turn < end && budget != 0 && is_serving_; ++turn) {
    if (queues_.has_submission(queue)) budget -= serve(queues_.submission(queue), std::min(burst, budget));
    if (++queue >= end) queue = 0;
  }
  return budget != kMaxCommandsPerStep;
}

std::uint32_t Controller::serve(SubmissionQueue& queue, std::uint32_t budget) {
  std::uint32_t served = 0;
  std::uint64_t moved_bytes = 0;
  while (served < budget && moved_bytes < kMaxBytesPerStep && is_serving_ && !registers_.attention()) {
    const std::uint32_t waiting = queues_.waiting(queue);
    if (waiting == 0) break;
    if (queue.id == 0 && !post_aborted()) break;
    // A command is only taken when its completion has a place.
    const std::uint32_t count = std::min({waiting, budget - served, room(queue.completion_queue),
                                          queue.entries - queue.head, queue.id == 0 ? 1 : kCommandsPerFetch});
    if (count == 0) break;
    // Copied, as a run of the bus ends with the next access (docs/memory-order.md, rule 7), and so that what is checked is
    // what is used.
    const std::span entries = std::span(fetched_).first(count);
    const std::uint64_t at = queue.base + std::uint64_t{queue.head} * kSubmissionEntryBytes;
    if (bus_.read(at, std::as_writable_bytes(entries)) != fabric::Completion::successful) {
      fail_fatally();
      break;
    }
    const std::uint16_t id = queue.id;
    for (std::uint32_t each = 0; each < count && is_serving_; ++each, ++served) {
      if (id != 0 && each + 1 < count) io_.expect(entries[each + 1]);
      queues_.advance(queue);
      execute(queue, entries[each]);
    }
    moved_bytes += io_.take_moved_bytes();
    if (!queues_.has_submission(id)) break;
  }
  return served;
}

void Controller::execute(SubmissionQueue& queue, const SubmissionEntry& entry) {
  if (queue.id == 0) {
    const Outcome outcome = admin_.execute(entry, queue.is_in_buffer);
    registers_.set_io_queues(queues_.io_queues());
    if (!outcome.is_held) complete(queue, entry, outcome);
    static_cast<void>(post_aborted());
    return;
  }
  const Misbehaviour& lies = parts_.misbehaviour;
  const Outcome outcome{io_.execute(entry, queue.is_in_buffer)};
  if (lies.lost_completions > 0 && chance_.chance(lies.lost_completions)) return;
  complete(queue, entry, outcome);
}

void Controller::complete(const SubmissionQueue& queue, const SubmissionEntry& entry, Outcome outcome) {
  std::uint16_t status = outcome.status.value;
  if (!outcome.status.is_success()) [[unlikely]] {
    log_error(queue, entry, outcome.status);
    status |= status::kMore;
  }
  CompletionEntry completion{.result = outcome.result,
                             .submission_head = static_cast<std::uint16_t>(queue.head),
                             .submission_queue = queue.id,
                             .command_id = entry.get<CommandDword0>().get(CommandDword0::id),
                             .status_and_phase = static_cast<std::uint16_t>(status << 1)};
  const Misbehaviour& lies = parts_.misbehaviour;
  if (queue.id != 0) {
    if (lies.wrong_command_id) completion.command_id ^= 0x8000;
    if (lies.wrong_submission_head) completion.submission_head = static_cast<std::uint16_t>(queue.entries + 7);
    if (lies.late_completions > 0 && late_.size() < kMaxLateCompletions && chance_.chance(lies.late_completions)) {
      late_.push_back(
          {completion, queue.completion_queue, static_cast<std::uint32_t>(1 + chance_.below(kLatestSteps))});
      return;
    }
  }
  post(queue.completion_queue, completion);
}

void Controller::post(std::uint16_t completion_queue, const CompletionEntry& entry) {
  if (!queues_.post(bus_, completion_queue, entry)) fail_fatally();
}

void Controller::log_error(const SubmissionQueue& queue, const SubmissionEntry& entry, Status status) {
  logs_.add_error({.submission_queue = queue.id,
                   .command_id = entry.get<CommandDword0>().get(CommandDword0::id),
                   .status = static_cast<std::uint16_t>(status.value << 1),
                   .parameter_location = kNoCommand,  // not told
                   .block = queue.id != 0 ? entry.get<FirstBlock>().raw : 0,
                   .namespace_id = entry.get<NamespaceId>().raw});
}

bool Controller::report_events() {
  if (const std::uint32_t errors = registers_.take_doorbell_errors(); errors != 0) {
    events_.raise(errors);
    logs_.add_error({.submission_queue = kNoCommand, .command_id = kNoCommand, .parameter_location = kNoCommand});
  }
  if (!post_aborted() || room(0) == 0) return false;
  const auto report = events_.take();
  if (!report) return false;
  complete_event_request(report->command_id, {status::kSuccess, report->result});
  return true;
}

// False while an aborted request waits for room in the admin completion queue.
bool Controller::post_aborted() {
  if (!admin_.has_aborted()) return true;
  if (room(0) == 0) return false;
  complete_event_request(*admin_.take_aborted(), {status::kAbortRequested});
  return true;
}

void Controller::complete_event_request(std::uint16_t command_id, Outcome outcome) {
  post(0, {.result = outcome.result,
           .submission_head = static_cast<std::uint16_t>(queues_.submission(0).head),
           .submission_queue = 0,
           .command_id = command_id,
           .status_and_phase = static_cast<std::uint16_t>(outcome.status.value << 1)});
}

std::uint32_t Controller::room(std::uint16_t completion_queue) const {
  const auto late = std::count_if(late_.begin(), late_.end(), [completion_queue](const LateCompletion& each) {
    return each.completion_queue == completion_queue;
  });
  const std::uint32_t free = queues_.free(completion_queue);
  return free - std::min(free, static_cast<std::uint32_t>(late));
}

bool Controller::post_late() {
  std::erase_if(late_, [this](LateCompletion& each) {
    if (!queues_.has_submission(each.entry.submission_queue)) return true;
    if (each.steps > 0) --each.steps;
    if (each.steps > 0) return false;
    post(each.completion_queue, each.entry);
    return true;
  });
  return true;
}

}  // namespace barter::devices::nvme
