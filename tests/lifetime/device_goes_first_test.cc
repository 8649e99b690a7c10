// The device goes first: pulled out of its slot, reset by an administrator, or given up by its driver, under owners and users in processes of their own.
#include <chrono>

#include "processes.h"

namespace barter::lifetime {
namespace {

enum class How : std::uint8_t { pulled_out, reset, given_up };

class DeviceGoesFirst : public Lifetime, public testing::WithParamInterface<How> {
 protected:
  void set_up(const std::string& name) {
    open(name);
    put("nvme1", 64_KiB, 1);
    owner.emplace(place());
    user.emplace(place());
    ASSERT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
    owner->pass("a", *user);
    ASSERT_THAT(user->ask("map m a nvme1 read_write"), StartsWith("ok"));
  }
  // As the program that has the machine does it.
  RevokeReport take_out(const std::string& drive) {
    machine::State& state = *machine->state();
    machine::DriveUnit& unit = machine->drive(drive)->unit();
    const bool pulled = GetParam() == How::pulled_out;
    // Neither waits until nobody is using the machine. What was reset, its driver gives up.
    if (pulled && !state.backend().pull_out(unit)) ADD_FAILURE();
    if (GetParam() == How::reset && !state.backend().reset(unit)) ADD_FAILURE();
    const auto lock = broker->hold_machine();
    const auto report = pulled ? state.unplug(unit) : state.unbind(unit);
    EXPECT_TRUE(report) << report.error().message();
    return report.value_or(RevokeReport{});
  }
  void TearDown() override {
    owner.reset();
    user.reset();
    Lifetime::TearDown();
  }
  std::optional<Process> owner;
  std::optional<Process> user;
};

TEST_P(DeviceGoesFirst, TheOneWithTheMemory) {
  set_up("two-nvme");
  EXPECT_EQ(take_out("nvme0").mappings, 1u);
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_THAT(user->ask("map n a nvme1 write"), StartsWith("error device_gone"));
  EXPECT_THAT(owner->ask("check a 1"), StartsWith("error revoked"));
  EXPECT_THAT(owner->ask("allocate b nvme0 65536"), StartsWith("error device_gone"));
  EXPECT_THAT(owner->ask("revoke a 1000"), StartsWith("ok 0 late 0"));
  // The other drive goes on.
  const auto lock = broker->hold_machine();
  std::vector<std::byte> found(64_KiB);
  ASSERT_TRUE(read(*machine->drive("nvme1"), {}, found));
  EXPECT_EQ(found, pattern(64_KiB, 1));
}

TEST_P(DeviceGoesFirst, TheOneThatUsesIt) {
  set_up("two-nvme");
  ASSERT_EQ(user->ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(take_out("nvme1").mappings, 1u);
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_THAT(user->ask("map n a nvme1 write"), StartsWith("error device_gone"));
  // The memory is its owner's as before, and others can have it.
  EXPECT_EQ(owner->ask("check a 1"), "ok");
  EXPECT_THAT(user->ask("map n a nvme0 read"), StartsWith("ok"));
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 1 late 0");
}

TEST_P(DeviceGoesFirst, TheOneWithTheMemoryDuringATransfer) {
  set_up("two-nvme");
  user->tell("read-on m");
  ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
  static_cast<void>(take_out("nvme0"));
  EXPECT_THAT(user->answer(), HasSubstr("error "));
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_THAT(owner->ask("check a 1"), StartsWith("error revoked"));
}

TEST_P(DeviceGoesFirst, TheOneThatUsesItDuringATransfer) {
  set_up("two-nvme");
  user->tell("read-on m");
  ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
  static_cast<void>(take_out("nvme1"));
  EXPECT_THAT(user->answer(), HasSubstr("error "));
  ASSERT_EQ(owner->ask("fill a 7"), "ok");
  EXPECT_EQ(owner->ask("check a 7"), "ok") << "a byte came from a drive that is gone";
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 0 late 0");
}

// A lease that nobody ends does not keep a device in its slot.
TEST_P(DeviceGoesFirst, TheOneThatUsesItUnderALease) {
  set_up("ats");
  ASSERT_EQ(user->ask("lease l m"), "ok");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(take_out("nvme1").late.size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_EQ(user->ask("drop l"), "ok");
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 0 late 0");
}

INSTANTIATE_TEST_SUITE_P(Each, DeviceGoesFirst, testing::Values(How::pulled_out, How::reset, How::given_up),
                         [](const auto& of) {
                           return of.param == How::pulled_out ? "PulledOut"
                                  : of.param == How::reset    ? "Reset"
                                                              : "GivenUp";
                         });

}  // namespace
}  // namespace barter::lifetime
