// Copies through device memory that is small, full, or not to be had: which device serves, and with what chunks.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "copy_files.h"

namespace barter {
namespace {

using namespace barter::literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Drives nvme0, nvme1, ... of 4 MiB on one switch, each with this much memory; none where it says nothing. The first two are
// the two files.
class Room {
 public:
  explicit Room(std::vector<std::string> cmbs) : files_(4_MiB, 4_MiB) {
    std::ofstream text(description());
    text << fmt::format(R"(
name = "room"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = {}
)",
                        cmbs.size());
    for (std::size_t number = 0; number < cmbs.size(); ++number) {
      text << fmt::format("[[drive]]\nname = \"nvme{0}\"\nbelow = \"sw0.{0}\"\nsize = \"4 MiB\"\n", number);
      if (!cmbs[number].empty()) text << fmt::format("cmb = \"{}\"\n", cmbs[number]);
    }
  }
  [[nodiscard]] Machine open() const {
    auto machine = Machine::open(description().string(), files_.options());
    EXPECT_TRUE(machine) << machine.error().message();
    return *std::move(machine);
  }
  [[nodiscard]] bool same() const { return files_.same(); }

 private:
  [[nodiscard]] std::filesystem::path description() const { return files_.source().parent_path() / "room.toml"; }
  CopyFiles files_;
};

Result<CopyReport> copy_all(const Machine& machine, CopyOptions options = {}) {
  options.verify = true;
  return barter::copy(machine.drive("nvme0"), machine.drive("nvme1"), options);
}

void expect_direct(const Result<CopyReport>& report, const std::string& provider) {
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::peer);
  EXPECT_EQ(report->provider, provider);
  EXPECT_EQ(report->host_memory_bytes, 0u);
  EXPECT_THAT(report->fallbacks, IsEmpty());
  EXPECT_EQ(report->verified, true);
}

TEST(CopyRoom, ChunksAreCutToTheDeviceMemory) {
  for (const char* cmb : {"4 KiB", "8 KiB", "512 KiB", "1 MiB"}) {
    const Room room({cmb, ""});
    const Machine machine = room.open();
    expect_direct(copy_all(machine, {.policy = P2p::required}), "nvme0");
    EXPECT_TRUE(room.same()) << cmb;
    // A memory that is smaller than the only chunk of a copy.
    expect_direct(barter::copy(Extent(*machine.drive("nvme0"), 0, 256_KiB), machine.drive("nvme1"), {.verify = true}),
                  "nvme0");
    expect_direct(copy_all(machine, {.queue_depth = 1}), "nvme0");
  }
}

TEST(CopyRoom, ChunksAreNoLongerThanTheCopy) {
  const Room room({"512 KiB", ""});
  const Machine machine = room.open();
  const auto report = barter::copy(Extent(*machine.drive("nvme0"), 512, 256_KiB), machine.drive("nvme1"),
                                   {.policy = P2p::required, .chunk_bytes = 1_MiB, .verify = true});
  expect_direct(report, "nvme0");
}

// Others have most of it.
TEST(CopyRoom, ChunksAreCutToWhatIsFree) {
  const Room room({"64 MiB", ""});
  const Machine machine = room.open();
  auto memory = machine.provider("nvme0");
  const auto hog = memory->allocate(memory->size_bytes() - 64_KiB);
  ASSERT_TRUE(hog) << hog.error().message();
  expect_direct(copy_all(machine), "nvme0");
  EXPECT_TRUE(room.same());
  auto rest = memory->allocate(64_KiB);
  ASSERT_TRUE(rest) << rest.error().message();
  const auto full = copy_all(machine);
  ASSERT_TRUE(full) << full.error().message();
  EXPECT_EQ(full->route, CopyRoute::host);
  ASSERT_EQ(full->fallbacks.size(), 1u);
  EXPECT_EQ(full->fallbacks[0].code, "exhausted");
}

TEST(CopyRoom, ChunksOfTheCallersOwnChoiceAreKeptTo) {
  const Room room({"512 KiB", ""});
  const Machine machine = room.open();
  const auto required = copy_all(machine, {.policy = P2p::required, .chunk_bytes = 1_MiB});
  ASSERT_FALSE(required);
  EXPECT_EQ(required.error().code, ErrorCode::exhausted);
  EXPECT_THAT(required.error().message(), HasSubstr("524288 of 524288 bytes are free"));
  EXPECT_THAT(required.error().message(), HasSubstr("smaller chunks (--chunk)"));
  EXPECT_FALSE(room.same());
  const auto preferred = copy_all(machine, {.chunk_bytes = 1_MiB});
  ASSERT_TRUE(preferred) << preferred.error().message();
  EXPECT_EQ(preferred->route, CopyRoute::host);
  ASSERT_EQ(preferred->fallbacks.size(), 1u);
  EXPECT_EQ(preferred->fallbacks[0].code, "exhausted");
  EXPECT_THAT(preferred->fallbacks[0].reason, HasSubstr("smaller chunks (--chunk)"));
  expect_direct(copy_all(machine, {.policy = P2p::required, .chunk_bytes = 256_KiB}), "nvme0");
}

// nvme1 is nearer: the copy ends there.
TEST(CopyRoom, ADeviceWithRoomComesBeforeANearerOneWithout) {
  const Room room({"", "4 KiB", "1 MiB"});
  const Machine machine = room.open();
  const auto report = copy_all(machine, {.policy = P2p::required});
  expect_direct(report, "nvme2");
  EXPECT_THAT(report->reasons, ElementsAre(HasSubstr("the memory of nvme1 is nearer, but has no room for a chunk")));
  EXPECT_TRUE(room.same());
  // Where there is room in both, the nearer one serves, and there is nothing to tell.
  const auto small = copy_all(machine, {.policy = P2p::required, .chunk_bytes = 4_KiB});
  expect_direct(small, "nvme1");
  EXPECT_THAT(small->reasons, IsEmpty());
}

TEST(CopyRoom, WhereOneOwnerRefusesTheNextIsAsked) {
  const Room room({"", "1 MiB", "1 MiB"});
  const Machine machine = room.open();
  machine.provider("nvme1")->on_request([](const Request&) { return Answer::refuse("quiet hours"); });
  const auto report = copy_all(machine, {.policy = P2p::required});
  expect_direct(report, "nvme2");
  ASSERT_EQ(report->reasons.size(), 1u);
  EXPECT_THAT(report->reasons[0], HasSubstr("the memory of nvme1 was passed over"));
  EXPECT_THAT(report->reasons[0], HasSubstr("quiet hours"));
  machine.provider("nvme2")->on_request([](const Request&) { return Answer::by_way_of_host("a holiday"); });
  const auto none = copy_all(machine);
  ASSERT_TRUE(none) << none.error().message();
  EXPECT_EQ(none->route, CopyRoute::host);
  ASSERT_EQ(none->fallbacks.size(), 1u);
  EXPECT_EQ(none->fallbacks[0].code, "owner_refused");
  EXPECT_THAT(none->fallbacks[0].reason, HasSubstr("quiet hours"));
  EXPECT_THAT(none->fallbacks[0].reason, HasSubstr("a holiday"));
  // Whom the caller names is the only one to be asked.
  EXPECT_FALSE(copy_all(machine, {.policy = P2p::required, .via = "nvme1"}));
}

// What another device has is used in the same copy, and the report tells both.
TEST(CopyRoom, WhereOneOwnerTakesItBackTheNextIsAsked) {
  const Room room({"1 MiB", "", "1 MiB"});
  const Machine machine = room.open();
  auto memory = machine.provider("nvme0");
  bool taken = false;
  const auto report = copy_all(machine, {.chunk_bytes = 32_KiB, .progress = [&](CopyProgress) {
                                           if (std::exchange(taken, true)) return;
                                           memory->on_request([](const Request&) { return Answer::refuse("no more"); });
                                           EXPECT_TRUE(memory->take_back());
                                         }});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(room.same());
  EXPECT_EQ(report->route, CopyRoute::peer);
  EXPECT_EQ(report->provider, "nvme2");
  ASSERT_FALSE(report->fallbacks.empty());
  EXPECT_EQ(report->fallbacks[0].code, "revoked");
  EXPECT_THAT(report->reasons,
              ElementsAre(HasSubstr("the memory of nvme0 was passed over"), HasSubstr("through the memory of nvme0")));
}

TEST(CopyRoom, APolicysOwnChoiceIsNoFallback) {
  const CopyFiles files(1_MiB, 1_MiB);
  const auto machine = Machine::open("host-bridge", files.options());
  ASSERT_TRUE(machine) << machine.error().message();
  const auto report = copy_all(*machine, {.policy = P2p::enabled});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::host);
  EXPECT_THAT(report->fallbacks, IsEmpty());
  EXPECT_THAT(report->reasons, ElementsAre(HasSubstr("goes through the root complex")));
}

}  // namespace
}  // namespace barter
