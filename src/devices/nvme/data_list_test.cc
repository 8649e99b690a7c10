// PRPs and SGLs through whole commands: what they may say, and what each mistake is called.
#include <gtest/gtest.h>

#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t kData = TestDriver::kData;
constexpr std::uint64_t kList = TestDriver::kBuffer;

class NvmeData : public ::testing::Test {
 protected:
  void SetUp() override { start(test_setup(), 0x00460001); }
  void start(ControllerSetup setup, std::uint32_t configuration) {
    driver = std::make_unique<TestDriver>(std::move(setup));
    driver->enable(32, configuration);
    queue = driver->create_pair(1, 8);
    // The medium: each 4 KiB begins with its number.
    for (std::uint32_t page = 0; page < 1024; ++page) {
      driver->fill(kData, 4096, 3);
      driver->host.put(kData, page);
      ASSERT_EQ(driver->run(queue, TestDriver::blocks(0x01, page * 8, 8, kData)).status, 0);
    }
    std::memset(driver->host.bytes(kData, 4 << 20).data(), 0xee, 4 << 20);
  }
  std::uint16_t read(std::uint32_t pages, std::uint64_t prp1, std::uint64_t prp2 = 0) {
    return driver->run(queue, TestDriver::blocks(0x02, 0, pages * 8, prp1, prp2)).status;
  }
  std::uint32_t number_at(std::uint64_t address) { return driver->host.get<std::uint32_t>(address); }

  struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint8_t type;  // type << 4 | subtype
  };
  void put(std::uint64_t at, const Descriptor& descriptor) {
    driver->host.put(at, descriptor.address);
    driver->host.put(at + 8, descriptor.length);
    driver->host.put(at + 12, std::uint32_t{descriptor.type} << 24);
  }
  std::uint16_t read_sgl(std::uint32_t pages, const Descriptor& first, std::uint8_t opcode = 0x02) {
    TestCommand command =
        TestDriver::blocks(opcode, 0, pages * 8, first.address, std::uint64_t{first.type} << 56 | first.length);
    command.flags = 0x40;
    return driver->run(queue, command).status;
  }

  std::unique_ptr<TestDriver> driver;
  TestQueue queue;
};

TEST_F(NvmeData, PrpOffsets) {
  EXPECT_EQ(read(1, kData + 2), 0x13);
  EXPECT_EQ(read(1, kData + 4, kData + 0x8000), 0);
  EXPECT_EQ(number_at(kData + 4), 0u);
  EXPECT_EQ(read(2, kData, kData + 0x8004), 0x13);
  EXPECT_EQ(read(3, kData, kList + 4), 0x13);
  driver->host.put(kList, kData + 0x8000);
  driver->host.put(kList + 8, kData + 0x9008);
  EXPECT_EQ(read(3, kData, kList), 0x13);
  driver->host.put(kList + 8, kData + 0x9000);
  EXPECT_EQ(read(3, kData, kList), 0);
  EXPECT_EQ(number_at(kData), 0u);
  EXPECT_EQ(number_at(kData + 0x8000), 1u);
  EXPECT_EQ(number_at(kData + 0x9000), 2u);
}

TEST_F(NvmeData, NothingMovesWhenALaterEntryIsWrong) {
  driver->host.put(kList, kData + 0x8000);
  driver->host.put(kList + 8, kData + 0x9001);
  EXPECT_EQ(read(3, kData, kList), 0x13);
  EXPECT_EQ(number_at(kData), 0xeeeeeeeeu);
}

TEST_F(NvmeData, AListMayFillItsPageOrGoOnInAnother) {
  // Starts 4 entries before the end of its page: 3 of data and the pointer, or 4 of data.
  const std::uint64_t list = kList + 4096 - 32;
  for (std::uint64_t each = 0; each < 4; ++each) driver->host.put(list + each * 8, kData + (each + 1) * 4096);
  EXPECT_EQ(read(5, kData, list), 0);
  EXPECT_EQ(number_at(kData + 4 * 4096), 4u);
  const std::uint64_t next = kList + 0x4000;
  driver->host.put(list + 24, next);
  for (std::uint64_t each = 0; each < 2; ++each) driver->host.put(next + each * 8, kData + (each + 10) * 4096);
  EXPECT_EQ(read(6, kData, list), 0);
  EXPECT_EQ(number_at(kData + 3 * 4096), 3u);
  EXPECT_EQ(number_at(kData + 10 * 4096), 4u);
  EXPECT_EQ(number_at(kData + 11 * 4096), 5u);
  driver->host.put(list + 24, next + 8);  // only the first list may start inside its page
  EXPECT_EQ(read(6, kData, list), 0x13);
  // One entry, which is the pointer.
  const std::uint64_t last = kList + 4096 - 8;
  driver->host.put(last, next);
  for (std::uint64_t each = 0; each < 5; ++each) driver->host.put(next + each * 8, kData + (each + 20) * 4096);
  EXPECT_EQ(read(6, kData, last), 0);
  EXPECT_EQ(number_at(kData + 24 * 4096), 5u);
}

TEST_F(NvmeData, AListThatPointsAtItselfEnds) {
  for (std::uint64_t each = 0; each < 512; ++each) driver->host.put(kList + each * 8, kList);
  EXPECT_EQ(read(512, kData, kList), 0);  // 2 MiB, all into one page: its own fault
}

TEST_F(NvmeData, BiggerPages) {
  start(test_setup(), 0x00460101);  // 16 KiB
  EXPECT_EQ(read(4, kData, 0), 0);
  EXPECT_EQ(number_at(kData + 3 * 4096), 3u);
  EXPECT_EQ(read(8, kData, kData + 0x10000), 0);
  EXPECT_EQ(number_at(kData + 0x13000), 7u);
  EXPECT_EQ(read(8, kData, kData + 0x11000), 0x13);
  EXPECT_EQ(read(4, kData + 0x3000, kData + 0x10000), 0);
  EXPECT_EQ(number_at(kData + 0x12000), 3u);
}

TEST_F(NvmeData, ContiguousPagesAreOneRun) {
  for (std::uint64_t each = 0; each < 255; ++each) driver->host.put(kList + each * 8, kData + (each + 1) * 4096);
  const std::uint64_t before = driver->host.runs;
  EXPECT_EQ(read(256, kData, kList), 0);
  EXPECT_EQ(driver->host.runs - before, 3u);  // the command, its list, and 1 MiB of data
  EXPECT_EQ(number_at(kData + 255 * 4096), 255u);
}

TEST_F(NvmeData, RunsMayBeShorterThanAsked) {
  driver->host.run_limit = 1536;  // of nothing's size
  for (std::uint64_t each = 0; each < 7; ++each) driver->host.put(kList + each * 8, kData + (each + 1) * 4096);
  EXPECT_EQ(read(8, kData, kList), 0);
  for (std::uint32_t page = 0; page < 8; ++page) EXPECT_EQ(number_at(kData + page * 4096), page);
}

TEST_F(NvmeData, PeersRegistersAreReachedWithoutARun) {
  EXPECT_EQ(read(2, TestHost::kRegisters, kData), 0);
  EXPECT_EQ(number_at(TestHost::kRegisters), 0u);
  EXPECT_EQ(number_at(kData), 1u);
  EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x01, 80, 8, TestHost::kRegisters)).status, 0);
}

TEST_F(NvmeData, WhatTheBusRefusesIsADataTransferError) {
  EXPECT_EQ(read(1, 0x1000), 0x04);
  EXPECT_EQ(read(1, 0xffff'ffff'ffff'f000), 0x04);
  EXPECT_EQ(read(3, kData, 0x1000), 0x04);
  for (const fabric::Completion how : {fabric::Completion::poisoned, fabric::Completion::lost,
                                       fabric::Completion::completer_abort, fabric::Completion::unsupported_request}) {
    driver->host.broken_address = kData + 100;
    driver->host.broken_how = how;
    EXPECT_EQ(read(1, kData), 0x04);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x01, 0, 8, kData)).status, 0x04);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x05, 0, 8, kData)).status, 0x04);
    driver->host.broken_address = kList + 8;
    driver->host.put(kList, kData);
    driver->host.put(kList + 8, kData);
    EXPECT_EQ(read(3, kData, kList), 0x04);
  }
  driver->host.broken_address = ~std::uint64_t{0};
  EXPECT_EQ(read(1, kData), 0);
  EXPECT_EQ(driver->read32(0x1c), 1u);  // it goes on
}

TEST_F(NvmeData, OneSglDataBlockAtAnyAddress) {
  EXPECT_EQ(read_sgl(2, {kData + 3, 8192, 0x00}), 0);
  EXPECT_EQ(number_at(kData + 3), 0u);
  EXPECT_EQ(number_at(kData + 3 + 4096), 1u);
  EXPECT_EQ(read_sgl(2, {kData, 8191, 0x00}), 0x0f);
  EXPECT_EQ(read_sgl(2, {kData, 8193, 0x00}), 0x0f);
  EXPECT_EQ(read_sgl(2, {kData, 0, 0x00}), 0x0f);
}

TEST_F(NvmeData, SglSegments) {
  put(kList, {kData, 4096, 0x00});
  put(kList + 16, {kData + 0x8000, 0, 0x00});  // no data: allowed
  put(kList + 32, {kData + 0x8000, 4096, 0x00});
  EXPECT_EQ(read_sgl(2, {kList, 48, 0x30}), 0);
  EXPECT_EQ(number_at(kData + 0x8000), 1u);
  EXPECT_EQ(read_sgl(3, {kList, 48, 0x30}), 0x0f);
  EXPECT_EQ(read_sgl(1, {kList, 48, 0x30}), 0x0f);
  EXPECT_EQ(read_sgl(2, {kList, 40, 0x30}), 0x0d);  // not whole descriptors
  EXPECT_EQ(read_sgl(2, {kList, 0, 0x30}), 0x0d);
  EXPECT_EQ(read_sgl(2, {kList + 4, 48, 0x30}), 0x0d);  // not on a qword
  EXPECT_EQ(read_sgl(2, {kList, 48, 0x20}), 0x0d);      // a segment that names no next one
  // A segment, and the last one.
  put(kList + 48, {kList + 0x100, 16, 0x30});
  put(kList + 0x100, {kData + 0x20000, 4096, 0x00});
  EXPECT_EQ(read_sgl(3, {kList, 64, 0x20}), 0);
  EXPECT_EQ(number_at(kData + 0x20000), 2u);
  EXPECT_EQ(read_sgl(3, {kList, 64, 0x30}), 0x0d);  // a last segment that goes on
  put(kList + 16, {kList + 0x100, 16, 0x30});       // in the middle
  EXPECT_EQ(read_sgl(3, {kList, 64, 0x20}), 0x0d);
}

TEST_F(NvmeData, SglBitBucketsSwallowWhatIsRead) {
  put(kList, {kData, 4096, 0x00});
  put(kList + 16, {0, 4096, 0x10});
  put(kList + 32, {kData + 0x1000, 4096, 0x00});
  EXPECT_EQ(read_sgl(3, {kList, 48, 0x30}), 0);
  EXPECT_EQ(number_at(kData), 0u);
  EXPECT_EQ(number_at(kData + 0x1000), 2u);
  // Going to the medium, a bucket has no length.
  EXPECT_EQ(read_sgl(3, {kList, 48, 0x30}, 0x01), 0x0f);
  EXPECT_EQ(read_sgl(2, {kList, 48, 0x30}, 0x01), 0);
}

TEST_F(NvmeData, SglTypesOfOtherTransports) {
  for (const std::uint8_t type :
       std::initializer_list<std::uint8_t>{0x40, 0x4f, 0x50, 0x60, 0xf0, 0x01, 0x11, 0x21, 0x3a}) {
    EXPECT_EQ(read_sgl(1, {kData, 4096, type}), 0x11) << int{type};
    put(kList, {kData, 4096, type});
    if (type >> 4 == 2 || type >> 4 == 3) continue;
    EXPECT_EQ(read_sgl(1, {kList, 16, 0x30}), 0x11) << int{type};
  }
}

TEST_F(NvmeData, SglLoopsEnd) {
  put(kList, {0, 0, 0x10});
  put(kList + 16, {kList, 32, 0x20});  // names itself
  EXPECT_EQ(read_sgl(1, {kList, 32, 0x20}), 0x0e);
  EXPECT_EQ(read_sgl(1, {kList, 0xfffffff0, 0x30}), 0x0e);  // 268 million descriptors
}

TEST_F(NvmeData, ASglOfScattered512ByteBlocksFits) {
  const std::uint64_t list = kData + 0x200000;
  for (std::uint64_t each = 0; each < 4096; ++each) put(list + each * 16, {kData + each * 256, 512, 0x00});
  EXPECT_EQ(read_sgl(512, {list, 65536, 0x30}), 0);
  for (std::uint64_t each = 0; each < 8192; ++each) put(list + each * 16, {kData + each * 16, 8, 0x00});
  EXPECT_EQ(read_sgl(16, {list, 131072, 0x30}), 0x0e);  // more pieces than it can hold
}

TEST_F(NvmeData, WithoutSglSupportTheyAreInvalidFields) {
  ControllerSetup setup = test_setup();
  setup.sgl = false;
  start(std::move(setup), 0x00460001);
  EXPECT_EQ(read_sgl(1, {kData, 4096, 0x00}), 0x02);
  ASSERT_EQ(driver->run_admin({.opcode = 0x06, .prp1 = kData, .cdw10 = 1}).status, 0);
  EXPECT_EQ(number_at(kData + 536), 0u);
}

}  // namespace
}  // namespace barter::devices::nvme
