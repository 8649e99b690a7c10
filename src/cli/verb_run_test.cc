// What barter run prints, and what it refuses.
#include "cli/verb_run.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace barter::cli {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int status = 0;
  std::string out;
  std::string err;
};
Ran run(const RunArguments& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Ran ran{.status = run_run(arguments)};
  std::fflush(stdout);
  ran.out = testing::internal::GetCapturedStdout();
  ran.err = testing::internal::GetCapturedStderr();
  return ran;
}

TEST(RunVerb, GivesTheKeysOfEveryWorkload) {
  const Ran ran = run({.name = "load", .size = "6MiB", .policy = "required", .stepped = true, .json = true});
  ASSERT_EQ(ran.status, 0) << ran.err;
  const auto json = nlohmann::json::parse(ran.out);
  EXPECT_EQ(json.at("workload"), "load");
  EXPECT_EQ(json.at("route"), "peer");
  EXPECT_EQ(json.at("bytes"), 12 << 20);
  EXPECT_EQ(json.at("host_memory_bytes"), 0);
  EXPECT_EQ(json.at("verified"), true);
  EXPECT_GT(json.at("seconds"), 0);
  EXPECT_TRUE(json.at("files").is_number_integer()) << json.at("files");
  EXPECT_EQ(json.at("files"), json.at("parts").size());
  EXPECT_EQ(json.at("parts").at(0).at("route"), "peer");
}

TEST(RunVerb, TellsTheRouteOfEachPair) {
  const Ran ran = run({.name = "load", .size = "6MiB", .policy = "disabled", .stepped = true});
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("load: 12 MiB moved in"));
  EXPECT_THAT(ran.out, HasSubstr("nvme0 - gpu0"));
  EXPECT_THAT(ran.out, HasSubstr("all bytes are right"));
}

TEST(RunVerb, RefusesInWordsAndWithTwo) {
  const auto refuses = [](const RunArguments& arguments, std::string_view words) {
    const Ran ran = run(arguments);
    EXPECT_EQ(ran.status, 2) << words;
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr(std::string(words)));
  };
  refuses({.name = "laod"}, "there is load");
  refuses({.name = "load", .size = "many"}, "many");
  refuses({.name = "load", .size = "0"}, "moves nothing");
  refuses({.name = "load", .policy = "perhaps"}, "perhaps");
  refuses({.name = "load", .machine = "two-nvme"}, "no accelerator that works");
  refuses({.name = "load", .machine = "no-such-machine"}, "no-such-machine");
  refuses({.name = "neighbour", .size = "1MiB", .stepped = true}, "leave --stepped out");
}

// The verdict of a pair that can't be direct is the answer, not a transfer by another way.
TEST(RunVerb, RequiredWithoutARouteTellsTheVerdict) {
  const auto file = std::filesystem::temp_directory_path() / "barter-run-no-route.toml";
  std::ofstream(file) << "name = \"apart\"\n[[root_complex]]\nname = \"rc0\"\n[[root_port]]\nname = \"rp0\"\nbelow = "
                         "\"rc0\"\n[[root_port]]\nname = \"rp1\"\nbelow = \"rc0\"\n[[drive]]\nname = \"d\"\nbelow = "
                         "\"rp0\"\nsize = \"16 MiB\"\n[[accelerator]]\nname = \"g\"\nbelow = \"rp1\"\nmemory = \"16 "
                         "MiB\"\n";
  const Ran refused =
      run({.name = "load", .machine = file.string(), .size = "1MiB", .policy = "required", .stepped = true});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("from d to the memory of g"));
  EXPECT_THAT(refused.err, HasSubstr("barter why d g"));
  const Ran by_host = run({.name = "load", .machine = file.string(), .size = "1MiB", .stepped = true});
  EXPECT_EQ(by_host.status, 0) << by_host.err;
  EXPECT_THAT(by_host.out, HasSubstr("because"));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace barter::cli
