// For tests: a device with rings that answers everything and does nothing, and can lie. The fakes of the accelerator, of the DMA
// engine and of the NIC derive from it, and say where things lie with numbers of their own, written from the specifications.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <span>

#include "drivers/fake_function.h"

namespace barter::drivers::ring_device::testing {

struct FakeCompletion {
  std::uint64_t result = 0;
  std::uint32_t place = 0;
  std::uint32_t word = 0;
};

class FakeRingDevice : public drivers::testing::FakeDevice {
 public:
  struct Places {
    std::uint64_t control, status;
    // Of channel 0 and from one to the next; the others are offsets from there.
    std::uint64_t channels, channel_bytes, ring_log2, run, channel_status, tail, taken;
    std::uint64_t result_from;  // where in a descriptor the result lies that it is answered with; 0: nowhere
  };
  explicit FakeRingDevice(const Places& places) : places_(places) {}

  // What registers read as, whatever they are: overrides the truth.
  std::map<std::uint64_t, std::uint64_t> lies;
  bool never_ready = false, never_disabled = false, never_runs = false, never_stops = false;
  bool ignores_doorbells = false;
  std::function<bool(FakeCompletion&)> on_completion;  // changes or, with false, loses a completion
  std::uint32_t entries_per_command = 1;               // in the completion ring

  std::uint64_t load(std::uint64_t at, unsigned) final {
    if (const auto lie = lies.find(at); lie != lies.end()) return lie->second;
    return truth(at);
  }
  void store(std::uint64_t at, unsigned, std::uint64_t value) override {
    registers_[at] = value;
    const std::uint64_t channel = at - (at - places_.channels) % places_.channel_bytes;
    if (at >= places_.channels && at - channel == places_.run && (value & 1) != 0) {
      channels_[channel] = {};
      registers_[channel + places_.tail] = registers_[channel + places_.taken] = 0;
    }
  }
  void step() override {
    const bool on = (registers_[places_.control] & 1) != 0;
    if (on && !never_ready) registers_[places_.status] = 1;
    if (!on && !never_disabled) registers_[places_.status] = 0;
    for (auto& [at, channel] : channels_) {
      const bool run = (registers_[at + places_.run] & 1) != 0;
      std::uint64_t& status = registers_[at + places_.channel_status];
      if (run && !never_runs) status = 1;
      if (!run && !never_stops) status = 0;
      if (run && !ignores_doorbells && (status & 1) != 0) serve(at, channel);
    }
  }

 protected:
  virtual std::uint64_t truth(std::uint64_t at) = 0;
  [[nodiscard]] virtual std::uint64_t result_of(std::span<const std::byte> descriptor) {
    std::uint64_t result = 0;
    if (places_.result_from != 0) std::memcpy(&result, descriptor.data() + places_.result_from, 8);
    return result;
  }
  std::map<std::uint64_t, std::uint64_t> registers_;

 private:
  struct Channel {
    std::uint32_t head = 0;
    std::uint32_t completion = 0;
    std::uint32_t phase = 1;
  };
  void serve(std::uint64_t at, Channel& channel) {
    const auto entries = std::uint32_t{1} << (registers_[at + places_.ring_log2] & 15);
    if (channel.head == registers_[at + places_.tail]) return;
    const auto descriptor = lent(registers_[at] + channel.head * 64, 64);
    if (descriptor.empty()) return;
    std::uint32_t word = 0;
    std::memcpy(&word, descriptor.data(), sizeof word);
    channel.head = (channel.head + 1) % entries;
    const auto number = static_cast<std::uint32_t>((at - places_.channels) / places_.channel_bytes);
    for (std::uint32_t answered = 0; answered < entries_per_command; ++answered) {
      FakeCompletion entry{.place = channel.head | number << 16, .word = word >> 16 | channel.phase << 31};
      entry.result = result_of(descriptor);
      if (on_completion && !on_completion(entry)) return;
      const auto into = lent(registers_[at + 8] + channel.completion * 16, 16);
      if (!into.empty()) std::memcpy(into.data(), &entry, 16);
      if (++channel.completion == entries) {
        channel.completion = 0;
        channel.phase ^= 1;
      }
    }
  }
  const Places places_;
  std::map<std::uint64_t, Channel> channels_;
};

}  // namespace barter::drivers::ring_device::testing
