// A channel: takes descriptors from its ring, has each one worked through, and completes it (docs/devices/accelerator.md,
// sections 2 and 3). Belongs to the accelerator's step.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "devices/accelerator/job.h"
#include "devices/accelerator/register_file.h"
#include "fabric/device.h"

namespace barter::devices::accelerator {

// What a channel may do in one step. A slice that is under way is finished all the same.
inline constexpr std::uint64_t kMaxBytesPerStep = std::uint64_t{1} << 20;
inline constexpr std::uint32_t kMaxCommandsPerStep = 32;

class Channel {
 public:
  using Report = std::function<void(std::string)>;  // of a violation

  Channel(std::uint32_t number, Engine engine, RegisterFile& registers, MemoryAccess& memory, Report report,
          std::uint64_t bytes_per_step = kMaxBytesPerStep);

  void attach(fabric::Requester& requester) { requester_ = &requester; }
  // Follows CHANNEL_CONTROL.
  void follow(bool device_is_ready);
  void stop();
  // Tells whether it did anything.
  [[nodiscard]] bool step();

 private:
  void start(const ChannelSettings& settings);
  void fail(std::string why);
  [[nodiscard]] bool fetch();
  [[nodiscard]] bool has_room_to_complete();
  void work(std::uint64_t& budget_bytes);
  void complete(CommandStatus status);
  void publish_progress();

  const std::uint32_t number_;
  const std::uint64_t bytes_per_step_;
  RegisterFile& registers_;
  MemoryAccess& memory_;
  const Report report_;
  fabric::Requester* requester_ = nullptr;
  Job job_;

  bool is_running_ = false;
  ChannelSettings settings_;
  std::uint32_t entries_ = 0;
  std::uint32_t head_ = 0;             // of the descriptors
  std::uint32_t completion_tail_ = 0;  // where the next completion goes
  bool phase_ = true;
  bool has_job_ = false;
  Descriptor current_;
  std::uint64_t finished_bytes_ = 0;  // of the commands before the current one
};

}  // namespace barter::devices::accelerator
