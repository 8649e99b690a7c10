#include "base/printable.h"

#include <string>

#include <gtest/gtest.h>

#include "barter/result.hpp"

namespace barter::base {
namespace {

TEST(Printable, LeavesTextAlone) {
  for (const char* text : {"", "nvme0", "Größe → 64 KiB", "日本語", "\xf0\x9f\x92\xbe", "tilde ~"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, ShowsControlCharactersAsQuestionMarks) {
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(printable("a\x1b[31mb\a\r\n\x7f"), "a?[31mb????");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "?31m")
      << "CSI as one character";
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "cba"),
            "?cba")
      << "right-to-left override";
}

TEST(Printable, ShowsBytesThatAreNoTextAsQuestionMarks) {
  EXPECT_EQ(printable("\x9b"
                      "31m"),
            "?31m")
      << "CSI of eight bits";
  EXPECT_EQ(printable("a\xff\xfe"), "a??");
  EXPECT_EQ(printable("\xc3"), "?") << "cut off";
  EXPECT_EQ(printable("\xc3("), "?(");
  EXPECT_EQ(printable("\xc1\x9b"), "??") << "ESC, longer than need be";
  EXPECT_EQ(printable("\xe0\x82\x9b"), "???");
  EXPECT_EQ(printable("\xed\xa0\x80"), "???") << "half of a pair";
  EXPECT_EQ(printable("\xf5\x80\x80\x80"), "????") << "above the last";
}

TEST(Print, AnErrorIsOneLineWhateverAFileHeld) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(print({.code = ErrorCode::malformed,
                   .doing = "reading",
                   .subject = std::string("a\0b\x1b[2Jc", 8),
                   .why = "'\a\nerror: ü' is no number"}),
            2);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: reading a?b?[2Jc: '??error: ü' is no number\n");
}

}  // namespace
}  // namespace barter::base
