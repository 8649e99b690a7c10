// memory_sim SEED [--steps N] [--from STEP] [--break NAME] [--log yes]: what ./dev sim runs. Status 0: nothing is wrong; 1: something is;
// 2: bad input; 3: a wait did not end.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "simulation.h"

namespace {

using barter::sim::Break;

constexpr std::uint64_t kMaxSteps = 1'000'000'000'000;

struct BreakName {
  std::string_view name;
  Break what;
};
constexpr BreakName kBreaks[] = {{"iommu_keeps_mapping", Break::iommu_keeps_mapping},
                                 {"isolation_does_nothing", Break::isolation_does_nothing},
                                 {"byte_flips", Break::byte_flips},
                                 {"importer_hangs", Break::importer_hangs},
                                 {"report_forgets_late", Break::report_forgets_late},
                                 {"link_keeps_grant", Break::link_keeps_grant}};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int refuse(const std::string& why) {
  fmt::print(stderr, "./dev sim: {}\n", why);
  return 2;
}

// What is wrong with the arguments, or nothing.
std::string parse(const std::vector<std::string_view>& arguments, barter::sim::Options& options) {
  if (arguments.empty() || !number(arguments[0]))
    return fmt::format("a seed is a decimal number below 2^64, not {}", arguments.empty() ? "nothing" : arguments[0]);
  options.seed = *number(arguments[0]);
  for (std::size_t at = 1; at < arguments.size(); at += 2) {
    const std::string_view name = arguments[at];
    if (name != "--steps" && name != "--from" && name != "--break" && name != "--log")
      return fmt::format("there is no option {}; there are --steps, --from, --break and --log", name);
    if (at + 1 == arguments.size()) return fmt::format("{} needs a value", name);
    const std::string_view value = arguments[at + 1];
    if (name == "--break") {
      for (const BreakName& one : kBreaks)
        if (one.name == value) options.broken = one.what;
      if (options.broken == Break::none) return fmt::format("nothing called {} can be broken", value);
      continue;
    }
    if (name == "--log") {
      if (value != "yes") return fmt::format("--log takes the word yes, not {}", value);
      options.log = true;
      continue;
    }
    const auto steps = number(value);
    if (!steps || *steps > kMaxSteps) return fmt::format("{} takes a number up to {}, not {}", name, kMaxSteps, value);
    (name == "--steps" ? options.steps : options.from) = *steps;
  }
  if (options.steps == 0) return "--steps 0 would do nothing";
  if (options.from >= options.steps) return "--from lies behind the last step";
  return {};
}

}  // namespace

int main(int count, char** values) {
  // Importers are late here by the thousand, on purpose.
  setenv("BARTER_LOG", "error", 0);
  barter::sim::Options options;
  if (const std::string wrong = parse({values + 1, values + count}, options); !wrong.empty()) return refuse(wrong);
  options.digest_every = std::max<std::uint64_t>((options.steps + 9) / 10, 1);
  fmt::print("memory that moves: seed {}, {} steps\n", options.seed, options.steps);
  const auto print = [](std::string_view line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  };
  const barter::sim::Findings result = barter::sim::simulate(options, print);
  print(result.tally.text());
  print(fmt::format("digest {:016x}", result.digest));
  if (result.violation) print(*result.violation);
  return result.violation ? 1 : 0;
}
