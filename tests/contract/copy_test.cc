// Copies through the public headers alone, on the built-in machines: what a program of a user does.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "copy_files.h"

namespace barter {
namespace {

using namespace barter::literals;
using Files = CopyFiles;
namespace fs = std::filesystem;

Result<CopyReport> copy_between(const Machine& machine, CopyOptions options) {
  return barter::copy(machine.drive("nvme0"), machine.drive("nvme1"), std::move(options));
}

struct Case {
  const char* machine;
  P2p policy;
  CopyRoute route;
};

class CopyOnMachines : public ::testing::TestWithParam<Case> {};

TEST_P(CopyOnMachines, MovesEveryByteByTheRouteOfThePolicy) {
  const auto [name, policy, route] = GetParam();
  const Files files(8_MiB, 8_MiB);
  for (const bool threaded : {false, true}) {
    fs::resize_file(files.destination(), 0);
    fs::resize_file(files.destination(), 8_MiB);
    MachineOptions with = files.options();
    with.threaded = threaded;
    const auto machine = Machine::open(name, with);
    ASSERT_TRUE(machine) << machine.error().message();
    const auto report = copy_between(*machine, {.policy = policy, .chunk_bytes = 256_KiB, .verify = true});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->route, route);
    EXPECT_EQ(report->bytes, 8_MiB);
    EXPECT_EQ(report->verified, true);
    EXPECT_TRUE(files.same());
    EXPECT_EQ(report->host_memory_bytes, route == CopyRoute::peer ? 0 : 16_MiB);
    EXPECT_GT(report->control_bytes.value_or(0), 0u);
    // Under `enabled` host memory is the policy's own choice where the direct route goes through the host bridge.
    EXPECT_EQ(report->fallbacks.empty(), route == CopyRoute::peer || policy != P2p::preferred);
    EXPECT_EQ(report->reasons.empty(), route == CopyRoute::peer || policy != P2p::enabled);
  }
}

INSTANTIATE_TEST_SUITE_P(
    BuiltIn, CopyOnMachines,
    ::testing::Values(Case{"two-nvme", P2p::required, CopyRoute::peer},
                      Case{"two-nvme", P2p::preferred, CopyRoute::peer},
                      Case{"two-nvme", P2p::enabled, CopyRoute::peer}, Case{"two-nvme", P2p::disabled, CopyRoute::host},
                      Case{"host-bridge", P2p::required, CopyRoute::peer},
                      Case{"host-bridge", P2p::enabled, CopyRoute::host}, Case{"acs", P2p::preferred, CopyRoute::host},
                      Case{"acs", P2p::disabled, CopyRoute::host}, Case{"ats", P2p::required, CopyRoute::peer},
                      Case{"ats", P2p::disabled, CopyRoute::host}, Case{"ai-server", P2p::required, CopyRoute::peer},
                      Case{"ai-server", P2p::disabled, CopyRoute::host}),
    [](const auto& instance) {
      std::string name = std::string(instance.param.machine) + "_" + std::string(name_of(instance.param.policy));
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST(Copy, RequiredSaysWhyNotAndHowToGetOneAndWritesNothing) {
  const Files files(1_MiB, 1_MiB);
  const auto machine = Machine::open("acs", files.options());
  const auto report = copy_between(*machine, {.policy = P2p::required});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::no_route);
  EXPECT_NE(report.error().message().find("setpci"), std::string::npos) << report.error().message();
  EXPECT_EQ(Files::read(files.destination()), std::string(1_MiB, '\0'));
}

TEST(Copy, TheOwnerTakesTheMemoryBackInMidCopy) {
  const Files files(16_MiB, 16_MiB);
  const auto machine = Machine::open("two-nvme", files.options());
  auto memory = machine->drive("nvme0")->memory();
  ASSERT_TRUE(memory);
  bool taken = false;
  const auto report = copy_between(
      *machine, {.chunk_bytes = 256_KiB, .progress = [&](CopyProgress progress) {
                   if (taken || progress.done_bytes < 4_MiB) return;
                   taken = true;
                   memory->on_request([](const Request&) { return Answer::refuse("the memory is needed elsewhere"); });
                   const auto revoked = memory->take_back({.deadline = 10s});
                   ASSERT_TRUE(revoked);
                   EXPECT_EQ(revoked->mappings, 2u);
                   EXPECT_TRUE(revoked->late.empty());
                 }});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(taken);
  EXPECT_EQ(report->route, CopyRoute::peer);
  ASSERT_FALSE(report->fallbacks.empty());
  EXPECT_EQ(report->fallbacks.front().code, "revoked");
  std::uint64_t fallen_bytes = 0;
  for (const Fallback& fallback : report->fallbacks) fallen_bytes += fallback.bytes;
  EXPECT_LE(report->host_memory_bytes, 2 * fallen_bytes);
  EXPECT_GE(report->host_memory_bytes, 16_MiB);
  EXPECT_TRUE(files.same());
}

// A transfer of the program's own keeps its lease: the IOMMU is closed under it, and until it has ended the drive gets no new
// mapping, which the copy asks for again and again.
TEST(Copy, DriveThatWasLateGoesByWayOfHostMemory) {
  const Files files(16_MiB, 16_MiB);
  const fs::path description = files.source().parent_path() / "three-drives.toml";
  std::ofstream(description) << R"(
name = "three-drives"
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
[[root_port]]
name = "rp2"
below = "rc0"
[[drive]]
name = "nvme0"
below = "rp0"
size = "16 MiB"
[[drive]]
name = "nvme1"
below = "rp1"
size = "16 MiB"
[[drive]]
name = "nvme2"
below = "rp2"
size = "16 MiB"
cmb = "4 MiB"
)";
  const auto machine = Machine::open(description.string(), files.options());
  ASSERT_TRUE(machine) << machine.error().message();
  auto memory = machine->provider("nvme2");
  const auto region = memory->allocate(4_KiB);
  ASSERT_TRUE(region) << region.error().message();
  const auto mapping = machine->drive("nvme1")->map(*region);
  ASSERT_TRUE(mapping) << mapping.error().message();
  auto lease = mapping->lease();
  ASSERT_TRUE(lease);
  bool taken = false;
  const auto report = copy_between(
      *machine, {.via = "nvme2", .queue_depth = 8, .chunk_bytes = 256_KiB, .progress = [&](CopyProgress progress) {
                   if (taken || progress.done_bytes < 4_MiB) return;
                   taken = true;
                   const auto revoked = memory->take_back({.deadline = 1ms});
                   ASSERT_TRUE(revoked) << revoked.error().message();
                   EXPECT_EQ(revoked->late, std::vector<Bdf>{machine->drive("nvme1")->bdf()});
                 }});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(taken);
  EXPECT_EQ(report->route, CopyRoute::peer);
  std::vector<std::string> codes;
  for (const Fallback& fallback : report->fallbacks) codes.push_back(fallback.code);
  EXPECT_EQ(std::ranges::count(codes, "revoked"), 1);
  EXPECT_EQ(std::ranges::count(codes, "late_importer"), 1);
  EXPECT_TRUE(files.same());
  lease = Lease();
  const auto again = copy_between(*machine, {.policy = P2p::required, .via = "nvme2"});
  EXPECT_TRUE(again) << again.error().message();
}

TEST(Copy, GoesDirectAgainWhenTheOwnerAllowsIt) {
  const Files files(32_MiB, 32_MiB);
  const auto machine = Machine::open("two-nvme", files.options());
  auto memory = machine->drive("nvme0")->memory();
  bool taken = false;
  const auto report = copy_between(*machine, {.chunk_bytes = 128_KiB, .progress = [&](CopyProgress) {
                                                if (std::exchange(taken, true)) return;
                                                EXPECT_TRUE(memory->take_back());
                                              }});
  ASSERT_TRUE(report) << report.error().message();
  // Some chunks fell back, then the memory was asked for again and given.
  EXPECT_GT(report->host_memory_bytes, 0u);
  EXPECT_LT(report->host_memory_bytes, 32_MiB);
  EXPECT_TRUE(files.same());
}

TEST(Copy, TheOwnerRefusesFromTheStart) {
  const Files files(1_MiB, 1_MiB);
  const auto machine = Machine::open("two-nvme", files.options());
  auto memory = machine->provider("nvme0");
  memory->on_request([](const Request& request) {
    EXPECT_TRUE(request.route == Route::bus_address);
    return Answer::by_way_of_host("quiet hours");
  });
  const auto report = copy_between(*machine, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->route, CopyRoute::host);
  ASSERT_EQ(report->fallbacks.size(), 1u);
  EXPECT_EQ(report->fallbacks[0].code, "owner_asks_host");
  EXPECT_NE(report->fallbacks[0].reason.find("quiet hours"), std::string::npos);
  EXPECT_TRUE(files.same());
  const auto required = copy_between(*machine, {.policy = P2p::required});
  ASSERT_FALSE(required);
  EXPECT_EQ(required.error().code, ErrorCode::refused);
}

TEST(Copy, TakesPartsOfDrives) {
  const Files files(4_MiB, 4_MiB);
  const auto machine = Machine::open("two-nvme", files.options());
  const auto report =
      copy(Extent(*machine->drive("nvme0"), 512, 1_MiB), Extent(*machine->drive("nvme1"), 1_MiB), {.verify = true});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->bytes, 1_MiB);
  const std::string source = Files::read(files.source());
  const std::string destination = Files::read(files.destination());
  EXPECT_EQ(destination.substr(1_MiB, 1_MiB), source.substr(512, 1_MiB));
  EXPECT_EQ(destination.substr(0, 1_MiB), std::string(1_MiB, '\0'));
  EXPECT_EQ(destination.substr(2_MiB), std::string(2_MiB, '\0'));
}

TEST(Copy, AFileThatEndsInMidBlockIsPaddedWithZeros) {
  const Files files(1000, 1024);
  const auto machine = Machine::open("two-nvme", files.options());
  const auto report = copy_between(*machine, {.chunk_bytes = 4_KiB, .verify = true});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->bytes, 1024u);
  EXPECT_EQ(Files::read(files.destination()), Files::read(files.source()) + std::string(24, '\0'));
}

TEST(Copy, RefusesWhatMakesNoSense) {
  const Files files(1_MiB, 512_KiB);
  const auto machine = Machine::open("two-nvme", files.options());
  const Drive nvme0 = *machine->drive("nvme0");
  const Drive nvme1 = *machine->drive("nvme1");
  const auto code = [](const Result<CopyReport>& report) {
    return report ? "copied" : std::string(name_of(report.error().code));
  };
  EXPECT_EQ(code(barter::copy(nvme0, nvme1)), "out_of_range");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 2_MiB), nvme1)), "out_of_range");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, ~std::uint64_t{511}, 512), nvme1)), "out_of_range");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 100, 512), nvme1)), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 100), nvme1)), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 1_MiB), nvme1)), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 512), Extent(nvme1, 0, 1024))), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), Extent(nvme0, 512, 4096))), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.queue_depth = 0})), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.queue_depth = 257})), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.chunk_bytes = 0})), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.chunk_bytes = 1000})), "invalid_argument");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.via = "nvme1"})), "unsupported");
  EXPECT_EQ(code(barter::copy(Extent(nvme0, 0, 4096), nvme1, {.via = "nvme9"})), "not_found");
  EXPECT_EQ(code(barter::copy(machine->drive("nvme7"), nvme1)), "not_found");
  EXPECT_EQ(Files::read(files.destination()), std::string(512_KiB, '\0'));
}

// By whatever names: the copy would write over what it has yet to read.
TEST(Copy, OneFileBehindBothDrivesIsNotCopiedOntoItself) {
  const Files files(2_MiB, 0);
  const fs::path folder = files.source().parent_path();
  fs::create_hard_link(files.source(), folder / "hard");
  fs::create_symlink(files.source(), folder / "soft");
  const std::string before = Files::read(files.source());
  for (const char* other : {"source", "hard", "soft"}) {
    const auto machine = Machine::open("two-nvme", {.attach = {{"nvme0", files.source()}, {"nvme1", folder / other}}});
    ASSERT_TRUE(machine) << machine.error().message();
    const Drive nvme0 = *machine->drive("nvme0");
    const Drive nvme1 = *machine->drive("nvme1");
    for (const auto& refused : {barter::copy(nvme0, nvme1), barter::copy(Extent(nvme0, 0, 1_MiB), Extent(nvme1, 512)),
                                barter::copy(Extent(nvme0, 1_MiB, 1_MiB), Extent(nvme1, 1_MiB - 512))}) {
      ASSERT_FALSE(refused) << other;
      EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
      EXPECT_NE(refused.error().message().find("they are the same file, and the two parts overlap"), std::string::npos)
          << refused.error().message();
    }
    EXPECT_TRUE(Files::read(files.source()) == before) << other;
  }
  const auto machine = Machine::open("two-nvme", {.attach = {{"nvme0", files.source()}, {"nvme1", folder / "hard"}}});
  const auto apart = barter::copy(Extent(*machine->drive("nvme0"), 0, 1_MiB), Extent(*machine->drive("nvme1"), 1_MiB));
  ASSERT_TRUE(apart) << apart.error().message();
  EXPECT_TRUE(Files::read(files.source()) == before.substr(0, 1_MiB) + before.substr(0, 1_MiB));
}

TEST(Copy, AReadOnlyDestinationIsRefusedBeforeAnythingIsWritten) {
  const Files files(1_MiB, 1_MiB);
  fs::permissions(files.destination(), fs::perms::owner_read | fs::perms::group_read);
  // Root may write to every file; nobody, still of the group, may not, but may look into the folder.
  fs::permissions(files.source().parent_path(), fs::perms::group_read | fs::perms::group_exec, fs::perm_options::add);
  fs::permissions(files.source(), fs::perms::group_read | fs::perms::group_write, fs::perm_options::add);
  const bool is_root = ::geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const auto machine = Machine::open("two-nvme", files.options());
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_TRUE(machine) << machine.error().message();
  const auto report = copy_between(*machine, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::refused);
}

TEST(Machine, RefusesWhatItCannotOpen) {
  const auto code = [](const Result<Machine>& machine) {
    return machine ? "opened" : std::string(name_of(machine.error().code));
  };
  EXPECT_EQ(code(Machine::open("no-such-machine")), "not_found");
  EXPECT_EQ(code(Machine::open("no-such-file.toml")), "not_found");
  EXPECT_EQ(code(Machine::open("lspci:no-such-file")), "not_found");
  EXPECT_EQ(code(Machine::open("hwloc:no-such-file")), "not_found");
  EXPECT_EQ(code(Machine::open("sysfs:no-such-folder")), "not_found");
  EXPECT_EQ(code(Machine::open("two-nvme", {.attach = {{"nvme0", "no-such-file"}}})), "not_found");
  EXPECT_EQ(code(Machine::open("two-nvme", {.attach = {{"nvme7", "/dev/null"}}})), "not_found");
}

TEST(Machine, ItsHandlesKeepItAlive) {
  const auto region = [] {
    auto memory = Machine::open("two-nvme")->drive("nvme0")->memory();
    return memory->allocate(64_KiB);
  }();
  ASSERT_TRUE(region);
  EXPECT_EQ(region->size_bytes(), 64_KiB);  // the machine is gone; its region is revoked, not dangling
}

TEST(Machine, TheNearestProviderServesAllClients) {
  const auto machine = Machine::open("two-nvme");
  const auto provider = machine->nearest_provider({*machine->drive("nvme0"), *machine->drive("nvme1")});
  ASSERT_TRUE(provider) << provider.error().message();
  EXPECT_EQ(provider->name(), "nvme0");
  const auto acs = Machine::open("acs");
  const auto none = acs->nearest_provider({*acs->drive("nvme0"), *acs->drive("nvme1")});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message().find("0000:03:00.0"), std::string::npos) << none.error().message();
}

}  // namespace
}  // namespace barter
