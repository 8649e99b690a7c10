// The owner's terms, in its own process: what may be pinned and how much of it, which part is granted, and the news of the end
// of what it granted. And what a crash makes of them.
#include <atomic>

#include "processes.h"

namespace barter::lifetime {
namespace {

using namespace linux_os::sharing;

class Terms : public Lifetime {
 protected:
  // An owner with a region `a` of 16 pages, and two users who have it.
  void set_up(BrokerOptions options = {}) {
    open("two-nvme", std::move(options));
    put("nvme1", 64_KiB, 1);
    owner.emplace(place());
    user.emplace(place());
    other.emplace(place());
    ASSERT_THAT(owner->ask("allocate a nvme0 65536"), StartsWith("ok"));
    owner->pass("a", *user);
    owner->pass("a", *other);
    ASSERT_EQ(owner->ask("watch a"), "ok");
  }
  void TearDown() override {
    owner.reset();
    user.reset();
    other.reset();
    Lifetime::TearDown();
  }
  std::optional<Process> owner;
  std::optional<Process> user;
  std::optional<Process> other;
};

// Pins.

TEST_F(Terms, PinsAreCountedAgainstTheOwnersLimit) {
  set_up();
  ASSERT_EQ(owner->ask("limit-pins a 32768"), "ok");
  ASSERT_EQ(user->ask("map m a nvme1 read_write pinned 0 32768"), "ok bus_address pinned");
  const std::string refused = other->ask("map n a nvme1 write pinned 32768 4096");
  EXPECT_THAT(refused, StartsWith("error exhausted"));
  EXPECT_THAT(refused, HasSubstr("4096 bytes are to be pinned, 32768 are pinned already, and the owner allows 32768"));
  EXPECT_EQ(other->ask("map n a nvme1 write dynamic"), "ok bus_address") << "what is dynamic has no limit";
  EXPECT_EQ(user->ask("read m 0 32768 0"), "ok");
  ASSERT_EQ(user->ask("drop m"), "ok");
  EXPECT_EQ(other->ask("map k a nvme1 write pinned 32768 32768"), "ok bus_address pinned");
  // Less from now on; none at all; as much as anybody likes.
  ASSERT_EQ(owner->ask("limit-pins a 4096"), "ok");
  EXPECT_EQ(other->ask("read k 0 32768 0"), "ok") << "what is pinned stays so";
  EXPECT_THAT(user->ask("map m a nvme1 write pinned 0 4096"), StartsWith("error exhausted"));
  ASSERT_EQ(owner->ask("limit-pins a 0"), "ok");
  EXPECT_THAT(user->ask("map m a nvme1 write pinned 0 4096"), HasSubstr("lets nobody pin it"));
  ASSERT_EQ(owner->ask("limit-pins a"), "ok");
  EXPECT_EQ(user->ask("map m a nvme1 write pinned"), "ok bus_address pinned");
}

TEST_F(Terms, TheLimitOfTheProgramCountsToo) {
  set_up();
  ASSERT_THAT(owner->ask("allocate b nvme0 65536"), StartsWith("ok"));
  machine->provider("nvme0")->limit_pins(65536);
  ASSERT_EQ(owner->ask("map mb b nvme1 write pinned 0 32768"), "ok bus_address pinned");
  ASSERT_EQ(owner->ask("limit-pins a 65536"), "ok");
  EXPECT_THAT(user->ask("map m a nvme1 write pinned 0 65536"), HasSubstr("32768 are pinned already"));
  EXPECT_EQ(user->ask("map m a nvme1 write pinned 0 32768"), "ok bus_address pinned");
  EXPECT_THAT(user->ask("map n a nvme1 write pinned 0 4096"), StartsWith("error exhausted"));
}

TEST_F(Terms, TheOwnerIsAskedWhetherItPromises) {
  set_up();
  ASSERT_EQ(owner->ask("consent a unpinned it is about to move"), "ok");
  EXPECT_THAT(user->ask("map m a nvme1 write pinned"), HasSubstr("it is about to move"));
  EXPECT_EQ(user->ask("map m a nvme1 write"), "ok bus_address");
}

TEST_F(Terms, WhatIsPinnedDoesNotMoveAndCanBeRevoked) {
  set_up();
  ASSERT_EQ(user->ask("map m a nvme1 read_write pinned 0 4096"), "ok bus_address pinned");
  ASSERT_EQ(other->ask("map n a nvme1 write"), "ok bus_address");
  EXPECT_THAT(owner->ask("invalidate a 1000"), StartsWith("error pinned"));
  EXPECT_EQ(other->ask("read n 0 65536 0"), "ok") << "nobody was told";
  ASSERT_EQ(user->ask("drop m"), "ok");
  EXPECT_EQ(owner->ask("invalidate a 1000"), "ok 1 late 0");
  ASSERT_EQ(user->ask("map m a nvme1 read_write pinned"), "ok bus_address pinned");
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 1 late 0");
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
}

TEST_F(Terms, AUserThatHoldsPinsCrashes) {
  set_up();
  ASSERT_EQ(owner->ask("limit-pins a 65536"), "ok");
  ASSERT_EQ(user->ask("map m a nvme1 write pinned"), "ok bus_address pinned");
  ASSERT_EQ(user->ask("lease l m"), "ok");
  ASSERT_THAT(other->ask("map n a nvme1 write pinned 0 4096"), StartsWith("error exhausted"));
  user->kill();
  EXPECT_EQ(owner->ask("await-ends a 1"), "1 of 65536 pinned 65536");
  EXPECT_EQ(other->ask("map n a nvme1 write pinned"), "ok bus_address pinned") << "the limit was not given back";
  EXPECT_EQ(other->ask("read n 0 65536 0"), "ok");
  EXPECT_EQ(owner->ask("check a 1"), "ok");
}

TEST_F(Terms, AnOwnerWhosePagesArePinnedCrashes) {
  set_up();
  ASSERT_EQ(user->ask("map m a nvme1 write pinned"), "ok bus_address pinned");
  ASSERT_EQ(other->ask("map n a nvme0 read pinned"), "ok bus_address pinned");
  owner->kill();
  EXPECT_EQ(user->ask("told m"), "ok");
  EXPECT_EQ(other->ask("told n"), "ok");
  EXPECT_THAT(user->ask("read m 0 65536 0"), StartsWith("error revoked"));
  ASSERT_TRUE(before_long([&] { return broker->counters().regions == 0; }));
  EXPECT_EQ(broker->counters().late_importers, 0u);
  EXPECT_EQ(machine->state()->exchange().counters().pinned_bytes, 0u);
  // Its memory is somebody else's now, with terms of its own.
  ASSERT_THAT(user->ask("allocate b nvme0 65536"), StartsWith("ok"));
  ASSERT_EQ(user->ask("limit-pins b 0"), "ok");
  EXPECT_THAT(user->ask("map k b nvme1 write pinned"), HasSubstr("lets nobody pin it"));
  EXPECT_EQ(user->ask("map k b nvme1 write"), "ok bus_address");
}

// The terms are those of the owner, whatever device asks.
TEST_F(Terms, EveryKindOfImporterHoldsMemoryEitherWay) {
  open("training");
  Process one(place()), another(place());
  ASSERT_THAT(one.ask("allocate a gpu0 65536"), StartsWith("ok"));
  ASSERT_EQ(one.ask("limit-pins a 131072"), "ok");
  ASSERT_EQ(one.ask("watch a"), "ok");
  one.pass("a", another);
  for (const char* device : {"nvme0", "gpu1", "dma0"}) {
    const std::string name(device);
    EXPECT_THAT(another.ask("map " + name + " a " + name + " read dynamic"), StartsWith("ok ")) << name;
    const std::string pinned = another.ask("map p" + name + " a " + name + " read pinned 0 32768");
    EXPECT_THAT(pinned, testing::EndsWith(" pinned")) << name << ": " << pinned;
  }
  EXPECT_THAT(another.ask("map q a nvme1 read pinned 0 65536"), StartsWith("error exhausted"));
  EXPECT_THAT(another.ask("map-parts r a dma0 read pinned 0 4096"), StartsWith("ok direct 4096"));
  EXPECT_EQ(one.ask("revoke a 10000"), "ok 7 late 0");
  EXPECT_THAT(one.ask("ended a"), StartsWith("7 of"));
}

// Parts.

TEST_F(Terms, TwoPartsOfARegionGetTwoAnswers) {
  set_up();
  ASSERT_EQ(owner->ask("fill a 5"), "ok");
  ASSERT_EQ(owner->ask("consent a first the rest is mine"), "ok");
  const std::string whole = user->ask("map m a nvme1 write");
  EXPECT_THAT(whole, StartsWith("error refused"));
  EXPECT_THAT(whole, HasSubstr("the rest is mine")) << "the strictest answer is that of the whole";
  EXPECT_EQ(user->ask("map m a nvme1 write dynamic 0 16384"), "ok bus_address");
  EXPECT_EQ(user->ask("map-parts p a nvme1 write"), "ok direct 16384 no (the rest is mine) 49152");
  EXPECT_EQ(user->ask("read p0 0 16384 0"), "ok");
  EXPECT_THAT(user->ask("read p0 0 20480 0"), StartsWith("error out_of_range"));
  EXPECT_THAT(owner->ask("check a 1"), StartsWith("error")) << "more than the part was written";
  // From the middle of one into the other.
  EXPECT_EQ(user->ask("map-parts q a nvme1 write pinned 8192 16384"), "ok direct 8192 no (the rest is mine) 8192");
  EXPECT_THAT(owner->ask("invalidate a 1000"), StartsWith("error pinned"));
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 3 late 0");
  for (const char* mapping : {"m", "p0", "q0"}) EXPECT_EQ(user->ask("told " + std::string(mapping)), "ok");
}

TEST_F(Terms, AnAnswerThatEndsWithinAPageIsARefusal) {
  set_up();
  ASSERT_EQ(owner->ask("consent a bytes"), "ok");
  EXPECT_THAT(user->ask("map m a nvme1 write"), HasSubstr("which do not end at a page"));
  EXPECT_THAT(user->ask("map-parts m a nvme1 write"), HasSubstr("no (the owner's answer holds for 100 bytes"));
}

TEST_F(Terms, AnAnswerHasRoomForSoManyParts) {
  set_up();
  ASSERT_THAT(owner->ask("allocate b nvme0 266240"), StartsWith("ok"));  // 65 pages
  ASSERT_EQ(owner->ask("consent b pages"), "ok");
  ASSERT_EQ(owner->ask("watch b"), "ok");
  owner->pass("b", *user);
  const std::string refused = user->ask("map-parts p b nvme1 write");
  EXPECT_THAT(refused, StartsWith("error exhausted"));
  EXPECT_THAT(refused, HasSubstr("65 parts"));
  EXPECT_EQ(broker->counters().mappings, 0u);
  EXPECT_EQ(owner->ask("await-ends b 65"), "65 of 266240 pinned 0") << "what it granted did not come to be";
  EXPECT_THAT(user->ask("map-parts p b nvme1 write dynamic 4096"), StartsWith("ok direct 4096 direct 4096"));
  EXPECT_EQ(user->ask("map m b nvme1 write"), "ok bus_address") << "one mapping of many grants";
}

// However many parts it makes of it, one request costs its user no more than the deadline.
TEST_F(Terms, AllAnswersToOneRequestHaveOneDeadline) {
  set_up({.consent_deadline = 3s});
  ASSERT_EQ(owner->ask("consent a slow-pages"), "ok");
  EXPECT_THAT(user->ask("map m a nvme1 write"), HasSubstr("has not answered by the deadline"));
  EXPECT_EQ(broker->counters().unanswered, 1u);
  const std::uint64_t asked = broker->counters().asked;
  EXPECT_GE(asked, 2u) << "it was to have some answers in time";
  EXPECT_LT(asked, 16u) << "each answer had a deadline of its own";
  // The next request has its own.
  EXPECT_THAT(user->ask("map m a nvme1 write dynamic 0 8192"), StartsWith("ok"));
}

// News of the end.

TEST_F(Terms, TheOwnerIsToldOfEachEndOnce) {
  set_up();
  ASSERT_EQ(user->ask("map m a nvme1 write dynamic 0 4096"), "ok bus_address");
  ASSERT_EQ(user->ask("map n a nvme1 write pinned 4096 8192"), "ok bus_address pinned");
  EXPECT_EQ(owner->ask("ended a"), "0 of 0 pinned 0");
  ASSERT_EQ(user->ask("drop m"), "ok");
  EXPECT_EQ(owner->ask("await-ends a 1"), "1 of 4096 pinned 0");
  // A lease outlives its mapping, and what was granted lasts as long.
  ASSERT_EQ(user->ask("lease l n"), "ok");
  ASSERT_EQ(user->ask("drop n"), "ok");
  EXPECT_EQ(owner->ask("ended a"), "1 of 4096 pinned 0");
  ASSERT_EQ(user->ask("drop l"), "ok");
  EXPECT_EQ(owner->ask("await-ends a 2"), "2 of 12288 pinned 8192");
  // Before revoke() has returned.
  ASSERT_EQ(other->ask("map k a nvme1 write"), "ok bus_address");
  EXPECT_EQ(owner->ask("revoke a 1000"), "ok 1 late 0");
  EXPECT_EQ(owner->ask("ended a"), "3 of 77824 pinned 8192");
  EXPECT_EQ(other->ask("drop k"), "ok");
  EXPECT_EQ(owner->ask("drop a"), "ok");
  EXPECT_EQ(owner->ask("ended a"), "3 of 77824 pinned 8192");
}

TEST_F(Terms, TheOwnerThatGivesItsRegionBackIsToldAsWell) {
  set_up();
  ASSERT_EQ(user->ask("map m a nvme1 write"), "ok bus_address");
  EXPECT_EQ(owner->ask("drop a"), "ok");
  EXPECT_EQ(owner->ask("ended a"), "1 of 65536 pinned 0");
}

TEST_F(Terms, TheProgramIsToldOfTheEndOfWhatItGranted) {
  std::atomic<std::uint64_t> bytes = 0;
  set_up({.on_unmap = [&](const Request& granted) { bytes += granted.range.bytes; }});
  auto region = machine->provider("nvme0")->allocate(64_KiB);
  {
    const auto mapping = machine->drive("nvme1")->map(*region, {.bytes = 4_KiB});
    ASSERT_TRUE(mapping);
    ASSERT_EQ(user->ask("map m a nvme1 write"), "ok bus_address");
    ASSERT_EQ(user->ask("drop m"), "ok");
    EXPECT_EQ(bytes, 0u);
  }
  EXPECT_EQ(bytes, 4_KiB);
  broker.reset();
  {
    const auto mapping = machine->drive("nvme1")->map(*region, {.bytes = 4_KiB});
    ASSERT_TRUE(mapping);
  }
  EXPECT_EQ(bytes, 8_KiB) << "they are the provider's once the machine is shared no more";
}

// Thousands of news at once: nobody is taken for one who does not read.

TEST_F(Terms, OneRevocationOfThousandsOfMappings) {
  set_up();
  ASSERT_EQ(user->ask("map-many m 1500 a nvme1 write"), "ok");
  ASSERT_EQ(other->ask("map-many m 1500 a nvme1 write"), "ok");
  EXPECT_EQ(owner->ask("revoke a 10000"), "ok 3000 late 0");
  EXPECT_EQ(owner->ask("ended a"), "3000 of 196608000 pinned 0");
  EXPECT_EQ(user->ask("many-told m"), "ok");
  EXPECT_EQ(other->ask("many-told m"), "ok");
  EXPECT_EQ(broker->counters().clients, 3u);
}

TEST_F(Terms, ThousandsOfLeasesThatEndAtOnce) {
  set_up();
  ASSERT_EQ(user->ask("map m a nvme1 write"), "ok bus_address");
  EXPECT_EQ(user->ask("lease-many m 4000"), "ok");
  EXPECT_EQ(owner->ask("revoke a 10000"), "ok 1 late 0");
}

// One who really does not read is cut off before it costs too much.
TEST_F(Terms, WhatAClientDoesNotReadIsLimited) {
  open();
  Raw raw = Raw::greeted(place());
  const auto region = raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 65536, .alignment = 4096});
  ASSERT_TRUE(region);
  const Descriptor descriptor = std::move(raw.descriptor);
  std::uint64_t rounds = 0;
  while (broker->counters().clients == 1 && rounds < 1000) {
    ++rounds;
    raw.send(Peek{.region = region->region, .bytes = 32768});
    raw.send(LimitPins{.region = region->region});
    raw.send(TakeLease{1});
    raw.send(Peek{.region = region->region, .bytes = 32768});
    // Carried out in order: once this one was refused, so were those.
    const std::uint64_t refused = broker->counters().refused_descriptors;
    raw.send(Map{.importer = "nvme1"}, raw.channel().number());
    ASSERT_TRUE(before_long(
        [&] { return broker->counters().clients == 0 || broker->counters().refused_descriptors > refused; }));
  }
  EXPECT_EQ(broker->counters().clients, 0u);
  EXPECT_GT(rounds, 100u);
  EXPECT_LT(rounds, 200u) << "8 MiB are 128 rounds, and some more are in the socket";
}

}  // namespace
}  // namespace barter::lifetime
