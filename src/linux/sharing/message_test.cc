// The messages against docs/sharing.md, transcribed a second time here, byte by byte; and against everything that is wrong.
#include "linux/sharing/message.h"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace barter::linux_os::sharing {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

std::vector<std::byte> bytes(std::initializer_list<unsigned> values) {
  std::vector<std::byte> all;
  for (const unsigned value : values) all.push_back(static_cast<std::byte>(value));
  return all;
}

// One of each kind, with something in every field.
std::vector<Message> one_of_each() {
  const Bdf nvme1{.domain = 0x10001, .bus = 4, .device = 3, .function = 2};
  return {
      {1, Hello{.magic = kMagic, .who = "process 7"}},
      {2, Allocate{.provider = "nvme0", .bytes = 1 << 20, .alignment = 4096}},
      {3, Map{.importer = "nvme1",
              .access = Access::write,
              .hold = Hold::pinned,
              .allow_unknown_route = true,
              .offset = 4096,
              .bytes = 8192}},
      {4, TakeLease{9}},
      {0, EndLease{10}},
      {5, Unmap{9}},
      {6, Move{.mapping = 9, .way = Way::memory_to_drive, .drive_offset = 512, .bytes = 1024, .memory_offset = 4096}},
      {7, TakeBack{.region = 8, .for_good = false, .deadline_ns = 10'000'000}},
      {8, Free{8}},
      {9, Peek{.region = 8, .offset = 3, .bytes = 5}},
      {10, Poke{.region = 8, .offset = 3, .bytes = bytes({1, 2, 3})}},
      {11, Reply{.kind = Answer::Kind::by_way_of_host, .bytes = 4096, .reason = "not now"}},
      {22, MapParts{{.importer = "nvme1",
                     .access = Access::read,
                     .hold = Hold::dynamic,
                     .allow_unknown_route = false,
                     .offset = 4096,
                     .bytes = 8192}}},
      {23, LimitPins{.region = 8, .is_limited = true, .bytes = 65536}},
      {12, Welcome{"two-nvme"}},
      {13, Allocated{.region = 8, .exporter = nvme1, .range = {.offset = 0x3000, .bytes = 0x1000}}},
      {14, Mapped{.mapping = 9, .importer = nvme1, .route = Route::through_host_bridge, .bytes = 8192}},
      {15, Leased{10}},
      {16, Done{}},
      {17, Moved{1024}},
      {18, TakenBack{.mappings = 2, .late = {nvme1, {}}}},
      {19, Contents{bytes({4, 5})}},
      {20, Failed{{.code = ErrorCode::revoked, .doing = "a", .subject = "b", .where = "c", .why = "d", .cure = "e"}}},
      {21, Ask{.region = 8,
               .importer = nvme1,
               .range = {.offset = 0x3000, .bytes = 0x1000},
               .access = Access::read,
               .route = Route::bus_address,
               .hold = Hold::pinned}},
      {0, Invalidated{9}},
      {24, MappedInParts{.importer = nvme1,
                         .route = Route::bus_address,
                         .parts = {{.mapping = 9,
                                    .range = {.offset = 0x3000, .bytes = 0x1000},
                                    .kind = Answer::Kind::direct,
                                    .reason = ""},
                                   {.mapping = 0,
                                    .range = {.offset = 0x4000, .bytes = 0x1000},
                                    .kind = Answer::Kind::refuse,
                                    .reason = "mine"}}}},
      {0, GrantEnded{{.region = 8,
                      .importer = nvme1,
                      .range = {.offset = 0x3000, .bytes = 0x1000},
                      .access = Access::read,
                      .route = Route::bus_address,
                      .hold = Hold::pinned}}},
  };
}

TEST(SharingMessage, TravelsAsTheDocumentPrintsIt) {
  EXPECT_THAT(encode({0x01020304, Hello{.magic = kMagic, .who = "me"}}),
              ElementsAreArray(bytes({2, 0, 1, 0, 4, 3, 2, 1, 'R', 'T', 'R', 'B', 2, 0, 'm', 'e'})));
  EXPECT_THAT(encode({3, Map{.importer = "nvme1",
                             .access = Access::write,
                             .hold = Hold::dynamic,
                             .allow_unknown_route = false,
                             .offset = 0x1000,
                             .bytes = 0x100000}}),
              ElementsAreArray(bytes({2, 0, 3,    0, 3, 0, 0, 0, 5, 0, 'n', 'v',  'm', 'e', '1', 2, 0,
                                      0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0,   0x10, 0,   0,   0,   0, 0})));
  EXPECT_THAT(encode({5, Ask{.region = 1,
                             .importer = {.domain = 0, .bus = 4, .device = 0, .function = 0},
                             .range = {.offset = 0, .bytes = 0x2000},
                             .access = Access::read_write,
                             .route = Route::bus_address,
                             .hold = Hold::dynamic}}),
              ElementsAreArray(bytes({2, 0,    74, 0, 5, 0, 0, 0,  // header
                                      1, 0,    0,  0, 0, 0, 0, 0,  // region
                                      0, 0,    0,  0, 0, 4,        // importer
                                      0, 0,    0,  0, 0, 0, 0, 0,  // offset
                                      0, 0x20, 0,  0, 0, 0, 0, 0,  // bytes
                                      3, 1,    0})));
}

TEST(SharingMessage, PartsTravelAsTheDocumentPrintsThem) {
  EXPECT_THAT(encode({5, LimitPins{.region = 1, .is_limited = true, .bytes = 0x2000}}),
              ElementsAreArray(bytes({2, 0, 14,   0, 5, 0, 0, 0,         // header
                                      1, 0, 0,    0, 0, 0, 0, 0,         // region
                                      1, 0, 0x20, 0, 0, 0, 0, 0, 0})));  // limited, to
  EXPECT_THAT(encode({6, MappedInParts{.importer = {.domain = 0, .bus = 4, .device = 0, .function = 0},
                                       .route = Route::bus_address,
                                       .parts = {{.mapping = 7,
                                                  .range = {.offset = 0x1000, .bytes = 0x2000},
                                                  .kind = Answer::Kind::direct,
                                                  .reason = ""},
                                                 {.mapping = 0,
                                                  .range = {.offset = 0x3000, .bytes = 0x1000},
                                                  .kind = Answer::Kind::refuse,
                                                  .reason = "no"}}}}),
              ElementsAreArray(bytes({2, 0,    76, 0,   6,  0, 0, 0,  // header
                                      0, 0,    0,  0,   0,  4,        // importer
                                      1, 2,    0,                     // route, count
                                      7, 0,    0,  0,   0,  0, 0, 0,  // mapping
                                      0, 0x10, 0,  0,   0,  0, 0, 0,  // offset
                                      0, 0x20, 0,  0,   0,  0, 0, 0,  // bytes
                                      0, 0,    0,                     // direct, no reason
                                      0, 0,    0,  0,   0,  0, 0, 0,  // no mapping
                                      0, 0x30, 0,  0,   0,  0, 0, 0,  // offset
                                      0, 0x10, 0,  0,   0,  0, 0, 0,  // bytes
                                      2, 2,    0,  'n', 'o'})));
}

TEST(SharingMessage, EachKindHasTheDocumentsNumber) {
  std::vector<unsigned> kinds;
  for (const Message& message : one_of_each()) kinds.push_back(std::to_integer<unsigned>(encode(message)[2]));
  EXPECT_THAT(kinds, ElementsAreArray({1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                       65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77}));
}

TEST(SharingMessage, ComesBackAsItWas) {
  for (const Message& message : one_of_each()) {
    const auto travelled = encode(message);
    const auto arrived = decode(travelled);
    ASSERT_TRUE(arrived) << message.body.index() << ": " << arrived.error().message();
    EXPECT_EQ(arrived->number, message.number);
    EXPECT_EQ(arrived->body.index(), message.body.index());
    EXPECT_EQ(encode(*arrived), travelled) << message.body.index();
  }
}

TEST(SharingMessage, EveryBeginningAndEveryExcessIsRefused) {
  for (const Message& message : one_of_each()) {
    auto travelled = encode(message);
    for (std::size_t count = 0; count < travelled.size(); ++count) {
      const auto arrived = decode(std::span(travelled).first(count));
      ASSERT_FALSE(arrived) << message.body.index() << " after " << count;
      EXPECT_EQ(arrived.error().code, ErrorCode::malformed);
    }
    travelled.push_back({});
    const auto arrived = decode(travelled);
    ASSERT_FALSE(arrived);
    EXPECT_THAT(arrived.error().message(), HasSubstr("left over"));
  }
}

TEST(SharingMessage, OtherVersionsKindsAndChoicesAreRefused) {
  auto message = encode({1, Hello{.magic = kMagic, .who = "me"}});
  for (const unsigned version : {0u, 1u, 3u}) {
    message[0] = static_cast<std::byte>(version);
    EXPECT_EQ(decode(message).error().code, ErrorCode::unsupported);
  }
  for (const unsigned kind : {0u, 15u, 64u, 78u, 255u}) {
    auto odd = encode({1, Done{}});
    odd[2] = static_cast<std::byte>(kind);
    EXPECT_THAT(decode(odd).error().message(), HasSubstr("there is no kind")) << kind;
  }
  auto map = encode({1, Map{.importer = "a", .access = Access::read}});
  const std::size_t access_at = 8 + 2 + 1;
  for (const unsigned access : {0u, 4u, 255u}) {
    map[access_at] = static_cast<std::byte>(access);
    EXPECT_THAT(decode(map).error().message(), HasSubstr("no choice")) << access;
  }
  map[access_at] = std::byte{1};
  ASSERT_TRUE(decode(map));
  map[access_at + 1] = std::byte{2};
  EXPECT_THAT(decode(map).error().message(), HasSubstr("no choice")) << "neither dynamic nor pinned";
  map[access_at + 1] = std::byte{1};
  ASSERT_TRUE(decode(map));
  map[access_at + 2] = std::byte{2};
  EXPECT_THAT(decode(map).error().message(), HasSubstr("neither yes"));
}

TEST(SharingMessage, LengthsAreHeldAgainstTheirLimits) {
  const auto refused = [](std::vector<std::byte> message, std::size_t at, std::initializer_list<unsigned> length) {
    std::ranges::copy(bytes(length), message.begin() + static_cast<std::ptrdiff_t>(at));
    message.resize(kMaxMessageBytes);
    const auto arrived = decode(message);
    return arrived ? std::string() : arrived.error().message();
  };
  EXPECT_THAT(refused(encode({1, Welcome{"a"}}), 8, {0x01, 0x02}), HasSubstr("too long"));
  EXPECT_THAT(refused(encode({1, Contents{}}), 8, {0x01, 0x80, 0, 0}), HasSubstr("too long"));
  EXPECT_THAT(refused(encode({1, TakenBack{}}), 12, {0x01, 0x01}), HasSubstr("too long"));
  EXPECT_THAT(refused(encode({1, MappedInParts{}}), 15, {65, 0}), HasSubstr("too long"));
  EXPECT_FALSE(decode(std::vector<std::byte>(kMaxMessageBytes + 1)));
}

// Words are cut, and the rest is still a message.
TEST(SharingMessage, LongWordsLoseTheirEnd) {
  const auto arrived = decode(encode({1, Failed{{.code = ErrorCode::refused, .why = std::string(5000, 'x')}}}));
  ASSERT_TRUE(arrived);
  EXPECT_EQ(std::get<Failed>(arrived->body).error.why.size(), kMaxTextBytes);
  EXPECT_LE(encode({1, Poke{.bytes = std::vector<std::byte>(kMaxContentBytes)}}).size(), kMaxMessageBytes);
  MappedInParts parts;
  parts.parts.resize(kMaxPartsInAnswer + 1, {.reason = std::string(5000, 'x')});
  const auto most = encode({1, parts});
  EXPECT_LE(most.size(), kMaxMessageBytes);
  const auto cut = decode(most);
  ASSERT_TRUE(cut);
  EXPECT_EQ(std::get<MappedInParts>(cut->body).parts.size(), kMaxPartsInAnswer);
}

TEST(SharingMessage, CodesOfALaterVersionReadAsAFailure) {
  auto travelled = encode({1, Failed{{.code = ErrorCode::refused}}});
  travelled[8] = std::byte{200};
  const auto arrived = decode(travelled);
  ASSERT_TRUE(arrived);
  EXPECT_EQ(std::get<Failed>(arrived->body).error.code, ErrorCode::io_failed);
}

TEST(SharingMessage, NoiseIsNeverMoreThanRefused) {
  std::mt19937 chance(7);
  const auto samples = one_of_each();
  std::size_t taken = 0;
  for (int round = 0; round < 20000; ++round) {
    auto noise = encode(samples[chance() % samples.size()]);
    for (unsigned flips = 1 + chance() % 4; flips > 0; --flips)
      noise[4 + chance() % (noise.size() - 4)] = static_cast<std::byte>(chance());
    if (const auto arrived = decode(noise)) {
      ++taken;
      EXPECT_TRUE(decode(encode(*arrived)));
    }
  }
  EXPECT_GT(taken, 1000u);
}

}  // namespace
}  // namespace barter::linux_os::sharing
