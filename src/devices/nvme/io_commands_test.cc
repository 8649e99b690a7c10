#include <gtest/gtest.h>

#include "base/random.h"
#include "devices/nvme/test_host.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t kData = TestDriver::kData;

// A medium that fails on demand, and knows what was asked of it.
class TestBacking final : public Backing {
 public:
  std::uint64_t size_bytes() const override { return bytes.size(); }
  bool is_read_only() const override { return read_only; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    if (fails) return fail(Error{.code = ErrorCode::io_failed, .why = "a bad sector"});
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override {
    if (fails) return fail(Error{.code = ErrorCode::io_failed, .why = "no space left on its file system"});
    std::memcpy(bytes.data() + offset, from.data(), from.size());
    return {};
  }
  Result<void> flush() override {
    ++flushes;
    if (fails) return fail(Error{.code = ErrorCode::io_failed, .why = "a dead disk"});
    return {};
  }
  Result<void> reserve(std::uint64_t offset, std::uint64_t size) override {
    reserved = {offset, size};
    return {};
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(1 << 20);
  std::pair<std::uint64_t, std::uint64_t> reserved;
  unsigned flushes = 0;
  bool fails = false;
  bool read_only = false;
};

class NvmeIo : public ::testing::Test {
 protected:
  ControllerSetup setup() {
    ControllerSetup setup = test_setup(1 << 20);  // 2048 blocks of 512 bytes
    auto backing = std::make_unique<TestBacking>();
    medium = backing.get();
    setup.namespaces.push_back({std::move(backing), 4096});
    auto locked = std::make_unique<TestBacking>();
    locked->read_only = true;
    setup.namespaces.push_back({std::move(locked), 512});
    return setup;
  }
  void SetUp() override {
    driver = std::make_unique<TestDriver>(setup());
    driver->enable();
    queue = driver->create_pair(1, 8);
  }
  void TearDown() override { EXPECT_TRUE(driver->device->violations().empty()) << driver->device->violations()[0]; }
  std::uint16_t run(TestCommand command) { return driver->run(queue, command).status; }
  static TestCommand on(std::uint32_t nsid, TestCommand command) {
    command.nsid = nsid;
    return command;
  }
  std::uint8_t byte(std::uint64_t address) { return driver->host.get<std::uint8_t>(address); }

  TestBacking* medium = nullptr;
  std::unique_ptr<TestDriver> driver;
  TestQueue queue;
};

TEST_F(NvmeIo, LastBlockIsInAndNextIsOut) {
  for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0x01, 0x02, 0x08}) {
    EXPECT_EQ(run(TestDriver::blocks(opcode, 2047, 1, kData)), 0) << int{opcode};
    EXPECT_EQ(run(TestDriver::blocks(opcode, 2048, 1, kData)), 0x80) << int{opcode};
    EXPECT_EQ(run(TestDriver::blocks(opcode, 2047, 2, kData)), 0x80) << int{opcode};
    EXPECT_EQ(run(TestDriver::blocks(opcode, ~std::uint64_t{0}, 1, kData)), 0x80) << int{opcode};
    EXPECT_EQ(run(TestDriver::blocks(opcode, ~std::uint64_t{0} - 6, 8, kData)), 0x80) << int{opcode};
    EXPECT_EQ(run(TestDriver::blocks(opcode, 0, 65536, kData)), 0x80) << int{opcode};
    EXPECT_EQ(run(on(0, TestDriver::blocks(opcode, 0, 1, kData))), 0x0b) << int{opcode};
    EXPECT_EQ(run(on(4, TestDriver::blocks(opcode, 0, 1, kData))), 0x0b) << int{opcode};
    EXPECT_EQ(run(on(0xffffffff, TestDriver::blocks(opcode, 0, 1, kData))), 0x0b) << int{opcode};
  }
}

TEST_F(NvmeIo, NamespacesAreApart) {
  driver->fill(kData, 4096, 1);
  ASSERT_EQ(run(on(1, TestDriver::blocks(0x01, 0, 8, kData))), 0);
  driver->fill(kData, 4096, 2);
  ASSERT_EQ(run(on(2, TestDriver::blocks(0x01, 0, 1, kData))), 0);
  ASSERT_EQ(run(on(1, TestDriver::blocks(0x02, 0, 8, kData + 4096))), 0);
  EXPECT_EQ(byte(kData + 4096), 1);
  ASSERT_EQ(run(on(2, TestDriver::blocks(0x02, 0, 1, kData + 4096))), 0);
  EXPECT_EQ(byte(kData + 4096), 2);
}

TEST_F(NvmeIo, CompareTellsTheDifference) {
  driver->fill(kData, 8192, 7);
  ASSERT_EQ(run(TestDriver::blocks(0x01, 8, 16, kData, kData + 4096)), 0);
  EXPECT_EQ(run(TestDriver::blocks(0x05, 8, 16, kData, kData + 4096)), 0);
  driver->host.put<std::uint8_t>(kData + 8191, static_cast<std::uint8_t>(byte(kData + 8191) + 1));
  EXPECT_EQ(run(TestDriver::blocks(0x05, 8, 16, kData, kData + 4096)), 0x285);
  EXPECT_EQ(run(TestDriver::blocks(0x05, 2048, 1, kData)), 0x80);
}

TEST_F(NvmeIo, WriteZeroesAndDeallocateLeaveZerosAndNothingElse) {
  driver->fill(kData, 4096, 9);
  for (std::uint64_t block = 0; block < 32; block += 8) ASSERT_EQ(run(TestDriver::blocks(0x01, block, 8, kData)), 0);
  ASSERT_EQ(run(TestDriver::blocks(0x08, 1, 2, 0)), 0);
  driver->host.put<std::uint32_t>(kData, 0);
  driver->host.put<std::uint32_t>(kData + 4, 1);  // one block at 9
  driver->host.put<std::uint64_t>(kData + 8, 9);
  driver->host.put<std::uint32_t>(kData + 20, 2);  // two blocks at 15
  driver->host.put<std::uint64_t>(kData + 24, 15);
  const TestCommand deallocate{.opcode = 0x09, .nsid = 1, .prp1 = kData, .cdw10 = 1, .cdw11 = 4};
  ASSERT_EQ(run(deallocate), 0);
  const std::uint64_t back = kData + 0x10000;
  for (std::uint64_t page = 0; page < 4; ++page)
    driver->host.put(TestDriver::kBuffer + page * 8, back + (page + 1) * 4096);
  ASSERT_EQ(run(TestDriver::blocks(0x02, 0, 32, back, TestDriver::kBuffer)), 0);
  driver->fill(kData, 4096, 9);
  const std::vector<std::byte> zeros(512);
  for (std::uint64_t block = 0; block < 32; ++block) {
    const bool is_zero = block == 1 || block == 2 || block == 9 || block == 15 || block == 16;
    const std::byte* expected = is_zero ? zeros.data() : driver->host.bytes(kData + block % 8 * 512, 512).data();
    EXPECT_EQ(std::memcmp(driver->host.bytes(back + block * 512, 512).data(), expected, 512), 0) << block;
  }
}

TEST_F(NvmeIo, DeallocateChecksEveryRangeFirst) {
  driver->fill(kData, 4096, 9);
  ASSERT_EQ(run(TestDriver::blocks(0x01, 0, 8, kData)), 0);
  const std::uint64_t ranges = kData + 0x8000;
  driver->host.put<std::uint32_t>(ranges + 4, 8);
  driver->host.put<std::uint64_t>(ranges + 8, 0);
  driver->host.put<std::uint32_t>(ranges + 20, 1);
  driver->host.put<std::uint64_t>(ranges + 24, 2048);  // out
  EXPECT_EQ(run({.opcode = 0x09, .nsid = 1, .prp1 = ranges, .cdw10 = 1, .cdw11 = 4}), 0x80);
  EXPECT_EQ(run(TestDriver::blocks(0x05, 0, 8, kData)), 0);                                // nothing was touched
  EXPECT_EQ(run({.opcode = 0x09, .nsid = 1, .prp1 = ranges, .cdw10 = 1, .cdw11 = 0}), 0);  // hints
  EXPECT_EQ(run(TestDriver::blocks(0x05, 0, 8, kData)), 0);
  EXPECT_EQ(run({.opcode = 0x09, .nsid = 1, .prp1 = ranges, .cdw10 = 0, .cdw11 = 4}), 0);
  EXPECT_EQ(run(TestDriver::blocks(0x05, 0, 8, kData)), 0x285);
  EXPECT_EQ(run({.opcode = 0x09, .nsid = 9, .prp1 = ranges, .cdw11 = 4}), 0x0b);
  EXPECT_EQ(run({.opcode = 0x09, .nsid = 3, .prp1 = ranges, .cdw11 = 4}), 0x20);
}

TEST_F(NvmeIo, AReadOnlyNamespaceSaysSo) {
  EXPECT_EQ(run(on(3, TestDriver::blocks(0x01, 0, 1, kData))), 0x20);
  EXPECT_EQ(run(on(3, TestDriver::blocks(0x08, 0, 1, kData))), 0x20);
  EXPECT_EQ(run(on(3, TestDriver::blocks(0x02, 0, 1, kData))), 0);
  ASSERT_EQ(driver->run_admin({.opcode = 0x06, .nsid = 3, .prp1 = kData, .cdw10 = 0}).status, 0);
  EXPECT_EQ(byte(kData + 99), 1);
}

TEST_F(NvmeIo, FlushForceUnitAccessAndAWriteCacheThatIsOffMakeDurable) {
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x01, 0, 1, kData))), 0);
  EXPECT_EQ(medium->flushes, 0u);
  TestCommand write = on(2, TestDriver::blocks(0x01, 0, 1, kData));
  write.cdw12 |= 1u << 30;
  EXPECT_EQ(run(write), 0);
  EXPECT_EQ(medium->flushes, 1u);
  EXPECT_EQ(run({.opcode = 0x00, .nsid = 2}), 0);
  EXPECT_EQ(medium->flushes, 2u);
  EXPECT_EQ(run({.opcode = 0x00, .nsid = 1}), 0);
  EXPECT_EQ(medium->flushes, 2u);
  EXPECT_EQ(run({.opcode = 0x00, .nsid = 0xffffffff}), 0);
  EXPECT_EQ(medium->flushes, 3u);
  EXPECT_EQ(run({.opcode = 0x00, .nsid = 0}), 0x0b);
  ASSERT_EQ(driver->run_admin({.opcode = 0x09, .cdw10 = 6, .cdw11 = 0}).status, 0);
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x01, 0, 1, kData))), 0);
  EXPECT_EQ(medium->flushes, 4u);
}

TEST_F(NvmeIo, AFailingMediumIsAMediumErrorAndItsReasonIsKept) {
  EXPECT_FALSE(last_backing_error(*driver->device));
  medium->fails = true;
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x01, 0, 1, kData))), 0x280);
  ASSERT_TRUE(last_backing_error(*driver->device));
  EXPECT_EQ(last_backing_error(*driver->device)->why, "no space left on its file system");
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x02, 0, 1, kData))), 0x281);
  EXPECT_EQ(last_backing_error(*driver->device)->why, "a bad sector");
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x05, 0, 1, kData))), 0x281);
  EXPECT_EQ(run(on(2, TestDriver::blocks(0x08, 0, 1, kData))), 0x280);
  EXPECT_EQ(run({.opcode = 0x00, .nsid = 2}), 0x280);
  ASSERT_EQ(driver->run_admin({.opcode = 0x02, .prp1 = kData, .cdw10 = 127u << 16 | 2}).status, 0);
  EXPECT_EQ(driver->host.get<std::uint64_t>(kData + 160), 5u);
}

TEST_F(NvmeIo, ReserveReachesTheMedium) {
  ASSERT_TRUE(reserve(*driver->device, 2, 4096, 8192));
  EXPECT_EQ(medium->reserved, (std::pair<std::uint64_t, std::uint64_t>(4096, 8192)));
  EXPECT_EQ(reserve(*driver->device, 9, 0, 1).error().code, ErrorCode::not_found);
  EXPECT_EQ(reserve(*driver->device, 2, (1 << 20) - 1, 2).error().code, ErrorCode::out_of_range);
  EXPECT_EQ(reserve(*driver->device, 2, ~std::uint64_t{0}, 2).error().code, ErrorCode::out_of_range);
}

TEST_F(NvmeIo, RefusesWhatItDoesNotAnnounce) {
  for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0x04, 0x0c, 0x0d, 0x19, 0x80, 0xff}) {
    EXPECT_EQ(run({.opcode = opcode, .nsid = 1}), 0x01);
  }
  TestCommand fused = TestDriver::blocks(0x01, 0, 1, kData);
  fused.flags = 0x01;
  EXPECT_EQ(run(fused), 0x02);
  TestCommand reserved = TestDriver::blocks(0x01, 0, 1, kData);
  reserved.flags = 0xc0;
  EXPECT_EQ(run(reserved), 0x02);
  TestCommand directive = TestDriver::blocks(0x01, 0, 1, kData);
  directive.cdw12 |= 1u << 20;
  EXPECT_EQ(run(directive), 0x02);
}

TEST_F(NvmeIo, EnforcesItsLargestTransfer) {
  ControllerSetup small = test_setup(1 << 20);
  small.max_transfer_bytes = 8192;
  TestDriver limited(std::move(small));
  limited.enable();
  TestQueue pair = limited.create_pair(1, 8);
  EXPECT_EQ(limited.run(pair, TestDriver::blocks(0x02, 0, 16, kData, kData + 4096)).status, 0);
  EXPECT_EQ(limited.run(pair, TestDriver::blocks(0x02, 0, 17, kData, kData + 4096)).status, 0x02);
  EXPECT_EQ(limited.run(pair, TestDriver::blocks(0x08, 0, 2048, 0)).status, 0);  // moves no data
}

// Writes at random places and of random sizes, against a plain copy of what the medium should hold.
TEST_F(NvmeIo, RandomTrafficMatchesAPlainCopy) {
  std::vector<std::byte> expected(1 << 20);
  base::Random random(7);
  for (int round = 0; round < 400; ++round) {
    const std::uint64_t first = random.below(2048);
    const auto count = static_cast<std::uint32_t>(1 + random.below(std::min<std::uint64_t>(16, 2048 - first)));
    const std::uint64_t offset = random.below(1024) * 4;
    const std::uint64_t bytes = std::uint64_t{count} * 512;
    const std::uint64_t list = kData + 0x20000;
    // Pages in an order of their own.
    for (std::uint64_t page = 0; page < 4; ++page) driver->host.put(list + page * 8, kData + 0x10000 - page * 4096);
    const std::uint64_t first_bytes = std::min(bytes, 4096 - offset);
    const bool has_list = bytes - first_bytes > 4096;
    const std::uint64_t second = has_list ? list : kData + 0x10000;
    const auto each_part = [&](auto&& part) {
      part(kData + offset, std::uint64_t{0}, first_bytes);
      for (std::uint64_t done = first_bytes, page = 0; done < bytes; done += 4096, ++page) {
        part(kData + 0x10000 - page * 4096, done, std::min<std::uint64_t>(4096, bytes - done));
      }
    };
    const std::uint64_t medium_offset = first * 512;
    if (random.below(2) == 0) {
      each_part([&](std::uint64_t at, std::uint64_t done, std::uint64_t size) {
        for (std::uint64_t each = 0; each < size; ++each) {
          const auto value = static_cast<std::byte>(random.next());
          driver->host.put(at + each, value);
          expected[medium_offset + done + each] = value;
        }
      });
      ASSERT_EQ(run(TestDriver::blocks(0x01, first, count, kData + offset, second)), 0);
    } else {
      ASSERT_EQ(run(TestDriver::blocks(0x02, first, count, kData + offset, second)), 0);
      each_part([&](std::uint64_t at, std::uint64_t done, std::uint64_t size) {
        ASSERT_EQ(std::memcmp(driver->host.bytes(at, size).data(), expected.data() + medium_offset + done, size), 0);
      });
    }
  }
}

}  // namespace
}  // namespace barter::devices::nvme
