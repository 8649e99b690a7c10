#include "drivers/nvme/controller.h"

#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/nvme/fake_controller.h"

namespace barter::drivers::nvme {
namespace {

using ::testing::AllOf;
using testing::FakeCompletion;
using testing::FakeController;
using testing::FakeFunction;
using testing::FakeNamespace;
using testing::FakeSetup;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kCapWithCmb = 0x0200'0020'0100'003f;

struct Bench {
  explicit Bench(FakeSetup setup = {}, ControllerOptions options = {})
      : device(std::make_shared<FakeController>(std::move(setup))),
        controller(Controller::create(std::make_unique<FakeFunction>(device), options)) {}
  ~Bench() {
    controller = fail({});
    EXPECT_THAT(device->violations, IsEmpty());
    EXPECT_EQ(device->dma_bytes_allocated, 0u);
  }
  [[nodiscard]] std::string message() const { return controller ? "" : controller.error().message(); }
  [[nodiscard]] ErrorCode code() const { return controller.error().code; }

  // Sends one command and waits for its result.
  Result<CommandResult> run(QueuePair& queue, const Command& command) {
    if (auto sent = queue.submit(command); !sent) return fail(sent.error());
    queue.ring();
    return wait(queue);
  }
  Result<CommandResult> wait(QueuePair& queue) {
    std::array<CommandResult, 1> results;
    while (true) {
      auto taken = queue.poll(results);
      if (!taken) return fail(taken.error());
      if (*taken == 1) return results[0];
      (*controller)->function().clock().idle();
    }
  }

  std::shared_ptr<FakeController> device;
  Result<std::unique_ptr<Controller>> controller;
};

std::vector<std::byte> noise(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(NvmeController, ComesUpAndTellsWhatItIs) {
  Bench bench({.namespaces = {{.id = 1}, {.id = 7, .blocks = 64, .block_log2 = 12, .write_protected = true}},
               .mdts = 3,
               .queue_pairs = 3});
  ASSERT_TRUE(bench.controller) << bench.message();
  const ControllerFacts& facts = (*bench.controller)->facts();
  EXPECT_EQ(facts.serial, "SN-1");
  EXPECT_EQ(facts.model, "fake drive?[31m");  // no escape sequence gets to a terminal
  EXPECT_EQ(facts.firmware, "0.1");
  EXPECT_EQ(facts.version, 0x20000u);
  EXPECT_EQ(facts.max_transfer_bytes, 32768u);
  EXPECT_EQ(facts.max_queue_entries, 64u);
  EXPECT_EQ(facts.io_queues, 3u);
  EXPECT_FALSE(facts.takes_sgl);
  ASSERT_EQ((*bench.controller)->namespaces().size(), 2u);
  EXPECT_EQ((*bench.controller)->namespaces()[0].size_bytes(), 524288u);
  EXPECT_EQ((*bench.controller)->namespaces()[1].id, 7u);
  EXPECT_EQ((*bench.controller)->namespaces()[1].size_bytes(), 262144u);
  EXPECT_TRUE((*bench.controller)->namespaces()[1].write_protected);
  EXPECT_FALSE((*bench.controller)->controller_memory());
  EXPECT_EQ(bench.device->command, 6u);  // memory space and bus master were turned on
}

TEST(NvmeController, WritesAndReadsBack) {
  for (const std::size_t bytes : {512u, 4096u, 8192u, 12288u, 262144u}) {
    Bench bench;
    ASSERT_TRUE(bench.controller) << bench.message();
    auto queue = (*bench.controller)->create_queue_pair({.entries = 8});
    ASSERT_TRUE(queue) << queue.error().message();
    auto memory = (*bench.controller)->function().allocate_dma(bytes * 2, pci::DmaUse::data);
    const auto sent = noise(bytes, 1);
    std::ranges::copy(sent, memory->bytes().begin());
    const DmaSegment out{memory->address(), bytes};
    const DmaSegment in{memory->address() + bytes, bytes};
    const auto blocks = static_cast<std::uint32_t>(bytes / 512);
    auto written =
        bench.run(**queue, {.opcode = Opcode::write, .block = 3, .blocks = blocks, .data = {&out, 1}, .tag = 7});
    ASSERT_TRUE(written) << written.error().message();
    EXPECT_TRUE(written->ok());
    EXPECT_EQ(written->tag, 7u);
    EXPECT_TRUE(std::ranges::equal(std::span(bench.device->setup.namespaces[0].media).subspan(3 * 512, bytes), sent));
    auto read = bench.run(**queue, {.opcode = Opcode::read, .block = 3, .blocks = blocks, .data = {&in, 1}, .tag = 8});
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_TRUE(std::ranges::equal(memory->bytes().subspan(bytes), sent));
    auto flushed = bench.run(**queue, {.opcode = Opcode::flush, .tag = 9});
    ASSERT_TRUE(flushed) << flushed.error().message();
    EXPECT_EQ(flushed->tag, 9u);
  }
}

TEST(NvmeController, RunsAFullQueueManyTimesOver) {
  Bench bench;
  ASSERT_TRUE(bench.controller) << bench.message();
  auto queue = (*bench.controller)->create_queue_pair({.entries = 5});
  ASSERT_TRUE(queue) << queue.error().message();
  EXPECT_EQ((*queue)->capacity(), 4);
  auto memory = (*bench.controller)->function().allocate_dma(4096, pci::DmaUse::data);
  const DmaSegment segment{memory->address(), 512};
  std::uint64_t submitted = 0;
  std::uint64_t sum = 0;
  std::array<CommandResult, 8> results;
  for (unsigned round = 0; round < 5000; ++round) {
    while ((*queue)->in_flight() < (*queue)->capacity())
      ASSERT_TRUE((*queue)->submit({.blocks = 1, .data = {&segment, 1}, .tag = submitted++}));
    auto full = (*queue)->submit({.blocks = 1, .data = {&segment, 1}});
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, ErrorCode::exhausted);
    (*queue)->ring();
    bench.device->step();
    if (round % 3 == 0) bench.device->step();
    auto taken = (*queue)->poll(results);
    ASSERT_TRUE(taken) << taken.error().message();
    for (std::size_t index = 0; index < *taken; ++index) sum += results[index].tag;
  }
  while ((*queue)->in_flight() != 0) sum += bench.wait(**queue)->tag;
  EXPECT_EQ(sum, submitted * (submitted - 1) / 2);
}

TEST(NvmeController, RingsOneDoorbellForManyCommandsAndOneForManyCompletions) {
  Bench bench;
  ASSERT_TRUE(bench.controller) << bench.message();
  auto queue = (*bench.controller)->create_queue_pair({.entries = 32});
  auto memory = (*bench.controller)->function().allocate_dma(4096, pci::DmaUse::data);
  const DmaSegment segment{memory->address(), 512};
  const unsigned before = bench.device->doorbell_stores;
  for (unsigned index = 0; index < 20; ++index) ASSERT_TRUE((*queue)->submit({.blocks = 1, .data = {&segment, 1}}));
  (*queue)->ring();
  (*queue)->ring();
  for (unsigned index = 0; index < 20; ++index) bench.device->step();
  std::array<CommandResult, 32> results;
  EXPECT_EQ((*queue)->poll(results).value(), 20u);
  EXPECT_EQ((*queue)->poll(results).value(), 0u);
  EXPECT_EQ(bench.device->doorbell_stores - before, 2u);
}

TEST(NvmeController, EnablesTheMemoryBufferAtItsBusAddress) {
  Bench bench({.cap = kCapWithCmb, .cmb_bytes = 0x8000, .cmb_offset = 0x1000});
  ASSERT_TRUE(bench.controller) << bench.message();
  const auto& info = (*bench.controller)->controller_memory();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->bar, 2);
  EXPECT_EQ(info->offset_bytes, 0x1000u);
  EXPECT_EQ(info->size_bytes, 0x8000u);
  EXPECT_TRUE(info->submission_queues && info->read_data && info->write_data);
  EXPECT_FALSE(info->completion_queues || info->lists);
  EXPECT_EQ((*bench.controller)->controller_memory_address().value, 0x80'0000'1000u);
  EXPECT_EQ((*bench.controller)->controller_memory_bytes().size(), 0x8000u);
  EXPECT_EQ(bench.device->cmbmsc, 0x80'0000'1003u);  // CRE, CMSE and the address

  // A read into the drive's own buffer, by bus address.
  auto queue = (*bench.controller)->create_queue_pair({});
  bench.device->setup.namespaces[0].media = noise(524288, 2);
  const DmaSegment segment{{(*bench.controller)->controller_memory_address().value + 0x2000}, 4096};
  auto read = bench.run(**queue, {.block = 8, .blocks = 8, .data = {&segment, 1}});
  ASSERT_TRUE(read && read->ok());
  EXPECT_TRUE(std::ranges::equal((*bench.controller)->controller_memory_bytes().subspan(0x2000, 4096),
                                 std::span(bench.device->setup.namespaces[0].media).subspan(4096, 4096)));
}

}  // namespace
}  // namespace barter::drivers::nvme
