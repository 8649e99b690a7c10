#include "pci/capability_walk.h"

#include <gtest/gtest.h>

#include "pci/capabilities/capability_header.h"
#include "pci/config_header.h"

namespace barter::pci {
namespace {

using End = CapabilityList::End;

// Bytes are written as the specification prints them, not with the register types under test.
class CapabilityWalk : public ::testing::Test {
 protected:
  CapabilityWalk() {
    config_.write(0x06, 2, 0x0010);  // Status: there is a list
  }
  void capability(unsigned at, unsigned id, unsigned next) { config_.write(at, 2, next << 8 | id); }
  void extended(unsigned at, unsigned id, unsigned version, unsigned next) {
    config_.write(at, 4, next << 20 | version << 16 | id);
  }
  ConfigSpace config_ = ConfigSpace::blank();
};

TEST_F(CapabilityWalk, FollowsTheListInItsOrder) {
  config_.write(0x34, 1, 0x80);
  capability(0x80, 0x10, 0x40);
  capability(0x40, 0x01, 0xfc);
  capability(0xfc, 0x11, 0);
  const auto list = walk_capabilities(config_);
  EXPECT_EQ(list.end, End::complete);
  EXPECT_EQ(list.entries, (std::vector<CapabilityEntry>{{0x10, 0x80, 0}, {0x01, 0x40, 0}, {0x11, 0xfc, 0}}));
  ASSERT_NE(list.find(0x11), nullptr);
  EXPECT_EQ(list.find(0x11)->offset, 0xfc);
  EXPECT_EQ(list.find(0x05), nullptr);
}

TEST_F(CapabilityWalk, NeedsTheStatusBit) {
  config_.write(0x34, 1, 0x80);
  config_.write(0x06, 2, 0);
  const auto list = walk_capabilities(config_);
  EXPECT_TRUE(list.entries.empty());
  EXPECT_EQ(list.end, End::complete);
}

TEST_F(CapabilityWalk, MasksTheReservedBitsOfPointers) {
  config_.write(0x34, 1, 0x43);
  capability(0x40, 0x01, 0x51);
  capability(0x50, 0x05, 2);
  const auto list = walk_capabilities(config_);
  EXPECT_EQ(list.end, End::complete);
  EXPECT_EQ(list.entries.size(), 2u);
}

TEST_F(CapabilityWalk, NamesTheOffsetOfALoop) {
  config_.write(0x34, 1, 0x40);
  capability(0x40, 0x01, 0x50);
  capability(0x50, 0x05, 0x40);
  const auto list = walk_capabilities(config_);
  EXPECT_EQ(list.end, End::defective);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(*list.defect, (Defect{0x51, "the capability list loops back to 0x40"}));
  EXPECT_EQ(list.entries.size(), 2u);
}

TEST_F(CapabilityWalk, NamesACapabilityThatPointsToItself) {
  config_.write(0x34, 1, 0x40);
  capability(0x40, 0x01, 0x40);
  EXPECT_EQ(walk_capabilities(config_).end, End::defective);
}

TEST_F(CapabilityWalk, RefusesAPointerIntoTheHeader) {
  config_.write(0x34, 1, 0x40);
  capability(0x40, 0x01, 0x3c);
  const auto list = walk_capabilities(config_);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(list.defect->offset, 0x41);
}

TEST_F(CapabilityWalk, RefusesAllOnes) {
  config_.write(0x34, 1, 0xff);
  config_.write(0xfc, 4, 0xffffffff);
  const auto list = walk_capabilities(config_);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(list.defect->offset, 0xfc);
}

TEST_F(CapabilityWalk, StopsWhereTheKnownBytesEnd) {
  config_.write(0x34, 1, 0x40);
  capability(0x40, 0x01, 0x80);
  capability(0x80, 0x10, 0);
  auto list = walk_capabilities(config_.first(0x81));
  EXPECT_EQ(list.end, End::not_known);
  EXPECT_EQ(list.end_offset, 0x80);
  EXPECT_EQ(list.entries.size(), 1u);
  EXPECT_EQ(walk_capabilities(config_.first(64)).end, End::not_known);
  EXPECT_EQ(walk_capabilities(config_.first(0)).end, End::not_known);
  EXPECT_EQ(walk_capabilities(config_.first(0x82)).end, End::complete);
}

TEST_F(CapabilityWalk, FollowsTheExtendedList) {
  extended(0x100, 0x01, 2, 0x148);
  extended(0x148, 0x0d, 1, 0xffc);
  extended(0xffc, 0x0f, 1, 0);
  const auto list = walk_extended_capabilities(config_);
  EXPECT_EQ(list.end, End::complete);
  EXPECT_EQ(list.entries, (std::vector<CapabilityEntry>{{0x01, 0x100, 2}, {0x0d, 0x148, 1}, {0x0f, 0xffc, 1}}));
}

TEST_F(CapabilityWalk, ZerosAt0x100AreAnEmptyList) {
  const auto list = walk_extended_capabilities(config_);
  EXPECT_EQ(list.end, End::complete);
  EXPECT_TRUE(list.entries.empty());
}

TEST_F(CapabilityWalk, AllOnesAt0x100TellNothing) {
  config_.write(0x100, 4, 0xffffffff);
  EXPECT_EQ(walk_extended_capabilities(config_).end, End::not_known);
  EXPECT_EQ(walk_extended_capabilities(config_.first(256)).end, End::not_known);
}

TEST_F(CapabilityWalk, SkipsAnEmptyFirstCapability) {
  extended(0x100, 0, 0, 0x200);
  extended(0x200, 0x0d, 1, 0);
  const auto list = walk_extended_capabilities(config_);
  EXPECT_EQ(list.end, End::complete);
  EXPECT_EQ(list.entries, (std::vector<CapabilityEntry>{{0x0d, 0x200, 1}}));
}

TEST_F(CapabilityWalk, NamesTheOffsetOfAnExtendedLoop) {
  extended(0x100, 0x01, 1, 0x200);
  extended(0x200, 0x0d, 1, 0x100);
  const auto list = walk_extended_capabilities(config_);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(*list.defect, (Defect{0x200, "the extended capability list loops back to 0x100"}));
}

TEST_F(CapabilityWalk, RefusesAnExtendedPointerBelowItsSpace) {
  extended(0x100, 0x01, 1, 0x40);
  const auto list = walk_extended_capabilities(config_);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(list.defect->offset, 0x100);
}

TEST_F(CapabilityWalk, RefusesAnExtendedCapabilityOfAllOnes) {
  extended(0x100, 0x01, 1, 0x200);
  config_.write(0x200, 4, 0xffffffff);
  const auto list = walk_extended_capabilities(config_);
  ASSERT_TRUE(list.defect);
  EXPECT_EQ(list.defect->offset, 0x200);
}

}  // namespace
}  // namespace barter::pci
