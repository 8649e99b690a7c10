// The registers that the host reads and writes. Any thread may; the engine's step is told by attention() and takes what the host
// wants with the take_... functions.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "devices/dma_engine/registers.h"

namespace barter::devices::dma_engine {

// What does not change in the life of the device.
struct FixedRegisters {
  std::uint8_t channels = 1;
  std::uint8_t ring_log2 = 1;  // of the longest ring
  std::uint16_t segments = 1;  // of the longest list
  std::uint64_t transfer_bytes = 0;
};

struct ChannelSettings {
  std::uint64_t ring_base = 0;
  std::uint64_t completion_base = 0;
  std::uint32_t ring_log2 = 0;
};

class RegisterFile {
 public:
  using Report = std::function<void(std::string)>;  // of a violation; called with no lock held

  RegisterFile(const FixedRegisters& fixed, Report report);

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  void write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);

  // The step's side.
  [[nodiscard]] const FixedRegisters& fixed() const { return fixed_; }
  [[nodiscard]] bool attention() const { return attention_.load(std::memory_order_acquire); }
  void forget_attention() { attention_.store(false, std::memory_order_release); }
  [[nodiscard]] bool reset_is_asked() const { return reset_.load(std::memory_order_acquire); }
  struct Wish {
    bool is_on = false;
    bool was_off = false;    // since the last call, whatever it is now
    bool too_early = false;  // of RUN: set before READY
  };
  [[nodiscard]] Wish take_enable();
  [[nodiscard]] Wish take_run(std::uint32_t channel, ChannelSettings& settings);
  void set_status(Status status) { status_.store(status.raw, std::memory_order_release); }
  void set_channel_status(std::uint32_t channel, ChannelStatus status) {
    channels_[channel].status.store(status.raw, std::memory_order_release);
  }
  void set_moved(std::uint32_t channel, std::uint64_t bytes) {
    channels_[channel].moved.store(bytes, std::memory_order_release);
  }
  // docs/memory-order.md, rule 1: what the host stored before it rang is there for whoever sees the doorbell.
  [[nodiscard]] std::uint32_t tail(std::uint32_t channel) const {
    return channels_[channel].tail.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint32_t taken(std::uint32_t channel) const {
    return channels_[channel].taken.load(std::memory_order_acquire);
  }

  // As after power-on.
  void clear();

 private:
  struct Channel {
    // Guarded by mutex_.
    ChannelSettings settings;
    bool run = false;
    bool was_stopped = false;
    bool too_early = false;
    // Any thread.
    std::atomic<std::uint32_t> status = 0;
    std::atomic<std::uint32_t> tail = 0;
    std::atomic<std::uint32_t> taken = 0;
    std::atomic<std::uint64_t> moved = 0;
  };

  [[nodiscard]] std::uint64_t read_channel(Channel& channel, std::uint32_t at, unsigned width_bytes);
  void write_channel(Channel& channel, std::uint32_t at, unsigned width_bytes, std::uint64_t value);
  void write_setting(Channel& channel, std::uint32_t at, std::uint64_t value);
  void write_run(Channel& channel, ChannelControl wanted);
  void write_control(Control wanted);
  void report(const char* what, std::uint64_t at, unsigned width_bytes);

  const FixedRegisters fixed_;
  const Report report_;
  std::mutex mutex_;     // a leaf: nothing is called with it held
  bool enable_ = false;  // guarded by mutex_, and so is the next
  bool was_disabled_ = false;
  std::atomic<bool> reset_ = false;
  std::atomic<std::uint32_t> status_ = 0;
  std::atomic<std::uint32_t> scratch_ = 0;
  std::atomic<bool> attention_ = false;
  std::array<Channel, kMaxChannels> channels_;
};

}  // namespace barter::devices::dma_engine
