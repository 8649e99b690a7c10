#include <gtest/gtest.h>

#include <set>

#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t kBuffer = TestDriver::kBuffer;

class NvmeAdmin : public ::testing::Test {
 protected:
  static ControllerSetup setup() {
    ControllerSetup setup = test_setup();
    setup.max_queues = 4;
    setup.max_queue_entries = 64;
    auto second = create_memory_backing(1 << 20);
    setup.namespaces.push_back({std::move(*second), 4096});
    return setup;
  }
  void SetUp() override { driver.enable(); }
  void TearDown() override { EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0]; }
  TestCompletion identify(std::uint32_t cns, std::uint32_t nsid = 0, std::uint64_t prp1 = kBuffer,
                          std::uint64_t prp2 = 0) {
    return driver.run_admin({.opcode = 0x06, .nsid = nsid, .prp1 = prp1, .prp2 = prp2, .cdw10 = cns});
  }
  TestCompletion set_feature(std::uint32_t id, std::uint32_t value) {
    return driver.run_admin({.opcode = 0x09, .cdw10 = id, .cdw11 = value});
  }
  TestCompletion get_feature(std::uint32_t id, std::uint32_t value = 0) {
    return driver.run_admin({.opcode = 0x0a, .cdw10 = id, .cdw11 = value});
  }
  TestCompletion get_log(std::uint32_t id, std::uint32_t bytes, std::uint64_t offset = 0) {
    const std::uint32_t dwords = bytes / 4 - 1;
    return driver.run_admin({.opcode = 0x02,
                             .nsid = 0xffffffff,
                             .prp1 = kBuffer,
                             .prp2 = kBuffer + 4096,
                             .cdw10 = (dwords & 0xffff) << 16 | id,
                             .cdw11 = dwords >> 16,
                             .cdw12 = static_cast<std::uint32_t>(offset),
                             .cdw13 = static_cast<std::uint32_t>(offset >> 32)});
  }
  TestDriver driver{setup()};
};

TEST_F(NvmeAdmin, IdentifiesTheController) {
  ASSERT_EQ(identify(1).status, 0);
  const auto text = [&](std::uint64_t at, std::size_t size) {
    return std::string(reinterpret_cast<const char*>(driver.host.bytes(kBuffer + at, size).data()), size);
  };
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer), 0x1b36);
  EXPECT_EQ(text(4, 20), "barter              ");
  EXPECT_EQ(text(24, 40).substr(0, 11), "Barter NVMe");
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 77), 9);   // 2 MiB in pages of 4 KiB
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 111), 1);  // an I/O controller
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 512), 0x66);
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 513), 0x44);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 516), 2u);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 520), 0x000d);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 522), 0);       // no fused commands
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 536) & 3, 1u);  // SGLs of any alignment
  EXPECT_EQ(text(768, 27), "nqn.2014.08.org.nvmexpress:");
}

TEST_F(NvmeAdmin, IdentifiesNamespaces) {
  ASSERT_EQ(identify(0, 2).status, 0);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer), 256u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 8), 256u);
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 25), 0);            // one format
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 128), 12u << 16);  // 4096 bytes, no metadata
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 99), 0);
  const auto nguid = driver.host.get<std::array<std::byte, 16>>(kBuffer + 104);
  ASSERT_EQ(identify(3, 2).status, 0);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer), 0x1002);  // type 2, 16 bytes
  EXPECT_EQ((driver.host.get<std::array<std::byte, 16>>(kBuffer + 4)), nguid);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 20), 0u);
  ASSERT_EQ(identify(0, 1).status, 0);
  EXPECT_NE((driver.host.get<std::array<std::byte, 16>>(kBuffer + 104)), nguid);
  for (const std::uint32_t absent : {0u, 3u, 0xffffffffu}) {
    EXPECT_EQ(identify(0, absent).status, 0x0b);
    EXPECT_EQ(identify(3, absent).status, 0x0b);
  }
}

TEST_F(NvmeAdmin, ListsNamespacesAboveANumber) {
  ASSERT_EQ(identify(2, 0).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer), 1u);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 4), 2u);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 8), 0u);
  ASSERT_EQ(identify(2, 1).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer), 2u);
  ASSERT_EQ(identify(2, 2).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer), 0u);
  EXPECT_EQ(identify(2, 0xfffffffe).status, 0x0b);
  EXPECT_EQ(identify(2, 0xffffffff).status, 0x0b);
}

TEST_F(NvmeAdmin, AnswersUnknownStructuresPolitely) {
  for (const std::uint32_t cns : {0x04u, 0x05u, 0x06u, 0x08u, 0x10u, 0x1cu, 0xffu}) {
    const TestCompletion completion = identify(cns, 1);
    EXPECT_EQ(completion.status, 0x02) << cns;
    EXPECT_TRUE(completion.do_not_retry);
  }
}

TEST_F(NvmeAdmin, IdentifyMayCrossAPage) {
  ASSERT_EQ(identify(1, 0, kBuffer + 0x800, kBuffer + 0x2000).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 0x800 + 80), 0x00020000u);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 0x2000), 2500);  // PSD0.MP, at 2048
}

TEST_F(NvmeAdmin, CreatesNoQueueThatCantBe) {
  const std::uint64_t at = TestDriver::kQueues;
  EXPECT_EQ(driver.create_cq(0, 8, at), 0x101);
  EXPECT_EQ(driver.create_cq(5, 8, at), 0x101);
  EXPECT_EQ(driver.create_cq(1, 1, at), 0x102);
  EXPECT_EQ(driver.create_cq(1, 65, at), 0x102);
  EXPECT_EQ(driver.create_cq(1, 8, at + 16), 0x13);
  EXPECT_EQ(driver.create_cq(1, 8, at, 0), 0x02);              // not contiguous
  EXPECT_EQ(driver.create_cq(1, 8, at, 5u << 16 | 3), 0x108);  // vector 5 of 0 to 4
  EXPECT_EQ(driver.create_cq(1, 8, at, 5u << 16 | 1), 0);      // without interrupts it means nothing
  EXPECT_EQ(driver.create_cq(1, 8, at), 0x101);                // exists
  EXPECT_EQ(driver.create_sq(0, 8, at, 1), 0x101);
  EXPECT_EQ(driver.create_sq(5, 8, at, 1), 0x101);
  EXPECT_EQ(driver.create_sq(1, 8, at, 0), 0x101);
  EXPECT_EQ(driver.create_sq(1, 8, at, 9), 0x101);
  EXPECT_EQ(driver.create_sq(1, 8, at, 2), 0x100);  // could exist, and doesn't
  EXPECT_EQ(driver.create_sq(1, 1, at, 1), 0x102);
  EXPECT_EQ(driver.create_sq(1, 65, at, 1), 0x102);
  EXPECT_EQ(driver.create_sq(1, 8, at + 64, 1), 0x13);
  EXPECT_EQ(driver.run_admin({.opcode = 0x01, .prp1 = at, .cdw10 = 7u << 16 | 1, .cdw11 = 1u << 16}).status, 0x02);
  EXPECT_EQ(driver.create_sq(1, 8, at, 1), 0);
  EXPECT_EQ(driver.create_sq(1, 8, at, 1), 0x101);
}

TEST_F(NvmeAdmin, DeletesQueuesInOrder) {
  TestQueue queue = driver.create_pair(1, 8);
  EXPECT_EQ(driver.create_sq(2, 8, TestDriver::kQueues + 0x60000, 1), 0);
  const auto remove = [&](std::uint8_t opcode, std::uint32_t id) {
    return driver.run_admin({.opcode = opcode, .cdw10 = id}).status;
  };
  EXPECT_EQ(remove(0x04, 1), 0x10c);  // two submission queues use it
  EXPECT_EQ(remove(0x00, 0), 0x101);
  EXPECT_EQ(remove(0x00, 3), 0x101);
  EXPECT_EQ(remove(0x04, 0), 0x101);
  EXPECT_EQ(remove(0x04, 3), 0x101);
  EXPECT_EQ(remove(0x00, 1), 0);
  EXPECT_EQ(remove(0x04, 1), 0x10c);
  EXPECT_EQ(remove(0x00, 2), 0);
  EXPECT_EQ(remove(0x04, 1), 0);
  EXPECT_EQ(remove(0x04, 1), 0x101);
  queue = driver.create_pair(1, 16);
  EXPECT_EQ(driver.run(queue, {.opcode = 0x00, .nsid = 1}).status, 0);
}

TEST_F(NvmeAdmin, QueueEntrySizesMustBeSetForIoQueues) {
  driver.disable();
  driver.enable(32, 0x00000001);
  EXPECT_EQ(driver.create_cq(1, 8, TestDriver::kQueues), 0x102);
  driver.write32(0x14, 0x00460001);  // allowed while there are no I/O queues
  driver.settle();
  EXPECT_EQ(driver.create_cq(1, 8, TestDriver::kQueues), 0);
}

TEST_F(NvmeAdmin, GrantsQueuesOnceAndNoMoreThanItHas) {
  EXPECT_EQ(get_feature(0x07).result, 0x00030003u);
  EXPECT_EQ(set_feature(0x07, 0xffff0000).status, 0x02);
  EXPECT_EQ(set_feature(0x07, 0x0000ffff).status, 0x02);
  EXPECT_EQ(set_feature(0x07, 0xfffefffe).result, 0x00030003u);
  EXPECT_EQ(set_feature(0x07, 0x00000001).result, 0x00000001u);
  EXPECT_EQ(get_feature(0x07).result, 0x00000001u);
  EXPECT_EQ(driver.create_cq(2, 8, TestDriver::kQueues), 0x101);  // one was granted
  EXPECT_EQ(driver.create_cq(1, 8, TestDriver::kQueues), 0);
  EXPECT_EQ(set_feature(0x07, 0).status, 0x0c);
}

TEST_F(NvmeAdmin, KeepsFeatures) {
  EXPECT_EQ(set_feature(0x01, 0x04030201).status, 0);
  EXPECT_EQ(get_feature(0x01).result, 0x04030201u);
  EXPECT_EQ(get_feature(0x06).result, 1u);
  EXPECT_EQ(set_feature(0x06, 0).status, 0);
  EXPECT_EQ(get_feature(0x06).result, 0u);
  EXPECT_EQ(set_feature(0x02, 0).status, 0);
  EXPECT_EQ(set_feature(0x02, 1).status, 0x02);  // there is one power state
  EXPECT_EQ(get_feature(0x04).result, 0x157u);
  EXPECT_EQ(set_feature(0x04, 0x00000150).status, 0);
  EXPECT_EQ(set_feature(0x04, 0x00100100).status, 0);  // under-temperature
  EXPECT_EQ(get_feature(0x04).result, 0x150u);
  EXPECT_EQ(get_feature(0x04, 0x00100000).result, 0x100u);
  EXPECT_EQ(set_feature(0x04, 0x00010150).status, 0x02);  // sensor 1
  EXPECT_EQ(get_feature(0x04, 0x00200000).status, 0x02);
  EXPECT_EQ(set_feature(0x05, 1u << 16).status, 0x02);  // DULBE
  EXPECT_EQ(set_feature(0x08, 0x0204).status, 0);
  EXPECT_EQ(get_feature(0x08).result, 0x0204u);
  EXPECT_EQ(get_feature(0x09, 4).result, 4u);
  EXPECT_EQ(get_feature(0x09, 5).status, 0x02);
  EXPECT_EQ(set_feature(0x09, 5).status, 0x02);
  EXPECT_EQ(set_feature(0x0a, 1).status, 0);
  EXPECT_EQ(set_feature(0x0b, 0x1f).status, 0);
  EXPECT_EQ(get_feature(0x0b).result, 0x1fu);
  for (const std::uint32_t absent : {0x00u, 0x03u, 0x0cu, 0x0du, 0x0eu, 0x0fu, 0x80u, 0x81u, 0xffu}) {
    EXPECT_EQ(get_feature(absent).status, 0x02) << absent;
    EXPECT_EQ(set_feature(absent, 0).status, 0x02) << absent;
  }
  EXPECT_EQ(set_feature(0x80000000u | 0x06, 1).status, 0x10d);  // saving
  EXPECT_EQ(get_feature(0x100 | 0x06).status, 0x02);            // selecting
}

TEST_F(NvmeAdmin, HoldsFourEventRequests) {
  std::set<std::uint16_t> held;
  for (int each = 0; each < 4; ++each) held.insert(driver.put(driver.admin, {.opcode = 0x0c}));
  const std::uint16_t fifth = driver.put(driver.admin, {.opcode = 0x0c});
  driver.ring(driver.admin);
  driver.settle();
  const auto refused = driver.take(driver.admin);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->cid, fifth);
  EXPECT_EQ(refused->status, 0x105);
  EXPECT_FALSE(driver.take(driver.admin));
  // A held identifier can't be used again.
  driver.put(driver.admin, {.opcode = 0x06, .prp1 = kBuffer, .cdw10 = 1}, *held.begin());
  driver.ring(driver.admin);
  driver.settle();
  EXPECT_EQ(driver.take(driver.admin)->status, 0x03);
  // Abort gives one back; nothing else can be aborted.
  driver.put(driver.admin, {.opcode = 0x08, .cdw10 = std::uint32_t{*held.begin()} << 16});
  driver.ring(driver.admin);
  driver.settle();
  const auto one = driver.take(driver.admin);
  const auto other = driver.take(driver.admin);
  ASSERT_TRUE(one && other);
  const auto& aborted = one->cid == *held.begin() ? *one : *other;
  const auto& abort = one->cid == *held.begin() ? *other : *one;
  EXPECT_EQ(aborted.status, 0x07);
  EXPECT_EQ(abort.status, 0);
  EXPECT_EQ(abort.result, 0u);
  EXPECT_EQ(driver.run_admin({.opcode = 0x08, .cdw10 = std::uint32_t{*held.begin()} << 16}).result, 1u);
  EXPECT_EQ(driver.run_admin({.opcode = 0x08, .cdw10 = 5u << 16 | 1}).result, 1u);
}

TEST_F(NvmeAdmin, ReportsHealth) {
  TestQueue queue = driver.create_pair(1, 8);
  const std::uint64_t list = kBuffer + 0x4000;
  for (std::uint64_t page = 0; page < 255; ++page)
    driver.host.put(list + page * 8, TestDriver::kData + (page + 1) * 4096);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 0, 2048, TestDriver::kData, list)).status, 0);  // 1 MiB
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 1, TestDriver::kData)).status, 0);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 1 << 30, 1, TestDriver::kData)).status, 0x80);
  ASSERT_EQ(get_log(0x02, 512).status, 0);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 1), 300);  // kelvin
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer + 3), 100);   // spare
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 32), 1u);  // thousands of 512 bytes, rounded up
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 48), 3u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 64), 1u);  // commands
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 80), 1u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 160), 0u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 176), 1u);  // error log entries
  ASSERT_EQ(get_log(0x01, 128).status, 0);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer), 1u);
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 8), 1);                   // submission queue
  EXPECT_EQ(driver.host.get<std::uint16_t>(kBuffer + 12) >> 1 & 0x7ff, 0x80);  // status
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 16), std::uint64_t{1} << 30);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 24), 1u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 64), 0u);  // no second entry
}

TEST_F(NvmeAdmin, LogPagesCanBeReadInParts) {
  ASSERT_EQ(get_log(0x05, 4096).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 0x06 * 4), 1u);         // Identify is there
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 0x10 * 4), 0u);         // Firmware Commit is not
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 1024 + 0x01 * 4), 3u);  // Write changes blocks
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer + 1024 + 0x02 * 4), 1u);
  ASSERT_EQ(get_log(0x05, 16, 1024 + 4).status, 0);
  EXPECT_EQ(driver.host.get<std::uint32_t>(kBuffer), 3u);
  driver.fill(kBuffer, 8192, 1);
  ASSERT_EQ(get_log(0x03, 8192).status, 0);  // 512 bytes, and zeros behind them
  EXPECT_EQ(driver.host.get<std::uint8_t>(kBuffer), 1);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 512), 0u);
  EXPECT_EQ(driver.host.get<std::uint64_t>(kBuffer + 8184), 0u);
  EXPECT_EQ(get_log(0x02, 4, 512).status, 0);     // at its end
  EXPECT_EQ(get_log(0x02, 4, 516).status, 0x02);  // beyond it
  EXPECT_EQ(get_log(0x02, 4, 2).status, 0x02);
  EXPECT_EQ(get_log(0x02, 4, std::uint64_t{1} << 40).status, 0x02);
  EXPECT_EQ(get_log(0x02, (2 << 20) + 4).status, 0x02);  // more than MDTS
  ASSERT_EQ(get_log(0x00, 1024).status, 0);
  for (std::uint32_t id = 0; id < 256; ++id) {
    const bool is_there = driver.host.get<std::uint32_t>(kBuffer + id * 4) != 0;
    ASSERT_EQ(get_log(id, 4).status, is_there ? 0 : 0x109) << id;
    ASSERT_EQ(get_log(0x00, 1024).status, 0);
  }
  EXPECT_EQ(driver.run_admin({.opcode = 0x02, .nsid = 1, .prp1 = kBuffer, .cdw10 = 2}).status, 0x02);
}

TEST_F(NvmeAdmin, TheFeatureLogAgreesWithGetFeatures) {
  ASSERT_EQ(get_log(0x12, 1024).status, 0);
  std::set<std::uint32_t> listed;
  for (std::uint32_t id = 0; id < 256; ++id) {
    if ((driver.host.get<std::uint32_t>(kBuffer + id * 4) & 1) != 0) listed.insert(id);
  }
  for (std::uint32_t id = 0; id < 256; ++id) EXPECT_EQ(get_feature(id).status == 0, listed.contains(id)) << id;
}

TEST_F(NvmeAdmin, RefusesWhatIsNotACommand) {
  for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0x03, 0x0d, 0x10, 0x18, 0x7c, 0x80, 0xff}) {
    EXPECT_EQ(driver.run_admin({.opcode = opcode}).status, 0x01);
  }
  EXPECT_EQ(driver.run_admin({.opcode = 0x06, .flags = 0x40, .prp1 = kBuffer, .cdw10 = 1}).status, 0x02);  // an SGL
  EXPECT_EQ(driver.run_admin({.opcode = 0x06, .flags = 0x01, .prp1 = kBuffer, .cdw10 = 1}).status, 0x02);  // fused
}

TEST_F(NvmeAdmin, SetsUpOnlyWhatTheSpecificationAllows) {
  const auto refused = [](auto&& change) {
    ControllerSetup setup = test_setup();
    change(setup);
    auto made = create_controller(std::move(setup));
    return !made && made.error().code == ErrorCode::invalid_argument && !made.error().why.empty();
  };
  EXPECT_FALSE(refused([](ControllerSetup&) {}));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.max_queues = 0; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.max_queue_entries = 1; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.doorbell_stride_log2 = 16; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.cmb_bytes = 4097; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.cmb_bytes = 4096, setup.cmb_bar = 0; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.cmb_bytes = 4096, setup.cmb_offset_bytes = 512; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.max_transfer_bytes = 3 << 20; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.namespaces[0].block_bytes = 520; }));
  EXPECT_TRUE(refused([](ControllerSetup& setup) { setup.namespaces[0].backing = nullptr; }));
  EXPECT_TRUE(
      refused([](ControllerSetup& setup) { setup.namespaces[0].backing = std::move(*create_memory_backing(1000)); }));
}

}  // namespace
}  // namespace barter::devices::nvme
