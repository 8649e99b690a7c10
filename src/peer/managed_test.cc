// Managed memory over pages that a test touches by a call, and devices that are arrays.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "peer/fake_fault_source.h"
#include "peer/managed_pages.h"
#include "peer/test_devices.h"

namespace barter::peer::test {
namespace {

using namespace barter::literals;

constexpr std::uint64_t kPages = 1200;
constexpr Bdf kGpu{.bus = 1};
constexpr Bdf kOther{.bus = 2};
constexpr Bdf kNic{.bus = 9};

// Device memory that the CPU sees, at a place of its own on the bus.
class Array final : public Exporter {
 public:
  Array(Bdf function, std::uint64_t bytes) : memory(bytes), function_(function) {}
  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return memory.size(); }
  [[nodiscard]] BusAddress bus_address() const override { return {std::uint64_t{function_.bus} << 40}; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override {
    return is_seen ? std::span(memory).subspan(range.offset, range.bytes) : std::span<std::byte>{};
  }
  [[nodiscard]] Answer decide(const Request&) override {
    if (on_decide) on_decide();
    return answer;
  }
  [[nodiscard]] bool is_present() override { return present; }
  // As its remains read.
  void leave() {
    present = false;
    std::ranges::fill(memory, std::byte{0xff});
  }

  std::vector<std::byte> memory;
  Answer answer = Answer::direct();
  std::function<void()> on_decide;
  std::atomic<bool> present = true;
  bool is_seen = true;

 private:
  Bdf function_;
};

class Managed : public testing::Test {
 protected:
  explicit Managed(bool in_real_time = false)
      : in_real_time_(in_real_time), clock_(in_real_time ? static_cast<base::Clock&>(system_clock_) : waiting_clock_) {}
  void SetUp() override { make(); }
  void make(std::unique_ptr<PageMover> mover = nullptr) {
    memory_.reset();
    auto source = std::make_unique<FakeFaultSource>(kPages * kPageBytes);
    faults_ = source.get();
    auto made = ManagedPages::create({.exchange = exchange_,
                                      .clock = clock_,
                                      .faults = std::move(source),
                                      .place = {.address = {std::uint64_t{200} << 40}, .is_known_by_pointer = false},
                                      .mover = std::move(mover),
                                      .touch_deadline = in_real_time_ ? Duration(10s) : Duration(1ms),
                                      .on_lost = [this](MemoryRange range, const Error& error) {
                                        lost_.push_back(range);
                                        why_lost_ = error.message();
                                      }});
    ASSERT_TRUE(made) << made.error().message();
    memory_ = std::move(*made);
  }
  void add(Array& device) { ASSERT_TRUE(exchange_.add(device)); }
  void add(Client& client) {
    client.counted.keeps = true;
    ASSERT_TRUE(exchange_.add(client));
  }

  // What the program does: touch the page, then look.
  [[nodiscard]] std::optional<int> load(std::uint64_t page, std::uint64_t at = 0) {
    if (!faults_->touch(page)) return std::nullopt;
    return std::to_integer<int>(memory_->bytes()[page * kPageBytes + at]);
  }
  void store(std::uint64_t page, int value) {
    ASSERT_TRUE(faults_->touch(page));
    std::memset(&memory_->bytes()[page * kPageBytes], value, kPageBytes);
  }
  [[nodiscard]] static MemoryRange pages(std::uint64_t first, std::uint64_t count) {
    return {first * kPageBytes, count * kPageBytes};
  }
  // A touch goes on as soon as the page is open, a moment before the page counts as arrived.
  [[nodiscard]] PageState state_of(std::uint64_t page) {
    while (true) {
      const PageState now = memory_->where(pages(page, 1))->front().state;
      if (now != PageState::moving) return now;
      std::this_thread::yield();
    }
  }
  // The memory behind an address as an importer's DMA sees it.
  [[nodiscard]] std::byte* behind(DmaAddress address) {
    const std::uint64_t offset = address.value & ((std::uint64_t{1} << 40) - 1);
    for (Array* device : {&gpu_, &other_})
      if (address.value >> 40 == device->function().bus) return &device->memory[offset];
    return &memory_->bytes()[offset];  // the fake has one view
  }
  void dma_write(const ManagedMapping& mapping, int value) {
    const auto leases = mapping.lease();
    ASSERT_TRUE(leases) << leases.error().message();
    for (const Lease& lease : *leases)
      for (const DmaSegment& segment : lease.segments()) std::memset(behind(segment.address), value, segment.bytes);
  }

  const bool in_real_time_;
  WaitingClock waiting_clock_;
  base::SystemClock system_clock_;
  base::Clock& clock_;
  Array gpu_{kGpu, 16_MiB};
  Array other_{kOther, 1_MiB};
  Client nic_{kNic};
  Route to_gpu_ = Route::bus_address;
  Exchange exchange_{clock_, [this](Bdf, Bdf provider) {
                       const Route route = provider == kHostMemory ? Route::through_host_bridge : to_gpu_;
                       return RouteAnswer{.read = route, .write = route, .why = "the test says so"};
                     }};
  std::vector<MemoryRange> lost_;
  std::string why_lost_;
  FakeFaultSource* faults_ = nullptr;
  std::shared_ptr<ManagedPages> memory_;
};

TEST_F(Managed, PagesGoToADeviceAndComeBackWhenTheyAreTouched) {
  add(gpu_);
  for (std::uint64_t page = 0; page < kPages; ++page) store(page, static_cast<int>(page % 251));
  ASSERT_TRUE(memory_->move_to(gpu_, {}, 1s));
  EXPECT_EQ(state_of(0), PageState::device);
  EXPECT_EQ(memory_->where({})->size(), 1u) << "all in one place";
  EXPECT_EQ(memory_->where({})->front().device, kGpu);
  for (const std::byte byte : std::span(memory_->bytes()))
    ASSERT_EQ(byte, std::byte{0}) << "host memory was given back";
  for (std::uint64_t page = 0; page < kPages; page += 7) {
    ASSERT_EQ(load(page), static_cast<int>(page % 251)) << page;
    ASSERT_EQ(state_of(page), PageState::host);
    if (page + 1 < kPages) {
      ASSERT_EQ(state_of(page + 1), PageState::device) << "its neighbour stays";
    }
  }
  ASSERT_TRUE(memory_->move_to_host({}, 1s));
  EXPECT_EQ(memory_->counters().pages_by_touch, (kPages + 6) / 7);
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(load(page), static_cast<int>(page % 251)) << page;
}

TEST_F(Managed, PagesGoFromDeviceToDevice) {
  add(gpu_);
  add(other_);
  for (std::uint64_t page = 0; page < 64; ++page) store(page, static_cast<int>(page + 1));
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 64), 1s));
  ASSERT_TRUE(memory_->move_to(other_, pages(8, 32), 1s));
  const auto places = memory_->where(pages(0, 64));
  ASSERT_EQ(places->size(), 3u);
  EXPECT_EQ((*places)[0].device, kGpu);
  EXPECT_EQ((*places)[1].device, kOther);
  EXPECT_EQ((*places)[1].range, pages(8, 32));
  EXPECT_EQ((*places)[2].device, kGpu);
  for (std::uint64_t page = 0; page < 64; ++page) EXPECT_EQ(load(page), static_cast<int>(page + 1));
}

TEST_F(Managed, AnImporterReachesEachPageWhereItIs) {
  add(gpu_);
  add(nic_);
  for (std::uint64_t page = 0; page < 30; ++page) store(page, 1);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(10, 10), 1s));
  // Half a page at either end.
  auto mapping = memory_->map(nic_, {.offset = 2048, .bytes = 29 * kPageBytes}, 1s);
  ASSERT_TRUE(mapping) << mapping.error().message();
  ASSERT_EQ(mapping->parts().size(), 3u);
  EXPECT_FALSE(mapping->parts()[0].is_direct);
  EXPECT_TRUE(mapping->parts()[1].is_direct);
  EXPECT_EQ(mapping->parts()[1].exporter, kGpu);
  EXPECT_EQ(mapping->parts()[0].range, (MemoryRange{2048, 10 * kPageBytes - 2048}));
  EXPECT_EQ(mapping->parts()[2].range, (MemoryRange{20 * kPageBytes, 9 * kPageBytes + 2048}));
  dma_write(*mapping, 7);
  for (std::uint64_t page = 0; page < 30; ++page) {
    EXPECT_EQ(load(page, 0), page == 0 ? 1 : 7) << page;
    EXPECT_EQ(load(page, 4095), page == 29 ? 1 : 7) << page;
  }
  EXPECT_FALSE(mapping->lease()) << "pages have come back under it";
  EXPECT_GE(nic_.told, 1u);
  mapping = memory_->map(nic_, {.offset = 0, .bytes = 30 * kPageBytes}, 1s);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->parts().size(), 1u) << "all in host memory now";
}

TEST_F(Managed, OnlyTheMappingsOfPagesThatMoveEnd) {
  add(gpu_);
  add(nic_);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 20), 1s));
  const auto low = memory_->map(nic_, {.offset = 0, .bytes = 10 * kPageBytes}, 1s);
  const auto high = memory_->map(nic_, {.offset = 10 * kPageBytes, .bytes = 10 * kPageBytes}, 1s);
  const auto host = memory_->map(nic_, {.offset = 100 * kPageBytes, .bytes = kPageBytes}, 1s);
  ASSERT_TRUE(low && high && host);
  EXPECT_EQ(load(3), 0);
  EXPECT_FALSE(low->lease());
  EXPECT_TRUE(high->lease());
  EXPECT_TRUE(host->lease());
  ASSERT_TRUE(memory_->move_to(gpu_, pages(100, 1), 1s));
  EXPECT_FALSE(host->lease()) << "host pages are taken back too when they leave";
}

TEST_F(Managed, WhereAnOwnerOrTheBusSaysNoPagesGoToHostMemory) {
  add(gpu_);
  add(nic_);
  store(0, 5);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 4), 1s));
  gpu_.answer = Answer::by_way_of_host();
  auto mapping = memory_->map(nic_, {.offset = 0, .bytes = 4 * kPageBytes}, 1s);
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_FALSE(mapping->parts().front().is_direct);
  EXPECT_EQ(memory_->counters().pages_by_refusal, 4u);
  EXPECT_EQ(load(0), 5);

  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 4), 1s));
  gpu_.answer = Answer::refuse("only the weights are shared");
  mapping = memory_->map(nic_, {.offset = 0, .bytes = 4 * kPageBytes}, 1s);
  ASSERT_FALSE(mapping) << "no is no";
  EXPECT_EQ(mapping.error().code, ErrorCode::refused);
  EXPECT_EQ(state_of(0), PageState::device);

  gpu_.answer = Answer::direct();
  to_gpu_ = Route::not_supported;
  exchange_.routes_changed();
  mapping = memory_->map(nic_, {.offset = 0, .bytes = 4 * kPageBytes}, 1s);
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_FALSE(mapping->parts().front().is_direct);
}

TEST_F(Managed, AFullDeviceSaysSoAndLosesNothing) {
  add(other_);
  for (std::uint64_t page = 0; page < kPages; ++page) store(page, static_cast<int>(page % 100));
  const auto moved = memory_->move_to(other_, {}, 1s);  // 256 of 1200 pages fit
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::exhausted);
  EXPECT_EQ(memory_->counters().pages_to_device, 256u);
  for (std::uint64_t page = 0; page < kPages; ++page) ASSERT_EQ(load(page), static_cast<int>(page % 100)) << page;
}

TEST_F(Managed, ADeviceThatLeavesTakesItsPagesAndNoMore) {
  add(gpu_);
  add(nic_);
  for (std::uint64_t page = 0; page < 8; ++page) store(page, 3);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(2, 4), 1s));
  gpu_.leave();
  EXPECT_EQ(load(1), 3);
  EXPECT_EQ(load(3), std::nullopt) << "a touch ends, and does not read ones";
  EXPECT_EQ(state_of(3), PageState::lost);
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_EQ(lost_.front(), pages(3, 1));
  EXPECT_NE(why_lost_.find("does not answer"), std::string::npos) << why_lost_;
  const auto moved = memory_->move_to_host(pages(0, 8), 5ms);
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::device_gone);
  EXPECT_FALSE(memory_->map(nic_, {.offset = 0, .bytes = 8 * kPageBytes}, 1s));
  EXPECT_EQ(load(6), 3);
  for (const std::uint64_t page : {2u, 4u, 5u}) {
    EXPECT_EQ(load(page), std::nullopt);
    EXPECT_EQ(state_of(page), PageState::lost);
  }
  ASSERT_TRUE(memory_->renew(pages(0, 8)));
  EXPECT_EQ(load(3), 0);
  store(3, 9);
  EXPECT_EQ(load(3), 9);
  EXPECT_EQ(memory_->counters().pages_lost, 4u);
}

TEST_F(Managed, NothingMovesToADeviceThatLeaves) {
  add(gpu_);
  store(0, 3);
  gpu_.leave();
  const auto moved = memory_->move_to(gpu_, pages(0, 1), 1ms);
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::device_gone);
  EXPECT_EQ(load(0), 3);
}

TEST_F(Managed, ALateImporterIsCutOffAndThePageMoves) {
  add(gpu_);
  add(nic_);
  store(0, 3);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 1), 1s));
  const auto mapping = memory_->map(nic_, {.offset = 0, .bytes = kPageBytes}, 1s);
  ASSERT_TRUE(mapping);
  const auto lease = mapping->lease();
  ASSERT_TRUE(lease);
  EXPECT_EQ(load(0), 3) << "the touch ends by the deadline";
  EXPECT_EQ(memory_->counters().late_importers, 1u);
  EXPECT_EQ(nic_.isolated, 1u);
}

TEST_F(Managed, WhatTheOwnerTookBackForGoodIsUsedForNoOtherPage) {
  add(gpu_);
  add(nic_);
  for (std::uint64_t page = 0; page < 3; ++page) store(page, static_cast<int>(page) + 1);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 1), 1s));
  ASSERT_TRUE(exchange_.revoke_all(gpu_));
  ASSERT_TRUE(memory_->move_to(gpu_, pages(1, 1), 1s));
  const auto mapping = memory_->map(nic_, {.offset = kPageBytes, .bytes = kPageBytes}, 1s);
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_TRUE(mapping->parts()[0].is_direct);
  EXPECT_EQ(load(0), 1) << "it holds its bytes until it is brought home";
  ASSERT_TRUE(memory_->move_to(gpu_, pages(2, 1), 1s));
  EXPECT_TRUE(memory_->map(nic_, {.offset = 2 * kPageBytes, .bytes = kPageBytes}, 1s)->parts()[0].is_direct);
}

TEST_F(Managed, MemoryThatTheCpuDoesNotSeeNeedsAMover) {
  gpu_.is_seen = false;
  add(gpu_);
  store(0, 3);
  auto moved = memory_->move_to(gpu_, pages(0, 1), 1s);
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::unsupported);
  EXPECT_EQ(load(0), 3);

  // A copy engine, which needs no view.
  class Engine final : public PageMover {
   public:
    Result<void> move(const PageBytes& from, const PageBytes& to) override {
      std::memcpy(at(to), at(from), to.range.bytes);
      return {};
    }

   private:
    static std::byte* at(const PageBytes& end) {
      auto* const array = dynamic_cast<Array*>(end.exporter);
      return array == nullptr ? end.cpu_bytes.data() : &array->memory[end.range.offset];
    }
  };
  make(std::make_unique<Engine>());
  store(0, 4);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 1), 1s));
  EXPECT_EQ(load(0), 4);
}

TEST_F(Managed, RefusesWhatMakesNoSense) {
  add(gpu_);
  add(nic_);
  for (const MemoryRange range : {MemoryRange{kPages * kPageBytes, 1}, MemoryRange{0, kPages * kPageBytes + 1},
                                  MemoryRange{4096, ~std::uint64_t{0}}, MemoryRange{~std::uint64_t{0}, 0}}) {
    EXPECT_EQ(memory_->move_to(gpu_, range, 1s).error().code, ErrorCode::out_of_range);
    EXPECT_EQ(memory_->move_to_host(range, 1s).error().code, ErrorCode::out_of_range);
    EXPECT_EQ(memory_->map(nic_, {.offset = range.offset, .bytes = range.bytes}, 1s).error().code,
              ErrorCode::out_of_range);
    EXPECT_EQ(memory_->where(range).error().code, ErrorCode::out_of_range);
  }
  Array stranger(Bdf{.bus = 3}, 1_MiB);
  EXPECT_EQ(memory_->move_to(stranger, pages(0, 1), 1s).error().code, ErrorCode::device_gone);
}

TEST_F(Managed, NobodyElseIsGivenItsMemory) {
  add(nic_);
  const Bdf client = kNic;
  EXPECT_FALSE(exchange_.nearest_provider({&client, 1}));
}

class ManagedUnderThreads : public Managed {
 protected:
  ManagedUnderThreads() : Managed(true) {}
};

// Pages go to and fro while threads write to them and an importer adds to them: every byte is somebody's last.
TEST_F(ManagedUnderThreads, NothingIsLost) {
  add(gpu_);
  add(other_);
  add(nic_);
  constexpr std::uint64_t kUsed = 24;
  constexpr int kRounds = 300;
  constexpr int kMoves = 20;  // at least, while the others are at it
  std::atomic<int> moves = 0;
  std::atomic<int> running = 3;
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 2; ++thread)
    threads.emplace_back([&, thread] {
      for (int round = 1; round <= kRounds || moves < kMoves; ++round) {
        const std::uint64_t page = thread + 2 * (static_cast<std::uint64_t>(round) % (kUsed / 2));
        EXPECT_TRUE(load(page));
      }
      --running;
    });
  threads.emplace_back([&] {
    // DMA has pages of its own: what it writes is read back through a mapping made later.
    for (int round = 1; round <= kRounds || moves < kMoves; ++round) {
      auto mapping = memory_->map(nic_, {.offset = kUsed * kPageBytes, .bytes = kUsed * kPageBytes}, 60s);
      ASSERT_TRUE(mapping) << mapping.error().message();
      auto leases = mapping->lease();
      if (!leases) continue;  // it moved meanwhile
      std::optional<int> seen;
      for (const Lease& lease : *leases)
        for (const DmaSegment& segment : lease.segments()) {
          std::byte* const bytes = behind(segment.address);
          if (!seen) seen = std::to_integer<int>(*bytes);
          for (std::uint64_t at = 0; at < segment.bytes; at += 512) ASSERT_EQ(std::to_integer<int>(bytes[at]), *seen);
          std::memset(bytes, *seen + 1, segment.bytes);
        }
    }
    --running;
  });
  for (std::uint64_t turn = 0; running != 0; ++turn) {
    Exporter& device = turn % 2 == 0 ? static_cast<Exporter&>(gpu_) : other_;
    EXPECT_TRUE(memory_->move_to(device, pages(turn % 7, kUsed * 2 - 7), 60s));
    if (turn % 5 == 0) {
      EXPECT_TRUE(memory_->move_to_host(pages(0, kUsed * 2), 60s));
    }
    ++moves;
  }
  for (std::thread& thread : threads) thread.join();
}

// Pages that are moved without a pause would never hold still for whoever maps them.
TEST_F(ManagedUnderThreads, ARequestToMoveWaitsForThoseWhoMapAlready) {
  add(gpu_);
  add(other_);
  add(nic_);
  store(0, 3);
  store(5, 4);
  ASSERT_TRUE(memory_->move_to(gpu_, pages(0, 1), 10s));
  std::atomic<bool> is_asked = false, may_answer = false;
  gpu_.on_decide = [&] {
    is_asked = true;
    while (!may_answer) std::this_thread::yield();
  };
  std::optional<Bdf> found_in;
  std::thread mapper([&] {
    const auto mapping = memory_->map(nic_, {.bytes = kPageBytes}, 10s);
    if (mapping) found_in = mapping->parts()[0].exporter;
  });
  while (!is_asked) std::this_thread::yield();
  EXPECT_TRUE(memory_->move_to(other_, pages(5, 1), 10s)) << "nobody maps that one";
  std::atomic<bool> has_moved = false;
  std::thread mover([&] { has_moved = memory_->move_to(other_, pages(0, 1), 10s).has_value(); });
  for (int turn = 0; turn < 10000; ++turn) std::this_thread::yield();
  EXPECT_FALSE(has_moved);
  EXPECT_EQ(memory_->where(pages(0, 1))->front().device, kGpu);
  may_answer = true;
  mapper.join();
  mover.join();
  EXPECT_EQ(found_in, kGpu);
  EXPECT_TRUE(has_moved);
  EXPECT_EQ(memory_->where(pages(0, 1))->front().device, kOther);
  // A touch waits for nobody but importers.
  EXPECT_EQ(load(0), 3);
}

}  // namespace
}  // namespace barter::peer::test
