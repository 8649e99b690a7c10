#include "linux/system_error.h"

#include <fcntl.h>

#include <cerrno>

#include <gtest/gtest.h>

#include "linux/descriptor.h"

namespace barter::linux_os {
namespace {

TEST(SystemError, SaysWhatTheSystemSays) {
  const Descriptor missing(open("/nonexistent/file", O_RDONLY | O_CLOEXEC));
  const Error error = system_error(errno, "opening", "/nonexistent/file");
  EXPECT_FALSE(missing.is_open());
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_EQ(error.message(), "opening /nonexistent/file: No such file or directory");
}

TEST(SystemError, PermissionsHaveACure) { EXPECT_NE(system_error(EPERM, "opening", "x").cure, ""); }

TEST(Descriptor, ClosesOnceWhoeverHoldsItLast) {
  int number = -1;
  {
    Descriptor first(open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(first.is_open());
    number = first.number();
    Descriptor second(std::move(first));
    EXPECT_NE(fcntl(number, F_GETFD), -1);
    first = std::move(second);
    EXPECT_EQ(first.number(), number);
  }
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace barter::linux_os
