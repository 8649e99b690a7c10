#include "devices/nvme/admin_commands.h"

#include <algorithm>
#include <span>

namespace barter::devices::nvme {

Outcome AdminCommands::execute(const SubmissionEntry& entry, bool command_is_in_buffer) {
  const CommandDword0 head = entry.get<CommandDword0>();
  // 3.3.3.1: over PCIe, admin commands point to their data with PRPs; and none is ever fused.
  const bool is_plain = head.get(CommandDword0::fused) == 0 && head.get(CommandDword0::pointer) == kPointerIsPrp;
  if (!is_plain) return {status::kInvalidField};
  // Only event requests are outstanding when the next command is taken.
  if (context_.events.holds(head.get(CommandDword0::id))) return {status::kCommandIdConflict};
  switch (static_cast<AdminOpcode>(head.get(CommandDword0::opcode))) {
    case AdminOpcode::delete_submission_queue:
      return delete_submission_queue(entry);
    case AdminOpcode::create_submission_queue:
      return create_submission_queue(entry);
    case AdminOpcode::get_log_page:
      return get_log_page(entry, command_is_in_buffer);
    case AdminOpcode::delete_completion_queue:
      return delete_completion_queue(entry);
    case AdminOpcode::create_completion_queue:
      return create_completion_queue(entry);
    case AdminOpcode::identify:
      return identify(entry, command_is_in_buffer);
    case AdminOpcode::abort:
      return abort(entry);
    case AdminOpcode::set_features:
      return set_features(entry);
    case AdminOpcode::get_features:
      return context_.features.get(entry);
    case AdminOpcode::async_event_request:
      return hold_event_request(entry);
  }
  return {status::kInvalidOpcode};
}

// 3.1.3.11 (CMBLOC.CQMMS) and 3.1.3.12 (CMBSZ.SQS and CQS).
Status AdminCommands::check_queue_memory(const QueueMemory& memory) const {
  if (memory.base % context_.data.page_bytes() != 0) return status::kPrpOffsetInvalid;
  if (memory.bytes > ~memory.base) return status::kInvalidField;
  const Place place = context_.bus.place(memory.base, memory.bytes);
  if (place == Place::outside) return status::kSuccess;
  const bool is_allowed = memory.may_be_in_buffer && (place == Place::buffer || context_.buffer.queue_mixed);
  return is_allowed ? status::kSuccess : status::kInvalidUseOfBuffer;
}

// 5.4.
Outcome AdminCommands::create_completion_queue(const SubmissionEntry& entry) {
  const auto head = entry.get<QueueDword10>();
  const auto flags = entry.get<CompletionQueueDword11>();
  const std::uint16_t id = head.get(QueueDword10::id);
  const std::uint32_t entries = std::uint32_t{head.get(QueueDword10::entries_0based)} + 1;
  if (id == 0 || id > context_.features.completion_queues() || context_.queues.has_completion(id)) {
    return {status::kInvalidQueueId};
  }
  if (entries < 2 || entries > context_.max_queue_entries || !io_entry_sizes_are_valid_)
    return {status::kInvalidQueueSize};
  if (!flags.get(CompletionQueueDword11::contiguous)) return {status::kInvalidField};  // CAP.CQR is 1
  const bool interrupts = flags.get(CompletionQueueDword11::interrupts);
  const std::uint16_t vector = flags.get(CompletionQueueDword11::vector);
  if (interrupts && vector >= context_.vectors) return {status::kInvalidVector};
  const std::uint64_t base = entry.get<PointerLow>().raw;
  const QueueMemory memory{base, std::uint64_t{entries} * kCompletionEntryBytes, context_.buffer.completion_queues};
  if (const Status valid = check_queue_memory(memory); !valid.is_success()) return {valid};
  context_.queues.create_completion(id, {.base = base, .entries = entries, .vector = vector, .interrupts = interrupts});
  return {};
}

// 5.5.
Outcome AdminCommands::create_submission_queue(const SubmissionEntry& entry) {
  const auto head = entry.get<QueueDword10>();
  const auto flags = entry.get<SubmissionQueueDword11>();
  const std::uint16_t id = head.get(QueueDword10::id);
  const std::uint32_t entries = std::uint32_t{head.get(QueueDword10::entries_0based)} + 1;
  const std::uint16_t completion = flags.get(SubmissionQueueDword11::completion_queue);
  if (id == 0 || id > context_.features.submission_queues() || context_.queues.has_submission(id)) {
    return {status::kInvalidQueueId};
  }
  // The admin completion queue, or one that can't be, has an invalid number; one that could be is only absent.
  if (completion == 0 || completion > context_.features.completion_queues()) return {status::kInvalidQueueId};
  if (!context_.queues.has_completion(completion)) return {status::kCompletionQueueInvalid};
  if (entries < 2 || entries > context_.max_queue_entries || !io_entry_sizes_are_valid_)
    return {status::kInvalidQueueSize};
  if (!flags.get(SubmissionQueueDword11::contiguous)) return {status::kInvalidField};  // CAP.CQR is 1
  const std::uint64_t base = entry.get<PointerLow>().raw;
  const QueueMemory memory{base, std::uint64_t{entries} * kSubmissionEntryBytes, context_.buffer.submission_queues};
  if (const Status valid = check_queue_memory(memory); !valid.is_success()) return {valid};
  context_.queues.create_submission({.base = base,
                                     .entries = entries,
                                     .id = id,
                                     .completion_queue = completion,
                                     .is_in_buffer = context_.bus.place(base, memory.bytes) == Place::buffer});
  return {};
}

// 5.6.
Outcome AdminCommands::delete_completion_queue(const SubmissionEntry& entry) {
  const std::uint16_t id = entry.get<QueueDword10>().get(QueueDword10::id);
  if (id == 0 || !context_.queues.has_completion(id)) return {status::kInvalidQueueId};
  if (context_.queues.completion(id).submission_queues != 0) return {status::kInvalidQueueDeletion};
  context_.queues.delete_completion(id);
  return {};
}

// 5.7. No command of the queue is being worked on here; what the controller has not taken from it is dropped with it.
Outcome AdminCommands::delete_submission_queue(const SubmissionEntry& entry) {
  const std::uint16_t id = entry.get<QueueDword10>().get(QueueDword10::id);
  if (id == 0 || !context_.queues.has_submission(id)) return {status::kInvalidQueueId};
  context_.queues.delete_submission(id);
  return {};
}

// 5.17.
Outcome AdminCommands::identify(const SubmissionEntry& entry, bool command_is_in_buffer) {
  Page page;
  if (const Status made = make_identity(entry, page); !made.is_success()) return {made};
  const Status ready = context_.data.prepare(entry, {page.bytes.size(), Direction::to_host, command_is_in_buffer});
  if (!ready.is_success()) return {ready};
  return {context_.data.send(page.bytes)};
}

Status AdminCommands::make_identity(const SubmissionEntry& entry, Page& page) const {
  const std::uint32_t id = entry.get<NamespaceId>().raw;
  const Namespace* space = context_.namespaces.find(id);
  switch (static_cast<IdentifyStructure>(entry.get<IdentifyDword10>().get(IdentifyDword10::structure))) {
    case IdentifyStructure::name_space:
      // FFFFFFFFh too, as namespaces can't be managed here.
      if (space == nullptr) return status::kInvalidNamespace;
      page = describe_namespace(context_.identity, *space);
      return status::kSuccess;
    case IdentifyStructure::controller:
      page = describe_controller(context_.identity, context_.namespaces.count());
      return status::kSuccess;
    case IdentifyStructure::active_namespaces:
      if (id >= kAllNamespaces - 1) return status::kInvalidNamespace;
      page = list_namespaces(context_.namespaces, id);
      return status::kSuccess;
    case IdentifyStructure::namespace_descriptors:
      if (space == nullptr) return status::kInvalidNamespace;
      page = describe_identifiers(context_.identity, *space);
      return status::kSuccess;
  }
  return status::kInvalidField;
}

// 5.16.
Outcome AdminCommands::get_log_page(const SubmissionEntry& entry, bool command_is_in_buffer) {
  const auto head = entry.get<LogDword10>();
  const std::uint64_t dwords = (std::uint64_t{entry.get<LogDword11>().get(LogDword11::dwords_0based_high)} << 16 |
                                head.get(LogDword10::dwords_0based_low)) +
                               1;
  const std::uint32_t id = entry.get<NamespaceId>().raw;
  // No log is kept for each namespace (Identify's LPA).
  if (id != 0 && id != kAllNamespaces) return {status::kInvalidField};
  LogPages::Content content;
  if (!context_.logs.make(head.get(LogDword10::page), context_.io.counters(), content))
    return {status::kInvalidLogPage};
  const std::uint64_t offset = entry.get<LogOffset>().raw;
  const bool is_index = entry.get<LogDword14>().get(LogDword14::offset_is_index);
  if (is_index || offset % 4 != 0 || offset > content.size_bytes) return {status::kInvalidField};
  const Status ready = context_.data.prepare(entry, {dwords * 4, Direction::to_host, command_is_in_buffer});
  if (!ready.is_success()) return {ready};
  const auto rest = std::span(content.page.bytes).first(content.size_bytes).subspan(offset);
  const Status sent = context_.data.send(rest);
  if (sent.is_success() && !head.get(LogDword10::retain_event)) {
    context_.events.log_was_read(static_cast<LogId>(head.get(LogDword10::page)));
  }
  return {sent};
}

Outcome AdminCommands::set_features(const SubmissionEntry& entry) {
  const Outcome outcome = context_.features.set(entry, context_.queues.io_queues() != 0);
  context_.io.set_write_cache(context_.features.has_write_cache());
  return outcome;
}

// 5.1: bit 0 of the result says that nothing was aborted. Only event requests are ever there to be aborted.
Outcome AdminCommands::abort(const SubmissionEntry& entry) {
  const auto which = entry.get<AbortDword10>();
  const std::uint16_t command = which.get(AbortDword10::command);
  if (which.get(AbortDword10::submission_queue) != 0 || !context_.events.release(command)) {
    return {status::kSuccess, 1};
  }
  aborted_ = command;
  return {status::kSuccess, 0};
}

// 5.2.
Outcome AdminCommands::hold_event_request(const SubmissionEntry& entry) {
  if (!context_.events.hold(entry.get<CommandDword0>().get(CommandDword0::id))) return {status::kAsyncEventLimit};
  return {.is_held = true};
}

}  // namespace barter::devices::nvme
