#include "pci/bar.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace barter::pci {
namespace {

ConfigSpace with_bars(std::initializer_list<std::uint32_t> registers, std::uint8_t layout = 0) {
  auto config = ConfigSpace::blank(64);
  config.write(0x0e, 1, layout);
  std::size_t at = 0x10;
  for (const std::uint32_t value : registers) {
    config.write(at, 4, value);
    at += 4;
  }
  return config;
}

TEST(Bars, AreDecodedFromTheirRegisters) {
  const auto bars = decode_bars(with_bars({0xfebf000c, 0x00000040, 0x0000c001, 0xd0000000, 0, 0xfe000002}));
  ASSERT_TRUE(bars);
  EXPECT_EQ(*bars, (std::vector<Bar>{
                       {.index = 0, .is_64bit = true, .is_prefetchable = true, .address = 0x40febf0000},
                       {.index = 2, .is_io = true, .address = 0xc000},
                       {.index = 3, .address = 0xd0000000},
                       {.index = 5, .address = 0xfe000000},
                   }));
}

TEST(Bars, ABridgeHasTwo) {
  const auto bars = decode_bars(with_bars({0xfe000000, 0xfd000000, 0x00010100}, 1));
  ASSERT_TRUE(bars);
  EXPECT_EQ(bars->size(), 2u);
  EXPECT_EQ(bar_count(2), 0);
}

TEST(Bars, SizesComeFromWhatStuck) {
  const std::uint32_t sizing[] = {0xfffc000c, 0xffffffff, 0xfffffff1, 0, 0x0000ff01};
  const auto bars = decode_bars(with_bars({0x0000000c, 0x00000001, 0x00001001, 0, 0x00002001}), sizing);
  ASSERT_TRUE(bars);
  ASSERT_EQ(bars->size(), 3u);
  EXPECT_EQ((*bars)[0].size_bytes, 256u << 10);
  EXPECT_EQ((*bars)[0].address, 0x100000000u);
  EXPECT_EQ((*bars)[1].size_bytes, 16u);
  EXPECT_EQ((*bars)[2].size_bytes, 256u);  // an I/O BAR with the upper half hardwired to zero
}

TEST(Bars, NonsenseIsRefusedWithItsOffset) {
  const auto offset_of_fault = [](const ConfigSpace& config, std::span<const std::uint32_t> sizing = {}) {
    const auto bars = decode_bars(config, sizing);
    return bars ? 0 : int{bars.error().offset};
  };
  EXPECT_EQ(offset_of_fault(with_bars({0, 0, 0, 0, 0, 0xfe000004})), 0x24);
  EXPECT_EQ(offset_of_fault(with_bars({0, 0xfe000004}, 1)), 0x14);
  EXPECT_EQ(offset_of_fault(with_bars({0xfe000006})), 0x10);
  const std::uint32_t holes[] = {0xff0f0000};
  EXPECT_EQ(offset_of_fault(with_bars({0}), holes), 0x10);
  const std::uint32_t fine[] = {0xffff0000};
  EXPECT_EQ(offset_of_fault(with_bars({0xfe000000}), fine), 0);
  EXPECT_EQ(offset_of_fault(with_bars({0xfe008000}), fine), 0x10);
}

TEST(Bars, WhatIsEncodedIsDecoded) {
  EXPECT_TRUE(rc::check([](bool is_io, bool is_64bit, bool is_prefetchable, std::uint64_t chance) {
    Bar bar{.index = 0, .is_io = is_io};
    bar.is_64bit = !is_io && is_64bit;
    bar.is_prefetchable = !is_io && is_prefetchable;
    const unsigned log2 = 4 + static_cast<unsigned>(chance % (bar.is_64bit ? 50 : 20));
    bar.size_bytes = std::uint64_t{1} << log2;
    bar.address = (chance >> log2 << log2) & (bar.is_64bit ? ~std::uint64_t{0} : 0xffffffff);
    const auto registers = encode_bar(bar);
    const auto sizes = encode_bar_sizing(bar);
    const std::uint32_t sizing[] = {sizes.low, sizes.high};
    const auto decoded = decode_bars(with_bars({registers.low, registers.high}), sizing);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == std::vector<Bar>{bar});
  }));
}

TEST(Bars, NoBytesMakeTrouble) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& bytes, const std::vector<std::uint32_t>& sizing) {
    const auto bars = decode_bars(ConfigSpace(bytes), sizing);
    RC_ASSERT(!bars || bars->size() <= 6);
  }));
  EXPECT_TRUE(decode_bars(ConfigSpace{})->empty());
}

}  // namespace
}  // namespace barter::pci
