// The simulation of memory that moves: that a seed repeats itself, that everything happens, and that what is broken on purpose
// is found and can be replayed. The million steps are the test sim.million_steps.
#include "simulation.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace barter::sim {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Everything that a run prints.
std::string print_of(const Options& options) {
  std::string text;
  const Findings findings = simulate(options, [&](std::string_view line) { text += std::string(line) + "\n"; });
  return text + findings.tally.text() + std::to_string(findings.digest) + findings.violation.value_or("");
}

TEST(Simulation, TheSameSeedPrintsTheSame) {
  const Options options = {.seed = 11, .steps = 6000, .digest_every = 500};
  const std::string once = print_of(options);
  EXPECT_EQ(print_of(options), once);
  EXPECT_NE(print_of({.seed = 12, .steps = 6000, .digest_every = 500}), once);
}

// One run that is long enough for everything to happen in it.
const Tally& long_run() {
  static const Findings kFindings = simulate({.seed = 8, .steps = 120'000}, [](std::string_view) {});
  EXPECT_FALSE(kFindings.violation) << *kFindings.violation;
  return kFindings.tally;
}

TEST(Simulation, EverythingHappens) {
  const Tally& tally = long_run();
  for (std::size_t kind = 0; kind < kKinds; ++kind)
    EXPECT_GT(tally.kinds[kind].done + tally.kinds[kind].refused, 0u) << name_of(static_cast<Kind>(kind));
  EXPECT_GT(tally.transfers_done, 10'000u);
  EXPECT_GT(tally.transfers_failed, 100u);
  EXPECT_GT(tally.transfers_cut_off, 100u);
  EXPECT_GT(tally.transfers_cancelled, 100u);
  EXPECT_GT(tally.copies_direct, 100u);
  EXPECT_GT(tally.copies_by_host, 100u);
  EXPECT_GT(tally.peer.late_importers, 100u);
  EXPECT_GT(tally.peer.isolated_importers, 20u);
  EXPECT_GT(tally.iommu_faults, 20u);
  EXPECT_GT(tally.lost_completions, 0u);
  EXPECT_GT(tally.poisoned_completions, 0u);
  EXPECT_GT(tally.late_completions, 0u);
  EXPECT_GT(tally.plugged_again, 20u);
}

TEST(Simulation, MemoryIsTakenBackInEveryStateOfATransfer) {
  const Tally& tally = long_run();
  for (std::size_t how = 0; how < kHows; ++how) {
    EXPECT_GT(tally.met[how][0], 0u) << name_of(static_cast<How>(how));
    EXPECT_GT(tally.cut_off[how][0], 0u) << name_of(static_cast<How>(how));
  }
  for (const How how : {How::invalidate, How::revoke, How::move, How::touch})
    for (const Moment moment : {Moment::nothing, Moment::something, Moment::everything}) {
      EXPECT_GT(tally.met[static_cast<std::size_t>(how)][static_cast<std::size_t>(moment)], 0u) << name_of(how);
      if (how == How::invalidate || how == How::revoke) {
        EXPECT_GT(tally.cut_off[static_cast<std::size_t>(how)][static_cast<std::size_t>(moment)], 0u) << name_of(how);
      }
    }
}

TEST(Simulation, EnginesMoveFromMappingToMapping) {
  const Tally& tally = long_run();
  EXPECT_GT(tally.moves_done, 100u);
  EXPECT_GT(tally.moves_cut_off, 2u);
  EXPECT_GT(tally.moves_cut_off_twice, 0u);
}

TEST(Simulation, AcceleratorsReachEachOtherByLinksThatBreak) {
  const Tally& tally = long_run();
  EXPECT_GT(tally.mapped_by_link, 100u);
  EXPECT_GT(tally.done_by_link, 100u);
  EXPECT_GT(tally.failed_by_link, 5u);
  EXPECT_GT(tally.cut_off_by_link, 3u);
  EXPECT_GT(tally.rogues_by_link, 0u);
  EXPECT_GT(tally.in_flight_by_broken_wire, 5u);
}

TEST(Simulation, TheNicTakesPart) {
  const Tally& tally = long_run();
  EXPECT_GT(tally.done_by_nic, 500u);
  EXPECT_GT(tally.failed_by_nic, 20u);
  EXPECT_GT(tally.cut_off_by_nic, 20u);
}

TEST(Simulation, PagesMoveAreTouchedAndLost) {
  const Tally& tally = long_run();
  EXPECT_GT(tally.pages_to_device, 1'000u);
  EXPECT_GT(tally.pages_to_host, 1'000u);
  EXPECT_GT(tally.pages_lost, 20u);
  EXPECT_GT(tally.moves_refused_by_pins, 20u);
  EXPECT_GT(tally.mapped_pages_direct, 200u);
  EXPECT_GT(tally.mapped_pages_in_host, 200u);
  EXPECT_GT(tally.transfers_half_here, 20u);
  EXPECT_GT(tally.touches_of_device, 200u);
  EXPECT_GT(tally.touches_of_lost, 5u);
  EXPECT_GT(tally.touches_that_waited, 5u);
  EXPECT_GT(tally.touches_in_waits, 50u);
}

TEST(Simulation, PinsAreMadeRefusedKeptAndTakenBack) {
  const Tally& tally = long_run();
  EXPECT_GT(tally.pins, 100u);
  EXPECT_GT(tally.pins_refused, 5u);
  EXPECT_GT(tally.invalidations_refused, 50u);
  EXPECT_GT(tally.pins_outlived, 20u);
  EXPECT_GT(tally.pins_taken_back, 50u);
  EXPECT_GT(tally.pinned_parts_cut_off, 5u);
}

struct Case {
  const char* name;
  Break broken;
  const char* words;  // of the violation, a regular expression
};

// What is broken on purpose is found, soon, and again by what it prints.
class BrokenSimulation : public ::testing::TestWithParam<Case> {};

TEST_P(BrokenSimulation, IsFoundAndReplayed) {
  const Break broken = GetParam().broken;
  const Findings findings = simulate({.seed = 3, .steps = 100'000, .broken = broken}, [](std::string_view) {});
  ASSERT_TRUE(findings.violation) << "100,000 steps have not found it";
  EXPECT_THAT(*findings.violation, ContainsRegex(GetParam().words));
  EXPECT_THAT(*findings.violation, HasSubstr("VIOLATION with seed 3 at step "));
  // "replay: ./dev sim 3 --steps N --from M"
  const auto number_after = [&](const std::string& word) {
    const std::size_t at = findings.violation->rfind(word);
    return at == std::string::npos ? 0 : std::stoull(findings.violation->substr(at + word.size()));
  };
  const Findings again =
      simulate({.seed = 3, .steps = number_after("--steps "), .from = number_after("--from "), .broken = broken},
               [](std::string_view) {});
  ASSERT_TRUE(again.violation) << "the replay does not show it";
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  EXPECT_EQ(first_line(*again.violation), first_line(*findings.violation));
}

constexpr Case kCases[] = {
    {"iommu_keeps_mapping", Break::iommu_keeps_mapping, "no right to|been taken back|cut off"},
    {"isolation_does_nothing", Break::isolation_does_nothing, "cut off|nothing that was asked for wrote it"},
    {"byte_flips", Break::byte_flips, "nothing that was asked for wrote it"},
    {"report_forgets_late", Break::report_forgets_late, "does not report it as late"},
    {"link_keeps_grant", Break::link_keeps_grant, "no right to|been taken back|nothing that was asked for wrote it"},
};
INSTANTIATE_TEST_SUITE_P(Breaks, BrokenSimulation, ::testing::ValuesIn(kCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(SimulationDeathTest, AWaitThatDoesNotEndIsTold) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(static_cast<void>(simulate({.seed = 3, .steps = 100'000, .broken = Break::importer_hangs},
                                         [](std::string_view line) { std::fprintf(stderr, "%s\n", line.data()); })),
              ::testing::ExitedWithCode(kHungStatus), "a wait does not end(.|\n)*replay: ./dev sim 3");
}

}  // namespace
}  // namespace barter::sim
