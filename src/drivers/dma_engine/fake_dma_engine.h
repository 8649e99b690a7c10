// For tests: a DMA engine that answers everything and moves nothing, and can lie. Written from the specification with numbers
// of its own.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>

#include "drivers/fake_function.h"

namespace barter::drivers::dma_engine::testing {

struct FakeCompletion {
  std::uint64_t moved = 0;
  std::uint32_t place = 0;
  std::uint32_t word = 0;
};

class FakeDmaEngine final : public drivers::testing::FakeDevice {
 public:
  FakeDmaEngine() {
    identity = 0xba011b36;
    class_revision = 0x08800001;
    bar_bytes = 0x4000;
  }

  // What registers read as, whatever they are: overrides the truth.
  std::map<std::uint64_t, std::uint64_t> lies;
  bool never_resets = false, never_ready = false, never_disabled = false, never_runs = false, never_stops = false;
  bool ignores_doorbells = false;
  std::function<bool(FakeCompletion&)> on_completion;  // changes or, with false, loses a completion

  std::uint64_t load(std::uint64_t at, unsigned) override {
    if (const auto lie = lies.find(at); lie != lies.end()) return lie->second;
    switch (at) {
      case 0x00:
        return 0x4d445842;
      case 0x04:
        return 0x00010000;
      case 0x08:
        return 0x00000802;
      case 0x0c:
        return 16;
      case 0x10:
        return 1 << 20;
      default:
        return registers_[at];
    }
  }
  void store(std::uint64_t at, unsigned, std::uint64_t value) override {
    registers_[at] = value;
    if (at >= 0x1000 && at % 0x40 == 0x14 && (value & 1) != 0) {
      channels_[at & ~0x3full] = {};
      registers_[(at & ~0x3full) + 0x1c] = registers_[(at & ~0x3full) + 0x20] = 0;
    }
  }
  void step() override {
    if ((registers_[0x18] & 2) != 0 && !never_resets) registers_.clear();
    if ((registers_[0x18] & 1) != 0 && !never_ready) registers_[0x1c] = 1;
    if ((registers_[0x18] & 1) == 0 && !never_disabled) registers_[0x1c] = 0;
    for (auto& [at, channel] : channels_) {
      const bool run = (registers_[at + 0x14] & 1) != 0;
      if (run && !never_runs) registers_[at + 0x18] = 1;
      if (!run && !never_stops) registers_[at + 0x18] = 0;
      if (run && !ignores_doorbells && (registers_[at + 0x18] & 1) != 0) serve(at, channel);
    }
  }

 private:
  struct Channel {
    std::uint32_t head = 0;
    std::uint32_t completion = 0;
    std::uint32_t phase = 1;
  };
  void serve(std::uint64_t at, Channel& channel) {
    const auto entries = std::uint32_t{1} << (registers_[at + 0x10] & 15);
    if (channel.head == registers_[at + 0x1c]) return;
    const auto descriptor = lent(registers_[at] + channel.head * 64, 64);
    if (descriptor.empty()) return;
    std::uint32_t word = 0;
    FakeCompletion entry;
    std::memcpy(&word, descriptor.data(), sizeof word);
    std::memcpy(&entry.moved, descriptor.data() + 24, sizeof entry.moved);
    channel.head = (channel.head + 1) % entries;
    entry.place = channel.head | static_cast<std::uint32_t>((at - 0x1000) / 0x40) << 16;
    entry.word = word >> 16 | channel.phase << 31;
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

}  // namespace barter::drivers::dma_engine::testing
