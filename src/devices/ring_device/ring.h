// The rings of one channel, as the device sees them: follows RUN, takes descriptors in order, writes completions. Belongs to the
// device's step.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "devices/ring_device/register_file.h"
#include "fabric/device.h"

namespace barter::devices::ring_device {

class Ring {
 public:
  // The registers outlive it.
  Ring(std::uint32_t number, RegisterFile& registers, Report report);
  void attach(fabric::Requester& requester) { requester_ = &requester; }

  // Follows CHANNEL_CONTROL. Settings: the channel begins anew with these, of which the rings will do; show_running() or fail().
  [[nodiscard]] std::optional<ChannelSettings> follow(bool device_is_ready);
  void show_running();
  void stop();
  void fail(Cause cause, std::string why);
  [[nodiscard]] bool is_running() const { return entries_ != 0; }
  [[nodiscard]] std::uint32_t number() const { return number_; }
  void report(std::string what) const;  // of this channel

  enum class Fetched : std::uint8_t { nothing, descriptor, trouble };
  // Takes the next descriptor, if there is one, and room for so many completions.
  [[nodiscard]] Fetched fetch(std::span<std::byte, kDescriptorBytes> into, std::uint32_t completions);
  struct End {
    std::uint64_t result = 0;
    std::uint8_t status = 0;
  };
  // Written later, before the next descriptor is taken, if the bus may not be mastered now.
  void complete(DescriptorDword0 descriptor, End end);
  // Something to tell about a command that has not ended. False: there is no room for this and for its completion.
  [[nodiscard]] bool tell(DescriptorDword0 descriptor, End what);

 private:
  // Of an index that the host has written, which may be anything.
  [[nodiscard]] bool has_room(std::uint32_t completions, std::uint32_t taken) const {
    return (taken + entries_ - completion_tail_ - 1) % entries_ >= completions;
  }
  [[nodiscard]] CompletionEntry make_entry(DescriptorDword0 descriptor, End end) const;
  // False: the bus may not be mastered now.
  [[nodiscard]] bool post(const CompletionEntry& entry, bool interrupt);

  const std::uint32_t number_;
  RegisterFile& registers_;
  const Report report_;
  fabric::Requester* requester_ = nullptr;

  bool is_followed_ = false;  // RUN is set, and was followed
  ChannelSettings settings_;
  std::uint32_t entries_ = 0;          // 0: it does not run, or an error has stopped it
  std::uint32_t head_ = 0;             // of the descriptors
  std::uint32_t completion_tail_ = 0;  // where the next completion goes
  bool phase_ = true;
  struct Late {
    CompletionEntry entry;
    bool interrupt = false;
  };
  std::optional<Late> late_;  // what complete() could not write
};

}  // namespace barter::devices::ring_device
