// What a program of a user looks like: the public headers alone, a test for each thing that they are for.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"

namespace {

using namespace barter::literals;

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(at * 7 + at / 251);
  return all;
}

TEST(Api, CopyFromDriveToDrive) {
  auto machine = barter::Machine::open("two-nvme");
  ASSERT_TRUE(machine) << machine.error().message();
  const auto bytes = pattern(1_MiB);
  ASSERT_TRUE(barter::write(*machine->drive("nvme0"), {.offset = 4_KiB}, bytes));
  auto report = barter::copy(barter::Extent(*machine->drive("nvme0"), 0, 2_MiB), machine->drive("nvme1"),
                             {.policy = barter::P2p::preferred, .verify = true});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->route, barter::CopyRoute::peer);
  EXPECT_EQ(report->host_memory_bytes, 0u);
  std::vector<std::byte> found(1_MiB);
  ASSERT_TRUE(barter::read(*machine->drive("nvme1"), {.offset = 4_KiB}, found));
  EXPECT_EQ(found, bytes);
}

TEST(Api, AskBeforeYouMove) {
  auto machine = barter::Machine::open("acs");
  const barter::Drive nvme0 = *machine->drive("nvme0");
  const barter::Drive nvme1 = *machine->drive("nvme1");
  const barter::Verdict verdict = machine->topology().verdict({.client = nvme1, .provider = nvme0});
  ASSERT_EQ(verdict.by_linux.route, barter::Route::not_supported);
  bool names_redirection = false;
  for (const barter::Fact& fact : verdict.by_linux.facts)
    names_redirection |= fact.function == "0000:02:01.0" && fact.reg.starts_with("ACSCtl.ReqRedir");
  EXPECT_TRUE(names_redirection);
}

// The owner decides range by range, a peer reads and writes its memory, and the owner takes it back.
TEST(Api, TheOwnerDecidesAndTakesBack) {
  auto machine = barter::Machine::open("two-nvme");
  const barter::Drive client = *machine->drive("nvme1");
  auto memory = machine->drive("nvme0")->memory();
  auto shared = memory->allocate(1_MiB);
  auto secret = memory->allocate(1_MiB);
  memory->on_request([range = shared->range()](const barter::Request& request) {
    if (!range.contains(request.range)) return barter::Answer::refuse("only the first megabyte is shared");
    if (request.access == barter::Access::read_write) return barter::Answer::by_way_of_host();
    return barter::Answer::direct();
  });
  const auto refused = client.map(*secret);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, barter::ErrorCode::refused);
  EXPECT_NE(refused.error().message().find("only the first megabyte is shared"), std::string::npos);
  EXPECT_FALSE(client.map(*shared, {.access = barter::Access::read_write}));

  auto to_memory = client.map(*shared, {.access = barter::Access::write});
  auto from_memory = client.map(*shared, {.access = barter::Access::read});
  ASSERT_TRUE(to_memory && from_memory);
  EXPECT_EQ(to_memory->route(), barter::Route::bus_address);
  const auto bytes = pattern(1_MiB);
  ASSERT_TRUE(barter::write(client, {}, bytes));
  {
    auto lease = to_memory->lease();
    ASSERT_TRUE(lease);
    ASSERT_TRUE(barter::read(client, {.bytes = 1_MiB}, *lease));  // drive nvme1 into the memory of nvme0
    EXPECT_TRUE(std::ranges::equal(shared->cpu_bytes(), bytes));
    EXPECT_FALSE(barter::write(client, {.bytes = 1_MiB}, *lease));                   // mapped for writing only
    EXPECT_FALSE(barter::read(*machine->drive("nvme0"), {.bytes = 1_MiB}, *lease));  // mapped for another
  }
  {
    auto lease = from_memory->lease();
    ASSERT_TRUE(barter::write(client, {.offset = 8_MiB}, *lease));  // and back, to another place
  }
  auto revoked = shared->revoke({.deadline = 10ms});
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->mappings, 2u);
  EXPECT_TRUE(revoked->late.empty());
  const auto late = to_memory->lease();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, barter::ErrorCode::revoked);
  EXPECT_FALSE(client.map(*shared, {.access = barter::Access::read}));
  std::vector<std::byte> found(1_MiB);
  ASSERT_TRUE(barter::read(client, {.offset = 8_MiB}, found));
  EXPECT_EQ(found, bytes);
}

// Memory in three pieces, of three devices and by two routes, is one memory to a drive: 1 MiB is read into it and written
// back. One piece is reached by bus address, the next one through the host bridge and its IOMMU, the last one is the drive's
// own.
TEST(Api, OneReadIntoMemoryOfSeveralDevices) {
  const std::string file = testing::TempDir() + "barter-api-several-devices.toml";
  std::ofstream(file) << R"(
name = "several-devices"
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
[[switch]]
name = "sw0"
below = "rp0"
ports = 3
[[accelerator]]
name = "gpu0"
below = "sw0.0"
memory = "16 MiB"
[[drive]]
name = "nvme0"
below = "sw0.1"
size = "64 MiB"
[[drive]]
name = "nvme1"
below = "sw0.2"
size = "64 MiB"
cmb = "4 MiB"
[[drive]]
name = "nvme2"
below = "rp1"
size = "64 MiB"
cmb = "4 MiB"
)";
  auto machine = barter::Machine::open(file);
  std::filesystem::remove(file);
  ASSERT_TRUE(machine) << machine.error().message();
  const barter::Drive drive = *machine->drive("nvme1");
  auto near = machine->provider("gpu0")->allocate(300_KiB);
  auto far = machine->provider("nvme2")->allocate(500_KiB);
  auto own = drive.memory()->allocate(224_KiB);
  std::vector<barter::Mapping> mappings;
  std::vector<barter::Lease> leases;
  for (const barter::Region* region : {&*near, &*far, &*own}) {
    auto mapping = drive.map(*region);
    ASSERT_TRUE(mapping) << mapping.error().message();
    leases.push_back(std::move(*mapping->lease()));
    mappings.push_back(std::move(*mapping));
  }
  EXPECT_EQ(leases[0].segments()[0].kind, barter::SegmentKind::bus_address);
  EXPECT_EQ(leases[1].segments()[0].kind, barter::SegmentKind::iova);
  const auto bytes = pattern(1_MiB);
  ASSERT_TRUE(barter::write(drive, {.offset = 1_MiB}, bytes));
  const auto read = barter::read(drive, {.offset = 1_MiB}, std::span<const barter::Lease>(leases));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_TRUE(std::ranges::equal(near->cpu_bytes(), std::span(bytes).first(300_KiB)));
  EXPECT_TRUE(std::ranges::equal(far->cpu_bytes(), std::span(bytes).subspan(300_KiB, 500_KiB)));
  EXPECT_TRUE(std::ranges::equal(own->cpu_bytes(), std::span(bytes).last(224_KiB)));
  // A part of it, across two seams.
  ASSERT_TRUE(barter::write(drive, {.offset = 8_MiB, .bytes = 600_KiB, .memory_offset = 298_KiB}, leases));
  std::vector<std::byte> found(600_KiB);
  ASSERT_TRUE(barter::read(drive, {.offset = 8_MiB}, found));
  EXPECT_TRUE(std::ranges::equal(found, std::span(bytes).subspan(298_KiB, 600_KiB)));
  // What makes no sense moves nothing.
  EXPECT_FALSE(barter::read(drive, {}, std::span<const barter::Lease>()));
  leases.emplace_back();
  EXPECT_FALSE(barter::read(drive, {.bytes = 512}, leases));
  leases.pop_back();
  auto foreign = machine->drive("nvme0")->map(*near);
  leases.push_back(std::move(*foreign->lease()));
  EXPECT_FALSE(barter::read(drive, {.bytes = 512}, leases));
}

TEST(Api, OneProviderForManyClients) {
  auto machine = barter::Machine::open("ai-server");
  std::vector<barter::Drive> drives;
  for (const std::string& name : machine->drive_names()) drives.push_back(*machine->drive(name));
  ASSERT_GE(drives.size(), 4u);
  auto provider = machine->nearest_provider({drives[1], drives[0], *machine->topology().resolve("nic0")});
  ASSERT_TRUE(provider) << provider.error().message();
  EXPECT_EQ(provider->name(), "nvme0");
  EXPECT_TRUE(provider->allocate(32_MiB));
}

TEST(Api, TheSameProgramWithEverythingGoingWrong) {
  auto machine =
      barter::Machine::open("two-nvme", {.seed = 7, .faults = {.surprise_removal = 0.01, .lost_completion = 0.01}});
  ASSERT_TRUE(machine);
  const auto report = barter::copy(machine->drive("nvme0"), machine->drive("nvme1"), {});
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message().find("0000:0"), std::string::npos) << report.error().message();
}

TEST(Api, RefusesReadsAndWritesThatMakeNoSense) {
  auto machine = barter::Machine::open("two-nvme");
  const barter::Drive drive = *machine->drive("nvme0");
  std::vector<std::byte> block(512);
  EXPECT_FALSE(barter::read(drive, {.offset = 1}, block));
  EXPECT_FALSE(barter::read(drive, {.offset = drive.size_bytes()}, block));
  EXPECT_FALSE(barter::read(drive, {.offset = ~std::uint64_t{511}}, block));
  EXPECT_FALSE(barter::read(drive, {.bytes = 1024}, block));
  EXPECT_FALSE(barter::read(drive, {}, std::span(block).first(100)));
  EXPECT_FALSE(barter::read(drive, {}, std::span(block).first(0)));
  EXPECT_FALSE(barter::read(drive, {}, barter::Lease()));
}

}  // namespace
