// Controllers that lie, fail, hang and leave: each gives a clear error, no hang, and leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/nvme/controller.h"
#include "drivers/nvme/fake_controller.h"

namespace barter::drivers::nvme {
namespace {

using ::testing::ElementsAre;
using testing::FakeCompletion;
using testing::FakeController;
using testing::FakeFunction;
using testing::FakeNamespace;
using testing::FakeSetup;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Drive {
  explicit Drive(FakeSetup setup = {}, ControllerOptions options = {})
      : device(std::make_shared<FakeController>(std::move(setup))),
        controller(Controller::create(std::make_unique<FakeFunction>(device), options)) {}
  ~Drive() {
    controller = fail({});
    EXPECT_THAT(device->violations, IsEmpty());
    EXPECT_EQ(device->dma_bytes_allocated, 0u);
  }
  std::unique_ptr<QueuePair> queue(QueueOptions options = {}) {
    auto created = (*controller)->create_queue_pair(options);
    EXPECT_TRUE(created) << created.error().message();
    return std::move(*created);
  }
  // Polls until something comes, or the queue gives up.
  Result<CommandResult> wait(QueuePair& pair) {
    std::array<CommandResult, 1> results;
    for (unsigned turn = 0; turn < 100'000'000; ++turn) {
      auto taken = pair.poll(results);
      if (!taken) return fail(taken.error());
      if (*taken == 1) return results[0];
      device->step();
    }
    ADD_FAILURE() << "it hangs";
    return fail({});
  }
  Result<CommandResult> flush(QueuePair& pair) {
    if (auto sent = pair.submit({.opcode = Opcode::flush}); !sent) return fail(sent.error());
    pair.ring();
    return wait(pair);
  }
  std::shared_ptr<FakeController> device;
  Result<std::unique_ptr<Controller>> controller;
};

void expect_refused(FakeSetup setup, ErrorCode code, const char* words, ControllerOptions options = {}) {
  Drive drive(std::move(setup), options);
  ASSERT_FALSE(drive.controller) << words;
  EXPECT_EQ(drive.controller.error().code, code) << drive.controller.error().message();
  EXPECT_THAT(drive.controller.error().message(), HasSubstr(words));
  EXPECT_THAT(drive.controller.error().message(), HasSubstr("0000:03:00.0"));
}

TEST(HostileNvme, OtherFunctionsAreRefused) {
  expect_refused({.class_revision = 0x0200'0000}, ErrorCode::unsupported, "its class code is 020000");
  expect_refused({.identity = 0xffff'ffff}, ErrorCode::device_gone, "all ones");
}

TEST(HostileNvme, CapabilitiesThatCanNotBe) {
  expect_refused({.cap = ~0ull}, ErrorCode::device_gone, "all ones");
  expect_refused({.cap = 0x0000'0020'0100'0000}, ErrorCode::device_failed, "queues of one entry");
  expect_refused({.cap = 0x0001'0020'0100'003f}, ErrorCode::device_failed, "MPSMIN asks for pages of 2^13");
  expect_refused({.cap = 0x00ff'0020'0100'003f}, ErrorCode::unsupported, "no memory pages smaller than 2^27");
  expect_refused({.cap = 0x0000'0000'0100'003f}, ErrorCode::unsupported, "NVM command set");
  expect_refused({.cap = 0x0000'002f'0100'003f}, ErrorCode::device_failed, "doorbells 131072 bytes apart");
  expect_refused({.bar_bytes = 0x1000}, ErrorCode::device_failed, "BAR 0 has 4096 bytes");
}

TEST(HostileNvme, TimeoutsOfBringUp) {
  expect_refused({.never_ready = true}, ErrorCode::timed_out, "CSTS.RDY should be 1 within 500 ms");
  expect_refused({.never_ready = true}, ErrorCode::timed_out, "within 20 ms",
                 {.ready_timeout = std::chrono::milliseconds(20)});
  expect_refused({.fatal_when_enabled = true}, ErrorCode::device_failed, "CFS 1");
  expect_refused({.ignores_doorbells = true}, ErrorCode::timed_out, "admin command 0x06 is open");
}

TEST(HostileNvme, ASilentControllerIsCutOffTheBus) {
  auto device = std::make_shared<FakeController>(FakeSetup{.never_ready = true});
  EXPECT_FALSE(Controller::create(std::make_unique<FakeFunction>(device), {}));
  EXPECT_EQ(device->command & 4, 0);  // Bus Master Enable
}

TEST(HostileNvme, IdentityThatCanNotBe) {
  expect_refused({.sqes = 0x77}, ErrorCode::device_failed, "SQES 0x77");
  expect_refused({.cqes = 0x53 - 0x20}, ErrorCode::device_failed, "CQES 0x33");
  expect_refused({.namespace_list = {3, 2}}, ErrorCode::device_failed,
                 "entry 1 of the namespace list is 0x2, after 0x3");
  expect_refused({.namespace_list = {0xffffffff}}, ErrorCode::device_failed, "0xffffffff");
  // A list that never ends, because it starts again with every page.
  std::vector<std::uint32_t> endless(1024);
  for (std::uint32_t index = 0; index < 1024; ++index) endless[index] = index + 1;
  expect_refused({.namespace_list = endless}, ErrorCode::device_failed, "after 0x400");
  expect_refused(
      {.admin_status =
           [](std::uint8_t opcode) { return opcode == 9 ? std::optional<std::uint16_t>(0x4006) : std::nullopt; }},
      ErrorCode::device_failed, "Internal Error (SCT 0h, SC 06h), do not retry");
}

TEST(HostileNvme, NamespacesThatCanNotBeAreLeftOut) {
  Drive drive({.namespaces = {{.id = 1, .block_log2 = 200},
                              {.id = 2, .blocks = ~0ull},
                              {.id = 3, .metadata_bytes = 8},
                              {.id = 4, .blocks = 0},
                              {.id = 5, .flbas = 9},
                              {.id = 6}}});
  ASSERT_TRUE(drive.controller) << drive.controller.error().message();
  ASSERT_EQ((*drive.controller)->namespaces().size(), 1u);
  EXPECT_EQ((*drive.controller)->namespaces()[0].id, 6u);
  EXPECT_THAT((*drive.controller)->facts().remarks,
              ElementsAre(HasSubstr("namespace 1 is left out: its blocks have 2^200 bytes"),
                          HasSubstr("namespace 2 is left out: its size"), HasSubstr("8 bytes of metadata"),
                          HasSubstr("no blocks"), HasSubstr("format 9 of 1")));
}

TEST(HostileNvme, ManyNamespacesAreListedPageByPage) {
  FakeSetup setup{.namespaces = {}};
  for (std::uint32_t id = 1; id <= 5000; ++id) setup.namespaces.push_back({.id = id * 2, .blocks = 1});
  Drive drive(std::move(setup));
  ASSERT_TRUE(drive.controller) << drive.controller.error().message();
  EXPECT_EQ((*drive.controller)->namespaces().size(), 4096u);
  EXPECT_EQ((*drive.controller)->namespaces().back().id, 8192u);
}

TEST(HostileNvme, MemoryBuffersThatCanNotBe) {
  const auto with = [](std::uint32_t cmbsz, std::uint32_t cmbloc) {
    return FakeSetup{.cap = 0x0200'0020'0100'003f, .cmb_bytes = 0x8000, .cmbsz = cmbsz, .cmbloc = cmbloc};
  };
  expect_refused(with(0x0000'8719, 2), ErrorCode::device_failed, "unit 7 is reserved");
  expect_refused(with(0x0000'8019, 1), ErrorCode::device_failed, "a CMB can't lie in BAR 1");
  expect_refused(with(0x0000'8019, 7), ErrorCode::device_failed, "a CMB can't lie in BAR 7");
  expect_refused(with(0x0001'1019, 2), ErrorCode::device_failed, "claims 0x11000 bytes at 0x0 of BAR 2");
  expect_refused(with(0xffff'f619, 0xffff'f002), ErrorCode::device_failed, "of BAR 2, which has 0x10000 bytes");
  expect_refused(with(0xffff'ffff, 2), ErrorCode::device_failed, "CMBSZ is all ones");
  FakeSetup refusing = with(0x0000'8019, 2);
  refusing.refuses_cmb_address = true;
  expect_refused(refusing, ErrorCode::device_failed, "CMBSTS.CBAI");
  // None of it matters to who doesn't want the buffer.
  Drive drive(with(0xffff'ffff, 2), {.use_controller_memory = false});
  EXPECT_TRUE(drive.controller);
}

TEST(HostileNvme, ABufferOfNvme12NeedsNoEnabling) {
  Drive drive({.version = 0x0001'0300, .cmb_bytes = 0x8000});
  ASSERT_TRUE(drive.controller) << drive.controller.error().message();
  ASSERT_TRUE((*drive.controller)->controller_memory());
  EXPECT_EQ((*drive.controller)->controller_memory()->size_bytes, 0x8000u);
  EXPECT_EQ(drive.device->cmbmsc, 0u);
}

void expect_lie(std::function<bool(FakeCompletion&)> lie, const char* words) {
  Drive drive({.on_completion = std::move(lie)});
  ASSERT_TRUE(drive.controller) << drive.controller.error().message();
  auto queue = drive.queue({.entries = 8});
  auto result = drive.flush(*queue);
  ASSERT_FALSE(result) << words;
  EXPECT_EQ(result.error().code, ErrorCode::device_failed) << result.error().message();
  EXPECT_THAT(result.error().message(), HasSubstr(words));
  EXPECT_EQ(queue->submit({.opcode = Opcode::flush}).error().code, ErrorCode::device_failed);
  EXPECT_FALSE(queue->poll({}));
}

TEST(HostileNvme, CompletionsOfCommandsThatWereNeverSent) {
  expect_lie([](FakeCompletion& completion) { return completion.command_id += 1, true; }, "which is not in flight");
  expect_lie([](FakeCompletion& completion) { return completion.command_id |= 0x8000, true; }, "command 0x8000");
  expect_lie([](FakeCompletion& completion) { return completion.command_id |= 0x1000, true; }, "command 0x1000");
  expect_lie([](FakeCompletion& completion) { return completion.command_id = 0xffff, true; }, "command 0xffff");
  expect_lie([](FakeCompletion& completion) { return completion.queue_head = 8, true; }, "at 8 of 8 entries");
  expect_lie([](FakeCompletion& completion) { return completion.queue_id = 2, true; }, "command of queue 2 here");
}

TEST(HostileNvme, ACompletionThatComesTwice) {
  Drive drive;
  auto queue = drive.queue();
  FakeCompletion seen{};
  drive.device->setup.on_completion = [&](FakeCompletion& completion) { return seen = completion, true; };
  ASSERT_TRUE(drive.flush(*queue));
  drive.device->post(seen);
  ASSERT_TRUE(queue->submit({.opcode = Opcode::flush}));  // the slot is in use again, with a new id
  auto result = drive.wait(*queue);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("which is not in flight"));
}

TEST(HostileNvme, WhatCameBeforeALieIsDelivered) {
  Drive drive;
  auto queue = drive.queue();
  for (std::uint64_t tag = 1; tag <= 3; ++tag) ASSERT_TRUE(queue->submit({.opcode = Opcode::flush, .tag = tag}));
  unsigned count = 0;
  drive.device->setup.on_completion = [&](FakeCompletion& completion) {
    if (++count == 3) completion.command_id = 99;
    return true;
  };
  queue->ring();
  for (int turn = 0; turn < 3; ++turn) drive.device->step();
  std::array<CommandResult, 8> results;
  EXPECT_EQ(queue->poll(results).value(), 2u);
  EXPECT_EQ(queue->poll(results).error().code, ErrorCode::device_failed);
}

TEST(HostileNvme, ALostCompletionTimesOut) {
  Drive drive({}, {.command_timeout = std::chrono::milliseconds(200)});
  drive.device->setup.on_completion = [](FakeCompletion&) { return false; };
  auto queue = drive.queue();
  const auto start_ns = drive.device->now_ns;
  auto result = drive.flush(*queue);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::timed_out);
  EXPECT_THAT(result.error().message(), HasSubstr("CSTS is 0x1 (RDY 1, CFS 0); queue 1: 1 of 63 commands in flight"));
  EXPECT_GE(drive.device->now_ns - start_ns, 200'000'000);
  EXPECT_LE(drive.device->now_ns - start_ns, 250'000'000);
}

TEST(HostileNvme, OneLostAmongManyTimesOutToo) {
  Drive drive({}, {.command_timeout = std::chrono::milliseconds(50)});
  unsigned count = 0;
  drive.device->setup.on_completion = [&](FakeCompletion&) { return ++count != 5; };
  auto queue = drive.queue();
  std::array<CommandResult, 64> results;
  Result<std::size_t> taken = 0;
  while (taken && drive.device->now_ns < 1'000'000'000) {
    while (queue->in_flight() < 8 && queue->submit({.opcode = Opcode::flush})) {
    }
    queue->ring();
    drive.device->step();
    taken = queue->poll(results);
  }
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::timed_out);
}

TEST(HostileNvme, ADriveThatLeavesIsNoticedLongBeforeTheTimeout) {
  Drive drive;
  auto queue = drive.queue();
  ASSERT_TRUE(queue->submit({.opcode = Opcode::flush}));
  queue->ring();
  drive.device->is_gone = true;
  const auto start_ns = drive.device->now_ns;
  auto result = drive.wait(*queue);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::device_gone);
  EXPECT_LT(drive.device->now_ns - start_ns, 100'000'000);
  EXPECT_EQ((*drive.controller)->create_queue_pair({}).error().code, ErrorCode::device_gone);
}

TEST(HostileNvme, ADriveThatLeavesDuringAnAdminCommand) {
  Drive drive;
  drive.device->is_gone = true;
  const auto start_ns = drive.device->now_ns;
  EXPECT_EQ((*drive.controller)->create_queue_pair({}).error().code, ErrorCode::device_gone);
  EXPECT_LT(drive.device->now_ns - start_ns, 100'000'000);
}

TEST(HostileNvme, AQueueThatCanNotBeDeletedStopsTheController) {
  Drive drive({.admin_status = [](std::uint8_t opcode) {
    return opcode == 0 ? std::optional<std::uint16_t>(0x101) : std::nullopt;
  }});
  auto first = drive.queue();
  auto second = drive.queue();
  first.reset();
  EXPECT_EQ(drive.device->io_queues(), 0u);  // disabled, queues and all
  EXPECT_THAT(second->submit({.opcode = Opcode::flush}).error().message(), HasSubstr("Invalid Queue Identifier"));
}

TEST(HostileNvme, AQueuePairThatIsRefusedLeavesNoHalf) {
  Drive drive({.admin_status = [](std::uint8_t opcode) {
    return opcode == 1 ? std::optional<std::uint16_t>(0x102) : std::nullopt;
  }});
  auto queue = (*drive.controller)->create_queue_pair({});
  ASSERT_FALSE(queue);
  EXPECT_THAT(queue.error().message(), HasSubstr("Invalid Queue Size (SCT 1h, SC 02h)"));
  EXPECT_EQ(drive.device->io_queues(), 0u);
}

TEST(HostileNvme, ShutdownThatNeverEndsIsTold) {
  Drive drive({.never_shut_down = true}, {.shutdown_timeout = std::chrono::milliseconds(5)});
  auto done = (*drive.controller)->shut_down();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::timed_out);
  EXPECT_THAT(done.error().message(), HasSubstr("CSTS.SHST"));
}

TEST(HostileNvme, AfterShutdownQueuesSayWhy) {
  Drive drive;
  auto queue = drive.queue();
  EXPECT_TRUE((*drive.controller)->shut_down());
  EXPECT_TRUE((*drive.controller)->shut_down());
  EXPECT_EQ(queue->submit({.opcode = Opcode::flush}).error().code, ErrorCode::cancelled);
  EXPECT_EQ(queue->poll({}).error().code, ErrorCode::cancelled);
  EXPECT_EQ((*drive.controller)->create_queue_pair({}).error().code, ErrorCode::cancelled);
}

TEST(NvmeQueuePair, RefusesWhatMakesNoSense) {
  Drive drive({.namespaces = {{.id = 2, .blocks = 100, .block_log2 = 12}}, .mdts = 1});
  auto queue = drive.queue();
  const DmaSegment segment{{0x1000}, 4096};
  const auto code = [&](Command command) {
    command.data = {&segment, 1};
    auto result = queue->submit(command);
    return result ? ErrorCode::io_failed : result.error().code;
  };
  EXPECT_EQ(code({.namespace_id = 1, .blocks = 1}), ErrorCode::not_found);
  EXPECT_EQ(code({.opcode = Opcode::flush, .namespace_id = 0xffffffff}), ErrorCode::not_found);
  EXPECT_EQ(code({.namespace_id = 2, .blocks = 0}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.namespace_id = 2, .blocks = 3}), ErrorCode::invalid_argument);  // MDTS is two pages
  EXPECT_EQ(code({.namespace_id = 2, .blocks = 2}), ErrorCode::invalid_argument);  // and the segment is one
  EXPECT_EQ(code({.namespace_id = 2, .block = 100, .blocks = 1}), ErrorCode::out_of_range);
  EXPECT_EQ(code({.namespace_id = 2, .block = ~0ull, .blocks = 1}), ErrorCode::out_of_range);
  EXPECT_EQ(code({.namespace_id = 2, .block = 99, .blocks = 2}), ErrorCode::out_of_range);
  EXPECT_EQ(queue->in_flight(), 0);
  EXPECT_EQ((*drive.controller)->create_queue_pair({.entries = 1}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ((*drive.controller)->create_queue_pair({.interrupt_vector = 0}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ((*drive.controller)->create_queue_pair({.submissions_in_controller_memory = true}).error().code,
            ErrorCode::exhausted);
}

TEST(NvmeQueuePair, GrantedQueuesRunOutAndComeBack) {
  Drive drive({.queue_pairs = 2});
  auto first = drive.queue();
  auto second = drive.queue({.entries = 4000});
  EXPECT_EQ(second->capacity(), 63);  // CAP.MQES
  EXPECT_EQ((*drive.controller)->create_queue_pair({}).error().code, ErrorCode::exhausted);
  EXPECT_EQ(first->id(), 1);
  first.reset();
  EXPECT_EQ(drive.queue()->id(), 1);
}

TEST(NvmeQueuePair, InterruptsGoToTheirVector) {
  Drive drive({}, {.interrupt_vectors = 3});
  auto queue = drive.queue({.interrupt_vector = 2});
  EXPECT_THAT(drive.device->vectors_asked, ElementsAre(2));
  (void)queue->take_interrupt();
  EXPECT_FALSE(queue->take_interrupt());
  ASSERT_TRUE(drive.flush(*queue));
  EXPECT_TRUE(queue->take_interrupt());
  EXPECT_FALSE(queue->take_interrupt());
}

TEST(NvmeQueuePair, SubmissionsCanLieInTheMemoryBuffer) {
  Drive drive({.cap = 0x0200'0020'0100'003f, .cmb_bytes = 0x8000}, {.controller_memory_for_queues_bytes = 0x2000});
  ASSERT_TRUE(drive.controller) << drive.controller.error().message();
  EXPECT_EQ((*drive.controller)->facts().controller_memory_for_queues_bytes, 0x2000u);
  auto queue = drive.queue({.entries = 64, .submissions_in_controller_memory = true});
  for (int turn = 0; turn < 100; ++turn) ASSERT_TRUE(drive.flush(*queue));
  EXPECT_NE(drive.device->cmb[0x6000 + 4], std::byte{0});  // the namespace id of an entry, behind what is exported
  auto second = drive.queue({.entries = 64, .submissions_in_controller_memory = true});
  EXPECT_EQ((*drive.controller)->create_queue_pair({.submissions_in_controller_memory = true}).error().code,
            ErrorCode::exhausted);
  queue.reset();
  EXPECT_TRUE((*drive.controller)->create_queue_pair({.submissions_in_controller_memory = true}));
}

TEST(NvmeQueuePair, DoorbellsKeepTheirStride) {
  for (std::uint64_t stride = 0; stride < 8; ++stride) {
    Drive drive({.cap = 0x0000'0020'0100'003f | stride << 32, .bar_bytes = 0x10000});
    ASSERT_TRUE(drive.controller) << drive.controller.error().message();
    auto first = drive.queue();
    auto second = drive.queue();
    EXPECT_TRUE(drive.flush(*second));
  }
}

TEST(NvmeStatus, IsPutIntoWords) {
  EXPECT_EQ(describe_status(0x4012), "Invalid Use of Controller Memory Buffer (SCT 0h, SC 12h), do not retry");
  EXPECT_EQ(describe_status(0x0281), "Unrecovered Read Error (SCT 2h, SC 81h)");
  EXPECT_EQ(describe_status(0x00f0), "unknown generic status (SCT 0h, SC f0h)");
  EXPECT_EQ(describe_status(0x0712), "vendor specific status (SCT 7h, SC 12h)");
  EXPECT_EQ(describe_status(0x0500), "status of a reserved type (SCT 5h, SC 00h)");
}

}  // namespace
}  // namespace barter::drivers::nvme
