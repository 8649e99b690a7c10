// A host for tests of a model with rings: memory on the bus, and one channel whose ring it fills. A device's own TestHost derives from
// it, and says where things lie with the specification's numbers, typed in once more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/device.h"
#include "fabric/publish.h"

namespace barter::devices::ring_device {

template <class Command>
class TestHost : public fabric::Requester {
 public:
  static constexpr std::uint64_t kBase = 0x1'0000'0000;
  static constexpr std::uint64_t kBytes = 4 << 20;
  static constexpr std::uint64_t kRing = kBase;
  static constexpr std::uint64_t kCompletions = kBase + 0x8000;

  struct Places {
    std::uint64_t control, status;
    std::uint64_t channel_bytes, ring_log2, run, tail, taken;  // channels begin at 1000h
  };
  TestHost(std::unique_ptr<fabric::Device> model, const Places& places)
      : device(std::move(model)), memory_(kBytes), places_(places) {
    device->attach(*this);
  }

  std::uint64_t get(std::uint64_t at, unsigned width = 4) { return device->read_register(0, {at}, width); }
  void set(std::uint64_t at, std::uint64_t value, unsigned width = 4) { device->write_register(0, {at}, width, value); }
  void run() {
    while (device->step()) {
    }
  }
  std::span<std::byte> bytes(std::uint64_t at, std::size_t count) {
    return std::span(memory_).subspan(at - kBase, count);
  }
  template <class T>
  void put(std::uint64_t at, const T& value) {
    std::memcpy(bytes(at, sizeof value).data(), &value, sizeof value);
  }
  template <class T>
  static T load(std::span<const std::byte> from) {
    T value;
    std::memcpy(&value, from.data(), sizeof value);
    return value;
  }

  // ENABLE, and RUN of a channel with a ring of 2^ring_log2.
  void start(std::uint32_t channel = 0, std::uint32_t ring_log2 = 3) {
    set(places_.control, 1);
    run();
    EXPECT_EQ(get(places_.status), 1u);
    at_ = 0x1000 + channel * places_.channel_bytes;
    set(at_ + 0x00, kRing, 8);
    set(at_ + 0x08, kCompletions, 8);
    set(at_ + places_.ring_log2, ring_log2);
    set(at_ + places_.run, 1);
    run();
    entries_ = 1u << ring_log2;
    tail_ = head_ = 0;
  }
  void push(const Command& command) {
    static_assert(sizeof command == 64);
    put(kRing + tail_ * 64, command);
    tail_ = (tail_ + 1) % entries_;
    set(at_ + places_.tail, tail_);
  }
  struct Completion {
    std::uint64_t result = 0;
    std::uint32_t place = 0;
    std::uint32_t word = 0;
    [[nodiscard]] unsigned status() const { return word >> 16 & 0xff; }
  };
  Completion take() {
    const auto entry = load<Completion>(bytes(kCompletions + head_ * 16, 16));
    head_ = (head_ + 1) % entries_;
    set(at_ + places_.taken, head_);
    return entry;
  }
  Completion carry_out(const Command& command) {
    push(command);
    run();
    return take();
  }

  fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
    if (!is_mine(from.value, into.size())) return fabric::Completion::unsupported_request;
    std::memcpy(into.data(), bytes(from.value, into.size()).data(), into.size());
    return fabric::Completion::successful;
  }
  fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
    if (!is_mine(to.value, from.size())) return fabric::Completion::unsupported_request;
    fabric::publish(bytes(to.value, from.size()).data(), from);
    return fabric::Completion::successful;
  }
  Run run(DmaAddress, std::uint64_t, Access) override { return {}; }
  void interrupt(unsigned vector) override { interrupts.push_back(vector); }
  void windows_changed() override { ++window_changes; }
  // Asked in the middle of a step, when the registers of the device were looked at and those of channels were not.
  [[nodiscard]] bool may_master() const override {
    if (in_mid_step) in_mid_step();
    return may_master_now;
  }
  [[nodiscard]] std::optional<BusAddress> bar_address(unsigned) const override {
    return is_on ? std::optional(BusAddress{0x2'0000'0000}) : std::nullopt;
  }

  std::unique_ptr<fabric::Device> device;
  std::vector<unsigned> interrupts;
  int window_changes = 0;
  bool may_master_now = true;
  std::function<void()> in_mid_step;
  bool is_on = true;

 private:
  static bool is_mine(std::uint64_t at, std::uint64_t bytes) {
    return at >= kBase && at - kBase <= kBytes && bytes <= kBytes - (at - kBase);
  }
  std::vector<std::byte> memory_;
  const Places places_;
  std::uint64_t at_ = 0;  // the registers of the channel
  std::uint32_t entries_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t head_ = 0;
};

}  // namespace barter::devices::ring_device
