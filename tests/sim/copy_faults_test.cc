// Whole copies on software machines where things go wrong, from a seed: either every byte is right, or the error is clear;
// nothing hangs, and the same seed gives the same run. `./dev sim SEED` replays one.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "base/random.h"

namespace barter {
namespace {

using namespace barter::literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kBytes = 1_MiB;

std::uint64_t first_seed() {
  const char* text = std::getenv("BARTER_SIM_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("barter-sim-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

std::string noise(std::uint64_t seed) {
  base::Random random(seed);
  std::string bytes(kBytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.next());
  return bytes;
}

void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read(const fs::path& file) {
  std::string bytes(kBytes, '\0');
  std::ifstream(file, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// What a run ended in: all that two runs of one seed must agree on.
struct Ending {
  bool copied = false;
  std::string words;
  std::string destination;
  friend bool operator==(const Ending&, const Ending&) = default;
};

std::string words_of(const CopyReport& report) {
  std::string words = std::string(name_of(report.route)) + " " + std::to_string(report.host_memory_bytes);
  for (const Fallback& fallback : report.fallbacks)
    words += "; " + std::to_string(fallback.chunks) + " " + fallback.code + " " + fallback.reason;
  return words;
}

// What goes wrong, and how often, follows from the seed.
Faults faults_of(base::Random& random) {
  const auto rate = [&random](double most) {
    return random.chance(0.5) ? most * static_cast<double>(random.below(100)) / 100 : 0;
  };
  return {.surprise_removal = rate(0.0005),
          .lost_completion = rate(0.002),
          .poisoned_completion = rate(0.01),
          .late_completion = rate(0.05),
          .link_down = rate(0.001)};
}

Ending run(std::uint64_t seed, const Folder& folder, const std::string& source) {
  base::Random random(seed);
  const fs::path destination = folder / "destination";
  write(folder / "source", source);
  write(destination, std::string(kBytes, '\0'));
  const std::vector<std::string> machines = Machine::builtin_names();
  const std::string& name = machines[random.below(machines.size())];
  const auto machine = Machine::open(
      name,
      {.seed = seed, .faults = faults_of(random), .attach = {{"nvme0", folder / "source"}, {"nvme1", destination}}});
  if (!machine) return {.words = machine.error().message()};
  const bool takes_back = random.chance(0.3);
  const std::uint64_t when = random.below(kBytes);
  bool taken = false;
  const auto report = barter::copy(machine->drive("nvme0"), machine->drive("nvme1"),
                                   {.policy = random.chance(0.2) ? P2p::disabled : P2p::preferred,
                                    .queue_depth = static_cast<std::uint32_t>(1 + random.below(8)),
                                    .chunk_bytes = (1 + random.below(32)) * 4_KiB,
                                    .progress = [&](CopyProgress progress) {
                                      if (!takes_back || taken || progress.done_bytes < when) return;
                                      taken = true;
                                      if (auto memory = machine->provider("nvme0"))
                                        static_cast<void>(memory->take_back());
                                    }});
  return {.copied = report.has_value(),
          .words = report ? words_of(*report) : report.error().message(),
          .destination = read(destination)};
}

TEST(CopyWithFaults, EveryByteIsRightOrTheErrorIsClearAndASeedRepeatsItself) {
  const Folder folder;
  std::uint64_t copied = 0;
  std::uint64_t failed = 0;
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::string source = noise(seed);
    const Ending ending = run(seed, folder, source);
    if (ending.copied) {
      ++copied;
      EXPECT_TRUE(ending.destination == source) << ending.words;
    } else {
      ++failed;
      EXPECT_GT(ending.words.size(), 20u) << "an error that says nothing";
    }
    const Ending again = run(seed, folder, source);
    EXPECT_TRUE(again == ending) << ending.words << "\nand then\n" << again.words;
  }
  // The rates are such that both happen; if not, this test has stopped testing.
  if (std::getenv("BARTER_SIM_SEED") == nullptr) {
    EXPECT_GT(copied, 5u);
    EXPECT_GT(failed, 5u);
  }
}

}  // namespace
}  // namespace barter
