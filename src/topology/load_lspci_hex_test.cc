#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pci/dump.h"
#include "topology/load.h"
#include "topology/load_lspci_hex_text.h"

namespace barter::topology {
namespace {

class HexDump : public ::testing::Test {
 protected:
  HexDump() : file_(std::filesystem::temp_directory_path() / ("barter-hex-" + std::to_string(getpid()) + ".txt")) {}
  ~HexDump() override { std::filesystem::remove(file_); }

  Result<TopologyParts> load(const std::string& text) {
    std::ofstream(file_, std::ios::binary) << text;
    return load_lspci_hex(file_);
  }
  // The message of the error that loading this text gives, or "loaded".
  std::string refusal(const std::string& text) {
    const auto parts = load(text);
    return parts ? "loaded" : parts.error().message();
  }

  std::filesystem::path file_;
};

// A line of config space that begins with these bytes and goes on with zeros.
std::string line(unsigned at, std::initializer_list<unsigned> bytes) {
  std::string all = fmt::format("{:02x}:", at);
  for (std::size_t index = 0; index < 16; ++index) {
    all += fmt::format(" {:02x}", index < bytes.size() ? bytes.begin()[index] : 0);
  }
  return all + "\n";
}

std::string zeros(unsigned from, unsigned to) {
  std::string all;
  for (unsigned at = from; at < to; at += 16) all += line(at, {});
  return all;
}

// Vendor 144d, device a808, memory and bus master on, a list of capabilities that starts at 0x70, class NVMe.
const std::string kDriveHeader = "0000:01:00.0 Non-Volatile memory controller: Somebody's drive\n" +
                                 line(0x00, {0x4d, 0x14, 0x08, 0xa8, 0x06, 0x04, 0x10, 0x00, 0x00, 0x02, 0x08, 0x01}) +
                                 line(0x10, {0x04, 0x00, 0x10, 0xdf}) + line(0x20, {}) + line(0x30, {0, 0, 0, 0, 0x70});

TEST_F(HexDump, SixtyFourBytesTellTheHeaderOnly) {
  const auto parts = load(kDriveHeader + "\n");
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->functions.size(), 1u);
  const FunctionInfo& drive = parts->functions[0];
  EXPECT_EQ(drive.bdf.to_string(), "0000:01:00.0");
  EXPECT_EQ(*drive.vendor_id, 0x144d);
  EXPECT_EQ(*drive.device_id, 0xa808);
  EXPECT_EQ(*drive.class_code, 0x010802u);
  ASSERT_EQ(drive.bars.size(), 1u);
  EXPECT_EQ(drive.bars[0].address->value, 0xdf100000u);
  EXPECT_FALSE(drive.port_type);
  EXPECT_FALSE(drive.acs);
  EXPECT_EQ(drive.acs.why_unknown(), "only the first 64 bytes of config space could be read; run as root");
  EXPECT_FALSE(parts->cpu);
}

TEST_F(HexDump, AFullDumpTellsThatThereIsNoAcs) {
  const auto parts = load(kDriveHeader + zeros(0x40, 0x70) + line(0x70, {0x10, 0, 0x02, 0}) + zeros(0x80, 0x1000));
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_TRUE(parts->functions[0].acs);
  EXPECT_FALSE(parts->functions[0].acs->has_value());
  EXPECT_EQ(*parts->functions[0].port_type, PortType::endpoint);
}

TEST_F(HexDump, TakesWhatLspciSaysInWordsAndCarriageReturns) {
  std::string text = kDriveHeader;
  text.insert(text.find('\n') + 1, "\tSubsystem: Somebody's " + std::string(400, 'x') + "\n");
  std::string with_returns;
  for (const char c : text) with_returns += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(refusal(with_returns), "loaded");
}

TEST_F(HexDump, TakesADumpWhoseLastLineDoesNotEnd) {
  EXPECT_EQ(refusal(kDriveHeader.substr(0, kDriveHeader.size() - 1)), "loaded");
}

TEST_F(HexDump, TakesWhatStandsAroundTheDump) {
  const std::string plain = kDriveHeader + "\n";
  EXPECT_EQ(refusal("\xef\xbb\xbf" + plain), "loaded");
  EXPECT_EQ(refusal("root@host:~# lspci -xxxx\npcilib: Cannot open /sys\n" + plain + "[me@host ~]$\n"), "loaded");
  EXPECT_EQ(refusal("```\n" + plain + "```\n"), "loaded");
}

TEST_F(HexDump, RefusesADumpThatEndsWhereLspciNeverEndsOne) {
  const std::string capability = zeros(0x40, 0x70) + line(0x70, {0x10, 0, 0x02, 0});
  const auto cut_at = [&](unsigned bytes) { return kDriveHeader + capability + zeros(0x80, bytes) + "\n"; };
  EXPECT_EQ(refusal(cut_at(0x100)), "loaded");
  EXPECT_EQ(refusal(cut_at(0x1000)), "loaded");
  EXPECT_NE(refusal(cut_at(0x200)).find("line 33: the dump of 0000:01:00.0 ends after 512 bytes"), std::string::npos)
      << refusal(cut_at(0x200));
  const std::string whole = cut_at(0x1000);
  EXPECT_NE(refusal(whole.substr(0, whole.size() - 7)).find("ends after 4094 bytes"), std::string::npos);
}

TEST_F(HexDump, NamesTheLineOfEachFault) {
  const auto says = [this](const std::string& text, const std::string& what) {
    EXPECT_NE(refusal(text).find(what), std::string::npos) << refusal(text);
  };
  says("", "there is no dump of a function in it");
  says("01:00.0 Host bridge: x\n", "line 1: 0000:01:00.0 has no bytes");
  says("00: 01 02\n", "line 1: these bytes belong to no function");
  says("hello\n", "line 1: 'hello' is neither a function's name nor a line of bytes");
  says("<html>\n", "line 1");
  says("01:20.0 x\n", "line 1");
  says("01:00.9 x\n", "line 1");
  says(kDriveHeader + "\n" + kDriveHeader, "line 7: 0000:01:00.0 is already there, in line 1");
  says("01:00.0 x\n" + line(0x00, {}) + line(0x20, {}), "line 3: the bytes at 0x20 should be those at 0x10");
  says("01:00.0 x\n" + line(0x00, {}) + "ffffffff: 00\n", "line 3");
  says("01:00.0 x\n00: 0\n", "line 2: '0' is no byte");
  says("01:00.0 x\n00: 00 zz\n", "line 2: 'zz' is no byte");
  says("01:00.0 x\n00: 00 01 02\n10: 00\n", "line 3");
  says("01:00.0 x\n00:\n", "line 2: a line without bytes");
  says("01:00.0 x\n" + line(0x00, {}) + line(0x10, {}), "line 3: the dump of 0000:01:00.0 ends after 32 bytes");
  says("123456:01:00.0 x\n" + zeros(0, 64), "line 1");
  says("01:00.0 x\n" + zeros(0, 0x1000) + "1000: 00\n", "line 258: config space ends at 0x1000");
  says(std::string("01:00.0 x\0y\n", 12), "line 1: the line holds a zero byte");
}

TEST_F(HexDump, NamesFunctionLineAndOffsetOfALoop) {
  const std::string text = kDriveHeader + zeros(0x40, 0x70) + line(0x70, {0x01, 0x70}) + zeros(0x80, 0x100);
  const std::string message = refusal(text);
  EXPECT_NE(message.find("0000:01:00.0"), std::string::npos) << message;
  EXPECT_NE(message.find("line 9, offset 0x71: the capability list loops back to 0x70"), std::string::npos) << message;
}

TEST_F(HexDump, RefusesBarsInTheSamePlace) {
  std::string second = kDriveHeader;
  second.replace(0, 12, "0000:02:00.0");
  EXPECT_NE(refusal(kDriveHeader + "\n" + second).find("BAR 0 of 0000:02:00.0 at 0xdf100000 overlaps BAR 0 of 0000:01"),
            std::string::npos);
}

TEST_F(HexDump, AMissingFileAndAFolderAreErrors) {
  EXPECT_EQ(load_lspci_hex("/nonexistent/dump.txt").error().code, ErrorCode::not_found);
  EXPECT_EQ(load_lspci_hex("/").error().code, ErrorCode::invalid_argument);
}

TEST_F(HexDump, WhatDumpWritesIsReadBack) {
  auto config = pci::ConfigSpace::blank();
  config.write(0, 4, 0x00101b36);
  config.write(0x0b, 1, 0x02);
  const pci::DumpedFunction functions[] = {
      {{0x10000, 0xe1, 0x1f, 7}, config}, {{0, 0, 0, 1}, config.first(64)}, {{0, 0, 0, 2}, config.first(256)}};
  const auto parts = load(pci::dump(functions));
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->functions.size(), 3u);
  EXPECT_EQ(parts->functions[0].bdf, functions[0].bdf);
  EXPECT_EQ(*parts->functions[0].class_code, 0x020000u);
  EXPECT_FALSE(parts->functions[0].acs->has_value());
  EXPECT_TRUE(parts->functions[1].acs);  // without a capability list it is conventional
}

}  // namespace
}  // namespace barter::topology
