#include "base/register.h"

#include <gtest/gtest.h>

namespace barter::base {
namespace {

struct Sample : Register<Sample, 0x14, std::uint32_t> {
  static constexpr Bits<31, 31> top{};
  static constexpr Bits<23, 20> middle{};
  static constexpr Bit<0> bottom{};
  static constexpr Bits<31, 0> all{};
};

TEST(Register, FieldsAreCutOutOfTheWord) {
  constexpr Sample sample = Sample::from(0x80a00001);
  EXPECT_EQ(sample.get(Sample::top), 1u);
  EXPECT_EQ(sample.get(Sample::middle), 0xau);
  EXPECT_TRUE(sample.get(Sample::bottom));
  EXPECT_EQ(sample.get(Sample::all), 0x80a00001u);
}

TEST(Register, WithChangesOneFieldOnly) {
  constexpr Sample sample = Sample::from(0xffffffff).with(Sample::middle, 0x5);
  EXPECT_EQ(sample.raw, 0xff5fffffu);
  EXPECT_EQ(sample.with(Sample::bottom, false).raw, 0xff5ffffeu);
}

}  // namespace
}  // namespace barter::base
