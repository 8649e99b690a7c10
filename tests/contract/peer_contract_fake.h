// A bus of arrays: one piece of device memory, any number of importers, an IOMMU that is a table of pages. It checks the
// authority of each request and does nothing else, so that the Exchange is tested against something that can be read in a
// minute.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "barter/memory.hpp"
#include "base/clock.h"
#include "peer/exchange.h"
#include "peer_contract.h"
#include "peer_contract_importer.h"

namespace barter::contract {

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

class FakeMemory final : public peer::OwnedExporter {
 public:
  static constexpr std::uint64_t kStart = 0x1'0000'0000;
  FakeMemory(Bdf function, std::uint64_t bytes) : function_(function), bytes_(bytes) {}

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] BusAddress bus_address() const override { return {kStart}; }
  [[nodiscard]] Access hardware_access() const override { return hardware; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override {
    return cpu_visible ? std::span(bytes_).subspan(range.offset, range.bytes) : std::span<std::byte>{};
  }
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

  Access hardware = Access::read_write;
  bool cpu_visible = false;

 private:
  [[nodiscard]] std::optional<Answer> ruled_out(const Request&) const override { return std::nullopt; }

  Bdf function_;
  std::vector<std::byte> bytes_;
};

// One function's page table, the slow and obvious way.
class FakeIommu final : public peer::DmaDomain {
 public:
  [[nodiscard]] bool translates() const override { return true; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override {
    std::unique_lock lock(mutex_);
    if (std::exchange(fail_next, false))
      return fail({.code = ErrorCode::exhausted, .why = "no room in the IOMMU just now"});
    const std::uint64_t lead = target.value % 4096;
    const std::uint64_t pages = (lead + bytes + 4095) / 4096;
    const std::uint64_t start = next_;
    next_ += (pages + 1) * 4096;
    for (std::uint64_t page = 0; page < pages; ++page)
      pages_[start / 4096 + page] = {target.value / 4096 + page, access};
    lock.unlock();
    if (on_mapped) on_mapped(DmaAddress{start + lead});
    return DmaAddress{start + lead};
  }
  void unmap(DmaAddress address, std::uint64_t bytes) override {
    const std::lock_guard lock(mutex_);
    const std::uint64_t end = (address.value + bytes + 4095) / 4096;
    for (std::uint64_t page = address.value / 4096; page < end; ++page) pages_.erase(page);
  }
  // Where a request that stays in one page goes, if it may.
  [[nodiscard]] std::optional<std::uint64_t> translate(std::uint64_t at, Access access) const {
    const auto found = pages_.find(at / 4096);
    const auto wanted = static_cast<unsigned>(access);
    if (found == pages_.end() || (static_cast<unsigned>(found->second.second) & wanted) != wanted) return std::nullopt;
    return found->second.first * 4096 + at % 4096;
  }

  mutable std::mutex mutex_;  // held over a whole request, as a real unmap waits for those on their way
  bool fail_next = false;
  std::function<void(DmaAddress)> on_mapped;  // the entry is in the table, and map() has not returned

 private:
  std::map<std::uint64_t, std::pair<std::uint64_t, Access>> pages_;
  std::uint64_t next_ = 0x7000'0000'0000;
};

class FakeImporter final : public ScriptedImporter {
 public:
  using ScriptedImporter::ScriptedImporter;

  [[nodiscard]] peer::DmaDomain& domain() override { return iommu ? static_cast<peer::DmaDomain&>(*iommu) : none_; }
  [[nodiscard]] Result<void> isolate() override {
    if (cannot_isolate) return fail({.code = ErrorCode::device_failed, .why = "the register does not take the write"});
    bus_master = false;
    return {};
  }

  std::optional<FakeIommu> iommu;
  std::atomic<bool> bus_master = true;
  bool cannot_isolate = false;

 private:
  peer::NoIommu none_;
};

// The bus itself: carries out a request if Bus Master Enable, the IOMMU and the memory's range allow it.
class FakeBus {
 public:
  FakeBus(FakeMemory& memory, Route route) : memory_(memory), route_(route) {}

  template <class Move>
  bool request(FakeImporter& importer, DmaAddress at, std::size_t bytes, Access access, Move&& move) {
    if (!importer.bus_master) return refuse();
    std::unique_lock<std::mutex> translation;
    const bool translated = importer.iommu && route_ != Route::bus_address;
    if (translated) translation = std::unique_lock(importer.iommu->mutex_);
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t piece = std::min<std::size_t>(bytes - done, 4096 - (at.value + done) % 4096);
      std::optional<std::uint64_t> target = at.value + done;
      if (translated) target = importer.iommu->translate(*target, access);
      const std::span<std::byte> all = memory_.bytes();
      if (!target || *target < FakeMemory::kStart || *target - FakeMemory::kStart > all.size() - piece) return refuse();
      move(all.subspan(*target - FakeMemory::kStart, piece), done);
      done += piece;
    }
    return true;
  }
  bool write(FakeImporter& importer, DmaAddress to, std::span<const std::byte> bytes) {
    return request(importer, to, bytes.size(), Access::write, [&](std::span<std::byte> memory, std::size_t done) {
      std::memcpy(memory.data(), bytes.data() + done, memory.size());
    });
  }
  bool read(FakeImporter& importer, DmaAddress from, std::span<std::byte> bytes) {
    return request(importer, from, bytes.size(), Access::read, [&](std::span<std::byte> memory, std::size_t done) {
      std::memcpy(bytes.data() + done, memory.data(), memory.size());
    });
  }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  bool refuse() {
    ++refused_;
    return false;
  }
  FakeMemory& memory_;
  Route route_;
  std::atomic<std::uint64_t> refused_ = 0;
};

class FakeMachine final : public PeerMachine {
 public:
  static constexpr std::uint64_t kMemoryBytes = 256 * 1024;

  FakeMachine(Route route, bool iommu) : route_(route), memory_(Bdf{.bus = 1}, kMemoryBytes), bus_(memory_, route) {
    importers_[0] = std::make_unique<FakeImporter>(Bdf{.bus = 2});
    importers_[1] = std::make_unique<FakeImporter>(Bdf{.bus = 3});
    exchange_ = std::make_unique<peer::Exchange>(clock_, [this](Bdf client, Bdf provider) {
      if (rule) return rule(client, provider);
      return peer::RouteAnswer{.read = route_, .write = route_, .distance = 2, .why = {}};
    });
    bool added = exchange_->add(memory_).has_value();
    for (auto& importer : importers_) {
      if (iommu) importer->iommu.emplace();
      added = exchange_->add(*importer).has_value() && added;
    }
    if (!added) ADD_FAILURE() << "a device could not be added";
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  FakeMemory& exporter() override { return memory_; }
  peer::OwnedExporter* owner() override { return &memory_; }
  FakeImporter& importer(unsigned index) override { return *importers_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    return bus_.write(importer(index), to, bytes);
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return bus_.read(importer(index), from, bytes);
  }
  [[nodiscard]] std::uint64_t refused_requests() const override { return bus_.refused(); }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = const_cast<FakeMemory&>(memory_).bytes().subspan(range.offset, range.bytes);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override { return route_; }
  [[nodiscard]] bool guarded() const override { return importers_[0]->iommu && route_ != Route::bus_address; }

  peer::RouteRule rule;  // instead of the one route for all

 private:
  Route route_;
  WaitingClock clock_;
  FakeMemory memory_;
  FakeBus bus_;
  std::unique_ptr<FakeImporter> importers_[2];
  std::unique_ptr<peer::Exchange> exchange_;  // goes before its devices
};

}  // namespace barter::contract
