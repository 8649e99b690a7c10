#include "pci/config_space.h"

#include <gtest/gtest.h>

#include "pci/bridge_window.h"
#include "pci/config_header.h"
#include "pci/dump.h"

namespace barter::pci {
namespace {

TEST(ConfigSpace, IsLittleEndian) {
  const std::uint8_t bytes[] = {0x86, 0x80, 0x34, 0x12};
  const ConfigSpace config(bytes);
  EXPECT_EQ(config.load<VendorId>()->raw, 0x8086);
  EXPECT_EQ(config.load<DeviceId>()->raw, 0x1234);
  EXPECT_EQ(config.read(0, 4), 0x12348086u);
  EXPECT_EQ(config.read(1, 2), 0x3480u);
}

TEST(ConfigSpace, WhatIsNotKnownIsNotZero) {
  const std::uint8_t bytes[] = {1, 2, 3};
  ConfigSpace config(bytes);
  EXPECT_EQ(config.read(2, 1), 3u);
  EXPECT_EQ(config.read(2, 2), std::nullopt);
  EXPECT_EQ(config.read(3, 1), std::nullopt);
  EXPECT_EQ(config.read(~std::size_t{0}, 4), std::nullopt);
  EXPECT_FALSE(config.write(2, 2, 0));
  EXPECT_TRUE(config.write(1, 2, 0xbeef));
  EXPECT_EQ(config.read(1, 2), 0xbeefu);
}

TEST(ConfigSpace, HasAnEnd) {
  const std::vector<std::uint8_t> bytes(5000, 1);
  EXPECT_EQ(ConfigSpace(bytes).known_bytes(), 4096u);
  EXPECT_EQ(ConfigSpace::blank(9999).known_bytes(), 4096u);
  EXPECT_EQ(ConfigSpace::blank(64).first(100).known_bytes(), 64u);
}

TEST(BridgeWindow, IsWrittenAndRead) {
  auto config = ConfigSpace::blank(64);
  const AddressWindow memory{0x80000000, 0x8fffffff};
  const AddressWindow prefetchable{0x4000000000, 0x5fffffffff};
  const AddressWindow io{0x12000, 0x13fff};
  store_memory_window(config, memory);
  store_prefetchable_window(config, prefetchable);
  store_io_window(config, io);
  EXPECT_EQ(memory_window(config), memory);
  EXPECT_EQ(prefetchable_window(config), prefetchable);
  EXPECT_EQ(io_window(config), io);
  EXPECT_EQ(config.read(0x20, 4), 0x8ff08000u);
  EXPECT_EQ(config.read(0x24, 4), 0xfff10001u);
  EXPECT_EQ(config.read(0x28, 4), 0x40u);
  EXPECT_EQ(config.read(0x2c, 4), 0x5fu);
  store_memory_window(config, std::nullopt);
  store_prefetchable_window(config, std::nullopt);
  store_io_window(config, std::nullopt);
  EXPECT_EQ(memory_window(config), std::nullopt);
  EXPECT_EQ(prefetchable_window(config), std::nullopt);
  EXPECT_EQ(io_window(config), std::nullopt);
  EXPECT_EQ(memory_window(ConfigSpace{}), std::nullopt);
}

TEST(Dump, IsWhatLspciPrints) {
  std::vector<std::uint8_t> bytes(18, 0);
  bytes[0] = 0x36;
  bytes[1] = 0x1b;
  bytes[17] = 0xff;
  const DumpedFunction functions[] = {{{0, 1, 0, 0}, ConfigSpace(bytes)}};
  EXPECT_EQ(dump(functions),
            "0000:01:00.0 Class 0000: 1b36:0000\n"
            "00: 36 1b 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"
            "10: 00 ff\n"
            "\n");
}

}  // namespace
}  // namespace barter::pci
