// The owner of the accelerators' memory takes it back while `load` runs: the data is right, by way of host memory, or the error is
// clear; and nothing hangs.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "barter/workloads.hpp"
#include "base/clock.h"
#include "workloads/dataset.h"

namespace barter::workloads {
namespace {

using namespace barter::literals;
using machine::Direction;
using testing::HasSubstr;

constexpr std::uint64_t kBytes = 24_MiB;

Machine open(const std::string& name, MachineOptions options) {
  auto machine = Machine::open(name, options);
  EXPECT_TRUE(machine) << machine.error().message();
  return *machine;
}
Machine training() { return open("training", {.threaded = true}); }

// All that goes between the two passes the root complex, and its IOMMU.
Machine behind_iommu() {
  const auto file = std::filesystem::temp_directory_path() / "barter-workload-behind-iommu.toml";
  std::ofstream(file) << R"(
name = "behind-iommu"
iommu = "translate"
[[root_complex]]
name = "rc0"
turns_reads = true
turns_writes = true
[[root_port]]
name = "rp0"
below = "rc0"
[[root_port]]
name = "rp1"
below = "rc0"
[[drive]]
name = "nvme0"
below = "rp0"
size = "256 MiB"
[[accelerator]]
name = "gpu0"
below = "rp1"
memory = "256 MiB"
)";
  Machine machine = open(file.string(), {});
  std::filesystem::remove(file);
  return machine;
}

// The owner of a provider, on a thread of its own. It takes everything back once the files are on the drives and the drives have
// fetched so many bytes of commands since, each of which moves up to 512 KiB.
class Owner {
 public:
  Owner(const Machine& machine, std::string provider, std::uint64_t command_bytes)
      : thread_([this, machine, provider = std::move(provider), command_bytes] {
          std::optional<std::uint64_t> begun;
          const bool came = base::wait_until(clock_, clock_.now() + 60s, [&] {
            const auto traffic = *machine.state()->backend().traffic();
            if (!begun && traffic.data_bytes >= kBytes) begun = traffic.control_bytes;
            return is_over_ || (begun && traffic.control_bytes >= *begun + command_bytes);
          });
          if (came && !is_over_) taken_ = machine.provider(provider)->take_back({.deadline = 20s});
        }) {}
  // What it met; 0: it came too late.
  std::uint32_t mappings() {
    is_over_ = true;
    thread_.join();
    if (!taken_) return 0;
    EXPECT_TRUE(*taken_) << taken_->error().message();
    if (!*taken_) return 0;
    EXPECT_TRUE((*taken_)->late.empty()) << "a load that goes on lets go of what it has in flight";
    return (*taken_)->mappings;
  }

 private:
  base::SystemClock clock_;
  std::atomic<bool> is_over_ = false;
  std::optional<Result<RevokeReport>> taken_;
  std::thread thread_;  // the last member: it uses the others
};

TEST(WorkloadTakenBack, TheRestOfALoadGoesByWayOfHostMemory) {
  int in_mid_load = 0;
  for (std::uint64_t round = 0; round < 12 && in_mid_load < 2; ++round) {
    const Machine machine = training();
    Owner owner(machine, "gpu0", 4_KiB + round * 2_KiB);
    const auto report = run_workload("load", machine, {.bytes = kBytes});
    const std::uint32_t mappings = owner.mappings();
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->verified);
    if (mappings == 0) continue;  // it had ended before, on a busy computer
    ASSERT_EQ(mappings, 1u);
    // Not all of it, and not nothing.
    if (report->host_memory_bytes > 0 && report->host_memory_bytes < 2 * kBytes) ++in_mid_load;
    for (const WorkloadPart& part : report->parts) {
      if (part.to != "gpu0") {
        EXPECT_EQ(part.route, CopyRoute::peer) << "the other accelerator's memory was not taken back";
      } else if (part.route == CopyRoute::host) {
        EXPECT_NE(part.reason, "") << part.name;
      }
    }
  }
  EXPECT_GT(in_mid_load, 0);
}

TEST(WorkloadTakenBack, ALoadThatMustGoStraightSaysSo) {
  bool was_taken = false;
  for (std::uint64_t round = 0; round < 12 && !was_taken; ++round) {
    const Machine machine = training();
    Owner owner(machine, "gpu1", 4_KiB);
    const auto report = run_workload("load", machine, {.bytes = kBytes, .policy = P2p::required});
    was_taken = owner.mappings() == 1;
    if (!was_taken) continue;
    // The last lease may have been taken already; then it is a run like any other.
    if (report) {
      EXPECT_TRUE(report->verified);
      EXPECT_EQ(report->host_memory_bytes, 0u);
      was_taken = false;
      continue;
    }
    EXPECT_EQ(report.error().code, ErrorCode::revoked) << report.error().message();
    EXPECT_THAT(report.error().message(), HasSubstr("taken"));
  }
  EXPECT_TRUE(was_taken);
}

// Takes back from within the loop that moves the data, when a third of it was started.
class InMidLoad : public testing::Test {
 protected:
  void open_machine(Machine of) {
    machine.emplace(std::move(of));
    auto made = Dataset::create(*machine, {.bytes = kBytes});
    ASSERT_TRUE(made) << made.error().message();
    data.emplace(std::move(*made));
    hauls = data->hauls(Direction::from_endpoint, false);
    auto opened = data->lanes(hauls, P2p::preferred);
    ASSERT_TRUE(opened) << opened.error().message();
    lanes = std::move(*opened);
  }
  Result<void> run(const std::function<void()>& take_back) {
    bool was_taken = false;
    const Pace pace{.stop = [&] {
      std::uint64_t started = 0;
      for (const auto& lane : lanes) started += lane->started_bytes();
      if (started >= kBytes / 3 && !std::exchange(was_taken, true)) take_back();
      return false;
    }};
    auto done = run_lanes(lanes, machine->state()->backend().clock(), pace);
    EXPECT_TRUE(was_taken);
    return done;
  }
  std::optional<Machine> machine;
  std::optional<Dataset> data;
  std::vector<std::vector<Haul>> hauls;
  std::vector<std::unique_ptr<Lane>> lanes;
};

TEST_F(InMidLoad, EveryFileIsRightAndSaysWhichWayItWent) {
  open_machine(training());
  std::vector<std::thread> owners;
  const auto done = run([&] {
    for (const char* gpu : {"gpu0", "gpu1"})
      owners.emplace_back([this, gpu] {
        const auto taken = machine->provider(gpu)->take_back({.deadline = 20s});
        EXPECT_TRUE(taken && taken->mappings == 1 && taken->late.empty());
      });
  });
  for (std::thread& owner : owners) owner.join();
  ASSERT_TRUE(done) << done.error().message();
  const auto right = data->right_files();
  ASSERT_TRUE(right) << right.error().message();
  EXPECT_TRUE(std::ranges::all_of(*right, std::identity()));
  int direct = 0;
  int by_host = 0;
  for (const auto& of_pair : hauls) {
    for (const Haul& haul : of_pair) {
      ++(haul.by_host ? by_host : direct);
      if (!haul.by_host) continue;
      EXPECT_THAT(haul.why_host, HasSubstr("taken"));
    }
  }
  EXPECT_GT(direct, 0) << "a third had been started";
  EXPECT_GT(by_host, 0) << "most was still to come";
}

// On a stepped machine the thread that takes back is the one that moves the data: its own leases can't end meanwhile. So the drive
// is late, and the IOMMU forgets the memory under it. What the drive has not done by then it can't do any more, and the load ends with
// an error; if it has done it all, the rest goes by way of host memory.
TEST_F(InMidLoad, WhoTakesBackUnderItsOwnLeasesIsCutOff) {
  open_machine(behind_iommu());
  std::vector<std::byte> before;
  const auto memory = [&] { return data->pairs().front().region->cpu_bytes(); };
  const auto done = run([&] {
    const auto taken = machine->provider("gpu0")->take_back({.deadline = Duration::zero()});
    ASSERT_TRUE(taken) << taken.error().message();
    EXPECT_EQ(taken->late.size(), 1u);
    before.assign(memory().begin(), memory().end());
  });
  if (done) {
    const auto right = data->right_files();
    ASSERT_TRUE(right) << right.error().message();
    EXPECT_TRUE(std::ranges::all_of(*right, std::identity()));
    return;
  }
  EXPECT_EQ(done.error().code, ErrorCode::device_failed);
  EXPECT_THAT(done.error().message(), HasSubstr("moving data between a drive and an accelerator nvme0"));
  lanes.clear();
  ASSERT_FALSE(before.empty());
  EXPECT_TRUE(std::ranges::equal(memory(), before)) << "a byte came after the memory was taken back";
}

}  // namespace
}  // namespace barter::workloads
