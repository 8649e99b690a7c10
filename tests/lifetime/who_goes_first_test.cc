// Owner, user, go-between, broker and program: each goes first, by dropping what it has, and by a crash, in each state.
#include <chrono>

#include "processes.h"

namespace barter::lifetime {
namespace {

constexpr std::size_t kBytes = 64_KiB;

class WhoGoesFirst : public Lifetime {
 protected:
  // An owner with a region `a`, and a user with a mapping `m` of it for nvme1.
  void set_up(const std::string& name = "two-nvme", BrokerOptions options = {}) {
    open(name, std::move(options));
    put("nvme1", kBytes, 1);
    owner.emplace(place());
    user.emplace(place());
    expected_clients = 0;
    ASSERT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
    owner->pass("a", *user);
    ASSERT_THAT(user->ask("map m a nvme1 read_write"), StartsWith("ok"));
  }
  // Someone else, who has nothing to do with it, and goes on.
  void expect_others_go_on() {
    Process other(place());
    ASSERT_THAT(other.ask("allocate z nvme0 65536"), StartsWith("ok"));
    ASSERT_THAT(other.ask("map y z nvme1 write"), StartsWith("ok"));
    EXPECT_EQ(other.ask("read y 0 65536 0"), "ok");
    EXPECT_EQ(other.ask("check z 1"), "ok");
  }
  void expect_user_has_lost_it() {
    EXPECT_EQ(user->ask("told m"), "ok");
    EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
    EXPECT_THAT(user->ask("lease l2 m"), StartsWith("error revoked"));
  }
  void TearDown() override {
    owner.reset();
    user.reset();
    Lifetime::TearDown();
  }

  std::optional<Process> owner;
  std::optional<Process> user;
};

// The owner.

TEST_F(WhoGoesFirst, OwnerDrops) {
  set_up();
  ASSERT_EQ(owner->ask("drop a"), "ok");
  expect_user_has_lost_it();
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, OwnerRevokesAndStays) {
  set_up();
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 1 late 0");
  expect_user_has_lost_it();
  EXPECT_THAT(user->ask("map n a nvme1 write"), StartsWith("error revoked"));
  EXPECT_THAT(owner->ask("check a 1"), StartsWith("error revoked"));
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, OwnerInvalidatesAndTheUserMapsAgain) {
  set_up();
  ASSERT_EQ(user->ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(owner->ask("invalidate a 1000"), "ok 1 late 0");
  expect_user_has_lost_it();
  EXPECT_EQ(owner->ask("check a 1"), "ok") << "what was there is there afterwards";
  ASSERT_THAT(user->ask("map m a nvme1 read_write"), StartsWith("ok"));
  EXPECT_EQ(user->ask("read m 0 65536 0"), "ok");
}

TEST_F(WhoGoesFirst, OwnerCrashes) {
  set_up();
  owner->kill();
  expect_user_has_lost_it();
  EXPECT_THAT(user->ask("map n a nvme1 write"), StartsWith("error"));
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, OwnerCrashesUnderALeaseThatEndsAtOnce) {
  set_up();
  ASSERT_EQ(user->ask("obey m"), "ok");
  owner->kill();
  expect_user_has_lost_it();
  ASSERT_TRUE(before_long([&] { return broker->counters().regions == 0; }));
  EXPECT_EQ(broker->counters().late_importers, 0u);
  expect_others_go_on();
}

// No IOMMU is on the way: the drive loses the right to any DMA, and the memory is safe.
TEST_F(WhoGoesFirst, OwnerCrashesUnderALeaseThatNeverEnds) {
  set_up();
  ASSERT_EQ(user->ask("lease l m"), "ok");
  owner->kill();
  expect_user_has_lost_it();
  ASSERT_TRUE(before_long([&] { return broker->counters().regions == 0; }));
  EXPECT_EQ(broker->counters().late_importers, 1u);
  Process other(place());
  ASSERT_THAT(other.ask("allocate z nvme0 65536"), StartsWith("ok"));
  EXPECT_THAT(other.ask("map y z nvme1 write"), HasSubstr("cut off from all memory"));
  ASSERT_THAT(other.ask("map x z nvme0 write"), StartsWith("ok")) << "the other drive has nothing to do with it";
  EXPECT_EQ(other.ask("read x 0 65536 0"), "ok");
}

// An IOMMU is: it forgets the address, and the drive goes on with everything else.
TEST_F(WhoGoesFirst, OwnerCrashesUnderALeaseThatNeverEndsBehindAnIommu) {
  set_up("ats");
  ASSERT_EQ(user->ask("lease l m"), "ok");
  owner->kill();
  expect_user_has_lost_it();
  ASSERT_TRUE(before_long([&] { return broker->counters().regions == 0; }));
  EXPECT_EQ(broker->counters().late_importers, 1u);
  EXPECT_EQ(user->ask("drop l"), "ok");
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, OwnerCrashesWhileItIsAsked) {
  set_up("two-nvme", {.consent_deadline = kLongEnough});
  ASSERT_EQ(owner->ask("consent a never"), "ok");
  user->tell("map n a nvme1 write");
  ASSERT_EQ(owner->ask("told asked"), "ok");
  owner->kill();
  EXPECT_THAT(user->answer(), HasSubstr("the process that owns the memory has ended"));
  EXPECT_EQ(broker->counters().unanswered, 0u);
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, OwnerCrashesWhileItTakesBack) {
  set_up();
  ASSERT_EQ(user->ask("lease l m"), "ok");
  owner->tell("revoke a 60000");
  ASSERT_EQ(user->ask("told m"), "ok");
  owner->kill();
  expect_others_go_on();
  ASSERT_EQ(user->ask("drop l"), "ok");
  ASSERT_TRUE(before_long([&] { return broker->counters().regions == 0; }));
  EXPECT_EQ(broker->counters().late_importers, 0u);
}

TEST_F(WhoGoesFirst, OwnerCrashesDuringATransfer) {
  // On a busy computer the transfer of a moment takes its time; that is not what this is about.
  set_up("two-nvme", {.departure_deadline = 20s});
  user->tell("read-on m");
  ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
  owner->kill();
  EXPECT_THAT(user->answer(), HasSubstr("error revoked"));
  expect_others_go_on();
}

// Its children have inherited the socket, which therefore stays open.
TEST_F(WhoGoesFirst, OwnerCrashesAndItsChildLivesOn) {
  set_up();
  const std::string child = owner->ask("fork-and-stay");
  ASSERT_THAT(child, StartsWith("ok "));
  owner->kill();
  expect_user_has_lost_it();
  expect_others_go_on();
  ::kill(std::stoi(child.substr(3)), SIGKILL);
}

// The user.

TEST_F(WhoGoesFirst, UserDrops) {
  set_up();
  ASSERT_EQ(user->ask("lease l m"), "ok");
  ASSERT_EQ(user->ask("drop m"), "ok");
  EXPECT_EQ(owner->ask("revoke a 100"), "ok 1 late 1") << "its lease outlives its mapping";
}

TEST_F(WhoGoesFirst, UserCrashes) {
  set_up();
  ASSERT_EQ(user->ask("lease l m"), "ok");
  user->kill();
  ASSERT_TRUE(before_long([&] { return broker->counters().mappings == 0; }));
  EXPECT_EQ(owner->ask("fill a 4"), "ok");
  EXPECT_EQ(owner->ask("check a 4"), "ok");
  EXPECT_EQ(owner->ask("revoke a 60000"), "ok 0 late 0");
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, UserCrashesWhileTheOwnerWaitsForItsLease) {
  set_up();
  ASSERT_EQ(user->ask("lease l m"), "ok");
  const auto start = std::chrono::steady_clock::now();
  owner->tell("revoke a 60000");
  ASSERT_EQ(user->ask("told m"), "ok");
  user->kill();
  EXPECT_EQ(owner->answer(), "ok 1 late 0");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 50s) << "it waited for a dead process";
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, UserCrashesDuringATransfer) {
  set_up();
  user->tell("read-on m");
  ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
  user->kill();
  ASSERT_TRUE(before_long([&] { return broker->counters().clients == 1; }));
  ASSERT_EQ(owner->ask("fill a 6"), "ok");
  EXPECT_EQ(owner->ask("check a 6"), "ok");
  expect_others_go_on();
}

TEST_F(WhoGoesFirst, UserCrashesWhileItsOwnerIsAsked) {
  set_up("two-nvme", {.consent_deadline = 500ms});
  ASSERT_EQ(owner->ask("consent a never"), "ok");
  user->tell("map n a nvme1 write");
  ASSERT_EQ(owner->ask("told asked"), "ok");
  user->kill();
  ASSERT_TRUE(before_long([&] { return broker->counters().clients == 1; }));
  EXPECT_EQ(broker->counters().mappings, 0u);
}

// Taking back under a transfer.

TEST_F(WhoGoesFirst, DeregisteredUnderAReadInFlight) {
  set_up();
  for (int round = 0; round < 10; ++round) {
    user->tell("read-on m");
    ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
    ASSERT_EQ(owner->ask("invalidate a 10000"), "ok 1 late 0");
    ASSERT_EQ(owner->ask("fill a 8"), "ok");
    EXPECT_THAT(user->answer(), HasSubstr("error revoked"));
    EXPECT_EQ(owner->ask("check a 8"), "ok") << "a byte came after the memory was taken back";
    ASSERT_THAT(user->ask("map m a nvme1 read_write"), StartsWith("ok"));
  }
  user->tell("read-on m");
  ASSERT_TRUE(before_long([&] { return owner->ask("check a 1") == "ok"; }));
  EXPECT_EQ(owner->ask("drop a"), "ok");
  EXPECT_THAT(user->answer(), HasSubstr("error revoked"));
}

// The handle of the mapping goes while a transfer uses it: the transfer ends as it should, and no other begins.
TEST_F(WhoGoesFirst, MappingDroppedUnderAReadInFlight) {
  open();
  put("nvme1", 1_MiB, 1);
  auto region = machine->provider("nvme0")->allocate(1_MiB);
  ASSERT_TRUE(region);
  const Drive drive = *machine->drive("nvme1");
  for (int round = 0; round < 10; ++round) {
    std::ranges::fill(region->cpu_bytes(), std::byte{0});
    auto mapping = drive.map(*region, {.access = Access::write});
    ASSERT_TRUE(mapping);
    auto lease = mapping->lease();
    ASSERT_TRUE(lease);
    std::optional<Result<void>> done;
    std::thread reading([&] { done = read(drive, {.bytes = 1_MiB}, *lease); });
    {
      const Mapping dropped = std::move(*mapping);
    }
    reading.join();
    ASSERT_TRUE(*done) << done->error().message();
    EXPECT_TRUE(std::ranges::equal(region->cpu_bytes(), pattern(1_MiB, 1)));
    lease = Lease();
    const auto report = region->invalidate({.deadline = 10s});
    ASSERT_TRUE(report);
    EXPECT_EQ(report->mappings, 0u);
  }
}

// A third one who only brings the two together.

TEST_F(WhoGoesFirst, GoBetweenCrashes) {
  open();
  put("nvme1", kBytes, 1);
  owner.emplace(place());
  user.emplace(place());
  ASSERT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
  {
    Process between;  // it has no connection of its own
    owner->pass("a", between);
    ASSERT_EQ(between.ask("post", owner->descriptor.number()).substr(0, 5), "error") << "a region is no socket";
  }
  Process between(place());
  owner->pass("a", between);
  ASSERT_THAT(between.ask("map b a nvme0 read"), StartsWith("ok"));
  owner->pass("a", *user);
  ASSERT_THAT(user->ask("map m a nvme1 write"), StartsWith("ok"));
  between.kill();
  EXPECT_EQ(user->ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(owner->ask("check a 1"), "ok");
}

// The broker, and its program.

class BrokerGoesFirst : public Lifetime {
 protected:
  void set_up() {
    program.emplace();
    ASSERT_EQ(program->ask("serve two-nvme " + place().string()), "ok");
    owner.emplace(place());
    user.emplace(place());
    ASSERT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
    owner->pass("a", *user);
    ASSERT_THAT(user->ask("map m a nvme1 write"), StartsWith("ok"));
    ASSERT_EQ(user->ask("lease l m"), "ok");
  }
  void expect_all_know() {
    EXPECT_EQ(user->ask("told m"), "ok");
    EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error device_gone"));
    EXPECT_THAT(user->ask("lease k m"), StartsWith("error device_gone"));
    EXPECT_THAT(owner->ask("check a 1"), StartsWith("error device_gone"));
    EXPECT_THAT(owner->ask("revoke a 100"), StartsWith("error device_gone"));
    EXPECT_EQ(owner->ask("connected?"), "no");
    for (const char* name : {"l", "m", "a", "machine"}) {
      EXPECT_EQ(user->ask("drop " + std::string(name)), "ok");
      EXPECT_EQ(owner->ask("drop " + std::string(name)), "ok");
    }
  }
  void expect_a_new_one_serves() {
    Process another;
    ASSERT_EQ(another.ask("serve two-nvme " + place().string()), "ok");
    EXPECT_EQ(owner->ask("connect " + place().string()), "ok two-nvme");
    EXPECT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
  }
  std::optional<Process> program;
  std::optional<Process> owner;
  std::optional<Process> user;
};

TEST_F(BrokerGoesFirst, ByEndingWell) {
  set_up();
  ASSERT_EQ(program->ask("stop-serving"), "ok");
  expect_all_know();
  EXPECT_THAT(owner->ask("connect " + place().string()), StartsWith("error not_found"));
  expect_a_new_one_serves();
}

TEST_F(BrokerGoesFirst, ByACrash) {
  set_up();
  program->kill();
  expect_all_know();
  EXPECT_THAT(owner->ask("connect " + place().string()), StartsWith("error not_found"));
  expect_a_new_one_serves();
}

TEST_F(BrokerGoesFirst, ByACrashDuringATransfer) {
  set_up();
  user->tell("read-on m");
  program->kill();
  EXPECT_THAT(user->answer(), HasSubstr("error device_gone"));
  expect_all_know();
}

TEST_F(BrokerGoesFirst, AndTheMachineOutlivesIt) {
  open();
  put("nvme1", kBytes, 1);
  auto region = machine->provider("nvme0")->allocate(kBytes);
  auto mapping = machine->drive("nvme1")->map(*region);
  ASSERT_TRUE(mapping);
  {
    Process client(place());
    ASSERT_THAT(client.ask("allocate a nvme0 65536"), StartsWith("ok"));
    broker.reset();
  }
  auto lease = mapping->lease();
  ASSERT_TRUE(lease) << "what is the program's own is no business of the broker's";
  ASSERT_TRUE(read(*machine->drive("nvme1"), {.bytes = kBytes}, *lease));
  EXPECT_TRUE(machine->provider("nvme0")->allocate(32_MiB)) << "what the client had is free again";
}

}  // namespace
}  // namespace barter::lifetime
