#include "simulation.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "base/random.h"
#include "world.h"

namespace barter::sim {
namespace {

constexpr std::size_t kRemembered = 24;  // operations

class Run {
 public:
  Run(const Options& options, const Print& print) : options_(options), print_(print) {}

  Findings run() {
    const std::uint64_t first = options_.from / kStepsOfMachine;
    step_ = first * kStepsOfMachine;
    for (std::uint64_t machine = first; step_ < options_.steps && !result_.violation; ++machine) run_machine(machine);
    return std::move(result_);
  }

 private:
  void run_machine(std::uint64_t number) {
    base::Random seeds(options_.seed);
    const std::uint64_t seed = seeds.next() + number * 0x9e3779b97f4a7c15;
    const auto world = World::create(base::Random(seed).next(), options_.broken, result_.tally);
    ++result_.tally.episodes;
    remember("a new machine: " + world->setup());
    world->on_hang = [&] {
      print_(report(*world, "a wait does not end: the operation is still at work"));
      std::_Exit(kHungStatus);
    };
    const std::uint64_t end = std::min((number + 1) * kStepsOfMachine, options_.steps);
    while (step_ < end && !world->violation()) {
      ++step_;
      world->step();
      remember(world->last());
      if (options_.digest_every != 0 && step_ % options_.digest_every == 0)
        print_(fmt::format("step {:>9}: digest {:016x}", step_, result_.digest ^ world->content_digest()));
    }
    if (!world->violation()) {
      world->end();
      remember(world->last());
    }
    add(fmt::format("{:x}", world->content_digest()));
    if (world->violation()) result_.violation = report(*world, *world->violation());
  }

  void add(std::string_view text) {
    for (const char letter : text)
      result_.digest = (result_.digest ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  }
  void remember(const std::string& what) {
    add(what);
    if (options_.log) print_(fmt::format("{:>9}  {}", step_, what));
    remembered_[count_++ % kRemembered] = {step_, what};
  }

  [[nodiscard]] std::string report(const World& world, std::string_view what) {
    std::string text = fmt::format("VIOLATION with seed {} at step {}: {}\nthe machine: {}\nthe last operations:\n",
                                   options_.seed, step_, what, world.setup());
    const std::size_t remembered = std::min(count_, kRemembered);
    for (std::size_t at = count_ - remembered; at < count_; ++at) {
      const auto& [step, words] = remembered_[at % kRemembered];
      text += fmt::format("  {:>9}  {}\n", step, words);
    }
    if (world.last() != remembered_[(count_ - 1) % kRemembered].words)
      text += fmt::format("  {:>9}  {}\n", step_, world.last());
    // Machines do not depend on each other, so the one that fails is enough.
    return text + fmt::format("replay: ./dev sim {} --steps {} --from {}", options_.seed, step_,
                              (step_ - 1) / kStepsOfMachine * kStepsOfMachine);
  }

  struct Remembered {
    std::uint64_t step = 0;
    std::string words;
  };
  const Options options_;
  const Print& print_;
  Findings result_{.violation = {}, .digest = 0xcbf29ce484222325, .tally = {}};
  std::uint64_t step_ = 0;
  std::array<Remembered, kRemembered> remembered_;
  std::size_t count_ = 0;
};

}  // namespace

Findings simulate(const Options& options, const Print& print) { return Run(options, print).run(); }

}  // namespace barter::sim
