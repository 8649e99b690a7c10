// The owner decides, in its own process; and what a hostile client can't do.
#include <thread>

#include "processes.h"

namespace barter::lifetime {
namespace {

using namespace linux_os::sharing;

class Consents : public Lifetime {};
class Hostile : public Lifetime {};

TEST_F(Consents, OwnerIsAskedAndItsWordsArrive) {
  open();
  Process owner(place()), user(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  owner.pass("a", user);
  ASSERT_EQ(owner.ask("consent a refuse not today"), "ok");
  const std::string refused = user.ask("map m a nvme1 write");
  EXPECT_THAT(refused, StartsWith("error refused"));
  EXPECT_THAT(refused, HasSubstr("not today"));
  ASSERT_EQ(owner.ask("consent a host it moves about"), "ok");
  EXPECT_THAT(user.ask("map m a nvme1 write"), HasSubstr("it moves about"));
  ASSERT_EQ(owner.ask("consent a reads only to be read"), "ok");
  EXPECT_THAT(user.ask("map m a nvme1 write"), HasSubstr("only to be read"));
  EXPECT_THAT(user.ask("map m a nvme1 read"), StartsWith("ok"));
  EXPECT_EQ(broker->counters().asked, 4u);
}

// It waits for an answer of its own while it is asked: its library answers for it.
TEST_F(Consents, OwnerIsAskedAboutItsOwnRequest) {
  open();
  Process owner(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_EQ(owner.ask("consent a refuse not even me"), "ok");
  EXPECT_THAT(owner.ask("map m a nvme1 write"), HasSubstr("not even me"));
}

TEST_F(Consents, NoAnswerIsARefusalAndNobodyElseWaits) {
  open("two-nvme", {.consent_deadline = 3s});
  Process owner(place()), user(place()), other(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  owner.pass("a", user);
  ASSERT_EQ(owner.ask("consent a never"), "ok");
  user.tell("map m a nvme1 write");
  ASSERT_EQ(owner.ask("told asked"), "ok");
  // Meanwhile.
  ASSERT_THAT(other.ask("allocate z nvme0 65536"), StartsWith("ok"));
  ASSERT_THAT(other.ask("map y z nvme1 write"), StartsWith("ok"));
  EXPECT_EQ(other.ask("read y 0 65536 0"), "ok");
  EXPECT_EQ(broker->counters().unanswered, 0u) << "the others have waited for the one who does not answer";
  EXPECT_THAT(user.answer(), HasSubstr("has not answered by the deadline"));
  EXPECT_EQ(broker->counters().unanswered, 1u);
}

TEST_F(Consents, TheProgramsOwnMemoryIsTheProgramsToDecide) {
  open("two-nvme", {.consent = [](const Request&) { return Answer::refuse("the program's own"); }});
  Process owner(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  auto region = machine->provider("nvme0")->allocate(64_KiB);
  const auto mapping = machine->drive("nvme1")->map(*region);
  ASSERT_FALSE(mapping);
  EXPECT_THAT(mapping.error().message(), HasSubstr("the program's own"));
  EXPECT_THAT(owner.ask("map m a nvme1 write"), StartsWith("ok"));
}

TEST_F(Consents, PassedOverASocketOfTheProgramsOwn) {
  open();
  auto here = SharedMachine::connect(place());
  ASSERT_TRUE(here) << here.error().message();
  EXPECT_EQ(here->name(), "two-nvme");
  auto region = here->allocate("nvme0", 64_KiB);
  ASSERT_TRUE(region);
  auto [near, far] = std::move(*Channel::pair());
  EXPECT_EQ(receive_region(far.number(), 1ms).error().code, ErrorCode::timed_out);
  ASSERT_TRUE(pass_region(near.number(), region->descriptor()));
  auto passed = receive_region(far.number(), 10s);
  ASSERT_TRUE(passed) << passed.error().message();
  EXPECT_TRUE(here->map(*passed, "nvme1"));
  ASSERT_TRUE(near.send(std::as_bytes(std::span("x", 1))));
  EXPECT_EQ(receive_region(far.number(), 10s).error().code, ErrorCode::malformed);
  EXPECT_FALSE(receive_region(-1, 1ms));
}

TEST_F(Consents, AStepMachineCanNotBeShared) {
  const auto stepped = Machine::open("two-nvme");
  const auto refused = Broker::open(*stepped, place());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_THAT(refused.error().message(), HasSubstr("threaded"));
}

TEST_F(Consents, BadRequestsGetClearErrors) {
  open();
  Process client(place());
  EXPECT_THAT(client.ask("allocate a nvme7 4096"), HasSubstr("nvme7"));
  EXPECT_THAT(client.ask("allocate a nvme0 0"), StartsWith("error"));
  EXPECT_THAT(client.ask("allocate a nvme0 1000000000000"), StartsWith("error exhausted"));
  ASSERT_THAT(client.ask("allocate a nvme0 65536"), StartsWith("ok"));
  EXPECT_THAT(client.ask("map m a nvme9 write"), StartsWith("error not_found"));
  EXPECT_THAT(client.ask("map m a /etc/hostname write"), HasSubstr("devices are shared, and no files"));
  EXPECT_THAT(client.ask("allocate b ./somewhere 4096"), HasSubstr("devices are shared, and no files"));
  ASSERT_THAT(client.ask("map m a nvme1 write"), StartsWith("ok"));
  EXPECT_THAT(client.ask("read m 1 512 0"), StartsWith("error invalid_argument"));
  EXPECT_THAT(client.ask("read m 0 65536 512"), StartsWith("error out_of_range"));
  EXPECT_THAT(client.ask("read m 18446744073709551104 65536 0"), StartsWith("error out_of_range"));
  EXPECT_THAT(client.ask("write m 0 65536 0"), HasSubstr("writing only"));
}

TEST_F(Hostile, NonsenseEndsTheConnectionOfItsSenderAlone) {
  open();
  Process bystander(place());
  ASSERT_THAT(bystander.ask("allocate a nvme0 65536"), StartsWith("ok"));
  const auto request = encode({1, Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}});
  auto of_version_1 = encode({1, Hello{.who = "x"}});
  of_version_1[0] = std::byte{1};
  const std::vector<std::vector<std::byte>> nonsense = {std::vector<std::byte>(1),
                                                        std::vector<std::byte>(5000),
                                                        std::vector<std::byte>(kMaxMessageBytes + 1),
                                                        of_version_1,
                                                        request,  // not greeted yet
                                                        encode({1, Hello{.magic = 1, .who = "x"}})};
  for (const auto& bytes : nonsense) {
    Raw raw(place());
    raw.send_bytes(bytes);
    EXPECT_TRUE(raw.has_ended());
  }
  expected_malformed = nonsense.size();
  {
    Raw raw = Raw::greeted(place());
    raw.send(Hello{.who = "again"});
    EXPECT_TRUE(raw.has_ended());
    ++expected_malformed;
  }
  {
    Raw raw = Raw::greeted(place());
    raw.send(Map{.importer = "nvme1"});  // without a descriptor
    EXPECT_TRUE(raw.has_ended());
    ++expected_malformed;
  }
  {
    Raw raw = Raw::greeted(place());
    raw.send(Free{1}, raw.channel().number());  // with one that nobody has asked for
    EXPECT_TRUE(raw.has_ended());
    ++expected_malformed;
  }
  EXPECT_TRUE(before_long([&] { return broker->counters().malformed == expected_malformed; }));
  EXPECT_THAT(bystander.ask("map m a nvme1 write"), StartsWith("ok"));
}

TEST_F(Hostile, AnswersThatNobodyHasAskedForAreIgnored) {
  open();
  Raw raw = Raw::greeted(place());
  raw.send(Reply{.kind = Answer::Kind::direct}, -1, 1);
  raw.send(EndLease{12345});
  EXPECT_FALSE(raw.call<Done>(Welcome{"me"}));
  EXPECT_EQ(raw.error.code, ErrorCode::malformed);
  EXPECT_FALSE(raw.call<Done>(Ask{.access = Access::read}));
  EXPECT_TRUE(raw.call<linux_os::sharing::Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}));
}

// One who does not wait for answers, and one who does not read them.
TEST_F(Hostile, AFloodEndsItsSender) {
  open();
  {
    Raw raw = Raw::greeted(place());
    for (int count = 0; count < 100000; ++count)
      raw.send(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096});
    EXPECT_TRUE(raw.has_ended());
  }
  EXPECT_TRUE(before_long([&] { return broker->counters().clients == 0; }));
  expected_malformed = broker->counters().malformed;
  EXPECT_LE(expected_malformed, 1u);
  EXPECT_EQ(broker->counters().regions, 0u);
}

TEST_F(Hostile, RegionsOfOneClientAreLimited) {
  open();
  Raw raw = Raw::greeted(place());
  std::size_t count = 0;
  while (raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096})) ++count;
  EXPECT_EQ(raw.error.code, ErrorCode::exhausted);
  EXPECT_EQ(count, 1024u);
  EXPECT_EQ(broker->counters().regions, 1024u);
}

TEST_F(Hostile, ClientsAreLimited) {
  open();
  std::vector<Raw> all;
  for (int count = 0; count < 64; ++count) all.push_back(Raw::greeted(place()));
  Raw one_more(place());
  const auto said = one_more.next();
  ASSERT_TRUE(said);
  const auto* const failed = std::get_if<Failed>(&*said);
  ASSERT_NE(failed, nullptr);
  EXPECT_THAT(failed->error.message(), HasSubstr("64 clients"));
  const auto refused = SharedMachine::connect(place());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
  all.pop_back();
  EXPECT_TRUE(before_long([&] { return broker->counters().clients == 63; }));
  EXPECT_TRUE(before_long([&] { return SharedMachine::connect(place()).has_value(); }));
}

}  // namespace
}  // namespace barter::lifetime
