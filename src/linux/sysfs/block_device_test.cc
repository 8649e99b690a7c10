#include "linux/sysfs/block_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "linux/sysfs/mount_table.h"
#include "linux/sysfs/test_tree.h"

namespace barter::linux_os {
namespace {

using test::kNvme0;
using test::Tree;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(BlockDevice, OfAnNvmeDrive) {
  Tree tree;
  tree.disk(kNvme0, "259:0", 131072);
  const auto device = read_block_device(tree.sys(), "nvme0n1");
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ(device->number, (DeviceNumber{259, 0}));
  EXPECT_EQ(device->size_bytes, 64u << 20);
  EXPECT_EQ(device->block_bytes, 512u);
  EXPECT_EQ(device->max_request_bytes, 512u << 10);
  ASSERT_TRUE(device->function);
  EXPECT_EQ(device->function->to_string(), "0000:03:00.0");
  EXPECT_EQ(device->controller, "nvme0");
  EXPECT_EQ(device->why_not_direct, "");
  EXPECT_FALSE(device->is_partition());
  EXPECT_EQ(block_device_name(tree.sys(), {259, 0}), "nvme0n1");
}

TEST(BlockDevice, APartitionIsAPartOfItsDisk) {
  Tree tree;
  const auto disk = tree.disk(kNvme0, "259:0", 131072);
  tree.partition(disk, "nvme0n1p2", "259:2", 2048, 4096);
  const auto device = read_block_device(tree.sys(), "nvme0n1p2");
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_TRUE(device->is_partition());
  EXPECT_EQ(device->disk, "nvme0n1");
  EXPECT_EQ(device->start_bytes, 1u << 20);
  EXPECT_EQ(device->size_bytes, 2u << 20);
  EXPECT_EQ(device->block_bytes, 512u);
  EXPECT_EQ(device->function->to_string(), "0000:03:00.0");
}

struct Case {
  const char* folder;
  const char* marker;  // a folder that tells what it is
  const char* why;
};

TEST(BlockDevice, WhatTakesNoMemoryOfPeersIsNamed) {
  const Case cases[] = {
      {"virtual/block/dm-0", "dm", "device-mapper device on nvme0n1"},
      {"virtual/block/md0", "md", "RAID array on nvme0n1"},
      {"virtual/block/loop0", "loop", "loop device"},
      {"virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "queue", "nvme-multipath"},
      {"pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "queue", "nvme does"},
      {"platform/fabric/nvme9n1", "queue", "not on PCI"},
  };
  for (const Case& one : cases) {
    Tree tree;
    const auto disk = tree.disk(one.folder, "253:0", 2048);
    std::filesystem::create_directories(disk / one.marker);
    if (std::string_view(one.marker) == "dm" || std::string_view(one.marker) == "md")
      std::filesystem::create_directories(disk / "slaves" / "nvme0n1");
    const auto device = read_block_device(tree.sys(), disk.filename().string());
    ASSERT_TRUE(device) << device.error().message();
    EXPECT_THAT(device->why_not_direct, HasSubstr(one.why));
  }
}

TEST(BlockDevice, NonsenseIsAnError) {
  Tree tree;
  const auto disk = tree.disk(kNvme0, "259:0", 131072);
  for (const char* name : {"", ".", "..", "../block/nvme0n1", "nvme7n1"})
    EXPECT_FALSE(read_block_device(tree.sys(), name));
  Tree::write(disk / "queue" / "logical_block_size", "513\n");
  EXPECT_EQ(read_block_device(tree.sys(), "nvme0n1").error().code, ErrorCode::malformed);
  Tree::write(disk / "queue" / "logical_block_size", "512\n");
  Tree::write(disk / "size", "18446744073709551615\n");
  EXPECT_FALSE(read_block_device(tree.sys(), "nvme0n1"));
  Tree::write(disk / "size", "1\n");
  Tree::write(disk / "dev", "259\n");
  EXPECT_FALSE(read_block_device(tree.sys(), "nvme0n1"));
  EXPECT_FALSE(block_device_name(tree.sys(), {1, 2}));
}

TEST(BlockDevice, OfAllNvmeDrivesWithoutTheirHiddenPaths) {
  Tree tree;
  tree.disk(kNvme0, "259:0", 2048);
  tree.disk("virtual/block/dm-0", "253:0", 2048);
  tree.disk("virtual/x/nvme1n1", "259:1", 2048);
  tree.disk("pci0000:00/0000:00:03.0/nvme/nvme1/nvme1c1n1", "259:9", 2048);
  EXPECT_THAT(*nvme_block_devices(tree.sys()), ElementsAre("nvme0n1", "nvme1n1"));
}

TEST(MountTable, ReadsWhatTheKernelWrites) {
  const auto mounts = parse_mounts(
      "36 35 259:1 / /mnt/with\\040space rw,noatime master:1 shared:2 - ext4 /dev/nvme0n1p1 rw\n"
      "nonsense\n"
      "37 35 0:25 / /tmp rw - tmpfs tmpfs rw\n"
      "38 35 x:1 / /y rw - ext4 z rw\n"
      "39 35 1:1 / /y rw -\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].number, (DeviceNumber{259, 1}));
  EXPECT_EQ(mounts[0].place, "/mnt/with space");
  EXPECT_EQ(mounts[0].file_system, "ext4");
  EXPECT_EQ(mounts[0].source, "/dev/nvme0n1p1");
  EXPECT_EQ(mounts[1].file_system, "tmpfs");
}

// Nobody may lose data by a typo: what is in use is told for the disk and for each part of it.
TEST(MountTable, SaysWhoUsesADiskOrAPartOfIt) {
  Tree tree;
  const auto disk = tree.disk(kNvme0, "259:0", 131072);
  tree.partition(disk, "nvme0n1p1", "259:1", 2048, 4096);
  tree.partition(disk, "nvme0n1p2", "259:2", 8192, 4096);
  const auto users = [&](const char* name) {
    return *users_of(tree.sys(), tree.proc(), *read_block_device(tree.sys(), name));
  };
  EXPECT_THAT(users("nvme0n1"), IsEmpty());
  Tree::write(tree.proc() / "self" / "mountinfo", "36 35 259:1 / /mnt/a rw - ext4 /dev/nvme0n1p1 rw\n");
  EXPECT_THAT(users("nvme0n1"), ElementsAre("nvme0n1p1 is mounted at /mnt/a"));
  EXPECT_THAT(users("nvme0n1p1"), ElementsAre("it is mounted at /mnt/a"));
  EXPECT_THAT(users("nvme0n1p2"), IsEmpty());
  std::filesystem::create_directories(disk / "nvme0n1p2" / "holders" / "dm-0");
  EXPECT_THAT(users("nvme0n1p2"), ElementsAre("it is held by dm-0"));
  Tree::write(tree.proc() / "swaps", "Filename Type Size Used Priority\n/dev/nvme0n1p2 partition 1 0 -2\n");
  EXPECT_THAT(users("nvme0n1p2"), ElementsAre("it is held by dm-0", "it is swap"));
  EXPECT_EQ(users("nvme0n1").size(), 3u);
  Tree::write(tree.proc() / "self" / "mountinfo", "36 35 259:0 / /mnt/b rw - xfs /dev/nvme0n1 rw\n");
  EXPECT_EQ(users("nvme0n1p1"), std::vector<std::string>{"nvme0n1 is mounted at /mnt/b"});
}

}  // namespace
}  // namespace barter::linux_os
