// barter_bench: runs the registered benchmarks and prints their rows as a table or as JSON.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <exception>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench.h"

namespace barter::bench {
namespace {

std::map<std::string, Bench>& registry() {
  static std::map<std::string, Bench> benches;
  return benches;
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

bool is_met(double ratio, double goal, Direction direction) {
  if (!std::isfinite(ratio)) return false;
  return direction == Direction::at_least ? ratio >= goal : ratio <= goal;
}

const char* sign_of(Direction direction) { return direction == Direction::at_least ? ">=" : "<="; }
const char* name_of(Direction direction) { return direction == Direction::at_least ? "at_least" : "at_most"; }

}  // namespace

bool register_bench(std::string name, Bench bench) {
  return registry().emplace(std::move(name), std::move(bench)).second;
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double processor_nanoseconds() {
  std::timespec now{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) throw Broken("skipped: a thread's clock can't be read");
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double gigabytes_per_second(std::uint64_t bytes, const std::function<void()>& work) {
  return static_cast<double>(bytes) / 1e9 / seconds_of(work);
}

Row row_of(const Question& question, Rounds rounds, const Measure& barter, const Measure& peer) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  for (std::size_t round = 0; round < rounds.warm_ups + rounds.rounds; ++round) {
    double barter_figure = 0;
    double peer_figure = 0;
    if (round % 2 == 0) {
      barter_figure = barter();
      peer_figure = peer();
    } else {
      peer_figure = peer();
      barter_figure = barter();
    }
    if (round < rounds.warm_ups) continue;
    ours.push_back(barter_figure);
    theirs.push_back(peer_figure);
    ratios.push_back(barter_figure / peer_figure);
  }
  if (ratios.empty()) throw Broken(question.name + ": no rounds were asked for");
  const double ratio = median_of(ratios);
  const auto [low, high] = std::ranges::minmax(ratios);
  return {.name = question.name,
          .barter = median_of(ours),
          .peer_name = question.peer_name,
          .peer = median_of(theirs),
          .unit = question.unit,
          .ratio = ratio,
          .goal = question.goal,
          .direction = question.direction,
          .met = is_met(ratio, question.goal, question.direction),
          .spread_low = low,
          .spread_high = high};
}

Row row_against_limit(const Question& question, Rounds rounds, const Measure& barter, double limit) {
  return row_of(question, rounds, barter, [limit] { return limit; });
}

namespace {

struct Options {
  bool json = false;
  bool strict = false;
  bool list = false;
  std::string filter;
};

void print_table(std::span<const Row> rows) {
  std::size_t name_width = 4;
  std::size_t peer_width = 4;
  for (const Row& row : rows) {
    name_width = std::max(name_width, row.name.size());
    peer_width = std::max(peer_width, row.peer_name.size());
  }
  fmt::print("{:<{}}  {:>10}  {:<{}}  {:>10}  {:<6}  {:>8}  {:>17}  {:>8}  {}\n", "what", name_width, "barter", "peer",
             peer_width, "peer", "unit", "ratio", "spread", "goal", "met");
  for (const Row& row : rows) {
    fmt::print("{:<{}}  {:>10.4g}  {:<{}}  {:>10.4g}  {:<6}  {:>8.4g}  {:>17}  {:>8}  {}\n", row.name, name_width,
               row.barter, row.peer_name, peer_width, row.peer, row.unit, row.ratio,
               fmt::format("{:.3g} to {:.3g}", row.spread_low, row.spread_high),
               fmt::format("{} {:g}", sign_of(row.direction), row.goal), row.met ? "yes" : "NO");
  }
}

void print_json(std::span<const Row> rows) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    array.push_back({{"name", row.name},
                     {"barter", row.barter},
                     {"peer_name", row.peer_name},
                     {"peer", row.peer},
                     {"unit", row.unit},
                     {"ratio", row.ratio},
                     {"goal", row.goal},
                     {"met", row.met},
                     {"direction", name_of(row.direction)},
                     {"spread_low", row.spread_low},
                     {"spread_high", row.spread_high}});
  }
  fmt::print("{}\n", array.dump(2));
}

// Whoever keeps figures from one run to the next knows a row by its name.
bool add(std::vector<Row>& rows, std::vector<Row> more) {
  for (Row& row : more) {
    if (std::ranges::find(rows, row.name, &Row::name) != rows.end()) {
      fmt::print(stderr, "error: two rows are called \"{}\": give each a name of its own\n", row.name);
      return false;
    }
    rows.push_back(std::move(row));
  }
  return true;
}

// Every row of the benchmarks that the filter lets through; false if one of them could not be measured, or is called as another.
bool measure(const Options& options, std::vector<Row>& rows) {
  bool whole = true;
  for (const auto& [name, bench] : registry()) {
    if (name.find(options.filter) == std::string::npos) continue;
    if (!options.json) fmt::print(stderr, "{} ...\n", name);
    try {
      if (!add(rows, bench())) whole = false;
    } catch (const Broken& broken) {
      fmt::print(stderr, "{}: skipped: {}\n", name, broken.why());
      whole = false;
    }
  }
  return whole;
}

int run(const Options& options) {
  if (options.list) {
    for (const auto& [name, bench] : registry()) fmt::print("{}\n", name);
    return 0;
  }
  std::vector<Row> rows;
  const bool whole = measure(options, rows);
  options.json ? print_json(rows) : print_table(rows);
  if (!whole) return 2;
  const bool all_met = std::ranges::all_of(rows, &Row::met);
  return options.strict && !all_met ? 1 : 0;
}

}  // namespace
}  // namespace barter::bench

int main(int argc, char** argv) {
  barter::bench::Options options;
  CLI::App app(
      "Barter's benchmarks: each row compares Barter with a stated peer in the same run.\n"
      "Exit status: 0, or 1 if a goal is missed under --strict, or 2 if something could not be measured.");
  app.add_flag("--json", options.json, "print an array of rows instead of a table");
  app.add_flag("--strict", options.strict, "exit 1 if a goal is missed");
  app.add_flag("--list", options.list, "print the benchmarks' names and stop");
  app.add_option("--filter", options.filter, "run the benchmarks whose names contain this");
  CLI11_PARSE(app, argc, argv);
  try {
    return barter::bench::run(options);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "error: {}\n", problem.what());
    return 2;
  }
}
