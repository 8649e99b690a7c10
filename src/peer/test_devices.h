// Devices for the tests of this room: memory and importers with no bus behind them.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "peer/exchange.h"

namespace barter::peer::test {

// Time that moves when somebody waits.
class WaitingClock final : public base::Clock {
 public:
  [[nodiscard]] base::TimePoint now() const override { return base::TimePoint{Duration{now_.load()}}; }
  void idle() override {
    now_.fetch_add(1000);
    std::this_thread::yield();
  }

 private:
  std::atomic<std::int64_t> now_{0};
};

class Memory final : public Exporter {
 public:
  Memory(Bdf function, std::uint64_t bytes) : function_(function), bytes_(bytes) {}
  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_; }
  [[nodiscard]] BusAddress bus_address() const override { return {std::uint64_t{1} << 40}; }
  [[nodiscard]] Access hardware_access() const override { return hardware; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }

  Access hardware = Access::read_write;

 private:
  Bdf function_;
  std::uint64_t bytes_;
};

// Counts what it is asked and maps everything to another place.
class CountingDomain final : public DmaDomain {
 public:
  explicit CountingDomain(bool translates) : translates_(translates) {}
  [[nodiscard]] bool translates() const override { return translates_; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t, Access) override {
    ++maps;
    return DmaAddress{keeps ? target.value : target.value ^ (std::uint64_t{1} << 60)};
  }
  [[nodiscard]] bool keeps_bus_addresses() const override { return says_it_keeps; }
  void unmap(DmaAddress, std::uint64_t) override { ++unmaps; }

  bool says_it_keeps = false;  // keeps_bus_addresses(), and what is true
  bool keeps = false;
  std::atomic<std::uint64_t> maps = 0;
  std::atomic<std::uint64_t> unmaps = 0;

 private:
  bool translates_;
};

class Client final : public Importer {
 public:
  explicit Client(Bdf function, bool iommu = false) : counted(iommu), function_(function) {}
  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] DmaDomain& domain() override { return counted; }
  [[nodiscard]] unsigned address_bits() const override { return bits; }
  void invalidate(MappingId) override {
    ++told;
    if (on_told) on_told();
  }
  [[nodiscard]] Result<void> isolate() override {
    ++isolated;
    return {};
  }

  CountingDomain counted;
  unsigned bits = 64;  // of its addresses
  std::function<void()> on_told;
  std::atomic<std::uint64_t> told = 0;
  std::atomic<std::uint64_t> isolated = 0;

 private:
  Bdf function_;
};

}  // namespace barter::peer::test
