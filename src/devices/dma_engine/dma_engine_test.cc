// The model, spoken to in the numbers of docs/devices/dma_engine.md.
#include "devices/dma_engine/dma_engine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "devices/ring_device/test_host.h"

namespace barter::devices::dma_engine {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

struct Command {
  std::uint32_t word = 0, lists = 0;
  std::uint64_t source = 0, destination = 0, bytes = 0;
  std::uint64_t reserved[4] = {};
};
struct Segment {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0, reserved = 0;
};

// With the specification's numbers, typed in once more.
class Host final : public ring_device::TestHost<Command> {
 public:
  explicit Host(const DmaEngineSetup& setup = {.channels = 2, .segments = 8, .transfer_bytes = 3 << 20})
      : TestHost(create_dma_engine(setup).value(), {.control = 0x18,
                                                    .status = 0x1c,
                                                    .channel_bytes = 0x40,
                                                    .ring_log2 = 0x10,
                                                    .run = 0x14,
                                                    .tail = 0x1c,
                                                    .taken = 0x20}) {}
};
using Answer = Host::Completion;

constexpr std::uint64_t kBase = Host::kBase;
constexpr std::uint64_t kRing = Host::kRing;
constexpr std::uint64_t kCompletions = Host::kCompletions;
constexpr std::uint64_t kLists = kBase + 0x10000;

void fill(std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(at * 7 + at / 251 + 1);
}

TEST(DmaEngineModel, SaysWhatItIs) {
  Host host({.channels = 3, .ring_log2 = 9, .segments = 77, .transfer_bytes = 12345});
  EXPECT_EQ(host.device->identity().class_code, 0x088000u);
  EXPECT_THAT(host.device->identity().bars, SizeIs(1)) << "no memory of its own";
  EXPECT_THAT(host.device->windows(), IsEmpty());
  EXPECT_EQ(host.get(0x00), 0x4d445842u);
  EXPECT_EQ(host.get(0x04), 0x00010000u);
  EXPECT_EQ(host.get(0x08), 0x00000903u);
  EXPECT_EQ(host.get(0x0c), 77u);
  EXPECT_EQ(host.get(0x10, 8), 12345u);
  host.set(0x20, 0x12345678);
  EXPECT_EQ(host.get(0x20), 0x12345678u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
  EXPECT_EQ(host.get(0x00, 8), 0u);
  EXPECT_EQ(host.get(0x24), 0u);
  EXPECT_EQ(host.get(0x1000 + 3 * 0x40), 0u);
  EXPECT_THAT(host.device->violations(), SizeIs(3));
}

TEST(DmaEngineModel, RefusesSetupsThatCantBe) {
  EXPECT_FALSE(create_dma_engine({.channels = 0}));
  EXPECT_FALSE(create_dma_engine({.channels = 17}));
  EXPECT_FALSE(create_dma_engine({.ring_log2 = 0}));
  EXPECT_FALSE(create_dma_engine({.ring_log2 = 16}));
  EXPECT_FALSE(create_dma_engine({.segments = 0}));
  EXPECT_FALSE(create_dma_engine({.transfer_bytes = 0}));
}

// Section 4 of the specification, byte for byte.
TEST(DmaEngineModel, TheWorkedExample) {
  Host host;
  host.start(0, 2);
  EXPECT_EQ(host.get(0x1018), 1u);
  const unsigned char descriptor[] = {0x01, 0, 9, 0,    2,    0, 0, 0, 0, 0x10, 0, 0,   1,
                                      0,    0, 0, 0x04, 0x40, 0, 0, 1, 0, 0,    0, 0x18};
  const unsigned char list[] = {0, 0x20, 0, 0, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 8, 0x30, 0, 0, 1, 0, 0, 0, 0x08};
  std::memcpy(host.bytes(kRing, sizeof descriptor).data(), descriptor, sizeof descriptor);
  std::memcpy(host.bytes(0x1'0000'1000, sizeof list).data(), list, sizeof list);
  fill(host.bytes(0x1'0000'2000, 16));
  fill(host.bytes(0x1'0000'3008, 8));
  host.set(0x101c, 1);
  host.run();
  const unsigned char expected[] = {0x18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0x80};
  EXPECT_EQ(std::memcmp(host.bytes(kCompletions, 16).data(), expected, 16), 0);
  EXPECT_EQ(std::memcmp(host.bytes(0x1'0000'4004, 16).data(), host.bytes(0x1'0000'2000, 16).data(), 16), 0);
  EXPECT_EQ(std::memcmp(host.bytes(0x1'0000'4014, 8).data(), host.bytes(0x1'0000'3008, 8).data(), 8), 0);
  EXPECT_EQ(host.get(0x1028, 8), 24u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

// The two sides cut at places of their own, over several slices and steps.
TEST(DmaEngineModel, ListsNeedNotBeCutAlike) {
  Host host;
  host.start(1);
  constexpr std::uint64_t kFrom = kBase + 0x20000;
  constexpr std::uint64_t kTo = kBase + (2 << 20);
  constexpr std::uint32_t kAll = 1'234'567;
  fill(host.bytes(kFrom, kAll));
  const std::array<Segment, 3> from = {{{kFrom, 1}, {kFrom + 1, 700'000}, {kFrom + 700'001, kAll - 700'001}}};
  const std::array<Segment, 4> to = {
      {{kTo, 65'537}, {kTo + 65'537, 3}, {kTo + 65'540, 1'000'000}, {kTo + 1'065'540, kAll - 1'065'540}}};
  host.put(kLists, from);
  host.put(kLists + 0x100, to);
  const Answer answer = host.carry_out(
      {.word = 0x00050101, .lists = 0x00040003, .source = kLists, .destination = kLists + 0x100, .bytes = kAll});
  EXPECT_EQ(answer.status(), 0u);
  EXPECT_EQ(answer.result, kAll);
  EXPECT_EQ(answer.place, 0x00010001u);
  EXPECT_EQ(std::memcmp(host.bytes(kFrom, kAll).data(), host.bytes(kTo, kAll).data(), kAll), 0);
  EXPECT_THAT(host.interrupts, testing::ElementsAre(1u));
  // A fill whose pattern goes on over the seams.
  host.put(kLists, std::array<Segment, 2>{{{kTo, 3}, {kTo + 3, 70'000}}});
  EXPECT_EQ(
      host.carry_out(
              {.word = 2, .lists = 0x00020000, .source = 0x0807060504030201, .destination = kLists, .bytes = 70'003})
          .status(),
      0u);
  for (std::size_t at = 0; at < 70'003; ++at)
    ASSERT_EQ(host.bytes(kTo, kAll)[at], static_cast<std::byte>(at % 8 + 1)) << at;
  EXPECT_EQ(std::memcmp(host.bytes(kFrom + 70'003, 999).data(), host.bytes(kTo + 70'003, 999).data(), 999), 0);
  EXPECT_EQ(host.carry_out({.word = 0x00090000}).word, 0x80000009u) << "nop";
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

TEST(DmaEngineModel, WhatCantBeIsAnErrorAndTheChannelGoesOn) {
  Host host;
  host.start();
  constexpr std::uint64_t kTo = kBase + 0x40000;
  const auto list = [&](std::initializer_list<Segment> segments) {
    std::uint64_t at = kLists;
    for (const Segment& segment : segments) host.put(at, segment), at += sizeof segment;
  };
  const auto status = [&](Command command) {
    const unsigned answer = host.carry_out(command).status();
    EXPECT_EQ(host.carry_out({}).status(), 0u) << "the next one";
    return answer;
  };
  EXPECT_EQ(status({.word = 3, .source = kBase, .destination = kTo, .bytes = 8}), 1u);
  EXPECT_EQ(status({.word = 0x201, .source = kBase, .destination = kTo, .bytes = 8}), 2u) << "a reserved bit";
  EXPECT_EQ(status({.word = 1, .source = kBase, .destination = kTo, .bytes = 8, .reserved = {0, 0, 0, 1}}), 2u);
  EXPECT_EQ(status({.word = 1, .source = kBase, .destination = kTo, .bytes = 0}), 2u);
  EXPECT_EQ(status({.word = 1, .source = kBase, .destination = kTo, .bytes = (3 << 20) + 1}), 2u);
  EXPECT_EQ(status({.word = 1, .lists = 9, .source = kLists, .destination = kTo, .bytes = 8}), 2u);
  EXPECT_EQ(status({.word = 1, .lists = 1, .source = kLists + 8, .destination = kTo, .bytes = 8}), 2u);
  EXPECT_EQ(status({.word = 2, .lists = 1, .source = kLists, .destination = kTo, .bytes = 8}), 2u);
  EXPECT_EQ(status({.word = 0, .bytes = 8}), 2u);
  EXPECT_EQ(status({.word = 1, .lists = 1, .source = 0x1000, .destination = kTo, .bytes = 8}), 3u);
  list({{kBase, 4}, {kBase, 5}});
  const Command two{.word = 1, .lists = 2, .source = kLists, .destination = kTo, .bytes = 8};
  EXPECT_EQ(status(two), 4u) << "too long";
  list({{kBase, 4}, {kBase, 3}});
  EXPECT_EQ(status(two), 4u) << "too short";
  list({{kBase, 8}, {kBase, 0}});
  EXPECT_EQ(status(two), 4u) << "a segment of nothing";
  list({{kBase, 4, 1}, {kBase, 4}});
  EXPECT_EQ(status(two), 4u) << "a reserved bit";
  list({{~std::uint64_t{2}, 4}, {kBase, 4}});
  EXPECT_EQ(status(two), 4u) << "past the end";
  EXPECT_EQ(status({.word = 1, .source = ~std::uint64_t{2}, .destination = kTo, .bytes = 8}), 4u);
  EXPECT_EQ(host.device->violations().size(), 15u);
  // What the bus refuses tells how far it came, and is nobody's mistake.
  list({{kTo, 8}, {0x1000, 8}});
  const Answer half =
      host.carry_out({.word = 1, .lists = 0x00020000, .source = kBase, .destination = kLists, .bytes = 16});
  EXPECT_EQ(half.status(), 6u);
  EXPECT_EQ(half.result, 8u);
  EXPECT_EQ(status({.word = 1, .source = 0x1000, .destination = kTo, .bytes = 8}), 5u);
  EXPECT_EQ(host.device->violations().size(), 15u);
}

TEST(DmaEngineModel, AChannelThatCantGoOnSaysWhy) {
  Host host;
  const auto cause = [&](std::uint64_t ring, std::uint64_t completions, std::uint32_t log2) {
    host.set(0x1014, 0);
    host.run();
    EXPECT_EQ(host.get(0x1018), 0u) << "clearing RUN clears the status";
    host.set(0x1000, ring, 8);
    host.set(0x1008, completions, 8);
    host.set(0x1010, log2);
    host.set(0x1014, 1);
    host.run();
    return host.get(0x1018);
  };
  EXPECT_EQ(cause(kRing, kCompletions, 3), 0x0502u) << "RUN before READY";
  host.set(0x18, 1);
  host.run();
  EXPECT_EQ(cause(kRing + 32, kCompletions, 3), 0x0102u);
  EXPECT_EQ(cause(kRing, kCompletions + 1, 3), 0x0102u);
  EXPECT_EQ(cause(kRing, kCompletions, 0), 0x0102u);
  EXPECT_EQ(cause(kRing, kCompletions, 11), 0x0102u);
  EXPECT_EQ(cause(0x1000, kCompletions, 3), 1u);
  host.set(0x101c, 1);
  host.run();
  EXPECT_EQ(host.get(0x1018), 0x0202u);
  EXPECT_EQ(cause(kRing, 0x1000, 3), 1u);
  host.put(kRing, Command{});
  host.set(0x101c, 1);
  host.run();
  EXPECT_EQ(host.get(0x1018), 0x0302u);
  EXPECT_EQ(cause(kRing, kCompletions, 3), 1u);
  host.set(0x101c, 8);
  host.run();
  EXPECT_EQ(host.get(0x1018), 0x0402u);
}

TEST(DmaEngineModel, StopsAtOnceAndForgetsAtAReset) {
  Host host;
  host.start();
  constexpr std::uint64_t kFrom = kBase + (1 << 20);
  fill(host.bytes(kFrom, 1 << 20));
  host.push({.word = 1, .source = kFrom, .destination = kBase + (2 << 20), .bytes = 2 << 20});
  ASSERT_TRUE(host.device->step());
  const std::uint64_t moved = host.get(0x1028, 8);
  EXPECT_GT(moved, 0u);
  EXPECT_LT(moved, 2u << 20);
  host.set(0x18, 0);
  host.run();
  EXPECT_EQ(host.get(0x1c), 0u);
  EXPECT_EQ(host.get(0x1014), 0u) << "RUN is cleared with ENABLE";
  EXPECT_EQ(host.take().word, 0u) << "it completes never";
  host.start();
  EXPECT_EQ(host.get(0x1028, 8), 0u);
  EXPECT_EQ(host.carry_out({.word = 7 << 16}).word, 0x80000007u);
  // Without Bus Master Enable nothing is started, and the doorbell keeps.
  host.may_master_now = false;
  host.push({.word = 8 << 16});
  host.run();
  EXPECT_EQ(host.take().word, 0u);
  host.may_master_now = true;
  host.run();
  host.set(0x20, 5);
  host.set(0x18, 3);
  EXPECT_EQ(host.get(0x18) & 2u, 2u);
  host.run();
  EXPECT_EQ(host.get(0x18), 0u) << "a reset is over, and it is off";
  EXPECT_EQ(host.get(0x20), 0u);
  EXPECT_EQ(host.get(0x1000, 8), 0u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

// Equal indices mean empty, and a descriptor waits for the place of its completion.
TEST(DmaEngineModel, WaitsForRoomToComplete) {
  Host host;
  host.start(0, 1);
  host.push({.word = 1 << 16});
  host.run();
  host.push({.word = 2 << 16});
  host.run();
  EXPECT_EQ(host.take().word, 0x80000001u);
  host.run();
  EXPECT_EQ(host.take().word, 0x80000002u);
  EXPECT_EQ(host.carry_out({.word = 3 << 16}).word, 0x00000003u) << "the second pass";
}

}  // namespace
}  // namespace barter::devices::dma_engine
