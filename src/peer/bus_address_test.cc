// Mappings by bus address, with and without an IOMMU that requests may meet on that way.
#include <gtest/gtest.h>

#include "peer/test_devices.h"

namespace barter::peer {
namespace {

class ByBusAddress : public ::testing::Test {
 protected:
  ByBusAddress() {
    EXPECT_TRUE(exchange_.add(memory_));
    EXPECT_TRUE(exchange_.add(client_));
  }
  test::WaitingClock clock_;
  test::Memory memory_{{.bus = 1}, 1 << 20};
  test::Client client_{{.bus = 2}, true};
  Exchange exchange_{clock_,
                     [](Bdf, Bdf) { return RouteAnswer{.read = Route::bus_address, .write = Route::bus_address}; }};
};

TEST_F(ByBusAddress, MeetsNoIommuAsARule) {
  auto region = exchange_.allocate(memory_, 4096);
  ASSERT_TRUE(region);
  auto mapping = exchange_.map(client_, *region);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->lease()->segments()[0].address.value, memory_.bus_address().value + region->range().offset);
  EXPECT_EQ(client_.counted.maps, 0u);
}

TEST_F(ByBusAddress, IsMappedAtItsOwnAddressWhereItMayMeetOne) {
  client_.counted.says_it_keeps = client_.counted.keeps = true;
  auto region = exchange_.allocate(memory_, 4096);
  ASSERT_TRUE(region);
  auto mapping = exchange_.map(client_, *region);
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_EQ(mapping->route(), Route::bus_address);
  EXPECT_EQ(mapping->lease()->segments()[0].address.value, memory_.bus_address().value + region->range().offset);
  EXPECT_EQ(client_.counted.maps, 1u);
  // A lease that outlives the deadline: unmapping alone would not cut off a request that a switch turns around.
  auto late = mapping->lease();
  ASSERT_TRUE(late);
  auto report = region->revoke();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->late.size(), 1u);
  EXPECT_EQ(client_.isolated, 1u);
  EXPECT_EQ(client_.counted.unmaps, 1u);
}

TEST_F(ByBusAddress, AnotherAddressIsOfNoUse) {
  client_.counted.says_it_keeps = true;
  auto region = exchange_.allocate(memory_, 4096);
  ASSERT_TRUE(region);
  auto mapping = exchange_.try_map(client_, *region);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().reason, Refusal::iommu_failed);
  EXPECT_EQ(client_.counted.unmaps, client_.counted.maps);
  EXPECT_TRUE(region->revoke());  // nobody is waited for
}

TEST_F(ByBusAddress, MemoryAboveTheImportersAddressesIsNotMapped) {
  auto region = exchange_.allocate(memory_, 4096);
  ASSERT_TRUE(region);
  client_.bits = 41;  // the memory is at 2^40
  EXPECT_TRUE(exchange_.map(client_, *region));
  client_.bits = 40;
  const auto mapping = exchange_.try_map(client_, *region);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().reason, Refusal::address_bits);
  EXPECT_EQ(exchange_.counters().refused_for(Refusal::address_bits), 1u);
}

// What the IOMMU has given by then is given back.
TEST_F(ByBusAddress, AnIommusAddressesMayBeAboveThemToo) {
  Exchange by_host_bridge(clock_, [](Bdf, Bdf) {
    return RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
  });
  test::Memory memory({.bus = 3}, 1 << 20);
  test::Client client({.bus = 4}, true);
  ASSERT_TRUE(by_host_bridge.add(memory) && by_host_bridge.add(client));
  auto region = by_host_bridge.allocate(memory, 4096);
  ASSERT_TRUE(region);
  client.bits = 60;  // the domain's addresses have 61
  const auto mapping = by_host_bridge.try_map(client, *region);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().reason, Refusal::address_bits);
  EXPECT_EQ(client.counted.maps, 1u);
  EXPECT_EQ(client.counted.unmaps, 1u);
  client.bits = 61;
  EXPECT_TRUE(by_host_bridge.map(client, *region));
  EXPECT_TRUE(region->revoke());  // nobody is waited for
}

}  // namespace
}  // namespace barter::peer
