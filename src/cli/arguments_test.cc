#include "cli/arguments.h"

#include <gtest/gtest.h>

namespace barter::cli {
namespace {

TEST(ParseSize, TakesBytesAndUnits) {
  EXPECT_EQ(*parse_size("0"), 0u);
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("0x1000"), 4096u);
  EXPECT_EQ(*parse_size("64K"), 65536u);
  EXPECT_EQ(*parse_size("64k"), 65536u);
  EXPECT_EQ(*parse_size("1MiB"), 1048576u);
  EXPECT_EQ(*parse_size("1 MiB"), 1048576u);
  EXPECT_EQ(*parse_size("1.5GiB"), 1610612736u);
  EXPECT_EQ(*parse_size("2GB"), 2000000000u);
  EXPECT_EQ(*parse_size("16T"), std::uint64_t{16} << 40);
}

TEST(ParseSize, RefusesWhatIsNotASize) {
  for (const char* text : {"", "K", "12Q", "-1", "1..5M", "1.0000001K", "0x", "0xzz", "1e6", "99999999999999999999",
                           "17179869184T", "MiB", "1KiBB", " 1"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(ParseDrivePart, TakesOffsetAndLength) {
  const auto whole = parse_drive_part("nvme0");
  EXPECT_EQ(whole->drive, "nvme0");
  EXPECT_EQ(whole->offset, 0u);
  EXPECT_FALSE(whole->length);
  const auto part = parse_drive_part("0000:03:00.0@1MiB+4K");
  EXPECT_EQ(part->drive, "0000:03:00.0");
  EXPECT_EQ(part->offset, 1048576u);
  EXPECT_EQ(part->length, 4096u);
  EXPECT_EQ(parse_drive_part("nvme0+8K")->length, 8192u);
}

TEST(ParseDrivePart, RefusesHalfOnes) {
  for (const char* text : {"", "@1M", "+1M", "nvme0@", "nvme0+", "nvme0+0", "nvme0@x"})
    EXPECT_FALSE(parse_drive_part(text)) << text;
}

TEST(ParseAttachment, TakesFilesWithEqualSigns) {
  EXPECT_EQ(parse_attachment("nvme0=a=b.img")->file, "a=b.img");
  for (const char* text : {"", "nvme0", "=f", "nvme0="}) EXPECT_FALSE(parse_attachment(text)) << text;
}

TEST(ParseCpu, KnowsShortNames) {
  EXPECT_EQ(parse_cpu("amd:0x19")->vendor, "AuthenticAMD");
  EXPECT_EQ(parse_cpu("amd:0x19")->family, 25u);
  EXPECT_EQ(parse_cpu("GenuineIntel:6")->vendor, "GenuineIntel");
  for (const char* text : {"", "amd", ":6", "amd:", "amd:zen"}) EXPECT_FALSE(parse_cpu(text)) << text;
}

TEST(FormatSize, IsExactWhenItCanBe) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(512), "512 B");
  EXPECT_EQ(format_size(64 << 20), "64 MiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
}

}  // namespace
}  // namespace barter::cli
