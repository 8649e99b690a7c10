// What docs/sharing.md says, where the memory is p2pmem and the drives are Linux's: PROVIDER is the function that has the memory,
// CLIENT the name of a drive, what it holds is overwritten.
#include <cstdlib>
#include <fstream>

#include "processes.h"

namespace barter::lifetime {
namespace {

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

class SharedHost : public Lifetime {
 protected:
  void SetUp() override { whole_ = available(); }
  // An owner with 64 KiB of the provider's memory, and a user that has it mapped for the client.
  void set_up() {
    open("host");
    put(setting("CLIENT"), 64_KiB, 1);
    begin();
  }
  void begin() {
    owner.emplace(place());
    user.emplace(place());
    ASSERT_THAT(owner->ask("allocate a " + setting("PROVIDER") + " 65536"), StartsWith("ok"));
    owner->pass("a", *user);
    ASSERT_EQ(owner->ask("watch a"), "ok");
    ASSERT_EQ(map("m"), "ok bus_address");
  }
  [[nodiscard]] std::string map(const std::string& name, const std::string& how = "read_write") {
    return user->ask("map " + name + " a " + setting("CLIENT") + " " + how);
  }
  // What the kernel still has to lend.
  static std::uint64_t available() {
    std::uint64_t bytes = 0;
    std::ifstream("/sys/bus/pci/devices/" + setting("PROVIDER") + "/p2pmem/available") >> bytes;
    return bytes;
  }
  [[nodiscard]] std::vector<std::byte> on_client() {
    std::vector<std::byte> found(64_KiB);
    const auto lock = broker->hold_machine();
    EXPECT_TRUE(read(*machine->drive(setting("CLIENT")), {}, found));
    return found;
  }
  void TearDown() override {
    owner.reset();
    user.reset();
    Lifetime::TearDown();
    broker.reset();
    machine.reset();
    EXPECT_TRUE(before_long([&] { return available() == whole_; })) << "memory was not given back to the kernel";
  }
  std::uint64_t whole_ = 0;
  std::optional<Process> owner;
  std::optional<Process> user;
};

TEST_F(SharedHost, BytesGoStraightBothWays) {
  set_up();
  EXPECT_LT(available(), whole_);
  EXPECT_EQ(user->ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(owner->ask("check a 1"), "ok");
  ASSERT_EQ(owner->ask("fill a 5"), "ok");
  EXPECT_EQ(user->ask("write m 0 65536 0"), "ok");
  EXPECT_EQ(on_client(), pattern(64_KiB, 5));
  EXPECT_EQ(user->ask("read m 0 4096 8192"), "ok") << "a part of it into the middle";
}

TEST_F(SharedHost, TheOwnersTermsHold) {
  set_up();
  ASSERT_EQ(owner->ask("limit-pins a 16384"), "ok");
  EXPECT_EQ(map("p", "write pinned 0 16384"), "ok bus_address pinned");
  EXPECT_THAT(map("q", "write pinned 16384 4096"), StartsWith("error exhausted"));
  EXPECT_THAT(owner->ask("invalidate a 1000"), StartsWith("error pinned"));
  ASSERT_EQ(owner->ask("consent a first the rest is mine"), "ok");
  EXPECT_EQ(user->ask("map-parts r a " + setting("CLIENT") + " write"), "ok direct 16384 no (the rest is mine) 49152");
  EXPECT_EQ(user->ask("read r0 0 16384 0"), "ok");
  EXPECT_EQ(owner->ask("revoke a 10000"), "ok 3 late 0");
  EXPECT_THAT(owner->ask("ended a"), StartsWith("3 of"));
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
}

TEST_F(SharedHost, OwnerTakesBackUnderARead) {
  set_up();
  for (int round = 0; round < 3; ++round) {
    user->tell("read-on m");
    ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
    ASSERT_EQ(owner->ask("invalidate a 20000"), "ok 1 late 0");
    ASSERT_EQ(owner->ask("fill a 8"), "ok");
    EXPECT_THAT(user->answer(), HasSubstr("error revoked"));
    EXPECT_EQ(owner->ask("check a 8"), "ok") << "a byte came after the memory was taken back";
    ASSERT_EQ(map("m"), "ok bus_address");
  }
}

TEST_F(SharedHost, OwnerCrashes) {
  set_up();
  owner->kill();
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_TRUE(before_long([&] { return available() == whole_; })) << "the kernel lends it to others again";
}

TEST_F(SharedHost, UserCrashesWithPins) {
  set_up();
  ASSERT_EQ(owner->ask("limit-pins a 65536"), "ok");
  ASSERT_EQ(map("p", "write pinned"), "ok bus_address pinned");
  user->kill();
  EXPECT_EQ(owner->ask("await-ends a 2"), "2 of 131072 pinned 65536");
  user.emplace(place());
  owner->pass("a", *user);
  EXPECT_EQ(map("p", "write pinned"), "ok bus_address pinned");
  EXPECT_EQ(user->ask("read p 0 65536 0"), "ok");
}

// It is the process that has the memory mapped: the kernel takes it back with its last page.
TEST_F(SharedHost, BrokerCrashesDuringARead) {
  Process program;
  ASSERT_EQ(program.ask("serve host " + place().string()), "ok");
  begin();
  EXPECT_LT(available(), whole_);
  user->tell("read-on m");
  program.kill();
  EXPECT_THAT(user->answer(), HasSubstr("error device_gone"));
  EXPECT_THAT(owner->ask("check a 1"), StartsWith("error device_gone"));
  EXPECT_TRUE(before_long([&] { return available() == whole_; }));
}

}  // namespace
}  // namespace barter::lifetime
