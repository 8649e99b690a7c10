// The model, spoken to in the numbers of docs/devices/accelerator.md.
#include "devices/accelerator/accelerator.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "devices/accelerator/test_host.h"

namespace barter::devices::accelerator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr AcceleratorSetup kSmall{.memory_bytes = 4 * kMiB, .copy_channels = 1, .compute_channels = 1, .ring_log2 = 8};
constexpr std::uint32_t kCopy = 0;
constexpr std::uint32_t kCompute = 1;

void fill(std::span<std::byte> bytes, unsigned step = 7) {
  for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(at * step + at / 251);
}

TEST(AcceleratorModel, SaysWhatItIs) {
  TestHost host(
      {.memory_bytes = 3 * kMiB, .window_bytes = kMiB, .copy_channels = 2, .compute_channels = 3, .ring_log2 = 9});
  EXPECT_EQ(host.device->identity().class_code, 0x120000u);
  EXPECT_EQ(host.get(0x00), 0x43415842u);
  EXPECT_EQ(host.get(0x04), 0x00010002u);
  EXPECT_EQ(host.get(0x08, 8), 3 * kMiB);
  EXPECT_EQ(host.get(0x10, 8), kMiB);
  EXPECT_EQ(host.get(0x18), 0x00090302u);
  EXPECT_EQ(host.get(0x1c), 0u);
  EXPECT_EQ(host.get(0x24), 0u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
  EXPECT_EQ(host.get(0x00, 8), 0u);
  EXPECT_EQ(host.get(0x4c), 0u);
  EXPECT_EQ(host.get(0x1000 + 5 * 0x80), 0u);
  EXPECT_THAT(host.device->violations(), SizeIs(3));
}

TEST(AcceleratorModel, RefusesSetupsThatCantBe) {
  EXPECT_FALSE(create_accelerator({.memory_bytes = 0}));
  EXPECT_FALSE(create_accelerator({.memory_bytes = kMiB + 1}));
  EXPECT_FALSE(create_accelerator({.memory_bytes = ~std::uint64_t{0xffff}}));
  EXPECT_FALSE(create_accelerator({.memory_bytes = kMiB, .window_bytes = 3 << 16}));
  EXPECT_FALSE(create_accelerator({.memory_bytes = kMiB, .window_bytes = 2 * kMiB}));
  EXPECT_FALSE(create_accelerator({.copy_channels = 0, .compute_channels = 0}));
  EXPECT_FALSE(create_accelerator({.copy_channels = 30, .compute_channels = 3}));
  EXPECT_FALSE(create_accelerator({.ring_log2 = 16}));
  EXPECT_FALSE(create_accelerator({.links = 9}));
}

// Section 6 of the specification, byte for byte.
TEST(AcceleratorModel, TheWorkedExample) {
  TestHost host(kSmall);
  host.start(kCompute, 2);
  EXPECT_EQ(host.get(0x1080 + 0x20), 1u);
  const std::uint32_t words[] = {1, 2, 3};
  std::memcpy(host.window().data() + 0x10000, words, sizeof words);
  const unsigned char descriptor[] = {0x11, 0, 7, 0, 0x3c, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0,    0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0};
  std::memcpy(host.bytes(TestHost::kRing, sizeof descriptor).data(), descriptor, sizeof descriptor);
  host.set(0x1080 + 0x24, 1);
  host.run();
  const unsigned char expected[] = {6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 7, 0, 0, 0x80};
  EXPECT_EQ(std::memcmp(host.bytes(TestHost::kCompletions, 16).data(), expected, 16), 0);
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

TEST(AcceleratorModel, CopiesBetweenAllSpacesInSlices) {
  TestHost host(kSmall);
  host.start(kCopy);
  auto memory = host.window();
  fill(host.bytes(TestHost::kBase + 0x10000, 0x40000));
  // Bus to local, local to local, local to bus, bus to bus.
  EXPECT_EQ(host.carry_out({.word = 0x00010001,
                            .spaces = 0x0d,
                            .source = TestHost::kBase + 0x10000,
                            .destination = 3,
                            .count = 0x40000})
                .word,
            0x80000001u);
  EXPECT_EQ(
      host.carry_out({.word = 0x01, .spaces = 0x0c, .source = 3, .destination = 2 * kMiB, .count = 0x40000}).status(),
      0u);
  EXPECT_EQ(host.carry_out({.word = 0x01,
                            .spaces = 0x1c,
                            .source = 2 * kMiB,
                            .destination = TestHost::kBase + 0x60000,
                            .count = 0x40000})
                .status(),
            0u);
  EXPECT_EQ(host.carry_out({.word = 0x01,
                            .spaces = 0x1d,
                            .source = TestHost::kBase + 0x60000,
                            .destination = TestHost::kBase + 0xa0001,
                            .count = 0x40000})
                .status(),
            0u);
  EXPECT_EQ(std::memcmp(host.bytes(TestHost::kBase + 0x10000, 0x40000).data(),
                        host.bytes(TestHost::kBase + 0xa0001, 0x40000).data(), 0x40000),
            0);
  EXPECT_EQ(std::memcmp(memory.data() + 3, host.bytes(TestHost::kBase + 0x10000, 0x40000).data(), 0x40000), 0);
  EXPECT_EQ(
      host.carry_out({.word = 0x02, .spaces = 0x0f, .destination = 64, .count = 16, .parameter = 0x1122334455667788})
          .status(),
      0u);
  EXPECT_EQ(memory[64], std::byte{0x88});
  EXPECT_EQ(memory[79], std::byte{0x11});
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

TEST(AcceleratorModel, ComputesRealResults) {
  TestHost host(kSmall);
  host.start(kCompute);
  auto memory = host.window();
  fill(memory.first(2 * kMiB));
  std::vector<std::byte> before(memory.begin(), memory.begin() + 2 * kMiB);
  auto answer = host.carry_out(
      {.word = 0x14, .spaces = 0x0c, .source = 5, .destination = 3 * kMiB, .count = 1500001, .parameter = 9});
  EXPECT_EQ(answer.result, XXH64(before.data() + 5, 1500001, 9));
  EXPECT_EQ(host.load<std::uint64_t>(memory.subspan(3 * kMiB)), answer.result);
  answer = host.carry_out({.word = 0x12, .spaces = 0x0c, .source = 1, .destination = 3 * kMiB, .count = 100000});
  EXPECT_EQ(answer.status(), 0u);
  for (std::size_t value = 0; value < 256; ++value)
    EXPECT_EQ(host.load<std::uint64_t>(memory.subspan(3 * kMiB + value * 8)),
              static_cast<std::uint64_t>(
                  std::count(before.begin() + 1, before.begin() + 100001, static_cast<std::byte>(value))));
  // In place: the destination is one of the sources.
  answer =
      host.carry_out({.word = 0x10, .spaces = 0x00, .source = 0, .second = kMiB, .destination = 0, .count = kMiB / 4});
  EXPECT_EQ(answer.status(), 0u);
  for (std::size_t at = 0; at < kMiB; at += 4)
    ASSERT_EQ(host.load<std::uint32_t>(memory.subspan(at)),
              host.load<std::uint32_t>(std::span(before).subspan(at)) +
                  host.load<std::uint32_t>(std::span(before).subspan(kMiB + at)));
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

TEST(AcceleratorModel, FiltersAPicture) {
  TestHost host(kSmall);
  host.start(kCompute);
  auto memory = host.window();
  constexpr int kWidth = 100;
  constexpr int kHeight = 60;
  fill(memory.first(kWidth * kHeight), 13);
  const std::int16_t weights[9] = {-1, 2, -1, 3, 8, -3, 0, 5, 1};
  std::memcpy(memory.data() + kMiB, weights, sizeof weights);
  const auto answer = host.carry_out({.word = 0x13,
                                      .spaces = 0x00,
                                      .source = 0,
                                      .second = kMiB,
                                      .destination = 2 * kMiB,
                                      .count = std::uint64_t{kHeight} << 32 | kWidth,
                                      .parameter = 4});
  EXPECT_EQ(answer.status(), 0u);
  for (int y = 0; y < kHeight; ++y)
    for (int x = 0; x < kWidth; ++x) {
      int sum = 0;
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
          const int row = std::clamp(y + dy, 0, kHeight - 1);
          const int column = std::clamp(x + dx, 0, kWidth - 1);
          sum += weights[(dy + 1) * 3 + dx + 1] *
                 static_cast<int>(memory[static_cast<std::size_t>(row * kWidth + column)]);
        }
      ASSERT_EQ(static_cast<int>(memory[2 * kMiB + static_cast<std::size_t>(y * kWidth + x)]),
                std::clamp(sum >> 4, 0, 255))
          << x << " " << y;
    }
}

TEST(AcceleratorModel, RefusesWhatTheSpecificationForbids) {
  TestHost host(kSmall);
  host.start(kCompute);
  EXPECT_EQ(host.carry_out({.word = 0x01, .spaces = 0x0c, .count = 8}).status(), 1u);  // copy on a compute channel
  EXPECT_EQ(host.carry_out({.word = 0x7f}).status(), 1u);
  EXPECT_EQ(host.carry_out({.word = 0x11, .spaces = 0x3c, .count = 0}).status(), 2u);               // nothing to do
  EXPECT_EQ(host.carry_out({.word = 0x11, .spaces = 0x3c, .source = 2, .count = 1}).status(), 2u);  // not aligned
  EXPECT_EQ(host.carry_out({.word = 0x11, .spaces = 0x30, .count = 1}).status(), 2u);               // a second source
  EXPECT_EQ(host.carry_out({.word = 0x11, .spaces = 0x7c, .count = 1}).status(), 2u);               // reserved bits
  EXPECT_EQ(host.carry_out({.word = 0x211, .spaces = 0x3c, .count = 1}).status(), 2u);
  EXPECT_EQ(host.carry_out({.word = 0x11, .spaces = 0x3c, .count = ~std::uint64_t{0}}).status(), 2u);
  EXPECT_EQ(host.carry_out({.word = 0x13, .spaces = 0x00, .count = 0xffffffffffffffff}).status(), 2u);
  EXPECT_EQ(host.carry_out({.word = 0x14, .spaces = 0x3c, .source = 4 * kMiB, .count = 1}).status(), 3u);
  EXPECT_EQ(host.carry_out({.word = 0x14, .spaces = 0x3c, .source = 4 * kMiB - 1, .count = 2}).status(), 3u);
  EXPECT_THAT(host.device->violations(), SizeIs(11));
  EXPECT_EQ(host.carry_out({.word = 0x14, .spaces = 0x3d, .source = 0x10, .count = 1}).status(), 5u);  // nobody there
  EXPECT_EQ(host.carry_out({.word = 0x14, .spaces = 0x3d, .source = ~std::uint64_t{0}, .count = 2}).status(), 5u);
  EXPECT_THAT(host.device->violations(), SizeIs(11)) << "a bus that does not answer is not the host's fault";
  EXPECT_EQ(host.carry_out({.word = 0x00, .spaces = 0x3f}).status(), 0u) << "and the channel goes on";
}

TEST(AcceleratorModel, WalksItsPageTables) {
  TestHost host(kSmall);
  host.start(kCompute);
  auto memory = host.window();
  fill(memory.first(kMiB));
  const auto local = [&](std::uint64_t at, std::uint64_t entry) { std::memcpy(memory.data() + at, &entry, 8); };
  const auto bus = [&](std::uint64_t at, std::uint64_t entry) { std::memcpy(host.bytes(at, 8).data(), &entry, 8); };
  // Root and the last table in the memory, the others on the bus. Two pages, in reverse order; then one on the bus.
  constexpr std::uint64_t kSecond = TestHost::kBase + 0x20000;
  constexpr std::uint64_t kThird = TestHost::kBase + 0x21000;
  constexpr std::uint64_t kVirtual = 0x7ffffffff000;
  local(2 * kMiB + 255 * 8, kSecond | 5);
  bus(kSecond + 511 * 8, kThird | 5);
  bus(kThird + 511 * 8, (2 * kMiB + 0x1000) | 1);
  local(2 * kMiB + 0x1000 + 511 * 8, 0x5000 | 0x81);
  local(2 * kMiB + 256 * 8, kSecond | 5);
  bus(kSecond + 0, kThird | 5);
  bus(kThird + 0, (2 * kMiB + 0x2000) | 1);
  local(2 * kMiB + 0x2000, 0x4000 | 0x83);
  host.set(0x30, 2 * kMiB | 1, 8);
  auto answer = host.carry_out({.word = 0x14, .spaces = 0x3e, .source = kVirtual, .count = 4096});
  EXPECT_EQ(answer.status(), 0u);
  EXPECT_EQ(answer.result, XXH64(memory.data() + 0x5000, 4096, 0));
  std::vector<std::byte> both(memory.begin() + 0x5000, memory.begin() + 0x6000);
  both.insert(both.end(), memory.begin() + 0x4000, memory.begin() + 0x5000);
  answer = host.carry_out({.word = 0x14, .spaces = 0x3e, .source = kVirtual, .count = 8192});
  EXPECT_EQ(answer.result, XXH64(both.data(), both.size(), 0));

  // Past the end of what is mapped, and a write where only reading is allowed.
  answer = host.carry_out({.word = 0x14, .spaces = 0x3e, .source = kVirtual, .count = 8193});
  EXPECT_EQ(answer.status(), 4u);
  EXPECT_EQ(answer.result, 0x800000001000u);
  EXPECT_EQ(host.get(0x38, 8), 0x800000001000u);
  EXPECT_EQ(host.get(0x40), 0x80000001u);
  answer = host.carry_out({.word = 0x11, .spaces = 0x2c, .source = 0, .destination = kVirtual, .count = 1});
  EXPECT_EQ(answer.status(), 4u);
  EXPECT_EQ(host.get(0x40), 0x80000101u);

  // A page on the bus; a reserved bit; a leaf where there must be a table; a superpage that is not aligned.
  const auto changed = [&](std::uint64_t entry) {
    local(2 * kMiB + 0x2000, entry);
    host.set(0x44, 1);
    host.run();
    EXPECT_EQ(host.get(0x44), 0u);
    return host.carry_out({.word = 0x14, .spaces = 0x3e, .source = 0x800000000000, .count = 16});
  };
  fill(host.bytes(TestHost::kBase + 0x30000, 4096), 3);
  answer = changed((TestHost::kBase + 0x30000) | 0x87);
  EXPECT_EQ(answer.result, XXH64(host.bytes(TestHost::kBase + 0x30000, 16).data(), 16, 0));
  EXPECT_EQ(changed(0x4000 | 0x83 | 0x100).status(), 4u);
  EXPECT_EQ(changed(0x4000 | 0x03).status(), 4u) << "the last level has pages only";
  EXPECT_EQ(changed(0x4000 | 0x82).status(), 4u);
  bus(kThird + 0, 0x1000 | 0x83);
  EXPECT_EQ(changed(0x4000 | 0x83).status(), 4u) << "2 MiB pages begin at multiples of 2 MiB";
  bus(kThird + 0, 0x200000 | 0x83);
  EXPECT_EQ(changed(0).result, XXH64(memory.data() + 2 * kMiB, 16, 0));
  EXPECT_EQ(host.carry_out({.word = 0x14, .spaces = 0x3e, .source = std::uint64_t{1} << 48, .count = 1}).status(), 4u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
}

// Writes of one host arrive in order, also if a step is under way: its first doorbell finds the root that came before it.
TEST(AcceleratorModel, ADoorbellComesAfterTheRootThatWasWrittenBefore) {
  TestHost host(kSmall);
  host.start(kCompute);
  const auto entry = [&](std::size_t at, std::uint64_t value) { std::memcpy(host.window().data() + at, &value, 8); };
  entry(0x10000, 0x11001);
  entry(0x11000, 0x83);
  bool is_done = false;
  host.in_mid_step = [&] {
    if (std::exchange(is_done, true)) return;
    host.set(0x30, 0x10001, 8);
    host.push({.word = 0x14, .spaces = 0x3e, .source = 0x2000, .count = 16});
  };
  host.run();
  EXPECT_TRUE(is_done);
  const auto answer = host.take();
  EXPECT_EQ(answer.status(), 0u);
  EXPECT_EQ(answer.result, XXH64(host.window().data() + 0x2000, 16, 0));
}

// Four levels in local memory that translate the first 2 MiB; no page of them is there at first.
void make_tables(TestHost& host) {
  for (std::uint64_t level = 0; level < 3; ++level) {
    const std::uint64_t entry = (0x11000 + level * 0x1000) | 1;
    std::memcpy(host.window().data() + 0x10000 + level * 0x1000, &entry, sizeof entry);
  }
  host.set(0x30, 0x10001, 8);
}
void set_page(TestHost& host, std::uint64_t number, std::uint64_t entry) {
  std::memcpy(host.window().data() + 0x13000 + number * 8, &entry, sizeof entry);
}

// Section 4. What was done before the page was missed is not done again: a sum that goes over its own source shows it.
TEST(AcceleratorModel, ACommandAsksForAPageAndGoesOn) {
  TestHost host(kSmall);
  make_tables(host);
  host.set(0x10ac, 1);
  EXPECT_EQ(host.get(0x10ac), 1u);
  host.start(kCompute);
  set_page(host, 0, 0x20083);
  set_page(host, 2, 0x24083);
  fill(host.window().subspan(0x20000, 0x20000));
  std::vector<std::uint32_t> expected;
  for (std::uint64_t at = 0x800; at < 0x2800; at += 4) {
    const std::uint64_t place = at < 0x1000 ? 0x20000 + at : at < 0x2000 ? 0x21000 + at : 0x22000 + at;
    expected.push_back(host.load<std::uint32_t>(host.window().subspan(place, 4)) +
                       host.load<std::uint32_t>(host.window().subspan(0x30000 + at - 0x800, 4)));
  }
  host.push(
      {.word = 0x00070010, .spaces = 0x22, .source = 0x800, .second = 0x30000, .destination = 0x800, .count = 0x800});
  host.run();
  auto request = host.take();
  EXPECT_EQ(request.word, 0x80090007u);
  EXPECT_EQ(request.result, 0x1000u);
  EXPECT_THAT(host.interrupts, ElementsAre(1u));
  EXPECT_FALSE(host.device->step()) << "it waits";
  host.set(0x10b0, 0x10008);
  host.run();
  EXPECT_THAT(host.device->violations(), SizeIs(1)) << "an answer to another command";
  set_page(host, 1, 0x22083);
  host.set(0x10b0, 0x10007);
  host.run();
  EXPECT_EQ(host.take().word, 0x80000007u);
  for (std::uint64_t at = 0x800; at < 0x2800; at += 4) {
    const std::uint64_t place = at < 0x1000 ? 0x20000 + at : at < 0x2000 ? 0x21000 + at : 0x22000 + at;
    ASSERT_EQ(host.load<std::uint32_t>(host.window().subspan(place, 4)), expected[(at - 0x800) / 4]) << at;
  }
}

TEST(AcceleratorModel, APageThatIsNotToBeHadEndsTheCommand) {
  TestHost host(kSmall);
  make_tables(host);
  host.set(0x10ac, 1);
  host.start(kCompute, 2);
  // Three completions have room. A command is taken only when there is room for its request too.
  host.push({.word = 0x00010000, .spaces = 0x3f});
  host.push({.word = 0x00020000, .spaces = 0x3f});
  host.push({.word = 0x00030014, .spaces = 0x3e, .source = 0x5123, .count = 16});
  host.run();
  EXPECT_EQ(host.take().word, 0x80000001u);
  host.run();
  EXPECT_EQ(host.take().word, 0x80000002u);
  auto request = host.take();
  EXPECT_EQ(request.word, 0x80080003u);
  EXPECT_EQ(request.result, 0x5123u);
  EXPECT_EQ(host.get(0x40), 0u) << "no page fault yet";
  host.set(0x10b0, 3);
  host.run();
  auto end = host.take();
  EXPECT_EQ(end.status(), 4u);
  EXPECT_EQ(end.result, 0x5123u);
  EXPECT_EQ(host.get(0x40), 0x80000001u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
  // Stopped while it waits, and run again without requests.
  host.push({.word = 0x00040014, .spaces = 0x3e, .source = 0x5123, .count = 16});
  host.run();
  EXPECT_EQ(host.take().status(), 8u);
  host.set(0x109c, 0);
  host.run();
  EXPECT_EQ(host.get(0x10a0), 0u);
  std::ranges::fill(host.bytes(TestHost::kCompletions, 64), std::byte{});
  host.set(0x10ac, 0);
  host.start(kCompute, 1);
  EXPECT_EQ(host.carry_out({.word = 0x00050014, .spaces = 0x3e, .source = 0x5123, .count = 16}).status(), 4u);
  EXPECT_THAT(host.device->violations(), IsEmpty());
  host.set(0x109c, 0);
  host.run();
  host.set(0x10ac, 1);
  host.set(0x109c, 1);
  host.run();
  EXPECT_EQ(host.get(0x10a0), 2u) << "a ring of 2 entries has no room for requests";
}

TEST(AcceleratorModel, CountsProgressInMemoryWhileItWorks) {
  TestHost host(kSmall);
  host.start(kCopy, 3, 3 * kMiB | 1);
  auto counter = host.window().subspan(3 * kMiB, 8);
  EXPECT_EQ(host.load<std::uint64_t>(counter), 0u);
  host.push({.word = 0x02, .spaces = 0x0f, .destination = 0, .count = 3 * kMiB, .parameter = 1});
  std::vector<std::uint64_t> seen;
  while (host.device->step()) seen.push_back(host.load<std::uint64_t>(counter));
  EXPECT_THAT(seen, ElementsAre(kMiB, 2 * kMiB, 3 * kMiB));
}

TEST(AcceleratorModel, RingsWrapAndWaitForRoom) {
  TestHost host(kSmall);
  host.start(kCompute, 1);
  for (std::uint32_t round = 0; round < 5; ++round) {
    const auto answer = host.carry_out({.word = round << 16 | 0x100, .spaces = 0x3f});
    EXPECT_EQ(answer.word, round | (round / 2 % 2 == 0 ? 0x80000000u : 0u));
  }
  EXPECT_THAT(host.interrupts, ElementsAre(1u, 1u, 1u, 1u, 1u));
  host.push({.word = 5 << 16, .spaces = 0x3f});
  host.run();
  host.push({.word = 6 << 16, .spaces = 0x3f});
  EXPECT_FALSE(host.device->step()) << "the completion before was not taken";
  EXPECT_EQ(host.take().word & 0xffff, 5u);
  host.run();
  EXPECT_EQ(host.take().word & 0xffff, 6u);
}

TEST(AcceleratorModel, StopsChannelsThatCantBe) {
  for (const int fault : {0, 1, 2, 3, 4, 5}) {
    TestHost host(kSmall);
    host.start(kCopy);
    host.set(0x101c, 0);
    host.run();
    EXPECT_EQ(host.get(0x1020), 0u);
    if (fault == 0) host.set(0x1000, TestHost::kRing + 8, 8);
    if (fault == 1) host.set(0x1018, 9);
    if (fault == 2) host.set(0x1010, (4 * kMiB) | 1, 8);
    if (fault == 3) host.set(0x1000, 0x1000, 8);
    host.set(0x101c, 1);
    if (fault >= 3) host.set(0x1024, fault == 4 ? 8 : 1);
    if (fault == 5) host.set(0x1028, 8);
    host.run();
    EXPECT_EQ(host.get(0x1020), 2u) << fault;
    EXPECT_THAT(host.device->violations(), SizeIs(1)) << fault;
  }
}

TEST(AcceleratorModel, MovesItsWindow) {
  TestHost host({.memory_bytes = 3 * kMiB, .window_bytes = kMiB});
  host.window()[5] = std::byte{1};
  host.set(0x28, 2 * kMiB + 0x80000, 8);
  EXPECT_EQ(host.window_changes, 1);
  EXPECT_EQ(host.window().size(), kMiB / 2) << "there the memory ends";
  EXPECT_EQ(host.window()[5], std::byte{0});
  host.set(0x28, 0x1234, 8);
  host.set(0x28, 3 * kMiB, 8);
  EXPECT_EQ(host.get(0x28, 8), 2 * kMiB + 0x80000);
  EXPECT_THAT(host.device->violations(), SizeIs(2));
  host.set(0x28, 0, 8);
  EXPECT_EQ(host.window()[5], std::byte{1});
  host.device->reset();
  EXPECT_EQ(host.window()[5], std::byte{0});
}

TEST(AcceleratorModel, StopsWhenItIsDisabledAndWithoutBusMastering) {
  TestHost host(kSmall);
  host.start(kCopy);
  host.push({.word = 0x02, .spaces = 0x0f, .destination = 0, .count = 4 * kMiB, .parameter = ~std::uint64_t{0}});
  EXPECT_TRUE(host.device->step());
  host.may_master_now = false;
  EXPECT_FALSE(host.device->step());
  host.may_master_now = true;
  host.set(0x20, 0);
  host.run();
  EXPECT_EQ(host.get(0x24), 0u);
  EXPECT_EQ(host.get(0x1020), 0u);
  EXPECT_EQ(host.window()[4 * kMiB - 1], std::byte{0});
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST(AcceleratorModel, UntouchedMemoryCostsNothing) {
  const std::uint64_t before = resident_bytes();
  auto large = create_accelerator({.memory_bytes = std::uint64_t{128} << 30});
  if (!large) GTEST_SKIP() << "skipped: " << large.error().message();
  (*large)->windows().at(0).bytes[std::size_t{127} << 30] = std::byte{1};
  EXPECT_LT(resident_bytes() - before, 16 * kMiB);
}

}  // namespace
}  // namespace barter::devices::accelerator
