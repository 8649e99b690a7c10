// QEMU's drive with a zoned namespace: a controller that was told to speak the NVM command set alone lists it all the same, and
// identifies it as if it were an ordinary one. The driver offered it, and every read failed with Invalid Command Opcode.
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/nvme/commands/identify.h"
#include "drivers/nvme/fake_controller.h"

namespace barter::drivers::nvme {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values, std::size_t size = 4096) {
  std::vector<std::byte> bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  bytes.resize(size);
  return bytes;
}

TEST(NvmeCommandSet, ANamespaceOfAnotherCommandSetIsLeftOutWithARemark) {
  auto device = std::make_shared<testing::FakeController>(
      testing::FakeSetup{.namespaces = {{.id = 1}, {.id = 5, .command_set = 2}, {.id = 6}}});
  auto controller = Controller::create(std::make_unique<testing::FakeFunction>(device), {});
  ASSERT_TRUE(controller) << controller.error().message();
  ASSERT_EQ((*controller)->namespaces().size(), 2u);
  EXPECT_EQ((*controller)->namespaces()[1].id, 6u);
  EXPECT_THAT((*controller)->facts().remarks,
              ::testing::ElementsAre(::testing::HasSubstr("namespace 5 is left out: it speaks I/O command set 2")));
}

TEST(NvmeCommandSet, AControllerThatRefusesTheListHasOrdinaryNamespaces) {
  bool refused = false;
  auto device = std::make_shared<testing::FakeController>(testing::FakeSetup{});
  // The third Identify is the one for descriptors.
  unsigned identifies = 0;
  device->setup.admin_status = [&](std::uint8_t opcode) -> std::optional<std::uint16_t> {
    if (opcode != 0x06 || ++identifies != 3) return std::nullopt;
    refused = true;
    return 0x4002;
  };
  auto controller = Controller::create(std::make_unique<testing::FakeFunction>(device), {});
  ASSERT_TRUE(controller) << controller.error().message();
  EXPECT_TRUE(refused);
  EXPECT_EQ((*controller)->namespaces().size(), 1u);
}

TEST(NvmeCommandSet, IsReadFromTheListOfDescriptors) {
  EXPECT_EQ(parse_command_set(bytes_of({})), 0);
  EXPECT_EQ(parse_command_set(bytes_of({4, 1, 0, 0, 2})), 2);
  EXPECT_EQ(parse_command_set(bytes_of({1, 2, 0, 0, 9, 9, 4, 1, 0, 0, 1})), 1);
  EXPECT_EQ(parse_command_set(bytes_of({1, 0, 0, 0, 4, 1, 0, 0, 1})), 0);  // the list ends at a length of 0
  EXPECT_EQ(parse_command_set(bytes_of({4, 1, 0, 0}, 4)), 0);              // cut off
  EXPECT_EQ(parse_command_set(bytes_of({4, 1}, 2)), 0);
  EXPECT_EQ(parse_command_set({}), 0);
  std::vector<std::byte> endless(4096, std::byte{0xff});
  EXPECT_EQ(parse_command_set(endless), 0);
}

}  // namespace
}  // namespace barter::drivers::nvme
