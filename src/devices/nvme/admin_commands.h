// The admin commands: NVM Express base specification 2.0, section 5.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>

#include "devices/nvme/commands.h"
#include "devices/nvme/data_path.h"
#include "devices/nvme/events.h"
#include "devices/nvme/features.h"
#include "devices/nvme/identify.h"
#include "devices/nvme/io_commands.h"
#include "devices/nvme/log_pages.h"
#include "devices/nvme/queues.h"

namespace barter::devices::nvme {

// What the admin commands work on. All of it outlives them.
struct AdminContext {
  const Bus& bus;
  Queues& queues;
  DataPath& data;
  Namespaces& namespaces;
  Features& features;
  LogPages& logs;
  Events& events;
  IoCommands& io;
  const BufferAbilities& buffer;
  IdentityFacts identity;
  std::uint32_t max_queue_entries = 0;
  std::uint16_t vectors = 0;
};

class AdminCommands {
 public:
  explicit AdminCommands(AdminContext context) : context_(std::move(context)) {}

  // CC as it was when the controller was enabled.
  void set_configuration(bool io_entry_sizes_are_valid) { io_entry_sizes_are_valid_ = io_entry_sizes_are_valid; }
  [[nodiscard]] Outcome execute(const SubmissionEntry& entry, bool command_is_in_buffer);
  // An event request that Abort has given back, to be completed with Command Abort Requested.
  [[nodiscard]] bool has_aborted() const { return aborted_.has_value(); }
  [[nodiscard]] std::optional<std::uint16_t> take_aborted() { return std::exchange(aborted_, std::nullopt); }

 private:
  [[nodiscard]] Outcome create_completion_queue(const SubmissionEntry& entry);
  [[nodiscard]] Outcome create_submission_queue(const SubmissionEntry& entry);
  [[nodiscard]] Outcome delete_completion_queue(const SubmissionEntry& entry);
  [[nodiscard]] Outcome delete_submission_queue(const SubmissionEntry& entry);
  struct QueueMemory {
    std::uint64_t base = 0;
    std::uint64_t bytes = 0;
    bool may_be_in_buffer = false;
  };
  [[nodiscard]] Status check_queue_memory(const QueueMemory& memory) const;
  [[nodiscard]] Outcome identify(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Status make_identity(const SubmissionEntry& entry, Page& page) const;
  [[nodiscard]] Outcome get_log_page(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Outcome set_features(const SubmissionEntry& entry);
  [[nodiscard]] Outcome abort(const SubmissionEntry& entry);
  [[nodiscard]] Outcome hold_event_request(const SubmissionEntry& entry);

  AdminContext context_;
  std::optional<std::uint16_t> aborted_;
  bool io_entry_sizes_are_valid_ = false;
};

}  // namespace barter::devices::nvme
