// The controller as a whole: bringing it up, its memory buffer, its queues, its lies.
#include "devices/nvme/controller.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t kData = TestDriver::kData;
constexpr std::uint64_t kBase = 0x8'0000'0000;  // of the memory buffer

ControllerSetup with_buffer(std::uint64_t bytes = 1 << 20) {
  ControllerSetup setup = test_setup();
  setup.cmb_bytes = bytes;
  return setup;
}

bool same(TestDriver& driver, std::uint64_t left, std::uint64_t right, std::size_t bytes) {
  return std::memcmp(driver.memory(left, bytes).data(), driver.memory(right, bytes).data(), bytes) == 0;
}

TEST(NvmeController, FromPowerOnToDataAndBack) {
  TestDriver driver(test_setup());
  EXPECT_EQ(driver.read32(0x08), 0x00020000u);
  EXPECT_EQ(driver.read32(0x1c), 0u);
  driver.enable();
  ASSERT_EQ(driver.read32(0x1c), 1u);
  TestQueue queue = driver.create_pair(1, 8);
  driver.fill(kData, 8192, 1);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 3, 16, kData, kData + 4096)).status, 0);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 3, 16, kData + 0x10000, kData + 0x11000)).status, 0);
  EXPECT_TRUE(same(driver, kData, kData + 0x10000, 8192));
  EXPECT_EQ(driver.host.interrupts[1], 2u);
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeMemoryBuffer, DataStaysInsideTheController) {
  TestDriver driver(with_buffer());
  EXPECT_EQ(driver.read32(0x3c), 0u);
  EXPECT_TRUE(driver.device->windows().empty());
  driver.enable();
  driver.enable_cmb(kBase);
  EXPECT_EQ(driver.read32(0x3c), 0x0010001fu);  // 256 units of 4 KiB, for everything
  EXPECT_EQ(driver.read32(0x38), 0x00000064u);  // BAR 4, CDPCILS and CDPMLS
  EXPECT_EQ(driver.read32(0x58), 0u);
  EXPECT_EQ(driver.host.window_changes, 1u);
  TestQueue queue = driver.create_pair(1, 8);
  driver.fill(kData, 4096, 5);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 0, 8, kData)).status, 0);
  const std::uint64_t before = driver.host.runs;
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase + 0x3000)).status, 0);
  EXPECT_EQ(driver.host.runs - before, 1u);  // the command; no data
  EXPECT_TRUE(same(driver, kBase + 0x3000, kData, 4096));
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, 8, 8, kBase + 0x3000)).status, 0);
  ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x05, 8, 8, kBase + 0x3000)).status, 0);
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeMemoryBuffer, AddressesAreItsOwnOnlyWithMemorySpaceEnabled) {
  TestDriver driver(with_buffer());
  driver.enable();
  TestQueue queue = driver.create_pair(1, 8);
  driver.write64(0x50, kBase | 1);  // CRE alone
  EXPECT_EQ(driver.device->windows().size(), 1u);
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase)).status, 0x04);  // goes out, and nobody is there
  driver.write64(0x50, kBase | 3);
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase)).status, 0);
  driver.write64(0x50, (kBase + 0x100000) | 3);  // moved
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase)).status, 0x04);
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, kBase + 0x100000)).status, 0);
  driver.write64(0x50, 0xffff'ffff'fff0'0000 | 3);  // runs past the end of all addresses
  EXPECT_EQ(driver.read32(0x58), 1u);
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, 0xffff'ffff'fff0'0000)).status, 0x04);
  driver.write64(0x50, 2);  // CMSE without CRE claims nothing
  EXPECT_TRUE(driver.device->windows().empty());
  EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 8, 0x1000)).status, 0x04);
}

TEST(NvmeMemoryBuffer, IsNotShownBeforeItIsEnabled) {
  TestDriver driver(with_buffer());
  EXPECT_EQ(driver.device->read_register(4, {0}, 4), ~std::uint64_t{0});
  driver.device->write_register(4, {0}, 4, 1);
  EXPECT_EQ(driver.device->violations().size(), 2u);
}

TEST(NvmeMemoryBuffer, LiesWhereTheSetupSays) {
  ControllerSetup setup = with_buffer(3 << 20);
  setup.cmb_bar = 2;
  setup.cmb_offset_bytes = 0x2000;
  TestDriver driver(std::move(setup));
  driver.write32(0x50, 1);
  const auto& bars = driver.device->identity().bars;
  ASSERT_EQ(bars.size(), 2u);
  EXPECT_EQ(bars[1].index, 2);
  EXPECT_EQ(bars[1].size_bytes, 4u << 20);
  EXPECT_TRUE(bars[1].is_64bit && bars[1].is_prefetchable);
  EXPECT_EQ(driver.read32(0x38), 0x00002062u);
  EXPECT_EQ(driver.read32(0x3c) >> 12, 768u);
  const auto windows = driver.device->windows();
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].bar, 2);
  EXPECT_EQ(windows[0].start.value, 0x2000u);
  EXPECT_EQ(windows[0].bytes.size(), 3u << 20);
}

TEST(NvmeMemoryBuffer, LargeOnesCountInLargerUnits) {
  ControllerSetup setup = with_buffer(std::uint64_t{64} << 30);
  TestDriver driver(std::move(setup));
  driver.write32(0x50, 1);
  EXPECT_EQ(driver.read32(0x3c), 0x1000021fu);  // 65536 units of 1 MiB: 2^20 of 64 KiB would not fit
}

// What each missing ability makes invalid: 12h, Invalid Use of Controller Memory Buffer.
TEST(NvmeMemoryBuffer, EachAbilityIsNeededForItsUse) {
  constexpr std::uint16_t kInvalidUse = 0x12;
  const auto start = [](bool BufferAbilities::* field, bool value) {
    ControllerSetup setup = with_buffer();
    setup.cmb.*field = value;
    auto driver = std::make_unique<TestDriver>(std::move(setup));
    driver->enable();
    driver->enable_cmb(kBase);
    return driver;
  };
  {
    auto driver = start(&BufferAbilities::read_data, false);
    TestQueue queue = driver->create_pair(1, 8);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x02, 0, 8, kBase)).status, kInvalidUse);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x01, 0, 8, kBase)).status, 0);
    EXPECT_EQ(driver->run_admin({.opcode = 0x06, .prp1 = kBase, .cdw10 = 1}).status, kInvalidUse);
  }
  {
    auto driver = start(&BufferAbilities::write_data, false);
    TestQueue queue = driver->create_pair(1, 8);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x02, 0, 8, kBase)).status, 0);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x01, 0, 8, kBase)).status, kInvalidUse);
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x05, 0, 8, kBase)).status, kInvalidUse);
  }
  {
    auto driver = start(&BufferAbilities::submission_queues, false);
    EXPECT_EQ(driver->create_cq(1, 8, kBase), 0);
    EXPECT_EQ(driver->create_sq(1, 8, kBase + 0x1000, 1), kInvalidUse);
    EXPECT_EQ(driver->create_sq(1, 8, TestDriver::kQueues, 1), 0);
  }
  {
    auto driver = start(&BufferAbilities::completion_queues, false);
    EXPECT_EQ(driver->create_cq(1, 8, kBase), kInvalidUse);
  }
  for (const bool allowed : {false, true}) {
    auto driver = start(&BufferAbilities::lists, allowed);
    TestQueue queue = driver->create_pair(1, 8);
    for (std::uint64_t each = 0; each < 4; ++each) {
      const std::uint64_t page = kData + (each + 1) * 4096;
      std::memcpy(driver->cmb.data() + each * 8, &page, 8);
    }
    EXPECT_EQ(driver->run(queue, TestDriver::blocks(0x02, 0, 32, kData, kBase)).status, allowed ? 0 : kInvalidUse);
  }
}

TEST(NvmeMemoryBuffer, WhatMayBeMixed) {
  constexpr std::uint16_t kInvalidUse = 0x12;
  const std::uint64_t end = kBase + (1 << 20);
  for (const bool allowed : {false, true}) {
    const std::uint16_t expected = allowed ? 0 : kInvalidUse;
    ControllerSetup setup = with_buffer();
    setup.cmb.data_mixed = setup.cmb.lists_mixed = setup.cmb.list_apart_from_command = setup.cmb.queue_mixed = allowed;
    TestDriver driver(std::move(setup));
    driver.enable();
    driver.enable_cmb(kBase);
    TestQueue queue = driver.create_pair(1, 8);
    // Data in both.
    EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 16, kData, kBase)).status, expected);
    EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 16, kBase, kData)).status, expected);
    // A list in the buffer for a command that isn't there, and the other way round.
    const auto put_list = [&](std::uint64_t at) {
      for (std::uint64_t each = 0; each < 2; ++each) {
        const std::uint64_t page = kData + (each + 1) * 4096;
        std::memcpy(driver.memory(at + each * 8, 8).data(), &page, 8);
      }
    };
    put_list(kBase + 0x8000);
    put_list(TestDriver::kBuffer);
    EXPECT_EQ(driver.run(queue, TestDriver::blocks(0x02, 0, 24, kData, kBase + 0x8000)).status, expected);
    TestQueue inside = driver.create_pair(2, 8, kBase + 0x10000, kBase + 0x11000);
    EXPECT_EQ(driver.run(inside, TestDriver::blocks(0x02, 0, 24, kData, TestDriver::kBuffer)).status, expected);
    EXPECT_EQ(driver.run(inside, TestDriver::blocks(0x02, 0, 24, kData, kBase + 0x8000)).status, 0);
    // A queue across the edge.
    EXPECT_EQ(driver.create_cq(3, 512, end - 4096), expected);
  }
}

TEST(NvmeMemoryBuffer, QueuesInItGoRound) {
  TestDriver driver(with_buffer());
  driver.enable();
  driver.enable_cmb(kBase);
  TestQueue queue = driver.create_pair(1, 3, kBase, kBase + 0x1000);
  driver.fill(kData, 512, 1);
  const std::uint64_t runs = driver.host.runs;
  for (std::uint32_t round = 0; round < 50; ++round) {
    driver.host.put(kData, round);
    ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x01, round, 1, kData)).status, 0);
  }
  EXPECT_EQ(driver.host.runs - runs, 50u);  // data alone
  for (std::uint32_t round = 0; round < 50; ++round) {
    ASSERT_EQ(driver.run(queue, TestDriver::blocks(0x02, round, 1, kData)).status, 0);
    EXPECT_EQ(driver.host.get<std::uint32_t>(kData), round);
  }
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeQueues, WrapWithThePhaseTagAndStopWhenFull) {
  TestDriver driver(test_setup());
  driver.enable();
  TestQueue queue = driver.create_pair(1, 4);
  for (int round = 0; round < 25; ++round) {
    std::vector<std::uint16_t> sent;
    for (int each = 0; each < 3; ++each) sent.push_back(driver.put(queue, {.opcode = 0x00, .nsid = 1}));
    driver.ring(queue);
    driver.settle();
    for (const std::uint16_t cid : sent) {
      const auto completion = driver.take(queue);
      ASSERT_TRUE(completion);
      ASSERT_EQ(completion->cid, cid);
    }
    ASSERT_FALSE(driver.take(queue));
  }
  EXPECT_TRUE(driver.device->violations().empty());
}

TEST(NvmeQueues, ACompletionQueueWithNoRoomHoldsCommandsBack) {
  TestDriver driver(test_setup());
  driver.enable();
  // Two submission queues of 8 share a completion queue of 4.
  TestQueue first = driver.create_pair(1, 4);
  EXPECT_EQ(driver.create_sq(2, 8, TestDriver::kQueues + 0x80000, 1), 0);
  TestQueue second{.id = 2, .entries = 8, .sq = TestDriver::kQueues + 0x80000};
  for (int each = 0; each < 7; ++each) driver.put(second, {.opcode = 0x00, .nsid = 1});
  driver.ring(second);
  for (int each = 0; each < 3; ++each) driver.put(first, {.opcode = 0x00, .nsid = 1});
  driver.ring(first);
  driver.settle();
  int completions = 0;
  while (driver.take(first)) {
    ++completions;
    driver.settle();
  }
  EXPECT_EQ(completions, 10);
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeQueues, ArbitrationGivesEachQueueItsBurst) {
  TestDriver driver(test_setup());
  driver.enable();
  ASSERT_EQ(driver.run_admin({.opcode = 0x09, .cdw10 = 1, .cdw11 = 1}).status, 0);  // bursts of two
  TestQueue shared = driver.create_pair(1, 64);
  EXPECT_EQ(driver.create_sq(2, 64, TestDriver::kQueues + 0x80000, 1), 0);
  TestQueue other{.id = 2, .entries = 64, .sq = TestDriver::kQueues + 0x80000};
  for (int each = 0; each < 20; ++each) {
    driver.put(shared, {.opcode = 0x00, .nsid = 1});
    driver.put(other, {.opcode = 0x00, .nsid = 1});
  }
  driver.ring(shared);
  driver.ring(other);
  driver.settle();
  int lead = 0;
  while (const auto completion = driver.take(shared)) {
    lead += completion->sqid == 1 ? 1 : -1;
    EXPECT_LE(std::abs(lead), 4);
  }
  EXPECT_EQ(lead, 0);
}

TEST(NvmeQueues, AStepIsBounded) {
  TestDriver driver(test_setup());
  driver.enable();
  TestQueue queue = driver.create_pair(1, 512);
  for (int each = 0; each < 300; ++each) driver.put(queue, {.opcode = 0x00, .nsid = 1});
  driver.ring(queue);
  EXPECT_TRUE(driver.device->step());
  int completions = 0;
  while (driver.take(queue)) ++completions;
  EXPECT_EQ(completions, 64);
}

TEST(NvmeQueues, NoInterruptsUnlessAskedFor) {
  TestDriver driver(test_setup());
  driver.enable();
  ASSERT_EQ(driver.create_cq(1, 8, TestDriver::kQueues + 0x1000, 2u << 16 | 1), 0);
  ASSERT_EQ(driver.create_sq(1, 8, TestDriver::kQueues, 1), 0);
  TestQueue queue{.id = 1, .entries = 8, .sq = TestDriver::kQueues, .cq = TestDriver::kQueues + 0x1000};
  EXPECT_EQ(driver.run(queue, {.opcode = 0x00, .nsid = 1}).status, 0);
  EXPECT_EQ(driver.host.interrupts[2], 0u);
  EXPECT_GT(driver.host.interrupts[0], 0u);
}

TEST(NvmeQueues, ACommandThatCantBeFetchedIsFatal) {
  for (const bool is_completion : {false, true}) {
    TestDriver driver(test_setup());
    driver.enable();
    TestQueue queue = driver.create_pair(1, 8);
    driver.put(queue, {.opcode = 0x00, .nsid = 1});
    driver.host.broken_address = (is_completion ? queue.cq : queue.sq) + 8;
    driver.ring(queue);
    driver.settle();
    EXPECT_EQ(driver.read32(0x1c), 3u);  // RDY and CFS
    driver.host.broken_address = ~std::uint64_t{0};
    driver.disable();
    EXPECT_EQ(driver.read32(0x1c), 0u);
    driver.enable();
    EXPECT_EQ(driver.run_admin({.opcode = 0x06, .prp1 = TestDriver::kBuffer, .cdw10 = 1}).status, 0);
    EXPECT_TRUE(driver.device->violations().empty());
  }
}

TEST(NvmeQueues, OnesThatAreRegistersWorkToo) {
  TestDriver driver(test_setup());
  driver.enable();
  TestQueue queue = driver.create_pair(1, 4, TestHost::kRegisters, TestHost::kRegisters + 0x1000);
  for (int each = 0; each < 9; ++each) EXPECT_EQ(driver.run(queue, {.opcode = 0x00, .nsid = 1}).status, 0);
}

TEST(NvmeMisbehaviour, EachLieIsTold) {
  const auto start = [](auto&& lie) {
    ControllerSetup setup = with_buffer();
    lie(setup.misbehaviour);
    auto driver = std::make_unique<TestDriver>(std::move(setup));
    driver->enable();
    return driver;
  };
  EXPECT_EQ(start([](Misbehaviour& lie) { lie.never_ready = true; })->read32(0x1c), 0u);
  EXPECT_EQ(start([](Misbehaviour& lie) { lie.fatal_after_enable = true; })->read32(0x1c), 3u);
  const std::uint64_t absurd = start([](Misbehaviour& lie) { lie.absurd_capabilities = true; })->read64(0);
  EXPECT_GT(absurd >> 48 & 0xf, absurd >> 52 & 0xf);  // MPSMIN above MPSMAX
  auto deaf = start([](Misbehaviour& lie) { lie.ignores_doorbells = true; });
  EXPECT_EQ(deaf->run_admin({.opcode = 0x06, .prp1 = TestDriver::kBuffer, .cdw10 = 1}).status, 0xffff);
  for (const bool is_id : {false, true}) {
    auto liar =
        start([is_id](Misbehaviour& lie) { (is_id ? lie.wrong_command_id : lie.wrong_submission_head) = true; });
    TestQueue queue = liar->create_pair(1, 8);
    const std::uint16_t cid = liar->put(queue, {.opcode = 0x00, .nsid = 1});
    liar->ring(queue);
    liar->settle();
    const auto completion = liar->take(queue);
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->cid != cid, is_id);
    EXPECT_EQ(completion->sqhd >= 8, !is_id);
  }
}

TEST(NvmeMisbehaviour, LostAndLateCompletionsComeFromTheSeed) {
  const auto order = [](double lost, double late, std::uint64_t seed) {
    ControllerSetup setup = test_setup();
    setup.misbehaviour = {.lost_completions = lost, .late_completions = late, .seed = seed};
    TestDriver driver(std::move(setup));
    driver.enable();
    TestQueue queue = driver.create_pair(1, 64);
    for (int each = 0; each < 60; ++each) driver.put(queue, {.opcode = 0x00, .nsid = 1});
    driver.ring(queue);
    driver.settle();
    std::vector<std::uint16_t> ids;
    while (const auto completion = driver.take(queue)) ids.push_back(completion->cid);
    return ids;
  };
  const auto honest = order(0, 0, 1);
  EXPECT_EQ(honest.size(), 60u);
  EXPECT_TRUE(std::is_sorted(honest.begin(), honest.end()));
  const auto lossy = order(0.3, 0, 1);
  EXPECT_LT(lossy.size(), 55u);
  EXPECT_GT(lossy.size(), 25u);
  EXPECT_EQ(lossy, order(0.3, 0, 1));
  EXPECT_NE(lossy, order(0.3, 0, 2));
  auto late = order(0, 0.5, 1);
  EXPECT_EQ(late.size(), 60u);
  EXPECT_FALSE(std::is_sorted(late.begin(), late.end()));
  std::sort(late.begin(), late.end());
  EXPECT_EQ(late, honest);
  EXPECT_TRUE(order(1, 0, 1).empty());
}

// A host's thread rings and polls while the controller steps on another. Its memory is plain, so the completion's phase
// tag, which the fabric publishes on a real machine, goes through the memory buffer here.
TEST(NvmeThreads, DoorbellsAndCompletionsOrderTheData) {
  TestDriver driver(with_buffer());
  driver.enable();
  driver.enable_cmb(kBase);
  TestQueue queue = driver.create_pair(1, 8, kBase, kBase + 0x1000);
  std::atomic<bool> stops = false;
  std::thread device([&] {
    while (!stops.load(std::memory_order_acquire)) {
      if (!driver.device->step()) std::this_thread::yield();
    }
  });
  for (std::uint32_t round = 0; round < 100; ++round) {
    for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0x01, 0x02}) {
      const std::uint64_t at = opcode == 1 ? kData : kData + 4096;
      if (opcode == 1) driver.host.put(kData, round * 77);
      driver.put(queue, TestDriver::blocks(opcode, round % 16, 1, at));
      const auto* dword = reinterpret_cast<const std::uint32_t*>(driver.cmb.data() + 0x1000 + queue.head * 16 + 12);
      const std::uint32_t wanted = queue.phase ? 1 : 0;
      driver.ring(queue);
      auto& shared = const_cast<std::uint32_t&>(*dword);
      while ((std::atomic_ref<std::uint32_t>(shared).load(std::memory_order_acquire) >> 16 & 1) != wanted) {
        EXPECT_EQ(driver.read32(0x1c), 1u);
        std::this_thread::yield();
      }
      const auto completion = driver.take(queue);
      ASSERT_TRUE(completion);
      ASSERT_EQ(completion->status, 0);
    }
    ASSERT_EQ(driver.host.get<std::uint32_t>(kData + 4096), round * 77);
  }
  stops.store(true, std::memory_order_release);
  device.join();
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

TEST(NvmeThreads, ResetWhileItWorks) {
  TestDriver driver(with_buffer());
  std::atomic<bool> stops = false;
  std::thread device([&] {
    while (!stops.load(std::memory_order_acquire)) {
      if (!driver.device->step()) std::this_thread::yield();
    }
  });
  for (int round = 0; round < 20; ++round) {
    driver.write32(0x24, 0x001f001f);
    driver.write64(0x28, TestDriver::kAdminSq);
    driver.write64(0x30, TestDriver::kAdminCq);
    driver.write32(0x14, 0x00460001);
    while (driver.read32(0x1c) != 1) std::this_thread::yield();
    driver.write64(0x50, kBase | 3);
    if (round % 2 == 0) {
      driver.device->reset();
    } else {
      driver.write32(0x14, 0x00460000);
      while (driver.read32(0x1c) != 0) std::this_thread::yield();
    }
  }
  stops.store(true, std::memory_order_release);
  device.join();
  EXPECT_TRUE(driver.device->violations().empty()) << driver.device->violations()[0];
}

}  // namespace
}  // namespace barter::devices::nvme
