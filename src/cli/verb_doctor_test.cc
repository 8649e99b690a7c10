// What barter doctor prints, and what it refuses.
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/verb_doctor.h"

namespace barter::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Finding> findings_of(const std::string& machine) {
  const auto opened = Machine::open(machine);
  EXPECT_TRUE(opened) << opened.error().message();
  auto findings = examine(*opened);
  EXPECT_TRUE(findings) << findings.error().message();
  return *findings;
}

std::string file_text(const std::string& name) {
  std::ifstream file(std::string(BARTER_SOURCE_DIR "/") + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Ran {
  int status = 0;
  std::string out;
  std::string err;
};
Ran run(const DoctorArguments& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Ran ran{.status = run_doctor(arguments)};
  std::fflush(stdout);
  ran.out = testing::internal::GetCapturedStdout();
  ran.err = testing::internal::GetCapturedStderr();
  return ran;
}

TEST(DoctorText, OfTheBuiltInMachinesIsAsItWas) {
  for (const std::string name : {"two-nvme", "acs", "ai-server"})
    EXPECT_EQ(findings_text(name, findings_of(name), Style{}), file_text("tests/golden/" + name + ".doctor.txt"))
        << name;
}

TEST(DoctorText, OfADumpWithoutRootSaysWhatItDoesNotKnow) {
  const std::string text =
      findings_text("no-root", findings_of("lspci:" BARTER_SOURCE_DIR "/tests/golden/no-root.lspci.txt"), Style{});
  EXPECT_THAT(text, HasSubstr("ACS of 0000:00:02.0, 0000:00:03.0"));
  EXPECT_THAT(text, HasSubstr("because lspci ran without root: run it as root"));
  EXPECT_THAT(text, HasSubstr("because lspci tells of devices only"));
  const std::size_t at = text.find("because lspci tells of devices only");
  EXPECT_EQ(text.find("because lspci tells of devices only", at + 1), std::string::npos) << "said once";
}

TEST(DoctorText, HasColoursOnlyWhereAsked) {
  const auto findings = findings_of("acs");
  EXPECT_THAT(findings_text("acs", findings, Style{}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(findings_text("acs", findings, Style{.colours = true}), HasSubstr("\x1b[31mblocker \x1b[0m"));
}

TEST(DoctorText, KeepsControlCharactersFromTheTerminal) {
  const Finding finding{.code = "routes", .subject = "x", .fact = "a\x1b[2Jb", .source = "s\x07", .meaning = "m\x1b"};
  EXPECT_THAT(findings_text("m\x1b", {finding}, Style{}), Not(HasSubstr("\x1b")));
}

TEST(DoctorJson, HasTheShapeThatIsPromised) {
  const auto json = nlohmann::json::parse(doctor_json("acs", findings_of("acs"), nullptr));
  EXPECT_EQ(json.at("machine"), "acs");
  EXPECT_FALSE(json.contains("probe"));
  ASSERT_FALSE(json.at("findings").empty());
  int last = 0;
  const std::string documented = file_text("docs/json.md");
  for (const auto& finding : json.at("findings")) {
    for (const char* key : {"severity", "code", "subject", "fact", "source", "meaning"}) {
      ASSERT_TRUE(finding.at(key).is_string()) << key;
      EXPECT_FALSE(finding.at(key).get<std::string>().empty()) << key;
    }
    for (const char* key : {"remedy", "effect", "cost"})
      EXPECT_TRUE(finding.at(key).is_string() || finding.at(key).is_null()) << key;
    EXPECT_TRUE(finding.at("other_remedies").is_array());
    EXPECT_THAT(documented, HasSubstr("`" + finding.at("code").get<std::string>() + "`"));
    const std::string severity = finding.at("severity");
    const int rank = severity == "blocker" ? 0 : severity == "warning" ? 1 : severity == "unknown" ? 2 : 3;
    EXPECT_GE(rank, last) << "the most important first";
    last = rank;
  }
}

TEST(DoctorJson, TellsAProbe) {
  const Ran ran = run({.machine = "two-nvme", .probe = {"nvme0@0+64KiB", "nvme1@1MiB+64KiB"}, .json = true});
  EXPECT_EQ(ran.status, 0) << ran.err;
  const auto probe = nlohmann::json::parse(ran.out).at("probe");
  EXPECT_EQ(probe.at("passed"), true);
  EXPECT_EQ(probe.at("bytes"), 65536);
  EXPECT_TRUE(probe.at("not_restored").empty());
  ASSERT_EQ(probe.at("legs").size(), 2u);
  const auto& leg = probe.at("legs").at(1);
  EXPECT_EQ(leg.at("from"), "nvme1");
  EXPECT_EQ(leg.at("via"), "nvme0");
  EXPECT_EQ(leg.at("host_memory_bytes"), 0);
  EXPECT_TRUE(leg.at("first_wrong_byte").is_null());
}

TEST(Doctor, EndsWith0WhateverItFinds) { EXPECT_EQ(run({.machine = "acs"}).status, 0); }

TEST(Doctor, EndsWith1WhereAProbeFails) {
  const Ran ran = run({.machine = "acs", .probe = {"nvme0@0+4KiB", "nvme1@0+4KiB"}});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.out, HasSubstr("not copied"));
}

TEST(Doctor, NamesTheMachineInCommands) {
  EXPECT_THAT(run({.machine = "acs"}).out, HasSubstr("barter why nvme0 nvme1 --machine acs"));
}

TEST(Doctor, RefusesAProbeWithoutExplicitScratchSpace) {
  const auto refused = [](const std::string& first, const std::string& second) {
    const Ran ran = run({.machine = "two-nvme", .probe = {first, second}});
    EXPECT_EQ(ran.status, 2) << first;
    EXPECT_EQ(ran.out, "") << first;
    return ran.err;
  };
  EXPECT_THAT(refused("nvme0", "nvme1"), HasSubstr("it has no offset"));
  EXPECT_THAT(refused("nvme0@1MiB", "nvme1@0+1MiB"), HasSubstr("it has no length"));
  EXPECT_THAT(refused("nvme0+1MiB", "nvme1@0+1MiB"), HasSubstr("it has no offset"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme1@0"), HasSubstr("it has no length"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme1@x+1MiB"), HasSubstr("not a number"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme1@0+0"), HasSubstr("its length is 0"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "@0+1MiB"), HasSubstr("names no drive"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme7@0+1MiB"), HasSubstr("there is no such drive"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme1@1GiB+1MiB"), HasSubstr("end behind"));
  EXPECT_THAT(refused("nvme0@0+1MiB", "nvme1@0+2MiB"), HasSubstr("give both one length"));
}

TEST(Doctor, RefusesWhatIsNoMachine) {
  for (const char* machine : {"nonsense", "lspci:/nonsense", "sysfs:/nonsense", "nonsense.toml"}) {
    const Ran ran = run({.machine = machine});
    EXPECT_EQ(ran.status, 2) << machine;
    EXPECT_THAT(ran.err, HasSubstr("nonsense"));
  }
  EXPECT_THAT(run({.machine = "two-nvme", .cpu = "zen"}).err, HasSubstr("VENDOR:FAMILY"));
  EXPECT_THAT(run({.machine = "lspci:" BARTER_SOURCE_DIR "/tests/golden/no-root.lspci.txt",
                   .probe = {"01:00.0@0+4K", "02:00.0@0+4K"}})
                  .err,
              HasSubstr("nothing can be moved on it"));
}

}  // namespace
}  // namespace barter::cli
