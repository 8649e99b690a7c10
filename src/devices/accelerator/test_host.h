// A host for tests of the model: memory on the bus and the specification's numbers, typed in once more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "devices/accelerator/accelerator.h"
#include "fabric/device.h"

namespace barter::devices::accelerator {

class TestHost final : public fabric::Requester {
 public:
  static constexpr std::uint64_t kBase = 0x1'0000'0000;
  static constexpr std::uint64_t kBytes = 1 << 20;
  static constexpr std::uint64_t kRing = kBase;
  static constexpr std::uint64_t kCompletions = kBase + 0x8000;

  explicit TestHost(const AcceleratorSetup& setup) : memory_(kBytes) {
    auto made = create_accelerator(setup);
    EXPECT_TRUE(made);
    device = std::move(*made);
    device->attach(*this);
  }

  std::uint64_t get(std::uint64_t at, unsigned width = 4) { return device->read_register(0, {at}, width); }
  void set(std::uint64_t at, std::uint64_t value, unsigned width = 4) { device->write_register(0, {at}, width, value); }
  void run() {
    while (device->step()) {
    }
  }
  std::span<std::byte> host(std::uint64_t at, std::size_t bytes) {
    return std::span(memory_).subspan(at - kBase, bytes);
  }
  std::span<std::byte> window() { return device->windows().at(0).bytes; }
  template <class T>
  T load(std::span<const std::byte> from) {
    T value;
    std::memcpy(&value, from.data(), sizeof value);
    return value;
  }

  // ENABLE, and RUN of a channel with a ring of 2^ring_log2, with its progress counter at `progress` (bit 0 on).
  void start(std::uint32_t channel, std::uint32_t ring_log2 = 3, std::uint64_t progress = 0) {
    set(0x20, 1);
    run();
    EXPECT_EQ(get(0x24), 1u);
    const std::uint64_t at = 0x1000 + channel * 0x80;
    set(at + 0x00, kRing, 8);
    set(at + 0x08, kCompletions, 8);
    set(at + 0x10, progress, 8);
    set(at + 0x18, ring_log2);
    set(at + 0x1c, 1);
    run();
    entries_ = 1u << ring_log2;
    tail_ = head_ = 0;
    channel_ = channel;
  }
  struct Command {
    std::uint32_t word = 0;
    std::uint32_t spaces = 0;
    std::uint64_t source = 0, second = 0, destination = 0, count = 0, parameter = 0;
    std::uint64_t reserved[2] = {};
  };
  void push(const Command& command) {
    std::memcpy(host(kRing + tail_ * 64, 64).data(), &command, 64);
    tail_ = (tail_ + 1) % entries_;
    set(0x1000 + channel_ * 0x80 + 0x24, tail_);
  }
  struct Completion {
    std::uint64_t result = 0;
    std::uint32_t place = 0;
    std::uint32_t word = 0;
    [[nodiscard]] unsigned status() const { return word >> 16 & 0xff; }
  };
  Completion take() {
    const auto entry = load<Completion>(host(kCompletions + head_ * 16, 16));
    head_ = (head_ + 1) % entries_;
    set(0x1000 + channel_ * 0x80 + 0x28, head_);
    return entry;
  }
  Completion do_command(const Command& command) {
    push(command);
    run();
    return take();
  }

  fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
    if (!is_mine(from.value, into.size())) return fabric::Completion::unsupported_request;
    std::memcpy(into.data(), host(from.value, into.size()).data(), into.size());
    return fabric::Completion::successful;
  }
  fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
    if (!is_mine(to.value, from.size())) return fabric::Completion::unsupported_request;
    std::memcpy(host(to.value, from.size()).data(), from.data(), from.size());
    return fabric::Completion::successful;
  }
  Run run(DmaAddress, std::uint64_t, Access) override { return {}; }
  void interrupt(unsigned vector) override { interrupts.push_back(vector); }
  void windows_changed() override { ++window_changes; }
  [[nodiscard]] bool may_master() const override { return may_master_now; }
  [[nodiscard]] std::optional<BusAddress> bar_address(unsigned) const override {
    return is_on ? std::optional(BusAddress{0x2'0000'0000}) : std::nullopt;
  }

  std::unique_ptr<fabric::Device> device;
  std::vector<unsigned> interrupts;
  int window_changes = 0;
  bool may_master_now = true;
  bool is_on = true;

 private:
  static bool is_mine(std::uint64_t at, std::uint64_t bytes) {
    return at >= kBase && at - kBase <= kBytes && bytes <= kBytes - (at - kBase);
  }
  std::vector<std::byte> memory_;
  std::uint32_t entries_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t head_ = 0;
  std::uint32_t channel_ = 0;
};

}  // namespace barter::devices::accelerator
