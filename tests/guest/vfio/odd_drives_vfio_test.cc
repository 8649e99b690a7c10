// QEMU's NVMe drives in odd shapes (tests/guest/vfio-odd-drives): what the driver makes of each, found by its serial number.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vfio_machine.h"

namespace barter {
namespace {

using drivers::nvme::Controller;
using drivers::nvme::Opcode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OddDrives : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const Bdf bdf : guest::vfio_functions()) {
      auto function = host_->open(bdf);
      ASSERT_TRUE(function) << function.error().message();
      auto controller = Controller::create(std::move(*function), {.command_timeout = std::chrono::seconds(5)});
      ASSERT_TRUE(controller) << controller.error().message();
      drives_[(*controller)->facts().serial] = std::move(*controller);
    }
  }
  // Reads the last blocks of its first namespace, as many as one command can.
  void expect_readable(Controller& drive) {
    ASSERT_FALSE(drive.namespaces().empty());
    const auto& space = drive.namespaces().front();
    auto queue = drive.create_queue_pair({.entries = 4});
    ASSERT_TRUE(queue) << queue.error().message();
    const std::uint64_t bytes = std::min<std::uint64_t>(drive.facts().max_transfer_bytes, space.size_bytes());
    const auto blocks = static_cast<std::uint32_t>(bytes / space.block_bytes);
    auto memory = drive.function().allocate_dma(bytes, pci::DmaUse::data);
    ASSERT_TRUE(memory) << memory.error().message();
    std::memset(memory->bytes().data(), 0xee, bytes);
    const DmaSegment segment = memory->segment();
    ASSERT_TRUE((*queue)->submit({.opcode = Opcode::read,
                                  .namespace_id = space.id,
                                  .block = space.blocks - blocks,
                                  .blocks = blocks,
                                  .data = {&segment, 1}}));
    (*queue)->ring();
    std::array<drivers::nvme::CommandResult, 1> results;
    while (true) {
      auto taken = (*queue)->poll(results);
      ASSERT_TRUE(taken) << taken.error().message();
      if (*taken == 1) break;
      drive.function().clock().idle();
    }
    EXPECT_TRUE(results[0].ok()) << drivers::nvme::describe_status(results[0].status);
    EXPECT_TRUE(std::ranges::all_of(memory->bytes(), [](std::byte byte) { return byte == std::byte{0}; }));
  }

  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
  std::map<std::string, std::unique_ptr<Controller>> drives_;
};

TEST_F(OddDrives, AreTakenOrNamed) {
  ASSERT_EQ(drives_.size(), 7u);
  for (const char* name : {"plain", "cmb13", "onequeue", "block4k", "hole"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(drives_.contains(name));
    expect_readable(*drives_[name]);
    EXPECT_THAT(drives_[name]->facts().remarks, IsEmpty());
  }
  ASSERT_TRUE(drives_["cmb13"]->controller_memory());
  EXPECT_EQ(drives_["cmb13"]->controller_memory()->size_bytes, 4u << 20);
  EXPECT_EQ(drives_["onequeue"]->facts().io_queues, 1);
  EXPECT_EQ(drives_["onequeue"]->facts().max_transfer_bytes, 2u << 20);
  EXPECT_EQ(drives_["block4k"]->namespaces()[0].block_bytes, 4096u);
  EXPECT_EQ(drives_["block4k"]->facts().max_transfer_bytes, 32768u);
  EXPECT_EQ(drives_["hole"]->namespaces()[0].id, 7u);
  EXPECT_THAT(drives_["metadata"]->namespaces(), IsEmpty());
  EXPECT_THAT(drives_["metadata"]->facts().remarks, ElementsAre(HasSubstr("8 bytes of metadata")));
  EXPECT_THAT(drives_["zoned"]->namespaces(), IsEmpty());
  EXPECT_THAT(drives_["zoned"]->facts().remarks, ElementsAre(HasSubstr("I/O command set 2")));
}

}  // namespace
}  // namespace barter
