#include "barter/workloads.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "barter/units.hpp"
#include "workloads/application.h"
#include "workloads/device_sums.h"
#include "workloads/files.h"
#include "workloads/pairs.h"

namespace barter::workloads {
namespace {

using namespace barter::literals;
using testing::HasSubstr;

Machine open(const std::string& name, MachineOptions options = {}) {
  auto machine = Machine::open(name, options);
  EXPECT_TRUE(machine) << machine.error().message();
  return *machine;
}

// Devices on root ports of their own, whose root complex turns nothing around.
Machine open_without_route() {
  const auto file = std::filesystem::temp_directory_path() / "barter-workload-no-route.toml";
  std::ofstream(file) << R"(
name = "no-route"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[root_port]]
name = "rp1"
below = "rc0"
[[drive]]
name = "nvme0"
below = "rp0"
size = "64 MiB"
[[accelerator]]
name = "gpu0"
below = "rp1"
memory = "64 MiB"
)";
  Machine machine = open(file.string());
  std::filesystem::remove(file);
  return machine;
}

TEST(WorkloadFiles, AreTheSameForTheSameSeedAndDealtEvenly) {
  const auto files = make_files(256_MiB, 3, 7);
  const auto again = make_files(256_MiB, 3, 7);
  ASSERT_EQ(files.size(), again.size());
  EXPECT_GT(files.size(), 30u);
  EXPECT_TRUE(std::ranges::equal(files, again, {}, &File::seed, &File::seed));
  EXPECT_EQ(std::accumulate(files.begin(), files.end(), std::uint64_t{0},
                            [](std::uint64_t sum, const File& file) { return sum + file.bytes; }),
            256_MiB);
  for (std::size_t pair = 0; pair < 3; ++pair) {
    EXPECT_GT(bytes_of_pair(files, pair), 60_MiB);
    std::uint64_t end = 0;
    for (const File& file : files) {
      if (file.pair != pair) continue;
      EXPECT_EQ(file.offset, end);
      EXPECT_EQ(file.span_bytes % 4096, 0u);
      EXPECT_GE(file.span_bytes, file.bytes);
      end = file.offset + file.span_bytes;
    }
  }
  EXPECT_NE(make_files(256_MiB, 3, 8).front().seed, files.front().seed);
  EXPECT_LE(make_files(1_TiB, 1, 1).size(), kMaxFiles);
  EXPECT_EQ(make_files(1, 2, 1).size(), 1u);
}

TEST(WorkloadFiles, AnyPartOfTheContentsIsThatPart) {
  const File file{.bytes = 1000, .seed = 5};
  std::vector<std::byte> whole(1000), part(300);
  fill_contents(file, 0, whole);
  fill_contents(file, 600, part);
  EXPECT_TRUE(std::ranges::equal(std::span(whole).subspan(600, 300), part));
}

TEST(WorkloadLoad, GoesStraightAndIsCheckedInDeviceMemory) {
  const Machine machine = open("training");
  const auto report = run_workload("load", machine, {.bytes = 24_MiB, .policy = P2p::required});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->workload, "load");
  EXPECT_EQ(report->route, CopyRoute::peer);
  EXPECT_EQ(report->bytes, 48_MiB);
  EXPECT_EQ(report->host_memory_bytes, 0u);
  EXPECT_TRUE(report->verified);
  EXPECT_GT(report->seconds, 0);
  EXPECT_GT(report->parts.size(), 3u);
  for (const WorkloadPart& part : report->parts) {
    EXPECT_EQ(part.route, CopyRoute::peer);
    EXPECT_EQ(part.reason, "");
    EXPECT_TRUE(part.verified);
  }
  // Both drives and both accelerators have their share.
  EXPECT_TRUE(std::ranges::any_of(report->parts, [](const auto& part) { return part.from == "nvme0"; }));
  EXPECT_TRUE(std::ranges::any_of(report->parts, [](const auto& part) { return part.to == "gpu1"; }));
}

TEST(WorkloadLoad, ItsTwinGoesByWayOfHostMemory) {
  const Machine machine = open("training");
  const auto report = run_workload("load", machine, {.bytes = 12_MiB, .policy = P2p::disabled});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::host);
  EXPECT_TRUE(report->verified);
  // Each byte is written to host memory and read from it, on the way there and on the way back; whole blocks of it.
  EXPECT_GE(report->host_memory_bytes, 4 * 12_MiB);
  EXPECT_LT(report->host_memory_bytes, 4 * 12_MiB + 4 * 4096 * report->parts.size());
  for (const WorkloadPart& part : report->parts) EXPECT_EQ(part.route, CopyRoute::host);
}

TEST(WorkloadLoad, WithoutARouteItSaysSoOrGoesByWayOfHost) {
  const Machine machine = open_without_route();
  const auto refused = run_workload("load", machine, {.bytes = 1_MiB, .policy = P2p::required});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::no_route);
  EXPECT_THAT(refused.error().message(), HasSubstr("from nvme0 to the memory of gpu0"));
  EXPECT_THAT(refused.error().message(), HasSubstr("barter why nvme0 gpu0"));
  const auto report = run_workload("load", machine, {.bytes = 1_MiB});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::host);
  EXPECT_TRUE(report->verified);
  for (const WorkloadPart& part : report->parts) EXPECT_NE(part.reason, "");
}

TEST(WorkloadLoad, TheOwnerDecides) {
  const Machine machine = open("training");
  machine.provider("gpu0")->on_request([](const Request&) { return Answer::refuse("not for drives"); });
  machine.provider("gpu1")->on_request([](const Request&) { return Answer::by_way_of_host("by the back door"); });
  EXPECT_FALSE(run_workload("load", machine, {.bytes = 4_MiB, .policy = P2p::required}));
  const auto report = run_workload("load", machine, {.bytes = 24_MiB});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::host);
  EXPECT_TRUE(report->verified);
  for (const WorkloadPart& part : report->parts)
    EXPECT_THAT(part.reason, HasSubstr(part.to == "gpu0" ? "not for drives" : "by the back door"));
}

TEST(WorkloadLoad, SaysWhatIsMissing) {
  EXPECT_THAT(run_workload("load", open("two-nvme")).error().message(), HasSubstr("no accelerator that works"));
  EXPECT_THAT(run_workload("laod", open("two-nvme")).error().message(), HasSubstr("there is load"));
  const auto too_much = run_workload("load", open("training"), {.bytes = 64_GiB});
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::out_of_range);
}

// The clock of a stepped machine runs, so that nothing waits for ever.
TEST(WorkloadLoad, WhatGetsLostIsAnError) {
  bool has_failed = false;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const Machine machine = open("training", {.seed = seed, .faults = {.lost_completion = 0.002}});
    const auto report = run_workload("load", machine, {.bytes = 8_MiB, .seed = seed});
    EXPECT_TRUE(!report || report->verified);
    has_failed = has_failed || !report;
  }
  EXPECT_TRUE(has_failed);
}

TEST(WorkloadNeighbour, MeasuresBothWaysAndChecksBoth) {
  const Machine machine = open("training", {.threaded = true});
  const auto report = run_workload("neighbour", machine, {.bytes = 8_MiB, .policy = P2p::required});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, CopyRoute::peer);
  EXPECT_TRUE(report->verified);
  EXPECT_GT(report->bytes, 0u);
  EXPECT_EQ(report->host_memory_bytes, 0u);
  const auto value = [&](std::string_view name) {
    const auto found = std::ranges::find(report->measures, name, &WorkloadMeasure::name);
    return found == report->measures.end() ? -1 : found->value;
  };
  EXPECT_GT(value("slowdown"), 0);
  EXPECT_GT(value("slowdown_by_host"), 0);
  for (const std::string way : {"", "_by_host"}) {
    EXPECT_LE(value("slowdown_least" + way), value("slowdown" + way));
    EXPECT_LE(value("slowdown" + way), value("slowdown_most" + way));
  }
  EXPECT_GT(value("host_memory_bytes_by_host"), 0);
}

TEST(WorkloadNeighbour, TheApplicationKnowsItsOwnMemory) {
  Application application;
  EXPECT_GT(application.work_for(0.001), 0);
  EXPECT_GT(application.work_for(0.02), 0);
  EXPECT_TRUE(application.is_right());
}

TEST(WorkloadSums, TellOneWrongByte) {
  const Machine machine = open("training");
  auto pairs = make_pairs(machine, P2p::required);
  ASSERT_TRUE(pairs) << pairs.error().message();
  ASSERT_EQ(pairs->size(), 2u);
  Pair& pair = pairs->front();
  ASSERT_TRUE(give_memory(machine, pair, 1_MiB, P2p::required));
  const auto bytes = pair.region->cpu_bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(at * 7);
  const MemoryRange ranges[] = {{0, 1_MiB}, {4096, 777}};
  auto sums = device_sums(pair, ranges);
  ASSERT_TRUE(sums) << sums.error().message();
  EXPECT_EQ((*sums)[0], XXH64(bytes.data(), bytes.size(), 0));
  EXPECT_EQ((*sums)[1], XXH64(bytes.data() + 4096, 777, 0));
  bytes[500'000] ^= std::byte{1};
  EXPECT_NE(device_sums(pair, ranges)->at(0), (*sums)[0]);
  ASSERT_TRUE(clear_memory(pair));
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; }));
}

// Nothing is lost over 10,000 moves, and every read is of one version.
TEST(WorkloadMigrate, NothingIsLostWhileAllOfItMoves) {
  const Machine machine = open("training", {.threaded = true});
  const auto report = run_workload("migrate", machine, {.bytes = 1_MiB});
  if (!report && report.error().doing == "making memory whose pages can move")
    GTEST_SKIP() << "skipped: " << report.error().message();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->verified);
  EXPECT_EQ(report->route, CopyRoute::peer);
  const auto measure = [&](std::string_view name) {
    return std::ranges::find(report->measures, name, &WorkloadMeasure::name)->value;
  };
  EXPECT_EQ(measure("moves"), 10000);
  EXPECT_EQ(measure("wrong"), 0);
  EXPECT_EQ(measure("pages_lost"), 0);
  EXPECT_EQ(measure("pages_by_refusal"), 0) << "below one switch each page is reached where it is";
  EXPECT_GT(measure("pages_by_touch"), 0);
  EXPECT_GE(measure("reads"), 10000 / 32) << "while pages moved, and not after";
}

TEST(WorkloadMigrate, ItsTwinReadsHostPages) {
  const Machine machine = open("training", {.threaded = true});
  const auto report = run_workload("migrate", machine, {.bytes = 256_KiB, .policy = P2p::disabled});
  if (!report && report.error().doing == "making memory whose pages can move")
    GTEST_SKIP() << "skipped: " << report.error().message();
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->verified);
  EXPECT_EQ(report->route, CopyRoute::host);
  EXPECT_GE(report->host_memory_bytes, report->bytes);
}

TEST(WorkloadMigrate, SaysWhatItsMachineLacks) {
  const auto stepped = run_workload("migrate", open("training"));
  ASSERT_FALSE(stepped);
  EXPECT_THAT(stepped.error().message(), HasSubstr("threaded"));
  const auto bare = run_workload("migrate", open("two-nvme", {.threaded = true}));
  ASSERT_FALSE(bare);
  EXPECT_THAT(bare.error().message(), HasSubstr("0 accelerators and 0 DMA engines"));
}

}  // namespace
}  // namespace barter::workloads
