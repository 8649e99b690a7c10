// What a mapping costs, counted: calls of the IOMMU seam and allocations of memory, for 4 KiB and for 128 GiB.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "peer/exchange.h"
#include "peer/pool.h"
#include "peer/test_devices.h"

namespace {

std::atomic<std::uint64_t> allocations = 0;

void* counted(std::size_t bytes) {
  ++allocations;
  if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}

}  // namespace

// For this whole test program. Only the plain forms are counted; the aligned ones are the table's chunks.
void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace barter::peer {
namespace {

using namespace barter::literals;

class Cost : public testing::TestWithParam<bool> {
 protected:
  Cost() {
    EXPECT_TRUE(exchange_.add(memory_));
    EXPECT_TRUE(exchange_.add(client_));
  }
  test::WaitingClock clock_;
  test::Memory memory_{{.bus = 1}, 256_GiB};
  test::Client client_{{.bus = 2}, GetParam()};
  Exchange exchange_{clock_, [](Bdf, Bdf) {
                       return RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
                     }};
};

TEST_P(Cost, Point7_exporting_128_gib_allocates_what_4_kib_does) {
  const auto cost = [&](std::uint64_t bytes) {
    const std::uint64_t before = allocations;
    const auto region = exchange_.allocate(memory_, bytes);
    EXPECT_TRUE(region);
    return allocations - before;
  };
  static_cast<void>(cost(4_KiB));  // tables grow on first use
  const std::uint64_t small = cost(4_KiB);
  EXPECT_EQ(cost(128_GiB), small);
  EXPECT_LE(small, 8u);
}

TEST_P(Cost, Point7_mapping_leasing_and_unmapping_allocate_nothing_in_the_steady_state) {
  for (const std::uint64_t bytes : {4_KiB, 128_GiB}) {
    const auto region = exchange_.allocate(memory_, bytes);
    ASSERT_TRUE(region);
    static_cast<void>(exchange_.try_map(client_, *region));
    const std::uint64_t before = allocations;
    const std::uint64_t maps = client_.counted.maps;
    for (int round = 0; round < 100; ++round) {
      const auto mapping = exchange_.try_map(client_, *region);
      const auto lease = mapping->lease();
      ASSERT_TRUE(lease);
    }
    EXPECT_EQ(allocations - before, 0u) << bytes;
    EXPECT_EQ(client_.counted.maps - maps, 100u);  // one call for a mapping, whatever its size
    EXPECT_EQ(client_.counted.maps, client_.counted.unmaps);
  }
}

TEST_P(Cost, TableOfMappingsIsBoundedAndRecovers) {
  const auto region = exchange_.allocate(memory_, 4_KiB);
  ASSERT_TRUE(region);
  std::vector<Mapping> all;
  while (true) {
    auto mapping = exchange_.try_map(client_, *region);
    if (!mapping) {
      EXPECT_EQ(mapping.error().reason, Refusal::exhausted);
      break;
    }
    all.push_back(std::move(*mapping));
  }
  EXPECT_EQ(all.size(), 65536u);
  EXPECT_EQ(client_.counted.maps, client_.counted.unmaps + all.size()) << "the refused one is unmapped again";
  all.pop_back();
  EXPECT_TRUE(exchange_.try_map(client_, *region));
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutIommu, Cost, testing::Bool());

}  // namespace
}  // namespace barter::peer
