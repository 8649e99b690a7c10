// Machines whose devices have threads of their own. What matters here is said by ThreadSanitizer, and by the promises of
// docs/memory-order.md that a test can break.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "fabric/test_machines.h"

namespace barter::fabric {
namespace {

using namespace std::chrono_literals;

constexpr Options kThreaded{.running = Running::threaded, .host_memory_bytes = 64 << 20};

base::TimePoint soon(base::Clock& clock) { return clock.now() + 20s; }

// Declared last in a test, so that no device acts any more when what its step refers to goes.
class StopsDevices {
 public:
  explicit StopsDevices(TestMachine& machine) : machine_(machine) {}
  ~StopsDevices() {
    for (ScratchDevice* device : machine_.devices) device->on_step = nullptr;
  }

 private:
  TestMachine& machine_;
};

// Rule 4: a driver that polls the last word of what a device writes sees all of it, and the data before it.
TEST(Threaded, APolledCompletionPublishesTheDataBeforeIt) {
  TestMachine machine(one_switch(), kThreaded);
  auto a = machine.function("a");
  base::Clock& clock = machine.fabric->clock();
  const auto data = a->allocate_dma(4096, pci::DmaUse::data).value();
  const auto queue = a->allocate_dma(4096, pci::DmaUse::control).value();
  std::atomic<std::uint32_t> asked = 0;
  std::uint32_t answered = 0;  // the device's own
  machine.devices[0]->on_step = [&] {
    const std::uint32_t round = asked.load(std::memory_order_acquire);
    if (round == answered) return false;
    std::array<std::uint32_t, 1024> payload{};
    payload.fill(round);
    EXPECT_EQ(machine.devices[0]->bus().write(data.address(), std::as_bytes(std::span(payload))),
              Completion::successful);
    const std::array<std::uint32_t, 4> entry{round, round, round, round};
    EXPECT_EQ(machine.devices[0]->bus().write(queue.address(), std::as_bytes(std::span(entry))),
              Completion::successful);
    answered = round;
    return true;
  };
  const StopsDevices stops(machine);
  auto* const entry = reinterpret_cast<std::uint32_t*>(queue.bytes().data());
  for (std::uint32_t round = 1; round <= 1000; ++round) {
    asked.store(round, std::memory_order_release);
    ASSERT_TRUE(base::wait_until(clock, soon(clock), [&] {
      return std::atomic_ref<std::uint32_t>(entry[3]).load(std::memory_order_acquire) == round;
    }));
    std::array<std::uint32_t, 1024> seen{};
    std::memcpy(seen.data(), data.bytes().data(), sizeof seen);
    ASSERT_EQ(entry[0], round);
    ASSERT_EQ(seen[0], round);
    ASSERT_EQ(seen[1023], round);
  }
}

// Rule 6, by way of the IOMMU: after unmap() returns, not a byte reaches the memory.
void expect_nothing_moves_after_unmap(bool ats) {
  auto description = one_switch();
  description.iommu = IommuMode::translate;
  description.functions[0].ats = ats;
  TestMachine machine(description, kThreaded);
  auto a = machine.function("a");
  auto memory = a->allocate_dma(65536, pci::DmaUse::data).value();
  std::atomic<std::uint64_t> target = 0;
  std::atomic<std::uint64_t> written = 0;
  machine.devices[0]->on_step = [&] {
    const std::uint64_t at = target.load(std::memory_order_acquire);
    if (at == 0) return false;
    // Half of them by way of a raw run, which the device fills itself.
    if (written.load(std::memory_order_relaxed) % 2 == 0) {
      const auto run = machine.devices[0]->bus().run({at}, 32768, Access::write);
      std::fill(run.memory.begin(), run.memory.end(), std::byte{0xee});
    } else {
      static const std::vector<std::byte> bytes(32768, std::byte{0xee});
      static_cast<void>(machine.devices[0]->bus().write({at}, bytes));
    }
    written.fetch_add(1, std::memory_order_release);
    return true;
  };
  const StopsDevices stops(machine);
  base::Clock& clock = machine.fabric->clock();
  for (int round = 0; round < 60; ++round) {
    auto mapped = a->share_dma(memory);
    ASSERT_TRUE(mapped);
    const std::uint64_t before = written.load(std::memory_order_acquire);
    target.store(mapped->address().value, std::memory_order_release);
    ASSERT_TRUE(
        base::wait_until(clock, soon(clock), [&] { return written.load(std::memory_order_acquire) > before + 2; }));
    *mapped = pci::DmaBuffer();  // unmaps
    // From here on the memory is ours: a late write is a data race for ThreadSanitizer, and a wrong byte for anybody.
    std::memset(memory.bytes().data(), 0, memory.bytes().size());
    for (int look = 0; look < 10; ++look) clock.idle();
    for (const std::byte byte : memory.bytes()) ASSERT_EQ(byte, std::byte{0});
  }
  EXPECT_GT(machine.fabric->counters().iommu_faults, 0u);
  EXPECT_EQ(machine.fabric->counters().invalidate_requests, ats ? 60u : 0u);
}

TEST(Threaded, NothingMovesAfterUnmap) { expect_nothing_moves_after_unmap(false); }
TEST(Threaded, NothingMovesAfterUnmapByADeviceThatTranslates) { expect_nothing_moves_after_unmap(true); }

// The same for a peer's memory, on a way that passes no IOMMU, with requests that carry translated addresses.
TEST(Threaded, NothingMovesDirectlyAfterUnmap) {
  auto description = one_switch();
  description.iommu = IommuMode::translate;
  description.functions[0].ats = true;
  // Request Redirect, Upstream Forwarding, Direct Translated P2P.
  for (auto& port : description.switches[0].downstream) port.acs = {.capability = 0x5f, .control = 0x54};
  TestMachine machine(description, kThreaded);
  peer::DmaDomain& domain = machine.fabric->domain(machine.bdf("a"));
  std::atomic<std::uint64_t> target = 0;
  std::atomic<std::uint64_t> arrived = 0;
  machine.devices[0]->on_step = [&] {
    static const std::vector<std::byte> bytes(16384, std::byte{0xee});
    const std::uint64_t at = target.load(std::memory_order_acquire);
    if (at == 0 || machine.devices[0]->bus().write({at}, bytes) != Completion::successful) return false;
    arrived.fetch_add(1, std::memory_order_release);
    return true;
  };
  const StopsDevices stops(machine);
  base::Clock& clock = machine.fabric->clock();
  const auto memory = machine.devices[1]->memory();
  for (int round = 0; round < 60; ++round) {
    const auto mapped = domain.map(TestMachine::bar(*machine.devices[1], 2), 65536, Access::write);
    ASSERT_TRUE(mapped);
    const std::uint64_t before = arrived.load(std::memory_order_acquire);
    target.store(mapped->value, std::memory_order_release);
    ASSERT_TRUE(
        base::wait_until(clock, soon(clock), [&] { return arrived.load(std::memory_order_acquire) > before + 2; }));
    domain.unmap(*mapped, 65536);
    std::memset(memory.data(), 0, memory.size());
    for (int look = 0; look < 10; ++look) clock.idle();
    for (const std::byte byte : memory) ASSERT_EQ(byte, std::byte{0});
  }
  const Counters counters = machine.fabric->counters();
  for (const LinkCounters& link : counters.links)
    if (link.port == "rp0") {
      EXPECT_EQ(link.upstream_bytes + link.downstream_bytes, 0u);
    }
  EXPECT_EQ(counters.invalidate_requests, 60u);
}

// Rule 6, by way of Bus Master Enable and of a removal.
TEST(Threaded, NothingMovesWithoutBusMastering) {
  TestMachine machine(one_switch(), kThreaded);
  auto a = machine.function("a");
  const DmaAddress peer = as_dma(TestMachine::bar(*machine.devices[1], 2));
  std::atomic<std::uint64_t> written = 0;
  machine.devices[0]->on_step = [&] {
    static const std::vector<std::byte> bytes(16384, std::byte{0xee});
    if (machine.devices[0]->bus().write(peer, bytes) != Completion::successful) return false;
    written.fetch_add(1, std::memory_order_release);
    return true;
  };
  const StopsDevices stops(machine);
  base::Clock& clock = machine.fabric->clock();
  const auto memory = machine.devices[1]->memory();
  for (int round = 0; round < 60; ++round) {
    const std::uint64_t before = written.load(std::memory_order_acquire);
    ASSERT_TRUE(base::wait_until(clock, soon(clock), [&] { return written.load(std::memory_order_acquire) > before; }));
    machine.fabric->set_bus_master(machine.bdf("a"), false);
    std::memset(memory.data(), 0, memory.size());
    for (int look = 0; look < 10; ++look) clock.idle();
    for (const std::byte byte : memory) ASSERT_EQ(byte, std::byte{0});
    if (round < 59) machine.fabric->set_bus_master(machine.bdf("a"), true);
  }
  machine.fabric->set_bus_master(machine.bdf("a"), true);
  machine.fabric->remove(machine.bdf("a"));
  std::memset(memory.data(), 0, memory.size());
  for (const std::byte byte : memory) ASSERT_EQ(byte, std::byte{0});
}

// Doorbells from the CPU and from a peer, resets and counters, all at once.
TEST(Threaded, EverybodyAtOnce) {
  TestMachine machine(one_switch(), kThreaded);
  auto b = machine.function("b");
  const DmaAddress doorbell = as_dma(TestMachine::bar(*machine.devices[1], 0));
  std::atomic<std::uint32_t> rings = 0;
  machine.devices[0]->on_step = [&] {
    const std::uint32_t ring = rings.load(std::memory_order_relaxed) + 1;
    static_cast<void>(machine.devices[0]->bus().write(doorbell, std::as_bytes(std::span(&ring, 1))));
    rings.store(ring, std::memory_order_release);
    return true;
  };
  machine.devices[1]->on_step = [&] {
    machine.devices[1]->bus().interrupt(0);
    return machine.devices[1]->register_value(1) % 2 == 1;
  };
  const StopsDevices stops(machine);
  ASSERT_TRUE(b->enable_interrupts(1));
  auto bar = b->map_bar(0).value();
  base::Clock& clock = machine.fabric->clock();
  std::thread other([&] {
    for (std::uint32_t round = 0; round < 200; ++round) bar->store32({8}, round);
  });
  for (std::uint32_t round = 0; round < 100; ++round) {
    bar->store32({4}, round);
    const std::uint32_t before = rings.load(std::memory_order_acquire);
    ASSERT_TRUE(base::wait_until(clock, soon(clock), [&] { return rings.load(std::memory_order_acquire) > before; }));
    static_cast<void>(machine.fabric->counters());
    static_cast<void>(b->take_interrupt(0));
    if (round % 25 == 24) {
      ASSERT_TRUE(b->reset());
      ASSERT_TRUE(b->enable_interrupts(1));
    }
  }
  other.join();
  // However late the device's thread gets its turn, an interrupt of it arrives.
  bar->store32({4}, 1);
  EXPECT_TRUE(base::wait_until(clock, soon(clock), [&] { return b->take_interrupt(0); }));
  EXPECT_EQ(machine.devices[1]->resets, 4);
}

}  // namespace
}  // namespace barter::fabric
