// Every message that names something by number, with numbers that are another connection's, that were given back, and that never
// were: each is refused, and what they name stays as it was. Descriptors are looked at in invalidation_test.cc.
#include <functional>

#include "processes.h"

namespace barter::lifetime {
namespace {

using namespace linux_os::sharing;

struct Things {
  std::uint64_t region = 0;
  std::uint64_t mapping = 0;
  std::uint64_t lease = 0;
};

class ForgedHandles : public Lifetime {
 protected:
  void SetUp() override {
    open();
    put("nvme1", 64_KiB, 1);
  }
  // A region with 64 KiB of a pattern, mapped for nvme1, with a lease.
  static Things make(Raw& raw) {
    Things made;
    const auto region = raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 64_KiB, .alignment = 4096});
    if (!region) return made;
    made.region = region->region;
    const Descriptor descriptor = std::move(raw.descriptor);
    EXPECT_TRUE(raw.call<Done>(Poke{.region = made.region, .bytes = pattern(4096, 7)}));
    const auto mapped = raw.call<Mapped>(Map{.importer = "nvme1"}, descriptor.number());
    EXPECT_TRUE(mapped) << raw.error.message();
    if (mapped) made.mapping = mapped->mapping;
    const auto leased = raw.call<Leased>(TakeLease{made.mapping});
    EXPECT_TRUE(leased) << raw.error.message();
    if (leased) made.lease = leased->lease;
    return made;
  }
  // Every request that has an answer and names something by number. A message of a kind that is not here is one that names
  // nothing, or this test has to learn it.
  static std::vector<Body> requests(const Things& of) {
    return {TakeLease{of.mapping},
            Unmap{of.mapping},
            Move{.mapping = of.mapping, .way = Way::drive_to_memory, .bytes = 4096},
            Move{.mapping = of.mapping, .way = Way::memory_to_drive, .bytes = 4096},
            TakeBack{.region = of.region, .for_good = false},
            TakeBack{.region = of.region, .for_good = true},
            Free{of.region},
            Peek{.region = of.region, .bytes = 16},
            Poke{.region = of.region, .bytes = pattern(16, 9)},
            LimitPins{.region = of.region, .is_limited = true, .bytes = 0}};
  }
  static void expect_refused(Raw& raw, const Things& of, const char* whose) {
    for (const Body& request : requests(of)) {
      raw.error = {};
      raw.send(request);
      const auto answer = raw.next();
      ASSERT_TRUE(answer) << whose << ": the connection ended at request " << request.index();
      const auto* const failed = std::get_if<Failed>(&*answer);
      ASSERT_NE(failed, nullptr) << whose << ": request " << request.index() << " was carried out";
      EXPECT_EQ(failed->error.code, ErrorCode::not_found) << failed->error.message();
      EXPECT_THAT(failed->error.message(), HasSubstr("this process has no such")) << request.index();
    }
    raw.send(EndLease{of.lease});  // without an answer
  }
  static void expect_untouched(Raw& raw, const Things& of) {
    const auto bytes = raw.call<Contents>(Peek{.region = of.region, .bytes = 4096});
    ASSERT_TRUE(bytes) << raw.error.message();
    EXPECT_EQ(bytes->bytes, pattern(4096, 7));
    EXPECT_TRUE(raw.call<Leased>(TakeLease{of.mapping})) << raw.error.message();
    EXPECT_TRUE(raw.call<Moved>(Move{.mapping = of.mapping, .bytes = 4096})) << raw.error.message();
  }
};

TEST_F(ForgedHandles, OfAnotherConnection) {
  Raw owner = Raw::greeted(place());
  const Things things = make(owner);
  Raw other = Raw::greeted(place());
  expect_refused(other, things, "another's");
  // All that it sent is done once this is.
  EXPECT_FALSE(other.call<Contents>(Peek{.region = things.region, .bytes = 1}));
  EXPECT_EQ(broker->counters().leases, 1u) << "another's lease was ended";
  EXPECT_EQ(broker->counters().mappings, 1u);
  expect_untouched(owner, things);
}

TEST_F(ForgedHandles, OfAnotherConnectionWithThingsOfItsOwn) {
  Raw owner = Raw::greeted(place());
  const Things things = make(owner);
  Raw other = Raw::greeted(place());
  const Things own = make(other);
  expect_refused(other, things, "another's");
  // A number of one sort is none of another.
  expect_refused(other, {.region = own.mapping, .mapping = own.region, .lease = own.region}, "of another sort");
  expect_untouched(other, own);
  expect_untouched(owner, things);
}

TEST_F(ForgedHandles, ThatWereGivenBack) {
  Raw raw = Raw::greeted(place());
  const Things stale = make(raw);
  raw.send(EndLease{stale.lease});
  ASSERT_TRUE(raw.call<Done>(Unmap{stale.mapping}));
  ASSERT_TRUE(raw.call<Done>(Free{stale.region}));
  // The same memory and the same place in the table of mappings, under other numbers.
  const Things fresh = make(raw);
  EXPECT_NE(fresh.region, stale.region);
  EXPECT_NE(fresh.mapping, stale.mapping);
  EXPECT_NE(fresh.lease, stale.lease);
  expect_refused(raw, stale, "stale");
  EXPECT_EQ(broker->counters().leases, 1u) << "a stale number ended a lease";
  expect_untouched(raw, fresh);
}

TEST_F(ForgedHandles, ThatNeverWere) {
  Raw raw = Raw::greeted(place());
  const Things things = make(raw);
  for (const std::uint64_t number : {std::uint64_t{0}, things.lease + 1, std::uint64_t{1} << 32, ~std::uint64_t{0}})
    expect_refused(raw, {.region = number, .mapping = number, .lease = number}, "never");
  EXPECT_EQ(broker->counters().leases, 1u);
  expect_untouched(raw, things);
}

// A number of a question is the owner's own: whoever else answers it is not heard.
TEST_F(ForgedHandles, AnswersToQuestionsOfOthers) {
  broker.reset();
  open("two-nvme", {.consent_deadline = 1s});
  Process owner(place()), user(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  owner.pass("a", user);
  ASSERT_EQ(owner.ask("consent a never"), "ok");
  Raw forger = Raw::greeted(place());
  user.tell("map m a nvme1 write");
  ASSERT_EQ(owner.ask("told asked"), "ok");
  for (std::uint32_t number = 0; number < 100; ++number) forger.send(Reply{.kind = Answer::Kind::direct}, -1, number);
  EXPECT_THAT(user.answer(), HasSubstr("has not answered by the deadline"));
  EXPECT_EQ(broker->counters().mappings, 0u);
  // It was read, though.
  EXPECT_TRUE(forger.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}));
}

// The user answers in the owner's place, over its own connection; and an owner answers before it is asked.
TEST_F(ForgedHandles, AnswersInAdvance) {
  Raw owner = Raw::greeted(place());
  const auto region = owner.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096});
  ASSERT_TRUE(region);
  const Descriptor descriptor = std::move(owner.descriptor);
  for (std::uint32_t number = 0; number < 100; ++number) owner.send(Reply{.kind = Answer::Kind::refuse}, -1, number);
  EXPECT_TRUE(owner.call<Mapped>(Map{.importer = "nvme1"}, descriptor.number())) << owner.error.message();
}

// News of somebody else's make are no news: what only the broker says is a request of nobody.
TEST_F(ForgedHandles, WhatOnlyTheBrokerSays) {
  Process owner(place()), user(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_EQ(owner.ask("watch a"), "ok");
  owner.pass("a", user);
  ASSERT_THAT(user.ask("map m a nvme1 write"), StartsWith("ok"));
  Raw forger = Raw::greeted(place());
  for (std::uint64_t number = 0; number < 10; ++number) {
    for (const Body& news : {Body(Invalidated{number}), Body(GrantEnded{{.region = number, .access = Access::read}}),
                             Body(Leased{number}), Body(TakenBack{})}) {
      EXPECT_FALSE(forger.call<Done>(news));
      EXPECT_EQ(forger.error.code, ErrorCode::malformed);
    }
  }
  EXPECT_EQ(owner.ask("ended a"), "0 of 0 pinned 0");
  EXPECT_EQ(user.ask("read m 0 65536 0"), "ok");
}

}  // namespace
}  // namespace barter::lifetime
