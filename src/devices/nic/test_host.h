// A host of one NIC for tests, with the numbers of docs/devices/nic.md typed in once more; and two of them on a wire.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>

#include <gtest/gtest.h>

#include "devices/nic/nic.h"
#include "devices/ring_device/test_host.h"

namespace barter::devices::nic {

struct Command {
  std::uint32_t word = 0, lists = 0;
  std::uint64_t address = 0, bytes = 0;
  std::uint32_t key = 0, behind_key = 0;
  std::uint64_t offset = 0;
  std::uint64_t reserved[3] = {};
};
struct ListEntry {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0, reserved = 0;
};

class TestHost final : public ring_device::TestHost<Command> {
 public:
  static constexpr std::uint64_t kData = kBase + 0x100000;  // 3 MiB of it
  static constexpr std::uint64_t kNowhere = 0x1000;         // where the bus refuses

  explicit TestHost(const NicSetup& setup = {})
      : ring_device::TestHost<Command>(create_nic(setup).value(), {.control = 0x18,
                                                                   .status = 0x1c,
                                                                   .channel_bytes = 0x40,
                                                                   .ring_log2 = 0x10,
                                                                   .run = 0x14,
                                                                   .tail = 0x1c,
                                                                   .taken = 0x20}) {}

  // Each channel has rings of its own, of 128 entries at most, unlike the one channel of the base.
  static constexpr std::uint64_t ring(unsigned channel) { return kBase + 0x20000 + channel * std::uint64_t{0x4000}; }
  static constexpr std::uint64_t completions(unsigned channel) { return ring(channel) + 0x3000; }
  static constexpr std::uint64_t registers(unsigned channel) { return 0x1000 + channel * std::uint64_t{0x40}; }

  void enable() {
    set(0x18, 1);
    (void)device->step();
    EXPECT_EQ(get(0x1c), 1u);
  }
  void open(unsigned channel, std::uint32_t ring_log2 = 3) {
    set(registers(channel) + 0x00, ring(channel), 8);
    set(registers(channel) + 0x08, completions(channel), 8);
    set(registers(channel) + 0x10, ring_log2);
    set(registers(channel) + 0x14, 1);
    (void)device->step();
    EXPECT_EQ(get(registers(channel) + 0x18), 1u);
    queues_[channel] = {.entries = 1u << ring_log2};
    const std::size_t ring_bytes = std::size_t{16} << ring_log2;
    std::memset(bytes(completions(channel), ring_bytes).data(), 0, ring_bytes);
  }
  void close(unsigned channel) {
    set(registers(channel) + 0x14, 0);
    (void)device->step();
    EXPECT_EQ(get(registers(channel) + 0x18), 0u);
  }
  void push(unsigned channel, const Command& command) {
    Queue& queue = queues_[channel];
    put(ring(channel) + queue.tail * 64, command);
    queue.tail = (queue.tail + 1) % queue.entries;
    set(registers(channel) + 0x1c, queue.tail);
  }
  // Is the next completion there? Any thread.
  bool has(unsigned channel) {
    const Queue& queue = queues_[channel];
    auto* const word = reinterpret_cast<std::uint32_t*>(bytes(completions(channel) + queue.head * 16 + 12, 4).data());
    return (std::atomic_ref(*word).load(std::memory_order_acquire) >> 31 != 0) == queue.phase;
  }
  Completion take(unsigned channel) {
    EXPECT_TRUE(has(channel)) << "channel " << channel << " has not completed";
    Queue& queue = queues_[channel];
    const auto entry = load<Completion>(bytes(completions(channel) + queue.head * 16, 16));
    queue.head = (queue.head + 1) % queue.entries;
    if (queue.head == 0) queue.phase = !queue.phase;
    set(registers(channel) + 0x20, queue.head);
    return entry;
  }
  std::uint64_t moved(unsigned channel) { return get(registers(channel) + 0x28, 8); }
  void list(std::uint64_t at, std::initializer_list<ListEntry> entries) {
    for (const ListEntry& entry : entries) put(at, entry), at += sizeof entry;
  }
  void fill(std::uint64_t at, std::size_t count, unsigned salt = 1) {
    const auto to = bytes(at, count);
    for (std::size_t index = 0; index < count; ++index)
      to[index] = static_cast<std::byte>(index * 7 + index / 251 + index / 65536 + salt);
  }

  // Bus mastering ends in the middle of a step, at so many more accesses to the data. 0: it does not.
  void lose_bus_in(int accesses) { accesses_left_ = accesses; }
  fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
    return may_access(from) ? Base::read(from, into) : fabric::Completion::unsupported_request;
  }
  fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
    if (const auto act = std::exchange(at_next_write, nullptr)) act();
    return may_access(to) ? Base::write(to, from) : fabric::Completion::unsupported_request;
  }

  std::function<void()> at_next_write;

 private:
  using Base = ring_device::TestHost<Command>;
  bool may_access(DmaAddress at) {
    if (at.value >= kData && accesses_left_ != 0 && --accesses_left_ == 0) may_master_now = false;
    return may_master_now;
  }
  int accesses_left_ = 0;
  struct Queue {
    std::uint32_t entries = 8, tail = 0, head = 0;
    bool phase = true;
  };
  std::array<Queue, 32> queues_{};
};

// Two that are joined, enabled, and have these channels open.
struct TestPair {
  explicit TestPair(const NicSetup& here_setup = {}, const NicSetup& there_setup = {})
      : here(here_setup), there(there_setup) {
    EXPECT_TRUE(join(*here.device, *there.device));
    here.enable();
    there.enable();
    for (unsigned channel = 0; channel < 2; ++channel) here.open(channel), there.open(channel);
  }
  // Until neither has anything to do.
  void run() {
    bool has_worked = true;
    for (int steps = 0; has_worked; ++steps) {
      ASSERT_LT(steps, 100'000) << "they do something for ever";
      has_worked = here.device->step();
      if (there.device && there.device->step()) has_worked = true;
    }
  }
  TestHost here, there;
};

}  // namespace barter::devices::nic
