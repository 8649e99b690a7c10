// The registers that the host reads and writes, as far as all devices with rings have them. Any thread may; the device's step is told by
// attention() and takes what the host wants with the take_... functions. A device's own RegisterFile derives from it and has the rest.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "devices/ring_device/registers.h"

namespace barter::devices::ring_device {

// A register, by its place and width. A switch over these is a table of section 2.
constexpr std::uint64_t key(std::uint64_t at, unsigned width_bytes) { return at << 4 | width_bytes; }
template <class R>
constexpr std::uint64_t kKey = key(R::kOffset, sizeof(typename R::Word));

struct ChannelSettings {
  std::uint64_t ring_base = 0;
  std::uint64_t completion_base = 0;
  std::uint64_t counter = 0;  // where Layout::counter_is_setting
  std::uint64_t ring_log2 = 0;
};

using Report = std::function<void(std::string)>;  // of a violation; called with no lock held

class RegisterFile {
 public:
  // The layout outlives it.
  RegisterFile(const Layout& layout, std::uint32_t channels, std::uint8_t longest_ring_log2, Report report);
  RegisterFile(const RegisterFile&) = delete;
  RegisterFile& operator=(const RegisterFile&) = delete;

  // The step's side.
  [[nodiscard]] const Layout& layout() const { return layout_; }
  [[nodiscard]] std::uint8_t longest_ring_log2() const { return longest_ring_log2_; }
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
  void set_counter(std::uint32_t channel, std::uint64_t bytes) {
    channels_[channel].counter.store(bytes, std::memory_order_release);
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

 protected:
  // The host's side. Nothing: it is none of these registers.
  [[nodiscard]] std::optional<std::uint64_t> read_common(std::uint64_t at, unsigned width_bytes);
  [[nodiscard]] bool write_common(std::uint64_t at, unsigned width_bytes, std::uint64_t value);
  void report(std::string_view what, std::uint64_t at, unsigned width_bytes) const;
  void call_attention() { attention_.store(true, std::memory_order_release); }

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
    std::atomic<std::uint64_t> counter = 0;
  };

  // Of the channel that an access is for.
  struct Place {
    Channel* channel = nullptr;
    std::uint32_t at = 0;
  };
  [[nodiscard]] std::optional<Place> find_channel(std::uint64_t at);
  [[nodiscard]] std::uint64_t read_channel(Place place, unsigned width_bytes);
  void write_channel(Place place, unsigned width_bytes, std::uint64_t value);
  // Where a setting is kept that has a register of this place and width; null: there is none. With mutex_ held.
  [[nodiscard]] std::uint64_t* setting(Place place, unsigned width_bytes) const;
  void write_run(Channel& channel, ChannelControl wanted);
  void write_control(Control wanted);

  const Layout& layout_;
  const std::uint8_t longest_ring_log2_;
  const Report report_;
  std::mutex mutex_;     // a leaf: nothing is called with it held
  bool enable_ = false;  // guarded by mutex_, and so is the next
  bool was_disabled_ = false;
  std::atomic<bool> reset_ = false;
  std::atomic<std::uint32_t> status_ = 0;
  std::atomic<std::uint32_t> scratch_ = 0;
  std::atomic<bool> attention_ = false;
  std::vector<Channel> channels_;
};

}  // namespace barter::devices::ring_device
