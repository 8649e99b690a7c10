// What users of such systems met and could not explain, as public threads tell it: for each, what doctor says to it. The
// rows and their numbers are those of a survey of such threads; the words are ours. Those that doctor has no part in are
// listed with the reason, so that none is forgotten.
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/test_machines.h"

namespace barter::doctor {
namespace {

using ::testing::HasSubstr;
using namespace test;

constexpr std::uint16_t kLinuxDefault = 0x1d;  // SV, RR, CR, UF: what Linux turns on together with an IOMMU

struct Said {
  std::string_view code;
  Severity severity;
  std::string_view about;          // in the fact
  std::vector<std::string> words;  // in the fact, its source, its meaning or a remedy
};

struct Thread {
  int row;
  std::string_view met;
  std::vector<Finding> findings;
  std::vector<Said> said;
};

std::string all_words(const Finding& finding) {
  std::string text = finding.fact + "\n" + finding.source + "\n" + finding.meaning;
  for (const Remedy& remedy : finding.remedies)
    text += "\n" + remedy.command + "\n" + remedy.effect + "\n" + remedy.cost;
  return text;
}

TopologyParts zen(TopologyParts parts) {
  parts.cpu = CpuInfo{"AuthenticAMD", 25};
  return parts;
}

TopologyParts with_iommu(TopologyParts parts, IommuMode mode) {
  parts.iommu = mode;
  return parts;
}

std::vector<Finding> with_buffer(ControllerMemoryInfo memory, const SystemFacts& system = good_system()) {
  TopologyParts parts = switch_with("nvme0", "nic0");
  named(parts, "nvme0").controller_memory = std::optional(memory);
  return findings_of(parts, system);
}

std::vector<Thread> threads_about_routes() {
  TopologyParts plx = switch_with("gpu0", "gpu1", kLinuxDefault);
  for (const char* name : {"dsp0", "dsp1"}) {
    named(plx, name).vendor_id = std::uint16_t{0x10b5};
    named(plx, name).acs = std::optional(AcsInfo{.capability = 0x5f, .control = kLinuxDefault, .offset = 0xf24});
  }
  TopologyParts near_and_far = machine_of(
      {root_port("rp0",
                 {upstream("usp", {downstream("dsp0", {endpoint("gpu0")}), downstream("dsp1", {endpoint("nic0")})})}),
       root_port("rp1", {endpoint("nic1")})});
  named(near_and_far, "nic1").numa_node = std::int32_t{1};
  TopologyParts narrow = root_ports_with("gpu0", "nic0");
  named(narrow, "nic0").link_now = LinkState{8000, 2};
  TopologyParts old_amd = root_ports_with("gpu0", "nic0");
  old_amd.cpu = CpuInfo{"AuthenticAMD", 21};
  return {
      {1,
       "a collective hangs; ACS was on in AMD's bridges",
       findings_of(zen(switch_with("gpu0", "gpu1", kLinuxDefault))),
       {{"acs_redirect",
         Severity::warning,
         "dsp0 (0000:02:00.0) ACSCtl = 0x001d: ReqRedir, CmpltRedir",
         {"go up to the root complex", "setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000:000c",
          "pci=disable_acs_redir=", "unchecked by the IOMMU"}}}},
      {3,
       "ACS of a PLX switch",
       findings_of(plx),
       {{"acs_redirect", Severity::blocker, "dsp1", {"offset 0xf2a", "0000:02:01.0", "ReqRedir, CmpltRedir"}}}},
      {4,
       "the tool shows only how far apart the devices are",
       findings_of(switch_with("gpu0", "nic0", kRr)),
       {{"routes",
         Severity::blocker,
         "2 not supported",
         {"the distance of a pair doesn't tell its route", "0000:03:00.0 → 0000:02:00.0 → 0000:01:00.0",
          "barter why gpu0 nic0"}}}},
      {5,
       "CPUs turn requests around badly",
       findings_of(root_ports_with("gpu0", "gpu1")),
       {{"host_bridge",
         Severity::blocker,
         "GenuineIntel:6",
         {"list of tested host bridges", "below one PCIe switch"}}}},
      {9,
       "reads fail and writes work, and nothing is reported",
       findings_of(old_amd),
       {{"directions",
         Severity::warning,
         "reads not_supported, writes through_host_bridge",
         {"works one way may fail"}},
        {"host_bridge", Severity::blocker, "AuthenticAMD:21", {"some turn writes around and lose reads"}}}},
      {10,
       "refused because of ACS; is there a tool that tells?",
       findings_of(with_iommu(switch_with("gpu0", "nic0", kLinuxDefault), IommuMode::translate)),
       {{"acs_redirect", Severity::blocker, "dsp0", {"no direct way"}},
        {"iommu_mode", Severity::warning, "translates", {"iommu=pt", "ACS redirection stays on"}}}},
      {11,
       "the BIOS says that ACS is off",
       findings_of(switch_with("gpu0", "nic0", kRr | kCr)),
       {{"acs_redirect",
         Severity::blocker,
         "ACSCtl = 0x000c",
         {"ACS Control register, offset 0x106 of 0000:02:00.0"}}}},
      {13,
       "does this pair cross the root complex, and which way do bytes go?",
       findings_of(zen(root_ports_with("gpu0", "nvme0"))),
       {{"routes", Severity::info, "2 through it", {}},
        {"host_bridge", Severity::info, "AuthenticAMD:25", {"go through the root complex"}}}},
      {15,
       "a read through p2pmem never ends: the route was never found",
       findings_of(root_ports_with("nvme0", "nvme1")),
       {{"host_bridge", Severity::blocker, "1b36:0010", {"pci_p2pdma_whitelist", "Linux refuses 2 pairs"}}}},
      {17,
       "staged through the host, or the wrong card chosen",
       findings_of(near_and_far),
       {{"routes", Severity::warning, "2 turned around below", {"barter why"}},
        {"numa_distance",
         Severity::warning,
         "node 0: gpu0 (0000:03:00.0), nic0",
         {"node 1: nic1", "distance 0 to 1: 21"}}}},
      {18,
       "a card reaches only the nearest accelerators, at a third of the rate",
       findings_of(narrow),
       {{"routes", Severity::blocker, "2 not supported", {}},
        {"link",
         Severity::warning,
         "nic0 (0000:02:00.0) runs at 8 GT/s x2 now, and can do 16 GT/s x4",
         {"bifurcation"}}}},
      {19,
       "half the bandwidth, in one direction",
       findings_of(old_amd),
       {{"directions", Severity::warning, "gpu0", {"slower the other way"}}}},
      {23,
       "the root complex swallows the requests",
       findings_of([] {
         TopologyParts parts = root_ports_with("gpu0", "nvme0");
         parts.cpu = Unknown{"not captured"};
         return parts;
       }()),
       {{"host_bridge", Severity::unknown, "cpu vendor:family = unknown", {"is not known"}},
        {"routes", Severity::unknown, "2 unknown", {}}}},
      {27,
       "the parts of one switch look like switches of their own",
       findings_of([] {
         TopologyParts parts =
             machine_of({root_port("rp0", {upstream("usp0", {downstream("d0", {endpoint("gpu0")})})}),
                         root_port("rp1", {upstream("usp1", {downstream("d1", {endpoint("nic0")})})})});
         for (const char* name : {"usp0", "usp1"}) {
           named(parts, name).vendor_id = std::uint16_t{0x1000};
           named(parts, name).device_id = std::uint16_t{0xc010};
         }
         return parts;
       }()),
       {{"switch_parts", Severity::info, "1000:c010", {"upper bounds"}}}},
  };
}

std::vector<Thread> threads_about_machines() {
  TopologyParts guest = root_ports_with("gpu0", "nic0");
  guest.is_virtual_machine = true;
  for (FunctionInfo& function : guest.functions) function.link_now = Unknown{"the kernel says Unknown of speed"};
  TopologyParts small = switch_with("gpu0", "nic0");
  named(small, "gpu0").bars[1].size_bytes = std::uint64_t{256} << 20;
  TopologyParts idle = switch_with("gpu0", "nic0");
  named(idle, "gpu0").link_now = LinkState{2500, 4};
  SystemFacts without_dmabuf = good_system();
  for (KernelOption& option : without_dmabuf.options)
    if (option.name == "CONFIG_VFIO_PCI_DMABUF" || option.name == "CONFIG_PCI_P2PDMA") option.state = OptionState::no;
  return {
      {2,
       "wrong results until the IOMMU was turned off",
       findings_of(with_iommu(switch_with("gpu0", "gpu1"), IommuMode::translate)),
       {{"iommu_mode", Severity::warning, "the IOMMU translates", {"/sys/kernel/iommu_groups/*/type", "iommu=pt"}}}},
      {7,
       "a virtual machine: places and rates make no sense",
       findings_of(guest),
       {{"virtual_machine", Severity::warning, "virtual machine", {"the hypervisor's invention"}},
        {"not_known", Severity::unknown, "the link of gpu0", {"the kernel says Unknown of speed"}}}},
      {12,
       "exporting fails beyond some hundred MiB",
       findings_of(small),
       {{"bar_size", Severity::warning, "BAR 1, with 256 MiB", {"Resizable BAR", "Above 4G"}}}},
      {16,
       "must the IOMMU be off? (on, the same switch, no redirection)",
       findings_of(with_iommu(switch_with("nvme0", "nvme1"), IommuMode::passthrough)),
       {{"routes", Severity::info, "2 turned around below the root complex", {}},
        {"iommu_mode", Severity::info, "passes addresses through", {"turns ACS redirection on"}}}},
      {25,
       "please warn when dma-bufs can't work",
       findings_of(switch_with("gpu0", "nic0"), without_dmabuf),
       {{"kernel_option", Severity::blocker, "CONFIG_PCI_P2PDMA is off", {"VFIO's dma-bufs"}},
        {"kernel_option", Severity::info, "CONFIG_VFIO_PCI_DMABUF is off", {"dma-buf"}}}},
      {26,
       "the link's speed has dropped",
       findings_of(idle),
       {{"link",
         Severity::warning,
         "runs at 2.5 GT/s x4 now, and can do 16 GT/s x4",
         {"while they idle", "under load", "LnkSta"}}}},
  };
}

std::vector<Thread> threads_about_buffers() {
  ControllerMemoryInfo queues_only = usable_buffer();
  queues_only.read_data = queues_only.write_data = false;
  ControllerMemoryInfo read_only = usable_buffer();
  read_only.write_data = false;
  ControllerMemoryInfo odd = usable_buffer(std::uint64_t{3} << 20);
  ControllerMemoryInfo beyond = usable_buffer();
  beyond.offset_bytes = std::uint64_t{128} << 20;
  TopologyParts none = switch_with("nvme0", "nvme1");
  for (const char* name : {"nvme0", "nvme1"})
    named(none, name).controller_memory = std::optional<ControllerMemoryInfo>{};
  return {
      {14,
       "the buffer takes queues only",
       with_buffer(queues_only),
       {{"controller_memory", Severity::warning, "RDS 0, WDS 0", {"queues only", "CMBLOC and CMBSZ"}}}},
      {14,
       "the buffer takes data of reads only",
       with_buffer(read_only),
       {{"controller_memory", Severity::warning, "RDS 1, WDS 0", {"WDS is not set"}}}},
      {14,
       "the kernel ignores the buffer",
       with_buffer(odd),
       {{"controller_memory", Severity::warning, "3 MiB in BAR 2", {"no multiple of 2 MiB"}}}},
      {14,
       "the buffer is not in its BAR",
       with_buffer(beyond),
       {{"controller_memory", Severity::warning, "BAR 2", {"which ends before"}}}},
      {14,
       "there is no buffer",
       findings_of(none),
       {{"no_provider", Severity::blocker, "2 without", {"CMBSZ of each drive"}}}},
  };
}

struct NotOurs {
  int row;
  std::string_view why;
};
constexpr std::array kNotOurs = {
    NotOurs{6, "how CUDA registers memory with an RDMA card: Barter does neither"},
    NotOurs{8, "bytes, not facts: doctor --probe, in probe_test.cc"},
    NotOurs{20, "bytes, not facts: doctor --probe, in probe_test.cc"},
    NotOurs{21, "handles that outlive their memory: the peer contract, in tests/contract"},
    NotOurs{22, "a bounce pool that hangs without a word: copy's report, in tests/contract"},
    NotOurs{24, "a completion that never comes: doctor --probe, in probe_test.cc"},
};

std::vector<Thread> all_threads() {
  std::vector<Thread> threads = threads_about_routes();
  for (auto& more : {threads_about_machines(), threads_about_buffers()})
    threads.insert(threads.end(), more.begin(), more.end());
  return threads;
}

TEST(Threads, GetTheAnswerThatWasMissing) {
  for (const Thread& thread : all_threads()) {
    SCOPED_TRACE("row " + std::to_string(thread.row) + ": " + std::string(thread.met));
    ASSERT_FALSE(thread.findings.empty());
    for (const Said& said : thread.said) {
      const auto finding = find(thread.findings, said.code, said.about);
      if (!finding) {
        std::string facts;
        for (const Finding& other : thread.findings) facts += "\n  " + other.code + ": " + other.fact;
        ADD_FAILURE() << "no " << said.code << " about \"" << said.about << "\" among" << facts;
        continue;
      }
      EXPECT_EQ(finding->severity, said.severity) << finding->fact;
      for (const std::string& words : said.words) EXPECT_THAT(all_words(*finding), HasSubstr(words));
    }
  }
}

TEST(Threads, AreAnsweredWithCodesThatAreDocumented) {
  std::ifstream file(BARTER_SOURCE_DIR "/docs/json.md");
  const std::string documented{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  for (const Thread& thread : all_threads())
    for (const Finding& finding : thread.findings) EXPECT_THAT(documented, HasSubstr("`" + finding.code + "`"));
}

TEST(Threads, AreAllThere) {
  std::set<int> rows;
  for (const Thread& thread : all_threads()) rows.insert(thread.row);
  for (const NotOurs& row : kNotOurs) EXPECT_TRUE(rows.insert(row.row).second) << row.row;
  constexpr int kLastRow = 27;
  for (int row = 1; row <= kLastRow; ++row) EXPECT_TRUE(rows.contains(row)) << row;
  EXPECT_EQ(rows.size(), static_cast<std::size_t>(kLastRow));
}

}  // namespace
}  // namespace barter::doctor
