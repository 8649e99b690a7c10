#include "base/log.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace barter::base {
namespace {

TEST(Log, KnowsItsLevels) {
  EXPECT_EQ(log::parse_level("trace"), log::Level::trace);
  EXPECT_EQ(log::parse_level("debug"), log::Level::debug);
  EXPECT_EQ(log::parse_level("info"), log::Level::info);
  EXPECT_EQ(log::parse_level("warn"), log::Level::warn);
  EXPECT_EQ(log::parse_level("error"), log::Level::error);
  EXPECT_EQ(log::parse_level("off"), log::Level::off);
  EXPECT_EQ(log::parse_level("Info"), std::nullopt);
  EXPECT_EQ(log::parse_level(""), std::nullopt);
}

// The variable is read once in a process, so that this is the one test here that logs; tests/log looks at whole commands.
TEST(Log, WritesOneLineOfWhatIsWanted) {
  ::setenv("BARTER_LOG", "info", 1);
  ::testing::internal::CaptureStderr();
  log::debug("not {}", "wanted");
  log::info("a name with {} in it", "\x1b[31m\nnew lines");
  log::warn("twice {}", 21);
  const std::string said = ::testing::internal::GetCapturedStderr();
  ::unsetenv("BARTER_LOG");
  EXPECT_EQ(said.find("wanted"), std::string::npos) << said;
  EXPECT_NE(said.find("info: a name with ?[31m?new lines in it\n"), std::string::npos) << said;
  EXPECT_NE(said.find("warning: twice 21\n"), std::string::npos) << said;
  EXPECT_FALSE(log::is_wanted(log::Level::debug));
}

}  // namespace
}  // namespace barter::base
