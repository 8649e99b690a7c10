// Registers and doorbells as the host sees them. The numbers are typed in from the specification, not taken from the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

using ::testing::HasSubstr;

ControllerSetup with_buffer() {
  ControllerSetup setup = test_setup();
  setup.cmb_bytes = 2 << 20;
  return setup;
}

TEST(NvmeRegisters, CapabilitiesAreWhatTheSetupSays) {
  ControllerSetup setup = with_buffer();
  setup.max_queue_entries = 256;
  setup.doorbell_stride_log2 = 3;
  TestDriver driver(std::move(setup));
  const std::uint64_t cap = driver.read64(0x00);
  EXPECT_EQ(cap & 0xffff, 255u);    // MQES
  EXPECT_EQ(cap >> 16 & 1, 1u);     // CQR
  EXPECT_NE(cap >> 24 & 0xff, 0u);  // TO
  EXPECT_EQ(cap >> 32 & 0xf, 3u);   // DSTRD
  EXPECT_EQ(cap >> 36 & 1, 0u);     // NSSRS
  EXPECT_EQ(cap >> 37 & 0xff, 1u);  // CSS
  EXPECT_EQ(cap >> 48 & 0xf, 0u);   // MPSMIN
  EXPECT_EQ(cap >> 52 & 0xf, 4u);   // MPSMAX
  EXPECT_EQ(cap >> 57 & 1, 1u);     // CMBS
  EXPECT_EQ(driver.read32(0x00), static_cast<std::uint32_t>(cap));
  EXPECT_EQ(driver.read32(0x04), static_cast<std::uint32_t>(cap >> 32));
  EXPECT_EQ(driver.read32(0x20), 0u);   // NSSR is absent
  EXPECT_EQ(driver.read32(0xe00), 0u);  // and so is the PMR
  EXPECT_TRUE(driver.device->violations().empty());
}

struct Forbidden {
  const char* what;
  bool is_write;
  std::uint64_t at;
  unsigned width;
  std::uint64_t value;
};
void PrintTo(const Forbidden& access, std::ostream* out) { *out << access.what; }
class NvmeForbiddenAccess : public ::testing::TestWithParam<Forbidden> {};

TEST_P(NvmeForbiddenAccess, IsRecordedAndChangesNothing) {
  TestDriver driver(with_buffer());
  driver.enable();
  const std::uint32_t before = driver.read32(0x14);
  ASSERT_TRUE(driver.device->violations().empty());
  const Forbidden& access = GetParam();
  if (access.is_write) {
    driver.device->write_register(0, {access.at}, access.width, access.value);
  } else {
    static_cast<void>(driver.device->read_register(0, {access.at}, access.width));
  }
  EXPECT_FALSE(driver.device->violations().empty());
  driver.settle();
  EXPECT_EQ(driver.read32(0x14), before);
  EXPECT_EQ(driver.read32(0x1c), 1u);
  EXPECT_EQ(driver.read64(0x28), TestDriver::kAdminSq);
}

INSTANTIATE_TEST_SUITE_P(
    All, NvmeForbiddenAccess,
    ::testing::Values(Forbidden{"byte read", false, 0x14, 1, 0}, Forbidden{"word read", false, 0x1c, 2, 0},
                      Forbidden{"qword read of a dword register", false, 0x08, 8, 0},
                      Forbidden{"doorbell read", false, 0x1000, 4, 0}, Forbidden{"INTMS read", false, 0x0c, 4, 0},
                      Forbidden{"CAP write", true, 0x00, 4, 1}, Forbidden{"CAP write, whole", true, 0x00, 8, 1},
                      Forbidden{"VS write", true, 0x08, 4, 1}, Forbidden{"CSTS write", true, 0x1c, 4, 0},
                      Forbidden{"INTMS write", true, 0x0c, 4, 1}, Forbidden{"INTMC write", true, 0x10, 4, 1},
                      Forbidden{"NSSR write", true, 0x20, 4, 0x4e564d65}, Forbidden{"CMBLOC write", true, 0x38, 4, 1},
                      Forbidden{"CMBSZ write", true, 0x3c, 4, 1}, Forbidden{"reserved write", true, 0x200, 4, 1},
                      Forbidden{"byte write", true, 0x14, 1, 0},
                      Forbidden{"word write to a doorbell", true, 0x1000, 2, 1},
                      Forbidden{"qword write to a doorbell", true, 0x1000, 8, 1},
                      Forbidden{"AQA while enabled", true, 0x24, 4, 0x00010001},
                      Forbidden{"ASQ while enabled", true, 0x28, 4, 0x1000},
                      Forbidden{"absent doorbell", true, 0x1008, 4, 1},
                      Forbidden{"beyond the doorbells", true, 0x1000 + 17 * 8, 4, 1},
                      Forbidden{"CC.MPS while enabled", true, 0x14, 4, 0x004600a1 & ~0x20u},
                      Forbidden{"CC.CSS while enabled", true, 0x14, 4, 0x00460061},
                      Forbidden{"CC.AMS while enabled", true, 0x14, 4, 0x00460801},
                      Forbidden{"reserved bits of CC", true, 0x14, 4, 0x00460003}),
    [](const auto& tested) {
      std::string name;
      for (const char letter : std::string(tested.param.what)) {
        if (std::isalnum(static_cast<unsigned char>(letter)) != 0) name += letter;
      }
      return name;
    });

TEST(NvmeRegisters, ReservedBitsOfCmbmscAreRefused) {
  TestDriver driver(with_buffer());
  driver.write64(0x50, 0x8'0000'0ff0 | 3);
  EXPECT_EQ(driver.read64(0x50), 0x8'0000'0003u);
  EXPECT_EQ(driver.device->violations().size(), 1u);
}

TEST(NvmeRegisters, CmbmscIsReservedWhereThereIsNoBuffer) {
  TestDriver driver(test_setup());
  EXPECT_EQ(driver.read64(0x00) >> 57 & 1, 0u);
  driver.write64(0x50, 3);
  EXPECT_EQ(driver.read64(0x50), 0u);
  EXPECT_FALSE(driver.device->violations().empty());
}

TEST(NvmeRegisters, AnAdminQueueThatCantBeIsFatal) {
  const auto status_with = [](std::uint32_t aqa, std::uint64_t asq, std::uint64_t acq, std::uint32_t cc) {
    TestDriver driver(test_setup());
    driver.write32(0x24, aqa);
    driver.write64(0x28, asq);
    driver.write64(0x30, acq);
    driver.write32(0x14, cc);
    driver.settle();
    EXPECT_EQ(driver.device->violations().empty(), driver.read32(0x1c) == 1);
    return driver.read32(0x1c);
  };
  const std::uint64_t sq = TestHost::kMemory;
  const std::uint64_t cq = TestHost::kMemory + 0x10000;
  EXPECT_EQ(status_with(0x000f000f, sq, cq, 0x00460001), 1u);
  EXPECT_EQ(status_with(0x0000000f, sq, cq, 0x00460001), 2u);           // one completion entry
  EXPECT_EQ(status_with(0x000f0000, sq, cq, 0x00460001), 2u);           // one submission entry
  EXPECT_EQ(status_with(0x000f000f, sq + 0x1000, cq, 0x00460081), 2u);  // not on an 8 KiB page
  EXPECT_EQ(status_with(0x000f000f, sq, cq, 0x00460081), 1u);
  EXPECT_EQ(status_with(0x000f000f, sq, cq, 0x00460281), 2u);  // pages of 128 KiB
  EXPECT_EQ(status_with(0x000f000f, sq, cq, 0x00460011), 2u);  // another command set
  EXPECT_EQ(status_with(0x000f000f, sq, cq, 0x00460801), 2u);  // weighted arbitration
  EXPECT_EQ(status_with(0x0fff0fff, 0xffff'ffff'ffff'f000, cq, 0x00460001), 2u);
}

TEST(NvmeRegisters, ResetKeepsAdminQueuesAndMemoryBufferAndDropsTheRest) {
  TestDriver driver(with_buffer());
  driver.enable();
  driver.enable_cmb(0x8'0000'0000);
  TestQueue queue = driver.create_pair(1, 8);
  ASSERT_EQ(driver.run_admin({.opcode = 0x09, .cdw10 = 0x06, .cdw11 = 0}).status, 0);
  driver.disable();
  EXPECT_EQ(driver.read32(0x1c), 0u);
  EXPECT_EQ(driver.read64(0x28), TestDriver::kAdminSq);
  EXPECT_EQ(driver.read32(0x24), 0x001f001fu);
  EXPECT_EQ(driver.read64(0x50), 0x8'0000'0003u);
  driver.ring(queue);
  EXPECT_EQ(driver.device->violations().size(), 1u);
  EXPECT_THAT(driver.device->violations()[0], HasSubstr("absent tail doorbell of queue 1"));
  driver.enable();
  EXPECT_EQ(driver.run_admin({.opcode = 0x0a, .cdw10 = 0x06}).result, 1u);  // the default again
  EXPECT_EQ(driver.create_cq(1, 8, TestDriver::kQueues), 0);
}

TEST(NvmeRegisters, EnablingAgainBeforeRdyIsZeroIsAViolation) {
  TestDriver driver(test_setup());
  driver.enable();
  driver.write32(0x14, 0x00460000);
  driver.write32(0x14, 0x00460001);
  EXPECT_EQ(driver.device->violations().size(), 1u);
  driver.settle();
  EXPECT_EQ(driver.read32(0x1c), 1u);  // reset, and enabled again
}

TEST(NvmeRegisters, DisablingBeforeRdyIsOneIsAViolation) {
  TestDriver driver(test_setup());
  driver.write32(0x24, 0x000f000f);
  driver.write64(0x28, TestDriver::kAdminSq);
  driver.write64(0x30, TestDriver::kAdminCq);
  driver.write32(0x14, 0x00460001);
  driver.write32(0x14, 0x00460000);
  EXPECT_EQ(driver.device->violations().size(), 1u);
  driver.settle();
  EXPECT_EQ(driver.read32(0x1c), 0u);
}

TEST(NvmeRegisters, ShutdownCompletesAndEndsWithAReset) {
  TestDriver driver(test_setup());
  driver.enable();
  driver.write32(0x14, 0x00464001);
  driver.settle();
  EXPECT_EQ(driver.read32(0x1c), 0x9u);  // RDY, SHST 10b
  driver.put(driver.admin, {.opcode = 0x06, .prp1 = TestDriver::kBuffer, .cdw10 = 1});
  driver.ring(driver.admin);
  driver.settle();
  EXPECT_FALSE(driver.take(driver.admin));  // it serves no more
  driver.disable();
  EXPECT_EQ(driver.read32(0x1c), 0u);
  driver.enable();
  EXPECT_EQ(driver.read32(0x1c), 1u);
}

TEST(NvmeRegisters, FunctionLevelResetIsAsAfterPowerOn) {
  TestDriver driver(with_buffer());
  driver.enable();
  driver.enable_cmb(0x8'0000'0000);
  driver.cmb[5] = std::byte{1};
  driver.device->reset();
  EXPECT_EQ(driver.host.window_changes, 2u);
  EXPECT_TRUE(driver.device->windows().empty());
  for (const std::uint64_t at : {0x14u, 0x1cu, 0x24u, 0x28u, 0x2cu, 0x30u, 0x34u, 0x38u, 0x3cu, 0x50u, 0x54u}) {
    EXPECT_EQ(driver.read32(at), 0u) << at;
  }
  driver.enable();
  EXPECT_EQ(driver.read32(0x1c), 1u);
}

TEST(NvmeRegisters, TheStrideSpreadsTheDoorbells) {
  for (const std::uint8_t stride : std::initializer_list<std::uint8_t>{0, 1, 4, 15}) {
    ControllerSetup setup = test_setup();
    setup.doorbell_stride_log2 = stride;
    TestDriver driver(std::move(setup));
    driver.enable();
    TestQueue queue = driver.create_pair(3, 8);
    EXPECT_EQ(driver.run(queue, {.opcode = 0x00, .nsid = 1}).status, 0);
    EXPECT_TRUE(driver.device->violations().empty());
    const auto& identity = driver.device->identity();
    EXPECT_GE(identity.msix_table.value, 0x1000 + 34 * (std::uint64_t{4} << stride));
    EXPECT_LE(identity.msix_pending.value + 8, identity.bars[0].size_bytes);
    if (stride == 0) continue;
    driver.write32(0x1004, 0);  // between two doorbells
    EXPECT_EQ(driver.device->violations().size(), 1u);
  }
}

TEST(NvmeDoorbells, WhatCantBeIsRefusedAndReported) {
  TestDriver driver(test_setup());
  driver.enable();
  TestQueue queue = driver.create_pair(1, 4);
  const auto refused = [&](std::uint64_t at, std::uint32_t value) {
    const std::size_t before = driver.device->violations().size();
    driver.write32(at, value);
    return driver.device->violations().size() == before + 1;
  };
  EXPECT_TRUE(refused(0x1008, 0));  // the value it has
  EXPECT_TRUE(refused(0x1008, 4));  // beyond the queue
  EXPECT_TRUE(refused(0x1008, 0x10001));
  EXPECT_TRUE(refused(0x100c, 1));  // takes a completion that isn't there
  driver.put(queue, {.opcode = 0x00, .nsid = 1});
  driver.put(queue, {.opcode = 0x00, .nsid = 1});
  driver.put(queue, {.opcode = 0x00, .nsid = 1});
  driver.ring(queue);
  EXPECT_TRUE(refused(0x1008, 0));  // would overtake the head: the queue is full
  driver.settle();
  EXPECT_EQ(driver.take(queue)->status, 0);
  EXPECT_TRUE(refused(0x100c, 0));
  EXPECT_EQ(driver.take(queue)->status, 0);
  EXPECT_EQ(driver.take(queue)->status, 0);
  EXPECT_FALSE(driver.take(queue));
}

TEST(NvmeDoorbells, AnInvalidOneEndsAnEventRequest) {
  TestDriver driver(test_setup());
  driver.enable();
  const std::uint16_t first = driver.put(driver.admin, {.opcode = 0x0c});
  const std::uint16_t second = driver.put(driver.admin, {.opcode = 0x0c});
  driver.ring(driver.admin);
  driver.settle();
  EXPECT_FALSE(driver.take(driver.admin));
  driver.write32(0x1000 + 2 * 4 * 5, 1);  // queue 5 does not exist
  driver.settle();
  auto event = driver.take(driver.admin);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->cid, first);
  EXPECT_EQ(event->result, 0x00010000u);  // error status, invalid doorbell register, log page 01h
  driver.write32(0x1000, 77);             // beyond the admin queue
  driver.settle();
  EXPECT_FALSE(driver.take(driver.admin)) << "masked until the log has been read";
  EXPECT_EQ(driver.run_admin({.opcode = 0x02, .prp1 = TestDriver::kBuffer, .cdw10 = 15u << 16 | 1 << 15 | 1}).status,
            0);
  driver.settle();
  EXPECT_FALSE(driver.take(driver.admin)) << "Retain Asynchronous Event was set";
  driver.put(driver.admin, {.opcode = 0x02, .prp1 = TestDriver::kBuffer, .cdw10 = 15u << 16 | 1});
  driver.ring(driver.admin);
  driver.settle();
  EXPECT_EQ(driver.take(driver.admin)->status, 0);
  event = driver.take(driver.admin);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->cid, second);
  EXPECT_EQ(event->result, 0x00010100u);  // invalid doorbell value
  // The newest entry first: no command, no queue.
  EXPECT_EQ(driver.host.get<std::uint64_t>(TestDriver::kBuffer), 2u);
  EXPECT_EQ(driver.host.get<std::uint16_t>(TestDriver::kBuffer + 8), 0xffff);
}

TEST(NvmeRegisters, WithoutBusMasterItWaits) {
  TestDriver driver(test_setup());
  driver.enable();
  driver.host.masters = false;
  driver.put(driver.admin, {.opcode = 0x06, .prp1 = TestDriver::kBuffer, .cdw10 = 1});
  driver.ring(driver.admin);
  EXPECT_FALSE(driver.device->step());
  EXPECT_FALSE(driver.take(driver.admin));
  driver.host.masters = true;
  driver.settle();
  EXPECT_EQ(driver.take(driver.admin)->status, 0);
}

}  // namespace
}  // namespace barter::devices::nvme
