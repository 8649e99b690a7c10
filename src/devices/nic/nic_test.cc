// One model alone, and messages between two: spoken to in the numbers of docs/devices/nic.md. remote_test.cc has keys and what
// happens to a wire.
#include "devices/nic/nic.h"

#include <array>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/dma_engine/dma_engine.h"
#include "devices/nic/test_host.h"

namespace barter::devices::nic {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kBase = TestHost::kBase;
constexpr std::uint64_t kData = TestHost::kData;
constexpr std::uint64_t kNowhere = TestHost::kNowhere;
constexpr std::uint64_t kLists = kBase + 0x10000;
constexpr std::uint32_t kSend = 0x01, kWrite = 0x02, kRead = 0x03, kRegister = 0x04, kReceive = 0x10;
constexpr std::uint64_t kMiB = 1 << 20;

TEST(NicModel, SaysWhatItIs) {
  TestHost host({.pairs = 3,
                 .ring_log2 = 9,
                 .segments = 77,
                 .address_bits = 48,
                 .boundary_log2 = 32,
                 .message_bytes = 12345,
                 .keys = 300});
  EXPECT_EQ(host.device->identity().class_code, 0x028000u);
  EXPECT_EQ(host.device->identity().msix_vectors, 6u);
  EXPECT_THAT(host.device->identity().bars, SizeIs(1)) << "no memory of its own";
  EXPECT_EQ(host.device->identity().bars[0].size_bytes, 0x4000u);
  EXPECT_THAT(host.device->windows(), IsEmpty());
  EXPECT_EQ(host.get(0x00), 0x434e5842u);
  EXPECT_EQ(host.get(0x04), 0x00010000u);
  EXPECT_EQ(host.get(0x08), 0x00000903u);
  EXPECT_EQ(host.get(0x0c), 0x2030004du);
  EXPECT_EQ(host.get(0x10, 8), 12345u);
  EXPECT_EQ(host.get(0x24), 0u) << "no wire";
  EXPECT_EQ(host.get(0x28), 300u);
  EXPECT_EQ(host.get(0x2c), 0u);
  EXPECT_EQ(host.get(0x30), 0u);
  host.set(0x20, 0x12345678);
  EXPECT_EQ(host.get(0x20), 0x12345678u);
  host.set(0x2c, 0xffffffff);
  host.set(0x2c, 0);
  EXPECT_THAT(host.device->violations(), IsEmpty());
  EXPECT_EQ(host.get(0x00, 8), 0u);
  EXPECT_EQ(host.get(0x34), 0u);
  EXPECT_EQ(host.get(0x1000 + 6 * 0x40), 0u);
  host.set(0x30, 1);
  host.set(0x2c, 1, 8);
  EXPECT_THAT(host.device->violations(), SizeIs(5));
}

TEST(NicModel, RefusesSetupsThatCantBe) {
  for (const NicSetup& setup :
       {NicSetup{.pairs = 0}, NicSetup{.pairs = 17}, NicSetup{.ring_log2 = 0}, NicSetup{.ring_log2 = 16},
        NicSetup{.segments = 0}, NicSetup{.address_bits = 31}, NicSetup{.address_bits = 65},
        NicSetup{.boundary_log2 = 11}, NicSetup{.boundary_log2 = 64}, NicSetup{.message_bytes = 0},
        NicSetup{.message_bytes = (std::uint64_t{1} << 62) + 1}, NicSetup{.keys = 0}})
    EXPECT_FALSE(create_nic(setup));
  EXPECT_TRUE(create_nic({.pairs = 16, .address_bits = 32, .boundary_log2 = 12, .keys = 65535}));
}

TEST(NicModel, AWireHasTwoEnds) {
  TestHost one, other, third;
  EXPECT_FALSE(join(*one.device, *one.device));
  EXPECT_FALSE(join(*one.device, **dma_engine::create_dma_engine({})));
  EXPECT_TRUE(join(*one.device, *other.device));
  EXPECT_FALSE(join(*third.device, *other.device));
  EXPECT_EQ(one.get(0x24), 0u);
  one.enable();
  EXPECT_EQ(one.get(0x24), 0u) << "the other end is not READY";
  other.enable();
  EXPECT_EQ(one.get(0x24), 1u);
  EXPECT_EQ(other.get(0x24), 1u);
  other.may_master_now = false;
  EXPECT_EQ(one.get(0x24), 0u);
  other.may_master_now = true;
  EXPECT_EQ(one.get(0x24), 1u);
  one.set(0x18, 0);
  one.run();
  EXPECT_EQ(other.get(0x24), 0u);
}

// Section 4 of the specification, byte for byte.
TEST(NicModel, TheWorkedExample) {
  TestHost here, there;
  ASSERT_TRUE(join(*here.device, *there.device));
  const auto start = [](TestHost& host, std::uint64_t channel, std::uint64_t ring, std::uint64_t completions) {
    host.enable();
    host.set(0x1000 + channel * 0x40, ring, 8);
    host.set(0x1008 + channel * 0x40, completions, 8);
    host.set(0x1010 + channel * 0x40, 2);
    host.set(0x1014 + channel * 0x40, 1);
    (void)host.device->step();
  };
  start(here, 0, 0x1'0000'0000, 0x1'0000'0200);
  start(there, 1, 0x1'0000'0000, 0x1'0000'0200);
  const unsigned char descriptor[] = {1, 0, 9, 0, 2, 0, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0, 0x18};
  const unsigned char list[] = {0, 0x20, 0, 0, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0,
                                8, 0x30, 0, 0, 1, 0, 0, 0, 0x08, 0, 0, 0, 0, 0, 0, 0};
  std::memcpy(here.bytes(0x1'0000'0000, sizeof descriptor).data(), descriptor, sizeof descriptor);
  std::memcpy(here.bytes(0x1'0000'1000, sizeof list).data(), list, sizeof list);
  here.fill(0x1'0000'2000, 16, 3);
  here.fill(0x1'0000'3008, 8, 5);
  // The page has 4000_0000h, where this host has no memory.
  const unsigned char receive[] = {0x10, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0x10};
  std::memcpy(there.bytes(0x1'0000'0000, sizeof receive).data(), receive, sizeof receive);
  there.set(0x105c, 1);
  there.run();
  here.set(0x101c, 1);
  for (int step = 0; step < 20; ++step) here.run(), there.run();
  const unsigned char sent[] = {0x18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0x80};
  const unsigned char received[] = {0x18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0x80};
  EXPECT_EQ(std::memcmp(here.bytes(0x1'0000'0200, 16).data(), sent, 16), 0);
  EXPECT_EQ(std::memcmp(there.bytes(0x1'0000'0200, 16).data(), received, 16), 0);
  EXPECT_EQ(std::memcmp(there.bytes(0x1'0004'0000, 16).data(), here.bytes(0x1'0000'2000, 16).data(), 16), 0);
  EXPECT_EQ(std::memcmp(there.bytes(0x1'0004'0010, 8).data(), here.bytes(0x1'0000'3008, 8).data(), 8), 0);
  EXPECT_EQ(here.get(0x1028, 8), 24u);
  EXPECT_EQ(there.get(0x1068, 8), 24u);
  EXPECT_THAT(here.device->violations(), IsEmpty());
  EXPECT_THAT(there.device->violations(), IsEmpty());
}

TEST(NicModel, AReceiveWaitsForItsMessageHoweverLong) {
  TestPair nics;
  nics.there.push(1, {.word = kReceive | 0x50100, .address = kData, .bytes = kMiB});
  nics.run();
  EXPECT_FALSE(nics.there.has(1));
  nics.here.fill(kData, 1000);
  nics.here.push(0, {.word = kSend | 0x70100, .address = kData, .bytes = 1000});
  nics.run();
  const auto received = nics.there.take(1);
  EXPECT_EQ(received.word, 0x80000005u);
  EXPECT_EQ(received.result, 1000u) << "of the message, not of the memory";
  EXPECT_EQ(nics.here.take(0).word, 0x80000007u);
  EXPECT_THAT(nics.here.interrupts, testing::ElementsAre(0u));
  EXPECT_THAT(nics.there.interrupts, testing::ElementsAre(1u));
  // And what waits is not work.
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 8});
  nics.run();
  EXPECT_FALSE(nics.there.device->step());
  EXPECT_EQ(std::memcmp(nics.here.bytes(kData, 1000).data(), nics.there.bytes(kData, 1000).data(), 1000), 0);
}

// More bytes than a lane holds, in lists that are cut at places of their own; sends that are done have been received.
TEST(NicModel, ListsNeedNotBeCutAlike) {
  for (const std::uint64_t bytes_per_step : {std::uint64_t{0}, std::uint64_t{1000}, std::uint64_t{65537}}) {
    TestPair nics({.bytes_per_step = bytes_per_step}, {});
    constexpr std::uint32_t kAll = 1'234'567;
    nics.here.fill(kData, kAll);
    nics.here.list(kLists, {{kData, 1}, {kData + 1, 700'000}, {kData + 700'001, kAll - 700'001}});
    nics.there.list(
        kLists,
        {{kData, 65'537}, {kData + 65'537, 3}, {kData + 65'540, 1'000'000}, {kData + 1'065'540, kAll - 1'065'540 + 5}});
    nics.here.push(0, {.word = kSend, .lists = 3, .address = kLists, .bytes = kAll});
    nics.there.push(1, {.word = kReceive, .lists = 4, .address = kLists, .bytes = kAll + 5});
    nics.run();
    EXPECT_EQ(nics.here.take(0).result, kAll);
    const auto received = nics.there.take(1);
    EXPECT_EQ(received.status(), 0u);
    EXPECT_EQ(received.result, kAll);
    EXPECT_EQ(nics.here.moved(0), kAll);
    EXPECT_EQ(nics.there.moved(1), kAll);
    EXPECT_EQ(std::memcmp(nics.here.bytes(kData, kAll).data(), nics.there.bytes(kData, kAll).data(), kAll), 0);
    EXPECT_EQ(nics.there.bytes(kData + kAll, 1)[0], std::byte{0});
  }
}

TEST(NicModel, PairsAndDirectionsGoSideBySide) {
  TestPair nics({.bytes_per_step = 10'000}, {.pairs = 3, .bytes_per_step = 70'000});
  for (TestHost* host : {&nics.here, &nics.there})
    for (unsigned channel = 4; channel < 6; ++channel) host->open(channel);
  for (TestHost* host : {&nics.here, &nics.there}) {
    for (unsigned pair : {0u, 2u}) {
      const std::uint64_t at = kData + (pair / 2) * 0x80000;
      host->fill(at, 400'000, pair + (host == &nics.here ? 10 : 20));
      host->push(2 * pair, {.word = kSend, .address = at, .bytes = 400'000});
      host->push(2 * pair + 1, {.word = kReceive, .address = at + kMiB, .bytes = 400'000});
    }
  }
  // Halfway both are under way.
  for (int step = 0; step < 5; ++step) (void)nics.here.device->step(), (void)nics.there.device->step();
  EXPECT_GT(nics.here.moved(0), 0u);
  EXPECT_GT(nics.here.moved(4), 0u);
  EXPECT_LT(nics.here.moved(0), 400'000u);
  EXPECT_LT(nics.here.moved(4), 400'000u);
  nics.run();
  for (unsigned channel : {0u, 1u, 4u, 5u}) {
    EXPECT_EQ(nics.here.take(channel).status(), 0u) << channel;
    EXPECT_EQ(nics.there.take(channel).status(), 0u) << channel;
    const std::uint64_t at = kData + (channel / 4) * 0x80000;
    TestHost& from = channel % 2 == 0 ? nics.here : nics.there;
    TestHost& to = channel % 2 == 0 ? nics.there : nics.here;
    EXPECT_EQ(std::memcmp(from.bytes(at, 400'000).data(), to.bytes(at + kMiB, 400'000).data(), 400'000), 0);
  }
  // The other end has no pair 3.
  nics.here.open(6);
  nics.here.push(6, {.word = kSend, .address = kData, .bytes = 8});
  nics.run();
  EXPECT_EQ(nics.here.take(6).status(), 8u);
  nics.here.open(7);
  nics.here.push(7, {.word = kReceive, .address = kData, .bytes = 8});
  nics.run();
  EXPECT_FALSE(nics.here.has(7));
}

TEST(NicModel, MessagesKeepTheirOrder) {
  TestPair nics;
  for (unsigned round = 0; round < 30; ++round) {
    for (std::uint32_t index = 0; index < 7; ++index) {
      nics.here.fill(kData + index * 64, 64, round * 7 + index);
      nics.here.push(0, {.word = kSend | index << 16, .address = kData + index * 64, .bytes = 1 + index});
      nics.there.push(1, {.word = kReceive | index << 16, .address = kData + index * 64, .bytes = 64});
    }
    nics.run();
    for (std::uint32_t index = 0; index < 7; ++index) {
      const auto received = nics.there.take(1);
      EXPECT_EQ(received.word & 0xffff, index);
      EXPECT_EQ(received.result, 1 + index);
      EXPECT_EQ(nics.there.bytes(kData + index * 64, 1)[0], nics.here.bytes(kData + index * 64, 1)[0]);
      EXPECT_EQ(nics.here.take(0).word & 0xffff, index);
    }
  }
}

TEST(NicModel, AMessageThatFindsNoReceiveEndsAtOnce) {
  TestPair nics;
  const Command send{.word = kSend, .address = kNowhere, .bytes = 100};
  const auto refused = [&](const char* why) {
    nics.here.push(0, send);
    nics.run();
    const auto answer = nics.here.take(0);
    EXPECT_EQ(answer.status(), 8u) << why;
    EXPECT_EQ(answer.result, 0u) << why;
  };
  refused("no descriptor");
  nics.there.close(1);
  refused("it does not run");
  nics.there.open(1, 1);
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 100});
  nics.here.fill(kData, 100);
  nics.here.push(0, {.word = kSend, .address = kData, .bytes = 100});
  nics.run();
  EXPECT_EQ(nics.here.take(0).status(), 0u);
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 100});
  refused("no room for its completion");
  EXPECT_EQ(nics.there.take(1).status(), 0u);
  nics.here.push(0, {.word = kSend, .address = kData, .bytes = 100});
  nics.run();
  EXPECT_EQ(nics.here.take(0).status(), 0u);
  EXPECT_EQ(nics.there.take(1).status(), 0u);
  // A receive that can't be does not take it, and neither do commands before one that can.
  nics.there.close(1);
  nics.there.open(1, 7);
  nics.there.push(1, {.word = kReceive, .lists = 1, .address = kNowhere, .bytes = 100});
  for (int nop = 0; nop < 100; ++nop) nics.there.push(1, {});
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 100});
  nics.here.push(0, {.word = kSend, .address = kData, .bytes = 100});
  (void)nics.here.device->step();
  nics.run();
  EXPECT_EQ(nics.here.take(0).status(), 0u);
  EXPECT_EQ(nics.here.moved(0), 300u);
  EXPECT_THAT(nics.here.device->violations(), IsEmpty());
  EXPECT_THAT(nics.there.device->violations(), IsEmpty());
}

// The receive, and then the message, come when the channel has had its turn in a step, and the responder has not.
TEST(NicModel, AReceiveThatWasThereBeforeIsFound) {
  TestPair nics;
  nics.there.open(2);
  for (int round = 0; round < 8; ++round) {  // so that each channel is once the first of a step
    nics.there.push(2, {});
    nics.there.at_next_write = [&] {
      nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 8});
      nics.here.push(0, {.word = kSend, .address = kData, .bytes = 8});
      (void)nics.here.device->step();
    };
    (void)nics.there.device->step();
    nics.run();
    EXPECT_EQ(nics.there.take(2).status(), 0u);
    EXPECT_EQ(nics.here.take(0).status(), 0u) << round;
    EXPECT_EQ(nics.there.take(1).status(), 0u);
  }
}

TEST(NicModel, AMessageThatIsTooLongEndsBoth) {
  TestPair nics;
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 99});
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 100});
  nics.here.push(0, {.word = kSend, .address = kNowhere, .bytes = 100});
  nics.here.push(0, {.word = kSend, .address = kData, .bytes = 100});
  nics.run();
  const auto sent = nics.here.take(0);
  EXPECT_EQ(sent.status(), 9u);
  EXPECT_EQ(sent.result, 0u) << "nothing is moved";
  const auto received = nics.there.take(1);
  EXPECT_EQ(received.status(), 9u);
  EXPECT_EQ(received.result, 100u) << "the bytes of the message";
  EXPECT_EQ(nics.here.take(0).status(), 0u);
  EXPECT_EQ(nics.there.take(1).status(), 0u);
  EXPECT_THAT(nics.there.device->violations(), IsEmpty());
}

TEST(NicModel, WhatCantBeIsAnErrorAndTheChannelGoesOn) {
  TestPair nics({.segments = 8, .address_bits = 40, .boundary_log2 = 16, .message_bytes = 3 * kMiB}, {});
  TestHost& host = nics.here;
  const auto status_on = [&](unsigned channel, const Command& command) {
    host.push(channel, command);
    host.push(channel, {});
    nics.run();
    const unsigned answer = host.take(channel).status();
    EXPECT_EQ(host.take(channel).status(), 0u) << "the next one";
    return answer;
  };
  const auto status = [&](const Command& command) { return status_on(0, command); };
  std::size_t mistakes = 0;
  for (const std::uint32_t opcode : {0x05u, 0x0fu, 0x10u, 0x11u, 0xffu})
    EXPECT_EQ(status({.word = opcode, .address = kData, .bytes = 8}), 1u) << opcode;
  for (const std::uint32_t opcode : {kSend, kWrite, kRead, kRegister, 0x0fu, 0x11u})
    EXPECT_EQ(status_on(1, {.word = opcode, .address = kData, .bytes = 8}), 1u) << opcode;
  EXPECT_THAT(host.device->violations(), SizeIs(mistakes += 11));
  const std::initializer_list<Command> bad_fields = {
      {.word = kSend | 0x200, .address = kData, .bytes = 8},
      {.word = kSend, .address = kData, .bytes = 0},
      {.word = kSend, .address = kData, .bytes = 3 * kMiB + 1},
      {.word = kSend, .lists = 9, .address = kLists, .bytes = 8},
      {.word = kSend, .lists = 1, .address = kLists + 8, .bytes = 8},
      {.word = kSend, .lists = 0x10000, .address = kData, .bytes = 8},
      {.word = kWrite, .lists = 0x20000, .address = kData, .bytes = 8},
      {.word = kSend, .lists = 0x40000, .address = kData, .bytes = 8},
      {.word = kRegister, .lists = 0x80010000, .address = kData, .bytes = 8},
      {.word = kSend, .address = kData, .bytes = 8, .key = 1},
      {.word = kSend, .address = kData, .bytes = 8, .offset = 1},
      {.word = kWrite, .address = kData, .bytes = 8, .behind_key = 1},
      {.word = kRead, .address = kData, .bytes = 8, .reserved = {0, 0, 1}},
      {.word = kRegister, .address = kData, .bytes = 8},
      {.word = kRegister, .lists = 0x10000, .address = kData, .bytes = 8, .key = 1},
      {.word = kRegister, .lists = 0x10000, .address = kData, .bytes = (std::uint64_t{1} << 62) + 1},
      {.word = 0, .lists = 1},
      {.word = 0, .address = 1},
      {.word = 0, .bytes = 1},
  };
  for (const Command& command : bad_fields) EXPECT_EQ(status(command), 2u) << command.word;
  EXPECT_EQ(status_on(1, {.word = kReceive, .address = kData, .bytes = 8, .key = 1}), 2u);
  EXPECT_THAT(host.device->violations(), SizeIs(mistakes += 20));
  for (const std::uint32_t opcode : {kSend, kWrite, kRead})
    EXPECT_EQ(status({.word = opcode, .lists = 1, .address = kNowhere, .bytes = 8}), 3u);
  EXPECT_EQ(status_on(1, {.word = kReceive, .lists = 1, .address = kNowhere, .bytes = 8}), 3u);
  EXPECT_THAT(host.device->violations(), SizeIs(mistakes)) << "what the bus refuses is nobody's mistake";

  const auto list = [&](std::initializer_list<ListEntry> entries, const char* why) {
    host.list(kLists, entries);
    EXPECT_EQ(status({.word = kSend, .lists = 2, .address = kLists, .bytes = 8}), 4u) << why;
    EXPECT_THAT(host.device->violations(), SizeIs(++mistakes)) << why;
  };
  list({{kData, 4}, {kData, 5}}, "too long");
  list({{kData, 4}, {kData, 3}}, "too short");
  list({{kData, 8}, {kData, 0}}, "a segment of nothing");
  list({{kData, 4, 1}, {kData, 4}}, "a reserved bit");
  list({{~std::uint64_t{2}, 4}, {kData, 4}}, "past the end of all addresses");
  list({{(std::uint64_t{1} << 40) - 3, 4}, {kData, 4}}, "past the bits of an address");
  list({{kData + 0xfffd, 4}, {kData, 4}}, "across the boundary");
  const auto piece = [&](std::uint64_t address, std::uint64_t bytes, const char* why) {
    EXPECT_EQ(status({.word = kWrite, .address = address, .bytes = bytes}), 4u) << why;
    EXPECT_EQ(status({.word = kRegister, .lists = 0x10000, .address = address, .bytes = bytes}), 4u) << why;
    EXPECT_EQ(status_on(1, {.word = kReceive, .address = address, .bytes = bytes}), 4u) << why;
    EXPECT_THAT(host.device->violations(), SizeIs(mistakes += 3)) << why;
  };
  piece(~std::uint64_t{2}, 4, "past the end");
  piece(std::uint64_t{1} << 40, 4, "past the bits");
  piece(kData + 1, 0x10000, "across the boundary");
  // What touches the limits is good.
  EXPECT_EQ(status({.word = kRegister, .lists = 0x10000, .address = kData, .bytes = 0x10000}), 0u);
  EXPECT_EQ(status({.word = kRegister, .lists = 0x10000, .address = (std::uint64_t{1} << 40) - 8, .bytes = 8}), 0u);
  EXPECT_THAT(host.device->violations(), SizeIs(mistakes));
  EXPECT_THAT(nics.there.device->violations(), IsEmpty());
}

// Of a message: each end names its own trouble, and the other one's as such.
TEST(NicModel, WhatTheBusRefusesIsToldAtBothEnds) {
  TestPair nics;
  nics.here.list(kLists, {{kData, 8}, {kNowhere, 8}});
  nics.there.list(kLists, {{kData, 8}, {kNowhere, 8}});
  nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 16});
  nics.here.push(0, {.word = kSend, .lists = 2, .address = kLists, .bytes = 16});
  nics.run();
  auto sent = nics.here.take(0);
  EXPECT_EQ(sent.status(), 5u);
  EXPECT_EQ(sent.result, 8u);
  EXPECT_EQ(nics.there.take(1).status(), 10u);
  nics.there.push(1, {.word = kReceive, .lists = 2, .address = kLists, .bytes = 16});
  nics.here.push(0, {.word = kSend, .address = kData, .bytes = 16});
  nics.run();
  const auto received = nics.there.take(1);
  EXPECT_EQ(received.status(), 6u);
  EXPECT_EQ(received.result, 8u);
  sent = nics.here.take(0);
  EXPECT_EQ(sent.status(), 10u);
  EXPECT_EQ(sent.result, 16u);
  EXPECT_THAT(nics.here.device->violations(), IsEmpty());
  EXPECT_THAT(nics.there.device->violations(), IsEmpty());
}

// A channel that is stopped in mid-message ends it at the other end too, and both can go on.
TEST(NicModel, AChannelThatIsStoppedDropsItsMessage) {
  for (const bool stop_receive : {false, true}) {
    TestPair nics({.bytes_per_step = 4096}, {});
    nics.there.push(1, {.word = kReceive, .address = kData, .bytes = kMiB});
    nics.here.push(0, {.word = kSend, .address = kData, .bytes = kMiB});
    while (nics.there.moved(1) < 100'000) (void)nics.here.device->step(), (void)nics.there.device->step();
    (stop_receive ? nics.there : nics.here).close(stop_receive ? 1 : 0);
    nics.run();
    if (stop_receive) {
      EXPECT_EQ(nics.here.take(0).status(), 10u);
      EXPECT_FALSE(nics.there.has(1)) << "it completes never";
      nics.there.open(1);
    } else {
      EXPECT_EQ(nics.there.take(1).status(), 10u);
      EXPECT_FALSE(nics.here.has(0));
      nics.here.open(0);
    }
    nics.there.push(1, {.word = kReceive, .address = kData, .bytes = 10});
    nics.here.push(0, {.word = kSend, .address = kData, .bytes = 10});
    nics.run();
    EXPECT_EQ(nics.here.take(0).status(), 0u);
    EXPECT_EQ(nics.there.take(1).status(), 0u);
    EXPECT_THAT(nics.here.device->violations(), IsEmpty());
    EXPECT_THAT(nics.there.device->violations(), IsEmpty());
  }
}

}  // namespace
}  // namespace barter::devices::nic
