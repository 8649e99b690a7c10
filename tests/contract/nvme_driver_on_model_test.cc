// The NVMe driver on the NVMe model, over the software fabric: two parties that share no constants, and a bus between
// them that counts. Every test runs stepped and threaded.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "devices/nvme/controller.h"
#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/drive_importer.h"
#include "fabric/fabric.h"
#include "topology/description.h"

namespace barter {
namespace {

using drivers::nvme::Command;
using drivers::nvme::CommandResult;
using drivers::nvme::Controller;
using drivers::nvme::ControllerOptions;
using drivers::nvme::Opcode;
using drivers::nvme::QueueOptions;
using drivers::nvme::QueuePair;
using fabric::Running;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kDriveBytes = std::uint64_t{8} << 20;
constexpr const char* kTwoDrives = R"(
name = "two"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 2
[[drive]]
name = "nvme0"
below = "sw0.0"
size = "8 MiB"
[[drive]]
name = "nvme1"
below = "sw0.1"
size = "8 MiB"
)";

devices::nvme::ControllerSetup drive_setup(std::vector<std::uint32_t> block_sizes = {512}) {
  devices::nvme::ControllerSetup setup;
  for (const std::uint32_t block_bytes : block_sizes)
    setup.namespaces.push_back(
        {.backing = *devices::nvme::create_memory_backing(kDriveBytes), .block_bytes = block_bytes});
  return setup;
}

std::vector<std::byte> noise(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  base::Random random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

class NvmeDriverOnModel : public ::testing::TestWithParam<Running> {
 protected:
  void plug(devices::nvme::ControllerSetup first, devices::nvme::ControllerSetup second = drive_setup()) {
    auto description = topology::parse_description(kTwoDrives, "test");
    ASSERT_TRUE(description) << description.error().message();
    auto created = fabric::Fabric::create(*description, {.running = GetParam(), .seed = 5});
    ASSERT_TRUE(created) << created.error().message();
    fabric_ = std::move(*created);
    std::array setups = {&first, &second};
    for (std::size_t index = 0; index < 2; ++index) {
      auto device = devices::nvme::create_controller(std::move(*setups[index]));
      ASSERT_TRUE(device) << device.error().message();
      auto plugged = fabric_->plug("nvme" + std::to_string(index), std::move(*device));
      ASSERT_TRUE(plugged) << plugged.error().message();
    }
    auto enumerated = fabric_->enumerate();
    ASSERT_TRUE(enumerated) << enumerated.error().message();
  }
  Bdf bdf(unsigned drive) { return *fabric_->find("nvme" + std::to_string(drive)); }
  Result<std::unique_ptr<Controller>> try_open(unsigned drive = 0, ControllerOptions options = {}) {
    auto function = fabric_->function(bdf(drive));
    if (!function) return fail(function.error());
    return Controller::create(std::move(*function), options);
  }
  std::unique_ptr<Controller> open(unsigned drive = 0, ControllerOptions options = {}) {
    auto controller = try_open(drive, options);
    EXPECT_TRUE(controller) << controller.error().message();
    return controller ? std::move(*controller) : nullptr;
  }
  std::unique_ptr<QueuePair> queue_of(Controller& controller, QueueOptions options = {}) {
    auto queue = controller.create_queue_pair(options);
    EXPECT_TRUE(queue) << queue.error().message();
    return queue ? std::move(*queue) : nullptr;
  }
  Result<CommandResult> wait(Controller& controller, QueuePair& queue) {
    std::array<CommandResult, 1> results;
    while (true) {
      auto taken = queue.poll(results);
      if (!taken) return fail(taken.error());
      if (*taken == 1) return results[0];
      controller.function().clock().idle();
    }
  }
  Result<CommandResult> run(Controller& controller, QueuePair& queue, const Command& command) {
    if (auto sent = queue.submit(command); !sent) return fail(sent.error());
    queue.ring();
    return wait(controller, queue);
  }
  void expect_done(Controller& controller, QueuePair& queue, const Command& command) {
    auto result = run(controller, queue, command);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->ok()) << drivers::nvme::describe_status(result->status);
  }
  void expect_no_violations() { EXPECT_THAT(fabric_->violations(), IsEmpty()); }

  std::unique_ptr<fabric::Fabric> fabric_;
};

INSTANTIATE_TEST_SUITE_P(Running, NvmeDriverOnModel, ::testing::Values(Running::stepped, Running::threaded),
                         [](const auto& instance) {
                           return instance.param == Running::stepped ? "stepped" : "threaded";
                         });

TEST_P(NvmeDriverOnModel, ComesUpAndGoesDown) {
  ASSERT_NO_FATAL_FAILURE(plug(drive_setup({512, 4096})));
  for (int round = 0; round < 3; ++round) {
    auto controller = open();
    ASSERT_TRUE(controller);
    EXPECT_EQ(controller->facts().serial, "barter");
    EXPECT_EQ(controller->facts().max_transfer_bytes, 2u << 20);
    EXPECT_EQ(controller->facts().io_queues, 16);
    EXPECT_TRUE(controller->facts().takes_sgl);
    ASSERT_EQ(controller->namespaces().size(), 2u);
    EXPECT_EQ(controller->namespaces()[0].block_bytes, 512u);
    EXPECT_EQ(controller->namespaces()[1].block_bytes, 4096u);
    for (const auto& space : controller->namespaces()) EXPECT_EQ(space.size_bytes(), kDriveBytes);
    EXPECT_THAT(controller->facts().remarks, IsEmpty());
    auto done = controller->shut_down();
    EXPECT_TRUE(done) << done.error().message();
  }
  expect_no_violations();
}

// Random pieces of random alignment, written and read back, against an ordinary array.
TEST_P(NvmeDriverOnModel, MovesTheRightBytes) {
  for (const bool use_sgl : {true, false}) {
    ASSERT_NO_FATAL_FAILURE(plug(drive_setup({512, 4096})));
    auto controller = open(0, {.use_sgl = use_sgl});
    ASSERT_TRUE(controller);
    auto queue = queue_of(*controller);
    constexpr std::uint64_t kMemoryBytes = std::uint64_t{4} << 20;
    auto memory = controller->function().allocate_dma(kMemoryBytes, pci::DmaUse::data);
    ASSERT_TRUE(memory);
    std::array model = {std::vector<std::byte>(kDriveBytes), std::vector<std::byte>(kDriveBytes)};
    base::Random random(7);
    for (int turn = 0; turn < 300; ++turn) {
      const auto which = random.below(2);
      const auto& space = controller->namespaces()[which];
      const std::uint64_t longest = turn % 10 == 0 ? std::uint64_t{2} << 20 : 65536;
      const auto blocks = static_cast<std::uint32_t>(1 + random.below(longest / space.block_bytes));
      const std::uint64_t bytes = std::uint64_t{blocks} * space.block_bytes;
      const std::uint64_t block = random.below(space.blocks - blocks + 1);
      const std::uint64_t at = random.below((kMemoryBytes - bytes) / 4 + 1) * 4;
      // Up to three segments, cut at pages, which PRPs can say as well.
      std::vector<DmaSegment> segments;
      for (std::uint64_t done = 0; done < bytes;) {
        const std::uint64_t left = bytes - done;
        const std::uint64_t to_page = 4096 - (at + done) % 4096;
        const std::uint64_t piece = segments.size() == 2 ? left : std::min(left, to_page + 4096 * random.below(8));
        segments.push_back({memory->address() + (at + done), piece});
        done += piece;
      }
      const auto here = memory->bytes().subspan(at, bytes);
      const auto there = std::span(model[which]).subspan(block * space.block_bytes, bytes);
      const bool is_write = random.chance(0.5);
      if (is_write) std::ranges::copy(noise(bytes, random.next()), here.begin());
      expect_done(*controller, *queue,
                  {.opcode = is_write ? Opcode::write : Opcode::read,
                   .namespace_id = space.id,
                   .block = block,
                   .blocks = blocks,
                   .data = segments});
      if (is_write) std::ranges::copy(here, there.begin());
      ASSERT_TRUE(std::ranges::equal(here, there)) << "turn " << turn;
    }
    expect_done(*controller, *queue, {.opcode = Opcode::flush});
    queue.reset();
    controller.reset();
    expect_no_violations();
  }
}

TEST_P(NvmeDriverOnModel, ManyCommandsInFlightOnSeveralQueues) {
  ASSERT_NO_FATAL_FAILURE(plug(drive_setup()));
  auto controller = open();
  ASSERT_TRUE(controller);
  constexpr std::size_t kQueues = 3;
  auto memory = controller->function().allocate_dma(kQueues * 32 * 4096, pci::DmaUse::data);
  std::vector<std::unique_ptr<QueuePair>> queues;
  for (std::size_t index = 0; index < kQueues; ++index) queues.push_back(queue_of(*controller, {.entries = 33}));
  std::array<std::uint64_t, kQueues> sent{}, done{};
  std::array<CommandResult, 64> results;
  constexpr std::uint64_t kEach = 2000;
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
  queues.clear();
  controller.reset();
  expect_no_violations();
}

TEST_P(NvmeDriverOnModel, FromDriveToDriveThroughAMemoryBuffer) {
  auto with_buffer = drive_setup();
  with_buffer.cmb_bytes = 1 << 20;
  with_buffer.cmb_offset_bytes = 1 << 20;
  ASSERT_NO_FATAL_FAILURE(plug(std::move(with_buffer)));
  auto target = open(0);
  auto source = open(1);
  ASSERT_TRUE(target && source);
  ASSERT_TRUE(target->controller_memory());
  EXPECT_FALSE(source->controller_memory());
  drivers::nvme::CmbExporter exporter(*target);
  drivers::nvme::DriveImporter importer(*source, fabric_->domain(bdf(1)));
  EXPECT_EQ(exporter.decide({.importer = bdf(1), .range = {0, 1 << 20}, .access = Access::write}).kind,
            Answer::Kind::direct);

  auto from = queue_of(*source);
  auto to = queue_of(*target);
  const auto bytes = noise(1 << 20, 3);
  auto memory = source->function().allocate_dma(bytes.size(), pci::DmaUse::data);
  std::ranges::copy(bytes, memory->bytes().begin());
  const DmaSegment in_host = memory->segment();
  const DmaSegment in_buffer{{exporter.bus_address().value}, 1 << 20};
  expect_done(*source, *from, {.opcode = Opcode::write, .block = 64, .blocks = 2048, .data = {&in_host, 1}});

  const auto before = fabric_->counters();
  expect_done(*source, *from, {.opcode = Opcode::read, .block = 64, .blocks = 2048, .data = {&in_buffer, 1}});
  EXPECT_TRUE(std::ranges::equal(exporter.cpu_bytes({0, 1 << 20}), bytes));
  expect_done(*target, *to, {.opcode = Opcode::write, .block = 8, .blocks = 2048, .data = {&in_buffer, 1}});
  const auto after = fabric_->counters();
  EXPECT_EQ(after.host_data_read_bytes, before.host_data_read_bytes);
  EXPECT_EQ(after.host_data_written_bytes, before.host_data_written_bytes);
  EXPECT_EQ(after.peer_written_bytes - before.peer_written_bytes, 1u << 20);

  auto back = target->function().allocate_dma(1 << 20, pci::DmaUse::data);
  const DmaSegment result = back->segment();
  expect_done(*target, *to, {.opcode = Opcode::read, .block = 8, .blocks = 2048, .data = {&result, 1}});
  EXPECT_TRUE(std::ranges::equal(back->bytes(), bytes));

  // Isolated, it reaches nothing any more.
  EXPECT_TRUE(importer.isolate());
  const auto isolated = fabric_->counters();
  ASSERT_TRUE(from->submit(
      {.opcode = Opcode::read, .block = 0, .blocks = 8, .data = std::array{DmaSegment{in_buffer.address, 4096}}}));
  from->ring();
  for (int turn = 0; turn < 1000; ++turn) source->function().clock().idle();
  EXPECT_EQ(fabric_->counters().peer_written_bytes, isolated.peer_written_bytes);
  fabric_->set_bus_master(bdf(1), true);
}

TEST_P(NvmeDriverOnModel, SubmissionQueuesInTheMemoryBuffer) {
  auto setup = drive_setup();
  setup.cmb_bytes = 64 << 10;
  ASSERT_NO_FATAL_FAILURE(plug(std::move(setup)));
  auto controller = open(0, {.controller_memory_for_queues_bytes = 16 << 10});
  ASSERT_TRUE(controller);
  EXPECT_EQ(controller->facts().controller_memory_for_queues_bytes, 16u << 10)
      << ::testing::PrintToString(controller->facts().remarks);
  auto queue = queue_of(*controller, {.entries = 64, .submissions_in_controller_memory = true});
  ASSERT_TRUE(queue);
  const auto before = fabric_->counters().host_control_read_bytes;
  for (int turn = 0; turn < 200; ++turn) expect_done(*controller, *queue, {.opcode = Opcode::flush});
  EXPECT_EQ(fabric_->counters().host_control_read_bytes, before);  // no entry was fetched from host memory
  queue.reset();
  controller.reset();
  expect_no_violations();
}

TEST_P(NvmeDriverOnModel, DoorbellStrides) {
  for (const std::uint8_t stride : std::initializer_list<std::uint8_t>{0, 1, 3, 6, 10}) {
    auto setup = drive_setup();
    setup.doorbell_stride_log2 = stride;
    ASSERT_NO_FATAL_FAILURE(plug(std::move(setup)));
    auto controller = open();
    ASSERT_TRUE(controller);
    auto first = queue_of(*controller);
    auto second = queue_of(*controller);
    for (QueuePair* queue : {second.get(), first.get()}) expect_done(*controller, *queue, {.opcode = Opcode::flush});
    first.reset();
    second.reset();
    controller.reset();
    expect_no_violations();
  }
}

TEST_P(NvmeDriverOnModel, InterruptsArrive) {
  ASSERT_NO_FATAL_FAILURE(plug(drive_setup()));
  auto controller = open(0, {.interrupt_vectors = 4});
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller, {.interrupt_vector = 3});
  EXPECT_FALSE(queue->take_interrupt());
  ASSERT_TRUE(queue->submit({.opcode = Opcode::flush}));
  queue->ring();
  auto& clock = controller->function().clock();
  EXPECT_TRUE(base::wait_until(clock, clock.now() + std::chrono::seconds(5), [&] { return queue->take_interrupt(); }));
  std::array<CommandResult, 1> results;
  EXPECT_EQ(queue->poll(results).value(), 1u);
  EXPECT_FALSE(queue->take_interrupt());
}

TEST_P(NvmeDriverOnModel, ErrorsOfCommandsComeBackAsStatus) {
  ASSERT_NO_FATAL_FAILURE(plug(drive_setup()));
  auto controller = open();
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller);
  const DmaSegment nowhere{{0xdead'0000'0000}, 4096};
  auto result = run(*controller, *queue, {.blocks = 8, .data = {&nowhere, 1}});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_FALSE(result->ok());
  EXPECT_THAT(drivers::nvme::describe_status(result->status), HasSubstr("Data Transfer Error"));
  expect_done(*controller, *queue, {.opcode = Opcode::flush});  // and life goes on
}

// Each lie of the model must end in a clear error of bring-up or of the first command: no hang, no crash.
struct Lie {
  devices::nvme::Misbehaviour misbehaviour;
  const char* words;
};

TEST_P(NvmeDriverOnModel, LiesAreToldApart) {
  const std::vector<Lie> lies = {
      {{.wrong_command_id = true}, "is not in flight|only"},
      {{.wrong_submission_head = true}, "head of the"},
      {{.never_ready = true}, "CSTS.RDY should be 1"},
      {{.fatal_after_enable = true}, "CFS 1"},
      {{.absurd_capabilities = true}, "CAP is|all ones|CMBSZ"},
      {{.ignores_doorbells = true}, "has not answered in time"},
      {{.lost_completions = 1}, "has not answered in time"},
  };
  for (const Lie& lie : lies) {
    auto setup = drive_setup();
    setup.cmb_bytes = 64 << 10;
    setup.misbehaviour = lie.misbehaviour;
    ASSERT_NO_FATAL_FAILURE(plug(std::move(setup)));
    const ControllerOptions options{.ready_timeout = std::chrono::milliseconds(50),
                                    .command_timeout = std::chrono::milliseconds(50),
                                    .shutdown_timeout = std::chrono::milliseconds(50)};
    Result<CommandResult> result;
    auto controller = try_open(0, options);
    if (!controller) {
      result = fail(controller.error());
    } else if (auto queue = (*controller)->create_queue_pair({}); !queue) {
      result = fail(queue.error());
    } else {
      result = run(**controller, **queue, {.opcode = Opcode::flush});
    }
    ASSERT_FALSE(result) << lie.words;
    EXPECT_THAT(result.error().message(), ::testing::ContainsRegex(lie.words));
    EXPECT_THAT(result.error().message(), HasSubstr(bdf(0).to_string()));
    EXPECT_THAT(result.error().code, AnyOf(ErrorCode::device_failed, ErrorCode::timed_out));
  }
}

TEST_P(NvmeDriverOnModel, LateCompletionsAreOnlyLate) {
  auto setup = drive_setup();
  setup.misbehaviour.late_completions = 0.3;
  ASSERT_NO_FATAL_FAILURE(plug(std::move(setup)));
  auto controller = open();
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller, {.entries = 16});
  std::vector<int> seen(2000);
  std::array<CommandResult, 16> results;
  std::uint64_t sent = 0, done = 0;
  while (done < seen.size()) {
    while (sent < seen.size() && queue->in_flight() < queue->capacity())
      ASSERT_TRUE(queue->submit({.opcode = Opcode::flush, .tag = sent++}));
    queue->ring();
    auto taken = queue->poll(results);
    ASSERT_TRUE(taken) << taken.error().message();
    for (std::size_t at = 0; at < *taken; ++at) ++seen[results[at].tag];
    done += *taken;
    controller->function().clock().idle();
  }
  EXPECT_TRUE(std::ranges::all_of(seen, [](int count) { return count == 1; }));
}

TEST_P(NvmeDriverOnModel, ADriveThatIsPulledOut) {
  ASSERT_NO_FATAL_FAILURE(plug(drive_setup()));
  auto controller = open();
  ASSERT_TRUE(controller);
  auto queue = queue_of(*controller);
  expect_done(*controller, *queue, {.opcode = Opcode::flush});
  fabric_->remove(bdf(0));
  auto result = run(*controller, *queue, {.opcode = Opcode::flush});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::device_gone) << result.error().message();
  // The other one doesn't notice.
  auto other = open(1);
  ASSERT_TRUE(other);
  expect_done(*other, *queue_of(*other), {.opcode = Opcode::flush});
}

}  // namespace
}  // namespace barter
