// Memory that its exporter gets from somebody else, piece by piece, and knows by pointer alone.
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peer/exchange.h"
#include "peer/test_devices.h"

namespace barter::peer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Lent final : public Exporter {
 public:
  [[nodiscard]] Bdf function() const override { return {.bus = 1}; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return 65536; }
  [[nodiscard]] BusAddress bus_address() const override { return {0x10000}; }
  [[nodiscard]] bool is_known_by_pointer() const override { return by_pointer; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }
  [[nodiscard]] Result<void> acquire(MemoryRange range) override {
    if (left < range.bytes) return fail({.code = ErrorCode::exhausted, .why = "others have it"});
    left -= range.bytes;
    taken.push_back(range);
    return {};
  }
  void release(MemoryRange range) override {
    left += range.bytes;
    given_back.push_back(range);
  }

  bool by_pointer = false;
  std::uint64_t left = 16384;
  std::vector<MemoryRange> taken;
  std::vector<MemoryRange> given_back;
};

class PointerClient final : public Importer {
 public:
  class Domain final : public DmaDomain {
   public:
    [[nodiscard]] bool translates() const override { return false; }
    [[nodiscard]] bool takes_pointers() const override { return true; }
    [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t, Access) override {
      ++maps;
      return DmaAddress{target.value};
    }
    void unmap(DmaAddress, std::uint64_t) override { ++unmaps; }
    int maps = 0;
    int unmaps = 0;
  };
  [[nodiscard]] Bdf function() const override { return {.bus = 2}; }
  [[nodiscard]] DmaDomain& domain() override { return pointers; }
  void invalidate(MappingId) override {}
  [[nodiscard]] Result<void> isolate() override { return {}; }
  Domain pointers;
};

RouteAnswer by_bus(Bdf, Bdf) { return {.read = Route::bus_address, .write = Route::bus_address}; }

TEST(Lending, EachRegionIsTakenOnceAndGivenBackOnce) {
  test::WaitingClock clock;
  Lent memory;
  Exchange exchange(clock, by_bus);
  ASSERT_TRUE(exchange.add(memory));
  {
    auto region = exchange.allocate(memory, 5000);
    ASSERT_TRUE(region);
    EXPECT_THAT(memory.taken, ElementsAre(MemoryRange{0, 8192}));
    ASSERT_TRUE(region->revoke());
    EXPECT_THAT(memory.given_back, ElementsAre());
  }
  EXPECT_EQ(memory.given_back, memory.taken);
}

TEST(Lending, WhatCanNotBeTakenIsAnErrorAndStaysFree) {
  test::WaitingClock clock;
  Lent memory;
  Exchange exchange(clock, by_bus);
  ASSERT_TRUE(exchange.add(memory));
  const auto too_much = exchange.allocate(memory, 32768);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::exhausted);
  auto region = exchange.allocate(memory, 16384);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->range().offset, 0u) << "the first try has left nothing behind";
  ASSERT_FALSE(exchange.allocate(memory, 4096));
}

TEST(Lending, WhoLeavesGetsNothingBack) {
  test::WaitingClock clock;
  Lent memory;
  Exchange exchange(clock, by_bus);
  ASSERT_TRUE(exchange.add(memory));
  auto region = exchange.allocate(memory, 4096);
  ASSERT_TRUE(region);
  ASSERT_TRUE(exchange.withdraw(memory));
  {
    const Region last = *std::move(region);
  }
  EXPECT_TRUE(memory.given_back.empty());
}

TEST(Lending, PointersGoThroughTheDomainOnEveryRoute) {
  test::WaitingClock clock;
  Lent memory;
  memory.by_pointer = true;
  PointerClient client;
  Exchange exchange(clock, by_bus);
  ASSERT_TRUE(exchange.add(memory));
  ASSERT_TRUE(exchange.add(client));
  auto region = exchange.allocate(memory, 4096);
  ASSERT_TRUE(region);
  {
    auto mapping = exchange.map(client, *region);
    ASSERT_TRUE(mapping) << mapping.error().message();
    EXPECT_EQ(client.pointers.maps, 1);
    EXPECT_EQ(mapping->route(), Route::bus_address);
  }
  EXPECT_EQ(client.pointers.unmaps, 1);
}

TEST(Lending, PointersAndBusAddressesDoNotMix) {
  for (const bool by_pointer : {false, true}) {
    test::WaitingClock clock;
    Lent memory;
    memory.by_pointer = by_pointer;
    PointerClient pointers;
    test::Client bus({.bus = 5});
    Exchange exchange(clock, by_bus);
    ASSERT_TRUE(exchange.add(memory));
    ASSERT_TRUE(exchange.add(pointers));
    ASSERT_TRUE(exchange.add(bus));
    auto region = exchange.allocate(memory, 4096);
    ASSERT_TRUE(region);
    const auto refused = by_pointer ? exchange.map(bus, *region) : exchange.map(pointers, *region);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
    EXPECT_THAT(refused.error().message(), HasSubstr("kernel"));
    EXPECT_TRUE(by_pointer ? exchange.map(pointers, *region) : exchange.map(bus, *region));
  }
}

}  // namespace
}  // namespace barter::peer
