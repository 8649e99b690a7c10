// The reset of a drive without a memory buffer zeroed 0 bytes at a null pointer; UndefinedBehaviorSanitizer tells.
#include "devices/anonymous_memory.h"

#include <gtest/gtest.h>

namespace barter::devices {
namespace {

TEST(EmptyMemory, CanBeZeroed) {
  AnonymousMemory memory;
  memory.zero(0, 0);
  EXPECT_TRUE(memory.bytes().empty());
}

}  // namespace
}  // namespace barter::devices
