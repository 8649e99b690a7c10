// A simulation from a seed: one machine after the other, each for so many steps. The same seed does the same and prints the same.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tally.h"
#include "unit.h"

namespace barter::sim {

inline constexpr std::uint64_t kStepsOfMachine = 2000;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t steps = 100'000;
  std::uint64_t from = 0;          // begins with the machine that this step is of
  std::uint64_t digest_every = 0;  // steps; 0: at the end alone
  bool log = false;                // print every operation
  Break broken = Break::none;
};

struct Findings {
  // Seed, step, what is wrong, the last operations, and how to replay; none: nothing is wrong.
  std::optional<std::string> violation;
  std::uint64_t digest = 0;  // of every operation, what came of it, and all bytes in the end
  Tally tally;
};

using Print = std::function<void(std::string_view line)>;

// A wait that does not end can't be left: then this prints what it knows and ends the process with kHungStatus.
[[nodiscard]] Findings simulate(const Options& options, const Print& print);
inline constexpr int kHungStatus = 3;

}  // namespace barter::sim
