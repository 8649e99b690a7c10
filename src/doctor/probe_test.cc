// Probes of software machines: what they write, what they put back, and what they refuse.
#include <cstddef>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/doctor.hpp"
#include "barter/io.hpp"
#include "barter/units.hpp"
#include "doctor/probe_bytes.h"

namespace barter::doctor {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using namespace barter::literals;

Machine open(std::string_view name, MachineOptions options = {}) {
  auto machine = Machine::open(name, options);
  EXPECT_TRUE(machine) << machine.error().message();
  return *machine;
}

Extent part(const Machine& machine, std::string_view drive, std::uint64_t offset, std::optional<std::uint64_t> bytes) {
  return {*machine.drive(drive), offset, bytes};
}

std::vector<std::byte> contents(const Machine& machine, std::string_view drive, std::uint64_t offset,
                                std::uint64_t bytes) {
  std::vector<std::byte> data(bytes);
  EXPECT_TRUE(read(*machine.drive(drive), {.offset = offset}, std::span(data)));
  return data;
}

TEST(Probe, GoesBothWaysAndPutsBackWhatWasThere) {
  const Machine machine = open("two-nvme");
  const auto before = probe_pattern(7, 0, 3_MiB);
  for (const char* drive : {"nvme0", "nvme1"})
    ASSERT_TRUE(write(*machine.drive(drive), {.offset = 4_MiB}, std::span<const std::byte>(before)));
  const auto report = probe(machine, part(machine, "nvme0", 5_MiB, 1_MiB), part(machine, "nvme1", 5_MiB, 1_MiB));
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_THAT(report->legs, SizeIs(2));
  EXPECT_EQ(report->legs[0].from, "nvme0");
  EXPECT_EQ(report->legs[1].from, "nvme1");
  for (const ProbeLeg& leg : report->legs) {
    EXPECT_TRUE(leg.passed()) << leg.error->message();
    EXPECT_EQ(leg.copy.route, CopyRoute::peer);
    EXPECT_EQ(leg.copy.host_memory_bytes, 0u);
    EXPECT_EQ(leg.copy.bytes, 1_MiB);
  }
  EXPECT_THAT(report->legs[1].route, HasSubstr("nvme1 wrote to the memory of nvme0: bus_address on the wire"));
  EXPECT_TRUE(report->not_restored.empty());
  for (const char* drive : {"nvme0", "nvme1"}) EXPECT_EQ(contents(machine, drive, 4_MiB, 3_MiB), before) << drive;
}

TEST(Probe, SaysWhereThereIsNoDirectWay) {
  const Machine machine = open("acs");
  const auto before = contents(machine, "nvme1", 0, 64_KiB);
  const auto report = probe(machine, part(machine, "nvme0", 0, 64_KiB), part(machine, "nvme1", 0, 64_KiB));
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_FALSE(report->passed());
  for (const ProbeLeg& leg : report->legs) {
    ASSERT_TRUE(leg.error);
    EXPECT_EQ(leg.error->code, ErrorCode::no_route);
  }
  EXPECT_TRUE(report->not_restored.empty());
  EXPECT_EQ(contents(machine, "nvme1", 0, 64_KiB), before);
}

TEST(Probe, GoesThroughTheMemoryOfAThirdWhereNeitherHasAny) {
  const Machine machine = open("ai-server");
  const auto report = probe(machine, part(machine, "nvme1", 0, 64_KiB), part(machine, "nvme3", 0, 64_KiB));
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_THAT(report->legs, SizeIs(2));
  EXPECT_TRUE(report->passed()) << report->legs[0].error->message();
  EXPECT_FALSE(report->legs[0].via);
  EXPECT_TRUE(report->legs[0].copy.provider);
}

TEST(Probe, TriesTheMemoryOfEachOfTheTwo) {
  const Machine machine = open("ai-server");
  const auto report = probe(machine, part(machine, "nvme0", 0, 4_KiB), part(machine, "nvme2", 0, 4_KiB));
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_THAT(report->legs, SizeIs(4));
  EXPECT_EQ(report->legs[0].via, "nvme0");
  EXPECT_EQ(report->legs[2].via, "nvme2");
  EXPECT_TRUE(report->passed());
}

TEST(Probe, RefusesWhatIsNotPlainlyScratchSpace) {
  const Machine machine = open("two-nvme");
  const auto refused = [&](std::uint64_t offset, std::optional<std::uint64_t> bytes, std::string_view drive = "nvme1") {
    const auto report = probe(machine, part(machine, "nvme0", 0, 1_MiB), part(machine, drive, offset, bytes));
    return report ? std::string("not refused") : report.error().message();
  };
  EXPECT_THAT(refused(0, std::nullopt), HasSubstr("would be the whole drive"));
  EXPECT_THAT(refused(0, 2_MiB), HasSubstr("have 1048576 and 2097152 bytes"));
  EXPECT_THAT(refused(100, 1_MiB), HasSubstr("not whole blocks"));
  EXPECT_THAT(refused(1_GiB, 1_MiB), HasSubstr("end behind"));
  EXPECT_THAT(refused(512_KiB, 1_MiB, "nvme0"), HasSubstr("overlap"));
  const Machine other = open("two-nvme");
  const auto foreign = probe(machine, part(machine, "nvme0", 0, 1_MiB), part(other, "nvme1", 0, 1_MiB));
  ASSERT_FALSE(foreign);
  EXPECT_THAT(foreign.error().message(), HasSubstr("nvme1 is not a drive of this machine"));
}

TEST(Probe, RefusesMoreThanItCanPutBack) {
  const Machine machine = open("two-nvme");
  const auto report = probe(machine, part(machine, "nvme0", 0, 128_MiB), part(machine, "nvme1", 0, 128_MiB));
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message(), HasSubstr("134217728 bytes are not possible"));
}

TEST(Probe, EndsAtItsDeadlineAndPutsBack) {
  const Machine machine = open("two-nvme");
  const auto before = probe_pattern(9, 0, 64_KiB);
  ASSERT_TRUE(write(*machine.drive("nvme1"), {}, std::span<const std::byte>(before)));
  const auto report =
      probe(machine, part(machine, "nvme0", 0, 64_KiB), part(machine, "nvme1", 0, 64_KiB), {.deadline = 0ns});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_FALSE(report->passed());
  for (const ProbeLeg& leg : report->legs) EXPECT_EQ(leg.error->code, ErrorCode::timed_out);
  EXPECT_EQ(contents(machine, "nvme1", 0, 64_KiB), before);
}

TEST(Probe, EndsWhenACompletionNeverComes) {
  // With such a fault sooner or later nothing is answered any more, the saving of the old contents included.
  unsigned ended_with_error = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const Machine machine = open("two-nvme", {.seed = seed, .faults = {.lost_completion = 0.02}});
    auto first = machine.drive("nvme0");
    auto second = machine.drive("nvme1");
    if (!first || !second) continue;  // lost while it was brought up
    const auto report = probe(machine, {*first, 0, 64_KiB}, {*second, 0, 64_KiB});
    ended_with_error += !report || !report->passed() ? 1u : 0u;
  }
  EXPECT_GT(ended_with_error, 0u);
}

TEST(ProbeBytes, NeverRepeatAndAreComparedOneByOne) {
  const auto sent = probe_pattern(1, 0, 64_KiB + 3);
  auto arrived = sent;
  EXPECT_FALSE(compare_bytes(sent, arrived).first);
  arrived[70] ^= std::byte{1};
  arrived[4000] ^= std::byte{0x80};
  const Difference difference = compare_bytes(sent, arrived);
  EXPECT_EQ(difference.first, 70u);
  EXPECT_EQ(difference.wrong_bytes, 2u);
  EXPECT_NE(probe_pattern(1, 1, 64), probe_pattern(1, 0, 64));
  EXPECT_NE(probe_pattern(2, 0, 64), probe_pattern(1, 0, 64));
  // What a fabric answers that has lost a request, and data from another place, differ everywhere.
  const std::vector<std::byte> zeros(sent.size());
  EXPECT_GT(compare_bytes(sent, zeros).wrong_bytes, sent.size() * 9 / 10);
  const auto shifted = std::span(sent).subspan(512);
  EXPECT_GT(compare_bytes(std::span(sent).first(shifted.size()), shifted).wrong_bytes, shifted.size() * 9 / 10);
}

}  // namespace
}  // namespace barter::doctor
