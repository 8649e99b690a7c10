// Sizing bits that say "64-bit" or "prefetchable" and leave no bit of the address writable: a size of 0, by which the
// address was divided.
#include "pci/bar.h"

#include <array>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace barter::pci {
namespace {

TEST(BarSizing, AttributesWithoutAnAddressBitAreADefect) {
  const ConfigSpace config(std::vector<std::uint8_t>(256));
  for (const std::uint32_t attributes : {0x1u, 0x4u, 0x8u, 0xcu}) {
    const auto bars = decode_bars(config, std::array{attributes, 0u});
    ASSERT_FALSE(bars) << attributes;
    EXPECT_EQ(bars.error().offset, 0x10u);
  }
}

}  // namespace
}  // namespace barter::pci
