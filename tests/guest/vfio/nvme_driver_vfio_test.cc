// The NVMe driver on somebody else's device: QEMU's NVMe drives, through VFIO and the guest's IOMMU.
#include <algorithm>
#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"
#include "peer/exchange.h"
#include "vfio_machine.h"

namespace barter {
namespace {

using drivers::nvme::Command;
using drivers::nvme::CommandResult;
using drivers::nvme::Controller;
using drivers::nvme::ControllerOptions;
using drivers::nvme::Opcode;
using drivers::nvme::QueueOptions;
using drivers::nvme::QueuePair;
using ::testing::IsEmpty;

std::vector<std::byte> noise(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  base::Random random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

class NvmeDriverOnVfio : public ::testing::Test {
 protected:
  static Bdf bdf(std::size_t drive) { return guest::vfio_functions()[drive]; }
  std::unique_ptr<Controller> open(std::size_t drive = 0, ControllerOptions options = {}) {
    auto function = host_->open(bdf(drive));
    EXPECT_TRUE(function) << function.error().message();
    if (!function) return nullptr;
    functions_[drive] = function->get();
    auto controller = Controller::create(std::move(*function), options);
    EXPECT_TRUE(controller) << controller.error().message();
    return controller ? std::move(*controller) : nullptr;
  }
  static std::unique_ptr<QueuePair> queue_of(Controller& controller, QueueOptions options = {}) {
    auto queue = controller.create_queue_pair(options);
    EXPECT_TRUE(queue) << queue.error().message();
    return queue ? std::move(*queue) : nullptr;
  }
  static Result<CommandResult> run(Controller& controller, QueuePair& queue, const Command& command) {
    if (auto sent = queue.submit(command); !sent) return fail(sent.error());
    queue.ring();
    std::array<CommandResult, 1> results;
    while (true) {
      auto taken = queue.poll(results);
      if (!taken) return fail(taken.error());
      if (*taken == 1) return results[0];
      controller.function().clock().idle();
    }
  }
  static void expect_done(Controller& controller, QueuePair& queue, const Command& command) {
    auto result = run(controller, queue, command);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->ok()) << drivers::nvme::describe_status(result->status);
  }

  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
  std::array<linux_os::vfio::VfioFunction*, 2> functions_{};
};

TEST_F(NvmeDriverOnVfio, ComesUpAndGoesDown) {
  for (int round = 0; round < 3; ++round) {
    auto controller = open();
    ASSERT_TRUE(controller);
    EXPECT_EQ(controller->facts().model, "QEMU NVMe Ctrl");
    EXPECT_GE(controller->facts().version, 0x10400u);
    EXPECT_TRUE(controller->facts().takes_sgl);
    EXPECT_THAT(controller->facts().remarks, IsEmpty());
    ASSERT_EQ(controller->namespaces().size(), 1u);
    EXPECT_EQ(controller->namespaces()[0].block_bytes, 512u);
    ASSERT_TRUE(controller->controller_memory());
    auto done = controller->shut_down();
    EXPECT_TRUE(done) << done.error().message();
  }
}

// A controller that was left running, as after a program that died, comes up again.
TEST_F(NvmeDriverOnVfio, TakesOverARunningController) {
  auto function = host_->open(bdf(0));
  ASSERT_TRUE(function);
  auto first = Controller::create(std::make_unique<guest::BorrowedFunction>(**function), {});
  ASSERT_TRUE(first) << first.error().message();
  auto second = Controller::create(std::make_unique<guest::BorrowedFunction>(**function), {});
  ASSERT_TRUE(second) << second.error().message();
  auto queue = queue_of(**second);
  expect_done(**second, *queue, {.opcode = Opcode::flush});
}

// Random pieces of random alignment, written and read back, against an ordinary array.
TEST_F(NvmeDriverOnVfio, MovesTheRightBytes) {
  for (const bool use_sgl : {true, false}) {
    auto controller = open(0, {.use_sgl = use_sgl});
    ASSERT_TRUE(controller);
    auto queue = queue_of(*controller);
    const auto& space = controller->namespaces()[0];
    constexpr std::uint64_t kMemoryBytes = std::uint64_t{4} << 20;
    constexpr std::uint64_t kUsedBytes = std::uint64_t{8} << 20;
    auto memory = controller->function().allocate_dma(kMemoryBytes, pci::DmaUse::data);
    ASSERT_TRUE(memory) << memory.error().message();
    auto model = noise(kUsedBytes, 11);
    for (std::uint64_t done = 0; done < kUsedBytes; done += 262144) {
      std::ranges::copy(std::span(model).subspan(done, 262144), memory->bytes().begin());
      const DmaSegment segment{memory->address(), 262144};
      expect_done(*controller, *queue,
                  {.opcode = Opcode::write, .block = done / 512, .blocks = 512, .data = {&segment, 1}});
    }
    base::Random random(7);
    for (int turn = 0; turn < 150; ++turn) {
      const std::uint64_t longest = turn % 10 == 0 ? controller->facts().max_transfer_bytes : 65536;
      const auto blocks = static_cast<std::uint32_t>(1 + random.below(longest / space.block_bytes));
      const std::uint64_t bytes = std::uint64_t{blocks} * space.block_bytes;
      const std::uint64_t block = random.below(kUsedBytes / space.block_bytes - blocks + 1);
      const std::uint64_t at = random.below((kMemoryBytes - bytes) / 4 + 1) * 4;
      std::vector<DmaSegment> segments;
      for (std::uint64_t done = 0; done < bytes;) {
        const std::uint64_t left = bytes - done;
        const std::uint64_t to_page = 4096 - (at + done) % 4096;
        const std::uint64_t piece = segments.size() == 2 ? left : std::min(left, to_page + 4096 * random.below(8));
        segments.push_back({memory->address() + (at + done), piece});
        done += piece;
      }
      const auto here = memory->bytes().subspan(at, bytes);
      const auto there = std::span(model).subspan(block * space.block_bytes, bytes);
      const bool is_write = random.chance(0.5);
      if (is_write) std::ranges::copy(noise(bytes, random.next()), here.begin());
      expect_done(
          *controller, *queue,
          {.opcode = is_write ? Opcode::write : Opcode::read, .block = block, .blocks = blocks, .data = segments});
      if (is_write) std::ranges::copy(here, there.begin());
      ASSERT_TRUE(std::ranges::equal(here, there)) << "turn " << turn << " sgl " << use_sgl;
    }
    expect_done(*controller, *queue, {.opcode = Opcode::flush});
  }
}

TEST_F(NvmeDriverOnVfio, ManyCommandsInFlightOnSeveralQueues) {
  auto controller = open();
  ASSERT_TRUE(controller);
  constexpr std::size_t kQueues = 3;
  auto memory = controller->function().allocate_dma(kQueues * 32 * 4096, pci::DmaUse::data);
  ASSERT_TRUE(memory);
  std::vector<std::unique_ptr<QueuePair>> queues;
  for (std::size_t index = 0; index < kQueues; ++index) queues.push_back(queue_of(*controller, {.entries = 33}));
  std::array<std::uint64_t, kQueues> sent{}, done{};
  std::array<CommandResult, 64> results;
  constexpr std::uint64_t kEach = 500;
  while (std::ranges::any_of(done, [](std::uint64_t count) { return count < kEach; })) {
    for (std::size_t index = 0; index < kQueues; ++index) {
      QueuePair& queue = *queues[index];
      while (queue.in_flight() < queue.capacity() && sent[index] < kEach) {
        const DmaSegment segment{memory->address() + (index * 32 + sent[index] % 32) * 4096, 4096};
        ASSERT_TRUE(
            queue.submit({.block = sent[index] % 1024 * 8, .blocks = 8, .data = {&segment, 1}, .tag = sent[index]}));
        ++sent[index];
      }
      queue.ring();
      auto taken = queue.poll(results);
      ASSERT_TRUE(taken) << taken.error().message();
      for (std::size_t at = 0; at < *taken; ++at) ASSERT_TRUE(results[at].ok());
      done[index] += *taken;
    }
    controller->function().clock().idle();
  }
}

TEST_F(NvmeDriverOnVfio, SubmissionQueuesInTheMemoryBuffer) {
  auto controller = open(0, {.controller_memory_for_queues_bytes = 16 << 10});
  ASSERT_TRUE(controller);
  EXPECT_EQ(controller->facts().controller_memory_for_queues_bytes, 16u << 10)
      << ::testing::PrintToString(controller->facts().remarks);
  auto queue = queue_of(*controller, {.entries = 64, .submissions_in_controller_memory = true});
  ASSERT_TRUE(queue);
  for (int turn = 0; turn < 200; ++turn) expect_done(*controller, *queue, {.opcode = Opcode::flush});
}

TEST_F(NvmeDriverOnVfio, InterruptsArrive) {
  auto controller = open(0, {.interrupt_vectors = 4});
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller, {.interrupt_vector = 3});
  ASSERT_TRUE(queue);
  EXPECT_FALSE(queue->take_interrupt());
  ASSERT_TRUE(queue->submit({.opcode = Opcode::flush}));
  queue->ring();
  auto& clock = controller->function().clock();
  EXPECT_TRUE(base::wait_until(clock, clock.now() + std::chrono::seconds(5), [&] { return queue->take_interrupt(); }));
  std::array<CommandResult, 1> results;
  EXPECT_EQ(queue->poll(results).value(), 1u);
  EXPECT_FALSE(queue->take_interrupt());
}

TEST_F(NvmeDriverOnVfio, FromDriveToDriveThroughAMemoryBufferMappedIntoTheContainer) {
  auto source = open(0);
  auto target = open(1);
  ASSERT_TRUE(source && target);
  auto domain = host_->domain(bdf(0));
  auto own_domain = host_->domain(bdf(1));
  ASSERT_TRUE(domain && own_domain);
  drivers::nvme::CmbExporter exporter(*target);
  drivers::nvme::DriveImporter importer(*source, **domain);
  peer::Exchange exchange(host_->clock(), [](Bdf, Bdf) {
    return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
  });
  ASSERT_TRUE(exchange.add(exporter));
  ASSERT_TRUE(exchange.add(importer));
  auto region = exchange.allocate(exporter, 1 << 20);
  ASSERT_TRUE(region) << region.error().message();
  auto mapping = exchange.map(importer, *region, {.access = Access::write});
  ASSERT_TRUE(mapping) << mapping.error().message();

  auto from = queue_of(*source);
  auto to = queue_of(*target);
  const std::uint64_t piece = source->facts().max_transfer_bytes;
  const auto bytes = noise(piece, 3);
  auto memory = source->function().allocate_dma(piece, pci::DmaUse::data);
  ASSERT_TRUE(memory);
  std::ranges::copy(bytes, memory->bytes().begin());
  const DmaSegment in_host = memory->segment();
  const auto blocks = static_cast<std::uint32_t>(piece / 512);
  expect_done(*source, *from, {.opcode = Opcode::write, .block = 64, .blocks = blocks, .data = {&in_host, 1}});
  {
    auto lease = mapping->lease();
    ASSERT_TRUE(lease);
    const DmaSegment in_buffer{lease->segments()[0].address, piece};
    expect_done(*source, *from, {.opcode = Opcode::read, .block = 64, .blocks = blocks, .data = {&in_buffer, 1}});
  }
  EXPECT_TRUE(std::ranges::equal(region->cpu_bytes().first(piece), bytes));
  const DmaSegment own{{exporter.bus_address().value + region->range().offset}, piece};
  expect_done(*target, *to, {.opcode = Opcode::write, .block = 8, .blocks = blocks, .data = {&own, 1}});
  auto back = target->function().allocate_dma(piece, pci::DmaUse::data);
  ASSERT_TRUE(back);
  const DmaSegment result = back->segment();
  expect_done(*target, *to, {.opcode = Opcode::read, .block = 8, .blocks = blocks, .data = {&result, 1}});
  EXPECT_TRUE(std::ranges::equal(back->bytes(), bytes));
}

// The owner takes the memory back: what the drive still sends there faults, the kernel reports it, and not a byte changes.
TEST_F(NvmeDriverOnVfio, DmaToMemoryThatWasTakenBackFaultsAndChangesNothing) {
  auto source = open(0);
  auto target = open(1);
  ASSERT_TRUE(source && target);
  auto domain = host_->domain(bdf(0));
  ASSERT_TRUE(domain);
  drivers::nvme::CmbExporter exporter(*target);
  drivers::nvme::DriveImporter importer(*source, **domain);
  peer::Exchange exchange(host_->clock(), [](Bdf, Bdf) {
    return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
  });
  ASSERT_TRUE(exchange.add(exporter));
  ASSERT_TRUE(exchange.add(importer));
  auto region = exchange.allocate(exporter, 64 << 10);
  ASSERT_TRUE(region);
  auto mapping = exchange.map(importer, *region, {.access = Access::read_write});
  ASSERT_TRUE(mapping) << mapping.error().message();
  const DmaSegment segment{mapping->lease()->segments()[0].address, 4096};
  auto queue = queue_of(*source);
  expect_done(*source, *queue, {.opcode = Opcode::read, .block = 0, .blocks = 8, .data = {&segment, 1}});

  auto report = region->revoke();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->mappings, 1u);
  const auto view = target->controller_memory_bytes().first(64 << 10);
  std::ranges::fill(view, std::byte{0x5a});
  const std::uint64_t before = guest::kernel_faults();
  // What became of the command is the drive's to say, and QEMU's says that all is well.
  (void)run(*source, *queue, {.opcode = Opcode::read, .block = 0, .blocks = 8, .data = {&segment, 1}});
  EXPECT_GT(guest::kernel_faults(), before);
  EXPECT_TRUE(std::ranges::all_of(view, [](std::byte byte) { return byte == std::byte{0x5a}; }));
}

// An address that nothing was ever mapped at, and one beyond what the IOMMU translates.
TEST_F(NvmeDriverOnVfio, DmaToNowhereFaults) {
  auto controller = open();
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller);
  for (const std::uint64_t address : {std::uint64_t{0x6dead000}, std::uint64_t{0x00ff'dead'0000'0000}}) {
    const std::uint64_t before = guest::kernel_faults();
    const DmaSegment nowhere{{address}, 4096};
    auto result = run(*controller, *queue, {.opcode = Opcode::read, .blocks = 8, .data = {&nowhere, 1}});
    EXPECT_GT(guest::kernel_faults(), before) << std::hex << address;
    (void)result;
  }
  expect_done(*controller, *queue, {.opcode = Opcode::flush});  // and life goes on
}

// A command that mixes the memory buffer and host memory: the status is QEMU's, the words are ours.
TEST_F(NvmeDriverOnVfio, ErrorsOfCommandsComeBackAsStatus) {
  auto controller = open(0, {.use_sgl = false});
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller);
  const DmaSegment half{{controller->controller_memory_address().value}, 4096};
  auto memory = controller->function().allocate_dma(4096, pci::DmaUse::data);
  ASSERT_TRUE(memory);
  const std::array mixed{half, memory->segment()};
  auto result = run(*controller, *queue, {.opcode = Opcode::read, .blocks = 16, .data = mixed});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(drivers::nvme::describe_status(result->status), ::testing::HasSubstr("Invalid Use of Controller Memory"));
  expect_done(*controller, *queue, {.opcode = Opcode::flush});
}

}  // namespace
}  // namespace barter
