// What each check says of facts that threads_test.cc has no row for.
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/case.h"
#include "doctor/test_machines.h"

namespace barter::doctor {
namespace {

using ::testing::HasSubstr;
using namespace test;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

SystemFacts with_use(FunctionUse use) {
  SystemFacts facts = good_system();
  facts.functions.push_back(std::move(use));
  return facts;
}
// Drives a of one_switch is 0000:03:00.0.
constexpr Bdf kFirst{.bus = 3};

TEST(Checks, OfAGoodMachineFindNothingToDo) {
  const auto findings = findings_of(switch_with("nvme0", "gpu0"));
  ASSERT_FALSE(findings.empty());
  for (const Finding& finding : findings)
    EXPECT_EQ(finding.severity, Severity::info) << finding.code << ": " << finding.fact;
}

TEST(KernelCheck, KnowsWhatEachVersionBrought) {
  const auto kernel = [](const char* release) {
    SystemFacts facts = good_system();
    facts.kernel_release = std::string(release);
    return *find(findings_of(switch_with("nvme0", "nvme1"), facts), "kernel_version");
  };
  EXPECT_EQ(kernel("4.19.0").severity, Severity::blocker);
  EXPECT_EQ(kernel("6.1.0-18-amd64").severity, Severity::blocker);
  EXPECT_THAT(kernel("6.1.0-18-amd64").meaning, HasSubstr("from 6.2 on"));
  EXPECT_FALSE(kernel("6.1.0-18-amd64").remedies.empty());
  EXPECT_EQ(kernel("6.2.0").severity, Severity::info);
  EXPECT_THAT(kernel("6.18.44").meaning, HasSubstr("from 6.19 on"));
  EXPECT_THAT(kernel("6.19.0").meaning, HasSubstr("can lend device memory"));
}

TEST(MappingBugCheck, ConcernsCertainKernelsAndRoutesOnly) {
  const auto bug = [](const char* release, IommuMode mode, bool through_host_bridge) {
    SystemFacts facts = good_system();
    facts.kernel_release = std::string(release);
    TopologyParts parts = through_host_bridge ? root_ports_with("nvme0", "nic0") : switch_with("nvme0", "nic0");
    parts.cpu = CpuInfo{"AuthenticAMD", 25};
    parts.iommu = mode;
    return find(findings_of(parts, facts), "mapping_bug").has_value();
  };
  EXPECT_TRUE(bug("6.16.0", IommuMode::off, true));
  EXPECT_TRUE(bug("7.1.3", IommuMode::passthrough, true));
  EXPECT_FALSE(bug("6.15.9", IommuMode::off, true));
  EXPECT_FALSE(bug("7.2.0", IommuMode::off, true));
  EXPECT_FALSE(bug("6.18.0", IommuMode::translate, true));
  EXPECT_FALSE(bug("6.18.0", IommuMode::off, false));
}

TEST(UserCheck, TellsLimitsAndPermissions) {
  SystemFacts facts = good_system();
  facts.may_administer = false;
  facts.may_lock_memory = false;
  facts.memlock_bytes = std::optional<std::uint64_t>(8 * kMiB);
  auto findings = findings_of(switch_with("nvme0", "nvme1"), facts);
  const auto memlock = find(findings, "memlock");
  ASSERT_TRUE(memlock);
  EXPECT_EQ(memlock->severity, Severity::warning);
  EXPECT_THAT(memlock->fact, HasSubstr("8 MiB"));
  EXPECT_THAT(memlock->source, HasSubstr("/proc/self/limits"));
  EXPECT_EQ(memlock->remedies.front().command, "ulimit -l unlimited");
  EXPECT_EQ(find(findings, "permissions")->severity, Severity::warning);
  facts.may_lock_memory = true;
  findings = findings_of(switch_with("nvme0", "nvme1"), facts);
  EXPECT_EQ(find(findings, "memlock")->severity, Severity::info);
}

TEST(BufferCheck, TellsWhatTheKernelMadeOfIt) {
  const auto buffer = [](std::optional<PeerMemory> memory) {
    const auto findings = findings_of(switch_with("nvme0", "nvme1"),
                                      with_use({.bdf = kFirst, .driver = std::string("nvme"), .peer_memory = memory}));
    return *find(findings, "controller_memory", "nvme0");
  };
  EXPECT_EQ(buffer(PeerMemory{64 * kMiB, 64 * kMiB, true}).severity, Severity::info);
  EXPECT_THAT(buffer(PeerMemory{64 * kMiB, 0, true}).meaning, HasSubstr("all of it is taken"));
  EXPECT_EQ(buffer(PeerMemory{64 * kMiB, 0, true}).remedies.front().command, "nvme.use_cmb_sqes=0");
  EXPECT_THAT(buffer(PeerMemory{64 * kMiB, 64 * kMiB, false}).meaning, HasSubstr("does not publish"));
  const Finding not_made = buffer(std::nullopt);
  EXPECT_EQ(not_made.severity, Severity::warning);
  EXPECT_THAT(not_made.meaning, HasSubstr("made no p2pmem"));
}

TEST(BufferCheck, TellsOfABarThatBeginsAtAnOddPlace) {
  TopologyParts parts = switch_with("nvme0", "nvme1");
  named(parts, "nvme0").bars[1].address = BusAddress{0xfe100000};
  const auto finding = find(findings_of(parts), "controller_memory", "nvme0");
  ASSERT_TRUE(finding);
  EXPECT_THAT(finding->meaning, HasSubstr("begins at 0xfe100000"));
}

TEST(ProviderCheck, CountsWhatIsNotKnownAsPossible) {
  TopologyParts parts = switch_with("nvme0", "nvme1");
  for (const char* name : {"nvme0", "nvme1"}) named(parts, name).controller_memory = Unknown{"lspci does not read it"};
  const auto findings = findings_of(parts);
  EXPECT_FALSE(find(findings, "no_provider"));
  EXPECT_TRUE(find(findings, "not_known", "the memory buffer of nvme0"));
}

TEST(ProviderCheck, TrustsTheDriverThatFoundNoBuffer) {
  TopologyParts parts = switch_with("nvme0", "nic0");
  named(parts, "nvme0").controller_memory = Unknown{"nvme0 has no cmb file"};
  const auto findings = findings_of(
      parts, with_use({.bdf = kFirst, .driver = std::string("nvme"), .peer_memory = std::optional<PeerMemory>{}}));
  ASSERT_TRUE(find(findings, "no_provider"));
  EXPECT_EQ(find(findings, "no_provider")->severity, Severity::blocker);
}

TEST(BlockLayerCheck, NamesMultipathAndHolders) {
  const auto findings = findings_of(switch_with("nvme0", "nvme1"),
                                    with_use({.bdf = kFirst,
                                              .driver = std::string("nvme"),
                                              .peer_memory = std::optional(PeerMemory{64 * kMiB, 64 * kMiB, true}),
                                              .multipath_namespaces = {"nvme0c0n1"},
                                              .holders = {"dm-0 on nvme0n1p2"}}));
  ASSERT_TRUE(find(findings, "multipath", "nvme0c0n1"));
  EXPECT_EQ(find(findings, "multipath")->remedies.front().command, "nvme_core.multipath=N");
  EXPECT_TRUE(find(findings, "block_layer", "dm-0 on nvme0n1p2"));
}

TEST(BarCheck, NamesWhatHasNoAddress) {
  TopologyParts parts = switch_with("gpu0", "nvme1");
  named(parts, "gpu0").bars[1].address = Unknown{"no address is assigned"};
  const auto finding = find(findings_of(parts), "bar_unassigned", "BAR 1 of gpu0");
  ASSERT_TRUE(finding);
  EXPECT_THAT(finding->meaning, HasSubstr("no address is assigned"));
}

TEST(PayloadCheck, LooksAtEveryWay) {
  TopologyParts parts = switch_with("nvme0", "gpu0");
  EXPECT_FALSE(find(findings_of(parts), "max_payload"));
  named(parts, "usp").max_payload_bytes = std::uint32_t{128};
  const auto finding = find(findings_of(parts), "max_payload");
  ASSERT_TRUE(finding);
  EXPECT_THAT(finding->fact, HasSubstr("MaxPayload 128: usp"));
  EXPECT_EQ(finding->remedies.front().command, "pci=pcie_bus_peer2peer");
  // What a port above the common switch takes plays no part.
  named(parts, "usp").max_payload_bytes = std::uint32_t{256};
  named(parts, "rp").max_payload_bytes = std::uint32_t{128};
  EXPECT_FALSE(find(findings_of(parts), "max_payload"));
}

TEST(LinkCheck, TellsASlowSlotFromABadContact) {
  TopologyParts parts = root_ports_with("gpu0", "nvme0");
  named(parts, "gpu0").link_max = LinkState{32000, 16};
  EXPECT_EQ(find(findings_of(parts), "link", "gpu0")->severity, Severity::info) << "the port can do no more";
  named(parts, "rp0").link_max = LinkState{32000, 16};
  const auto finding = find(findings_of(parts), "link", "gpu0");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->severity, Severity::warning);
  EXPECT_THAT(finding->fact, HasSubstr("16 GT/s x4 now, and can do 32 GT/s x16"));
}

TEST(AcsCheck, SaysWhereRedirectionChangesNothing) {
  TopologyParts parts = root_ports_with("gpu0", "nvme0");
  named(parts, "rp0").acs = topology::test::acs(kRr | kCr);
  const auto finding = find(findings_of(parts), "acs_redirect", "rp0");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->severity, Severity::info);
  EXPECT_TRUE(finding->remedies.empty());
}

TEST(AcsCheck, IsAWarningWhereOtherPairsAreDirect) {
  TopologyParts parts = machine_of(
      {root_port("rp", {upstream("usp", {downstream("d0", {endpoint("gpu0")}), downstream("d1", {endpoint("gpu1")}),
                                         downstream("d2", {endpoint("nvme0")}, kRr)})})});
  const auto finding = find(findings_of(parts), "acs_redirect", "d2");
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->severity, Severity::warning);
  EXPECT_THAT(finding->meaning, HasSubstr("requests of 4 pairs"));
}

TEST(Case, LeavesOutPairsOfOneDeviceAndWhatIsNoDevice) {
  TopologyParts parts = machine_of(
      {root_port("rp", {endpoint("nic0"), {.name = "nic1", .function = 1}}), root_port("rq", {endpoint("usb0")})});
  const auto topology = Topology::build(parts);
  ASSERT_TRUE(topology);
  const SystemFacts system = good_system();
  const Case the_case = make_case(*topology, system);
  EXPECT_EQ(the_case.devices.size(), 2u);
  EXPECT_TRUE(the_case.pairs.empty());
}

TEST(Case, NamesWhatIsBeyondItsLimit) {
  std::vector<Plug> ports;
  TopologyParts parts{.source = "test"};
  parts.cpu = CpuInfo{"GenuineIntel", 6};
  parts.iommu = IommuMode::off;
  parts.is_virtual_machine = false;
  for (std::size_t i = 0; i < kMaxDevices + 3; ++i) {
    FunctionInfo function{.bdf = Bdf::from_requester_id(0, static_cast<std::uint16_t>(i)),
                          .name = "nic" + std::to_string(i)};
    dress(function);
    function.port_type = PortType::root_complex_endpoint;
    function.acs = std::optional<AcsInfo>{};
    parts.functions.push_back(function);
  }
  const auto finding = find(findings_of(parts), "not_known", "3 devices beyond the first 512");
  EXPECT_TRUE(finding);
}

TEST(NotKnown, IsSaidOnceForEachReason) {
  TopologyParts parts = switch_with("nvme0", "gpu0");
  for (FunctionInfo& function : parts.functions) function.acs = Unknown{"lspci ran without root"};
  parts.iommu = Unknown{"lspci does not tell"};
  parts.is_virtual_machine = Unknown{"lspci does not tell"};
  const auto findings = findings_of(parts, unknown_system("lspci tells of devices only"));
  for (const char* why : {"lspci ran without root", "lspci does not tell", "lspci tells of devices only"}) {
    const auto says = [why](const Finding& finding) { return finding.meaning == std::string("because ") + why; };
    EXPECT_EQ(std::count_if(findings.begin(), findings.end(), says), 1) << why;
  }
  EXPECT_FALSE(find(findings, "kernel_version")) << "nothing is guessed";
  EXPECT_FALSE(find(findings, "memlock"));
}

}  // namespace
}  // namespace barter::doctor
