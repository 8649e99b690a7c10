// A channel: takes descriptors from its ring, has each one carried out, and completes it (docs/devices/dma_engine.md, sections 2
// and 3). Belongs to the engine's step.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "devices/dma_engine/job.h"
#include "devices/dma_engine/register_file.h"
#include "fabric/device.h"

namespace barter::devices::dma_engine {

// What a channel may do in one step. A slice that is under way is finished all the same.
inline constexpr std::uint64_t kMaxBytesPerStep = std::uint64_t{1} << 20;
inline constexpr std::uint32_t kMaxDescriptorsPerStep = 32;

class Channel {
 public:
  using Report = std::function<void(std::string)>;  // of a violation

  Channel(std::uint32_t number, RegisterFile& registers, Report report, std::uint64_t bytes_per_step);

  void attach(fabric::Requester& requester);
  // Follows CHANNEL_CONTROL.
  void follow(bool engine_is_ready);
  void stop();
  // Tells whether it did anything.
  [[nodiscard]] bool step();

 private:
  void start(const ChannelSettings& settings);
  void fail(Cause cause, std::string why);
  [[nodiscard]] bool fetch();
  void work(std::uint64_t& budget_bytes);
  void complete(MoveStatus status);

  const std::uint32_t number_;
  RegisterFile& registers_;
  const Report report_;
  const std::uint64_t bytes_per_step_;
  fabric::Requester* requester_ = nullptr;
  Job job_;

  bool is_running_ = false;  // RUN is set, and was followed
  ChannelSettings settings_;
  std::uint32_t entries_ = 0;          // 0: an error has stopped it
  std::uint32_t head_ = 0;             // of the descriptors
  std::uint32_t completion_tail_ = 0;  // where the next completion goes
  bool phase_ = true;
  bool has_job_ = false;
  Descriptor current_;
  std::uint64_t finished_bytes_ = 0;  // of the descriptors before the current one
};

}  // namespace barter::devices::dma_engine
