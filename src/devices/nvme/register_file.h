// The registers that the host reads and writes, and the rules for doing so. Any thread may access them; the controller's
// step is told by attention() and takes the wishes of the host with take_requests().
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "devices/nvme/doorbells.h"
#include "devices/nvme/registers.h"

namespace barter::devices::nvme {

// What does not change in the life of the controller.
struct FixedRegisters {
  Capabilities capabilities;
  BufferLocation buffer_location;
  BufferSize buffer_size;
  std::uint64_t buffer_bytes = 0;
  bool ignores_doorbells = false;  // misbehaviour
  bool is_never_ready = false;     // misbehaviour
};

class RegisterFile {
 public:
  using Report = std::function<void(std::string)>;  // of a violation; called with no lock held

  RegisterFile(const FixedRegisters& fixed, std::uint32_t queues, Report report);

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  // Tells whether the memory buffer has appeared or vanished.
  [[nodiscard]] bool write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);

  // The step's side.
  [[nodiscard]] Doorbells& doorbells() { return doorbells_; }
  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_acquire); }
  struct Requests {
    Configuration configuration;
    AdminQueueAttributes admin_queues;
    std::uint64_t admin_submission_queue = 0;
    std::uint64_t admin_completion_queue = 0;
    bool was_disabled = false;  // CC.EN went to 0, whatever it is now
  };
  [[nodiscard]] Requests take_requests();
  [[nodiscard]] ControllerStatus status() const {
    return ControllerStatus::from(status_.load(std::memory_order_acquire));
  }
  void set_status(ControllerStatus status) { status_.store(status.raw, std::memory_order_release); }
  void set_io_queues(std::uint32_t count) { io_queues_.store(count, std::memory_order_relaxed); }
  // Doorbell mistakes since the last call: bit n for event information n.
  [[nodiscard]] std::uint32_t take_doorbell_errors() {
    if (doorbell_errors_.load(std::memory_order_relaxed) == 0) return 0;
    return doorbell_errors_.exchange(0, std::memory_order_acq_rel);
  }
  [[nodiscard]] BufferControl buffer_control() const {
    return BufferControl::from(buffer_control_.load(std::memory_order_acquire));
  }
  [[nodiscard]] bool buffer_is_shown() const;
  // CBA and the buffer's size run past the end of all addresses (CMBSTS.CBAI).
  [[nodiscard]] bool buffer_base_is_invalid() const;

  // As after power-on.
  void reset();

 private:
  [[nodiscard]] std::uint32_t read_dword(std::uint32_t at) const;
  [[nodiscard]] bool write_dword(std::uint32_t at, std::uint32_t value);
  void write_doorbell(std::uint64_t at, unsigned width_bytes, std::uint64_t value);
  void write_configuration(Configuration wanted);
  void check_enable(Configuration old, Configuration wanted);
  void write_admin_queue(std::uint32_t at, std::uint32_t value);
  [[nodiscard]] bool write_buffer_control(std::uint32_t at, std::uint32_t value);
  [[nodiscard]] bool is_native_qword(std::uint64_t at) const;
  void report(const char* what, std::uint64_t at, unsigned width_bytes);

  const FixedRegisters fixed_;
  const Report report_;
  Doorbells doorbells_;

  mutable std::mutex mutex_;  // guards the next five; a leaf: nothing is called with it held
  Configuration configuration_;
  AdminQueueAttributes admin_queues_;
  std::uint64_t admin_submission_queue_ = 0;
  std::uint64_t admin_completion_queue_ = 0;
  bool was_disabled_ = false;

  std::atomic<std::uint64_t> buffer_control_ = 0;
  std::atomic<std::uint32_t> status_ = 0;
  std::atomic<std::uint32_t> doorbell_errors_ = 0;
  std::atomic<std::uint32_t> io_queues_ = 0;
  std::atomic<bool> attention_ = false;
};

}  // namespace barter::devices::nvme
