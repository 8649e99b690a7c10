// The registers that the host reads and writes. Any thread may; the accelerator's step is told by attention() and takes
// what the host wants with the take_... functions.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "devices/accelerator/links.h"
#include "devices/accelerator/registers.h"

namespace barter::devices::accelerator {

// What does not change in the life of the device.
struct FixedRegisters {
  std::uint64_t memory_bytes = 0;
  std::uint64_t window_bytes = 0;
  std::uint8_t copy_channels = 1;
  std::uint8_t compute_channels = 1;
  std::uint8_t ring_log2 = 1;  // of the longest ring
  std::uint8_t links = 0;
  [[nodiscard]] std::uint32_t channels() const { return std::uint32_t{copy_channels} + compute_channels; }
};

struct ChannelSettings {
  std::uint64_t ring_base = 0;
  std::uint64_t completion_base = 0;
  Progress progress;
  std::uint32_t ring_log2 = 0;
};

class RegisterFile {
 public:
  using Report = std::function<void(std::string)>;  // of a violation; called with no lock held

  // The links outlive it.
  RegisterFile(const FixedRegisters& fixed, LinkPorts& links, Report report);

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  // Tells whether the window shows something else now.
  [[nodiscard]] bool write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);
  [[nodiscard]] std::uint64_t window_base() const { return window_base_.load(std::memory_order_acquire); }

  // The step's side.
  [[nodiscard]] const FixedRegisters& fixed() const { return fixed_; }
  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_acquire); }
  void forget_attention() { attention_.store(false, std::memory_order_release); }
  struct Wish {
    bool is_on = false;
    bool was_off = false;  // since the last call, whatever it is now
  };
  [[nodiscard]] Wish take_enable();
  [[nodiscard]] Wish take_run(std::uint32_t channel, ChannelSettings& settings);
  [[nodiscard]] TableRoot table_root() const { return TableRoot::from(table_root_.load(std::memory_order_acquire)); }
  [[nodiscard]] bool invalidation_is_asked() const { return invalidate_.load(std::memory_order_acquire) != 0; }
  void invalidated() { invalidate_.store(0, std::memory_order_release); }
  void set_status(Status status) { status_.store(status.raw, std::memory_order_release); }
  void set_channel_status(std::uint32_t channel, ChannelStatus status) {
    channels_[channel].status.store(status.raw, std::memory_order_release);
  }
  void set_fault(std::uint32_t channel, std::uint64_t address, bool was_write);
  void clear_fault() { fault_.store(0, std::memory_order_release); }
  // docs/memory-order.md, rule 1: what the host stored before it rang is there for whoever sees the doorbell.
  [[nodiscard]] std::uint32_t tail(std::uint32_t channel) const {
    return channels_[channel].tail.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint32_t completion_head(std::uint32_t channel) const {
    return channels_[channel].completion_head.load(std::memory_order_acquire);
  }

  // As after power-on.
  void reset();

 private:
  struct Channel {
    // Guarded by mutex_.
    ChannelSettings settings;
    bool run = false;
    bool was_stopped = false;
    // Any thread.
    std::atomic<std::uint32_t> status = 0;
    std::atomic<std::uint32_t> tail = 0;
    std::atomic<std::uint32_t> completion_head = 0;
  };

  [[nodiscard]] std::uint64_t read_channel(Channel& channel, std::uint32_t at, unsigned width_bytes);
  void write_channel(Channel& channel, std::uint32_t at, unsigned width_bytes, std::uint64_t value);
  void write_run(Channel& channel, ChannelControl wanted);
  [[nodiscard]] bool write_window_base(std::uint64_t base);
  void write_control(Control wanted);
  void report(const char* what, std::uint64_t at, unsigned width_bytes);

  const FixedRegisters fixed_;
  LinkPorts& links_;
  const Report report_;
  mutable std::mutex mutex_;  // a leaf: nothing is called with it held
  bool enable_ = false;       // guarded by mutex_, and so is the next
  bool was_disabled_ = false;
  std::atomic<std::uint64_t> window_base_ = 0;
  std::atomic<std::uint64_t> table_root_ = 0;
  std::atomic<std::uint64_t> fault_address_ = 0;
  std::atomic<std::uint32_t> fault_ = 0;
  std::atomic<std::uint32_t> status_ = 0;
  std::atomic<std::uint32_t> invalidate_ = 0;
  std::atomic<std::uint32_t> scratch_ = 0;
  std::atomic<bool> attention_ = false;
  std::array<Channel, kMaxChannels> channels_;
};

}  // namespace barter::devices::accelerator
