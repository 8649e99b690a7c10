// The controller itself: it takes commands from the queues, has them executed and completes them. The chapters of the
// specification are in the files beside this one.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "devices/anonymous_memory.h"
#include "devices/nvme/admin_commands.h"
#include "devices/nvme/controller.h"
#include "devices/nvme/register_file.h"

namespace barter::devices::nvme {

inline constexpr std::uint32_t kMaxCommandsPerStep = 64;
inline constexpr std::uint32_t kCommandsPerFetch = 16;
inline constexpr std::uint64_t kMaxBytesPerStep = std::uint64_t{4} << 20;  // checked after each fetch
inline constexpr std::uint8_t kMaxPageLog2 = 4;                            // CAP.MPSMAX, from 4 KiB on: 64 KiB
inline constexpr std::uint8_t kArbitrationBurstLog2 = 6;

// Everything about a controller that its setup decides, worked out and checked (controller.cc).
struct ControllerParts {
  fabric::FunctionIdentity identity;
  FixedRegisters registers;
  BufferAbilities buffer;
  std::uint8_t buffer_bar = 4;
  std::uint64_t buffer_offset = 0;
  AnonymousMemory buffer_memory;
  std::vector<Namespace> namespaces;
  std::uint16_t io_queues = 1;
  std::uint32_t max_queue_entries = 2;
  DataPathLimits limits;
  IdentityFacts facts;
  Misbehaviour misbehaviour;
};

class Controller final : public fabric::Device {
 public:
  explicit Controller(ControllerParts parts);

  const fabric::FunctionIdentity& identity() const override { return parts_.identity; }
  void attach(fabric::Requester& requester) override;
  std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override;
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override;
  std::vector<fabric::MemoryWindow> windows() override;
  bool step() override;
  void reset() override;

  [[nodiscard]] Namespaces& namespaces() { return namespaces_; }
  [[nodiscard]] const Namespaces& namespaces() const { return namespaces_; }

 private:
  void record(std::string what);
  // Bringing up and down.
  void handle_requests();
  void enable(const RegisterFile::Requests& requests);
  [[nodiscard]] bool open_admin_queues(const RegisterFile::Requests& requests);
  void shut_down();
  void clear();
  void fail_fatally();
  void follow_claim();
  // Commands.
  [[nodiscard]] bool serve_queues();
  [[nodiscard]] std::uint32_t serve(SubmissionQueue& queue, std::uint32_t budget);
  void execute(SubmissionQueue& queue, const SubmissionEntry& entry);
  void complete(const SubmissionQueue& queue, const SubmissionEntry& entry, Outcome outcome);
  void post(std::uint16_t completion_queue, const CompletionEntry& entry);
  void log_error(const SubmissionQueue& queue, const SubmissionEntry& entry, Status status);
  [[nodiscard]] bool report_events();
  [[nodiscard]] bool post_aborted();
  void complete_event_request(std::uint16_t command_id, Outcome outcome);
  // Misbehaviour: completions that come late.
  struct LateCompletion {
    CompletionEntry entry;
    std::uint16_t completion_queue = 0;
    std::uint32_t steps = 0;
  };
  [[nodiscard]] bool post_late();
  [[nodiscard]] std::uint32_t room(std::uint16_t completion_queue) const;

  // Held by step() and reset(). Register accesses never take it, so a device that is being stepped can be spoken to.
  std::mutex step_mutex_;
  std::atomic<bool> is_resetting_ = false;  // a thread that steps all the time lets reset() in
  std::mutex violation_mutex_;
  ControllerParts parts_;
  fabric::Requester* requester_ = nullptr;
  Bus bus_;
  RegisterFile registers_;
  Queues queues_;
  Namespaces namespaces_;
  DataPath data_;
  IoCommands io_;
  Features features_;
  LogPages logs_;
  Events events_;
  AdminCommands admin_;
  base::Random chance_;
  std::vector<LateCompletion> late_;
  std::array<SubmissionEntry, kCommandsPerFetch> fetched_{};  // from one queue at a time
  std::uint64_t claimed_ = 0;                                 // CMBMSC as the bus follows it
  std::uint16_t next_queue_ = 0;                              // arbitration goes on here
  bool is_enabled_ = false;                                   // CC.EN has been followed
  bool is_serving_ = false;                                   // enabled, not shut down, not failed
};

}  // namespace barter::devices::nvme
