#include "devices/nvme/controller.h"

#include <gtest/gtest.h>

#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

TEST(NvmeController, FromPowerOnToDataAndBack) {
  TestDriver driver(test_setup());
  EXPECT_EQ(driver.read32(0x08), 0x00020000u);
  EXPECT_EQ(driver.read32(0x1c), 0u);
  driver.enable();
  ASSERT_EQ(driver.read32(0x1c), 1u);
  ASSERT_EQ(driver.run_admin({.opcode = 0x06, .prp1 = TestDriver::kBuffer, .cdw10 = 1}).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(TestDriver::kBuffer + 80), 0x00020000u);
  TestQueue queue = driver.create_pair(1, 8);
  driver.fill(TestDriver::kData, 8192, 1);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 3, 16, TestDriver::kData, TestDriver::kData + 4096)).status, 0);
  const std::uint64_t back = TestDriver::kData + 0x10000;
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 3, 16, back, back + 4096)).status, 0);
  EXPECT_EQ(std::memcmp(driver.host.bytes(TestDriver::kData, 8192).data(), driver.host.bytes(back, 8192).data(), 8192),
            0);
  EXPECT_EQ(driver.host.interrupts[1], 2u);
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeController, DataGoesIntoItsMemoryBufferAndNotOntoTheBus) {
  ControllerSetup setup = test_setup();
  setup.cmb_bytes = 1 << 20;
  TestDriver driver(std::move(setup));
  EXPECT_EQ(driver.read32(0x3c), 0u);
  EXPECT_TRUE(driver.device->windows().empty());
  driver.enable();
  constexpr std::uint64_t kBase = 0x8'0000'0000;
  driver.enable_cmb(kBase);
  EXPECT_EQ(driver.read32(0x3c), 0x0010001fu);  // 256 units of 4 KiB, for everything
  EXPECT_EQ(driver.read32(0x38), 0x00000064u);  // BAR 4, CDPCILS and CDPMLS
  EXPECT_EQ(driver.host.window_changes, 1u);
  TestQueue queue = driver.create_pair(1, 8);
  driver.fill(TestDriver::kData, 4096, 5);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 0, 8, TestDriver::kData)).status, 0);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase + 0x3000)).status, 0);
  EXPECT_EQ(std::memcmp(driver.cmb.data() + 0x3000, driver.host.bytes(TestDriver::kData, 4096).data(), 4096), 0);
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

}  // namespace
}  // namespace barter::devices::nvme
