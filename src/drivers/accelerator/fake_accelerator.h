// For tests: an accelerator that answers everything and computes nothing, and can lie. Written from the specification with
// numbers of its own.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>

#include "drivers/fake_function.h"

namespace barter::drivers::accelerator::testing {

struct FakeCompletion {
  std::uint64_t result = 0;
  std::uint32_t place = 0;
  std::uint32_t word = 0;
};

class FakeAccelerator final : public drivers::testing::FakeDevice {
 public:
  FakeAccelerator() { memory.resize(0x20000); }

  // What registers read as, whatever they are: overrides the truth.
  std::map<std::uint64_t, std::uint64_t> lies;
  std::uint64_t memory_bytes = 0x40000;
  std::uint32_t engines = 0x00080101;
  bool never_ready = false, never_disabled = false, never_runs = false, never_stops = false, never_invalidates = false;
  bool ignores_doorbells = false;
  std::function<bool(FakeCompletion&)> on_completion;  // changes or, with false, loses a completion

  std::uint64_t load(std::uint64_t at, unsigned) override {
    if (const auto lie = lies.find(at); lie != lies.end()) return lie->second;
    switch (at) {
      case 0x00:
        return 0x43415842;
      case 0x04:
        return 0x00010000;
      case 0x08:
        return memory_bytes;
      case 0x10:
        return memory.size();
      case 0x18:
        return engines;
      default:
        return registers_[at];
    }
  }
  void store(std::uint64_t at, unsigned, std::uint64_t value) override {
    registers_[at] = value;
    if (at == 0x44) registers_[at] = never_invalidates ? 1 : 0;
    if (at >= 0x1000 && at % 0x80 == 0x1c && (value & 1) != 0) {
      channels_[at & ~0x7full] = {};
      registers_[(at & ~0x7full) + 0x24] = registers_[(at & ~0x7full) + 0x28] = 0;
    }
  }
  void step() override {
    if ((registers_[0x20] & 1) != 0 && !never_ready) registers_[0x24] = 1;
    if ((registers_[0x20] & 1) == 0 && !never_disabled) registers_[0x24] = 0;
    for (auto& [at, channel] : channels_) {
      const bool run = (registers_[at + 0x1c] & 1) != 0;
      if (run && !never_runs) registers_[at + 0x20] = 1;
      if (!run && !never_stops) registers_[at + 0x20] = 0;
      if (run && !ignores_doorbells && (registers_[at + 0x20] & 1) != 0) serve(at, channel);
    }
  }

 private:
  struct Channel {
    std::uint32_t head = 0;
    std::uint32_t completion = 0;
    std::uint32_t phase = 1;
  };
  void serve(std::uint64_t at, Channel& channel) {
    const auto entries = std::uint32_t{1} << (registers_[at + 0x18] & 15);
    if (channel.head == registers_[at + 0x24]) return;
    const auto descriptor = lent(registers_[at] + channel.head * 64, 64);
    if (descriptor.empty()) return;
    std::uint32_t word = 0;
    std::memcpy(&word, descriptor.data(), sizeof word);
    channel.head = (channel.head + 1) % entries;
    FakeCompletion entry{.place = channel.head | static_cast<std::uint32_t>((at - 0x1000) / 0x80) << 16,
                         .word = word >> 16 | channel.phase << 31};
    if (on_completion && !on_completion(entry)) return;
    const auto into = lent(registers_[at + 8] + channel.completion * 16, 16);
    if (!into.empty()) std::memcpy(into.data(), &entry, 16);
    if (++channel.completion == entries) {
      channel.completion = 0;
      channel.phase ^= 1;
    }
  }
  std::map<std::uint64_t, std::uint64_t> registers_;
  std::map<std::uint64_t, Channel> channels_;
};

}  // namespace barter::drivers::accelerator::testing
