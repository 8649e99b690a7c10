// The drive in the peer contract: the CMB as an exporter, the drive as an importer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"
#include "drivers/nvme/fake_controller.h"

namespace barter::drivers::nvme {
namespace {

using testing::FakeController;
using testing::FakeFunction;
using testing::FakeSetup;
using ::testing::HasSubstr;

constexpr std::uint64_t kCapWithCmb = 0x0200'0020'0100'003f;
constexpr std::uint32_t kReadData = 1u << 3, kWriteData = 1u << 4;
constexpr Bdf kPeer{.bus = 9};

struct Drive {
  explicit Drive(std::uint32_t abilities = kReadData | kWriteData, ControllerOptions options = {})
      : device(std::make_shared<FakeController>(
            FakeSetup{.cap = kCapWithCmb, .cmb_bytes = 0x8000, .cmbsz = 0x8000 | abilities | 1})) {
    auto created = Controller::create(std::make_unique<FakeFunction>(device), options);
    EXPECT_TRUE(created) << created.error().message();
    controller = std::move(*created);
  }
  std::shared_ptr<FakeController> device;
  std::unique_ptr<Controller> controller;
};

Answer::Kind ask(CmbExporter& exporter, Bdf importer, Access access) {
  return exporter.decide({.importer = importer, .range = {0, 4096}, .access = access}).kind;
}

TEST(CmbExporter, SaysWhatAndWhereItIs) {
  Drive drive;
  CmbExporter exporter(*drive.controller);
  EXPECT_EQ(exporter.function(), drive.controller->function().bdf());
  EXPECT_EQ(exporter.size_bytes(), 0x8000u);
  EXPECT_EQ(exporter.bus_address().value, FakeController::kBar2);
  EXPECT_EQ(exporter.cpu_bytes({0x1000, 0x1000}).data(), drive.device->cmb.data() + 0x1000);
  EXPECT_TRUE(exporter.cpu_bytes({0x7fff, 2}).empty());
}

TEST(CmbExporter, KeepsTheQueuesPartToItself) {
  Drive drive(kReadData | kWriteData, {.controller_memory_for_queues_bytes = 0x2000});
  CmbExporter exporter(*drive.controller);
  EXPECT_EQ(exporter.size_bytes(), 0x6000u);
  EXPECT_TRUE(exporter.cpu_bytes({0x6000, 1}).empty());
  EXPECT_EQ(exporter.decide({.importer = kPeer, .range = {0x5000, 0x2000}}).kind, Answer::Kind::refuse);
}

TEST(CmbExporter, EachBitAllowsOneWayThrough) {
  using enum Answer::Kind;
  Drive both;
  Drive reads(kReadData);
  Drive writes(kWriteData);
  CmbExporter all(*both.controller);
  CmbExporter read_data(*reads.controller);
  CmbExporter write_data(*writes.controller);
  const Bdf own = all.function();
  EXPECT_EQ(all.hardware_access(), Access::read_write);
  for (const Bdf who : {own, kPeer}) EXPECT_EQ(ask(all, who, Access::read_write), direct);
  EXPECT_EQ(ask(read_data, own, Access::write), direct);
  EXPECT_EQ(ask(read_data, kPeer, Access::read), direct);
  EXPECT_EQ(ask(read_data, own, Access::read), refuse);
  EXPECT_EQ(ask(read_data, kPeer, Access::write), refuse);
  EXPECT_EQ(ask(write_data, own, Access::read), direct);
  EXPECT_EQ(ask(write_data, kPeer, Access::write), direct);
  EXPECT_EQ(ask(write_data, own, Access::write), refuse);
  EXPECT_EQ(ask(write_data, kPeer, Access::read_write), refuse);
}

TEST(CmbExporter, TheOwnerDecides) {
  Drive drive;
  CmbExporter exporter(*drive.controller);
  exporter.on_request([](const Request& request) {
    return request.importer == kPeer ? Answer::by_way_of_host() : Answer::refuse("not you");
  });
  EXPECT_EQ(ask(exporter, kPeer, Access::read), Answer::Kind::by_way_of_host);
  EXPECT_EQ(ask(exporter, {}, Access::read), Answer::Kind::refuse);
  exporter.on_request({});
  EXPECT_EQ(ask(exporter, kPeer, Access::read), Answer::Kind::direct);
}

TEST(DriveImporter, RemembersAndPassesOnWhatWasTakenBack) {
  Drive drive;
  peer::NoIommu domain;
  std::vector<peer::MappingId> told;
  DriveImporter importer(*drive.controller, domain);
  importer.on_invalidate([&](peer::MappingId mapping) { told.push_back(mapping); });
  EXPECT_EQ(&importer.domain(), &domain);
  EXPECT_FALSE(importer.was_invalidated({}));
  importer.invalidate({.slot = 3, .generation = 2});
  EXPECT_TRUE(importer.was_invalidated({3, 2}));
  EXPECT_FALSE(importer.was_invalidated({3, 1}));
  EXPECT_EQ(told, (std::vector<peer::MappingId>{{3, 2}}));
  for (std::uint32_t slot = 0; slot < 1000; ++slot) importer.invalidate({slot, 9});
  EXPECT_TRUE(importer.was_invalidated({999, 9}));
}

TEST(DriveImporter, MakesProgressOnItsOwnThreadOnly) {
  Drive drive;
  peer::NoIommu domain;
  DriveImporter importer(*drive.controller, domain);
  int calls = 0;
  importer.on_progress([&] { ++calls; });
  importer.make_progress();
  std::thread([&] { importer.make_progress(); }).join();
  EXPECT_EQ(calls, 1);
  importer.on_progress({});
  importer.make_progress();
  EXPECT_EQ(calls, 1);
}

TEST(DriveImporter, IsolatingTakesBusMasteringAway) {
  Drive drive;
  peer::NoIommu domain;
  DriveImporter importer(*drive.controller, domain);
  ASSERT_EQ(drive.device->command, 6);
  EXPECT_TRUE(importer.isolate());
  EXPECT_EQ(drive.device->command, 2);
  drive.device->is_gone = true;
  EXPECT_TRUE(importer.isolate());
}

}  // namespace
}  // namespace barter::drivers::nvme
