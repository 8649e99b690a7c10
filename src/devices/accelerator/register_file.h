// The registers of the accelerator: those of every device with rings, and those of its memory, page tables and links.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "devices/accelerator/links.h"
#include "devices/accelerator/registers.h"
#include "devices/ring_device/register_file.h"

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

class RegisterFile final : public ring_device::RegisterFile {
 public:
  // The links outlive it.
  RegisterFile(const FixedRegisters& fixed, LinkPorts& links, ring_device::Report report);

  // The host's side.
  [[nodiscard]] std::uint64_t read(std::uint64_t at, unsigned width_bytes);
  // Tells whether the window shows something else now.
  [[nodiscard]] bool write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);
  [[nodiscard]] std::uint64_t window_base() const { return window_base_.load(std::memory_order_acquire); }

  // The step's side.
  [[nodiscard]] const FixedRegisters& fixed() const { return fixed_; }
  [[nodiscard]] TableRoot table_root() const { return TableRoot::from(table_root_.load(std::memory_order_acquire)); }
  [[nodiscard]] bool invalidation_is_asked() const { return invalidate_.load(std::memory_order_acquire) != 0; }
  void invalidated() { invalidate_.store(0, std::memory_order_release); }
  void set_fault(std::uint32_t channel, std::uint64_t address, bool was_write);
  void clear_fault() { fault_.store(0, std::memory_order_release); }
  [[nodiscard]] bool requests_are_on(std::uint32_t channel) const {
    return Requests::from(channels_[channel].requests.load(std::memory_order_acquire)).get(Requests::on);
  }
  // From now on ANSWER is looked at; what it was before is an answer to nothing.
  void expect_answer(std::uint32_t channel);
  // The answer to command `id`, once the host has written it: is it to try again? One for another command changes nothing.
  [[nodiscard]] std::optional<bool> take_answer(std::uint32_t channel, std::uint16_t id);
  // As after power-on, what is not common.
  void clear_own();

 private:
  struct OwnChannel {
    std::atomic<std::uint32_t> requests = 0;
    std::atomic<std::uint32_t> answer = 0;  // with kAnswered
  };
  static constexpr std::uint32_t kAnswered = 0x80000000;  // a reserved bit of ANSWER
  // Where a register of a channel lies that only accelerators have: its key, from the channel's place on.
  struct OwnPlace {
    OwnChannel* channel = nullptr;
    std::uint64_t key = 0;
  };
  [[nodiscard]] std::optional<OwnPlace> find_own(std::uint64_t at, unsigned width_bytes);
  void write_own(OwnPlace place, std::uint64_t value);
  [[nodiscard]] bool write_window_base(std::uint64_t base);

  const FixedRegisters fixed_;
  LinkPorts& links_;
  std::atomic<std::uint64_t> window_base_ = 0;
  std::atomic<std::uint64_t> table_root_ = 0;
  std::atomic<std::uint64_t> fault_address_ = 0;
  std::atomic<std::uint32_t> fault_ = 0;
  std::atomic<std::uint32_t> invalidate_ = 0;
  std::vector<OwnChannel> channels_;
};

}  // namespace barter::devices::accelerator
