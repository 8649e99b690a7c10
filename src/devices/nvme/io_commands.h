// The I/O commands: NVM command set specification 1.0, section 3.
#pragma once
#include <cstdint>
#include <utility>

#include "devices/nvme/commands.h"
#include "devices/nvme/data_path.h"
#include "devices/nvme/namespaces.h"

namespace barter::devices::nvme {

// What the SMART log counts (base 2.0, 5.16.1.3).
struct IoCounters {
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t read_commands = 0;
  std::uint64_t write_commands = 0;
  std::uint64_t medium_errors = 0;
};

class IoCommands {
 public:
  IoCommands(Namespaces& namespaces, DataPath& data) : namespaces_(namespaces), data_(data) {}

  [[nodiscard]] Status execute(const SubmissionEntry& entry, bool command_is_in_buffer);

  // A command that comes next, and has not been checked: where it will read from is asked for early, so that the memory's
  // answer is on its way while the command before it is still at work.
  void expect(const SubmissionEntry& entry);

  // Volatile Write Cache, Set Features 06h: off makes every write durable before its completion.
  void set_write_cache(bool enabled) { has_write_cache_ = enabled; }
  [[nodiscard]] const IoCounters& counters() const { return counters_; }
  // Data moved since the last call, for the step's share of time.
  [[nodiscard]] std::uint64_t take_moved_bytes() { return std::exchange(moved_bytes_, 0); }

 private:
  struct Blocks {
    Namespace* space = nullptr;
    std::uint64_t offset = 0;  // bytes
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] Status find_blocks(const SubmissionEntry& entry, Blocks& blocks);
  [[nodiscard]] Status read(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Status write(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Status compare(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Status write_zeroes(const SubmissionEntry& entry);
  [[nodiscard]] Status dataset_management(const SubmissionEntry& entry, bool command_is_in_buffer);
  [[nodiscard]] Status flush(const SubmissionEntry& entry);
  [[nodiscard]] Status make_durable(const SubmissionEntry& entry, const Namespace& space);

  Namespaces& namespaces_;
  DataPath& data_;
  IoCounters counters_;
  std::uint64_t moved_bytes_ = 0;
  bool has_write_cache_ = true;
};

}  // namespace barter::devices::nvme
