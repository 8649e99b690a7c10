#include "topology/description.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/builtin_machines.h"
#include "topology/description_limits.h"
#include "topology/description_reader.h"

namespace barter::topology {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The message of the error, or "" if there was none.
std::string error_of(std::string_view toml) {
  const auto machine = parse_description(toml, "test.toml");
  return machine ? std::string() : machine.error().message();
}

constexpr std::string_view kSmall = R"(
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 2
)";
std::string small_with(std::string_view more) { return std::string(kSmall) + std::string(more); }

TEST(Description, EveryBuiltinMachineParses) {
  std::vector<std::string> names;
  for (const BuiltinMachine& builtin : builtin_machines()) {
    const auto machine = parse_description(builtin.toml, builtin.name);
    ASSERT_TRUE(machine) << machine.error().message();
    EXPECT_EQ(machine->name, builtin.name);
    names.emplace_back(builtin.name);
  }
  EXPECT_THAT(names, ElementsAre("acs", "ai-server", "ats", "host-bridge", "linked", "training", "two-nvme", "wired"));
  EXPECT_FALSE(find_builtin_machine("three-nvme"));
}

TEST(Description, TwoNvmeIsOneSwitchWithTwoDrives) {
  const auto machine = parse_description(find_builtin_machine("two-nvme")->toml, "two-nvme");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->root_complexes.size(), 1u);
  EXPECT_FALSE(machine->root_complexes[0].turns_reads);
  ASSERT_EQ(machine->switches.size(), 1u);
  EXPECT_EQ(machine->switches[0].below, "rp0");
  ASSERT_EQ(machine->switches[0].downstream.size(), 2u);
  EXPECT_EQ(machine->switches[0].downstream[1].name, "sw0.1");
  EXPECT_FALSE(machine->switches[0].downstream[1].acs);
  ASSERT_EQ(machine->functions.size(), 2u);
  const FunctionDescription& nvme0 = machine->functions[0];
  EXPECT_EQ(nvme0.name, "nvme0");
  EXPECT_EQ(nvme0.below, "sw0.0");
  EXPECT_EQ(nvme0.class_code, 0x010802u);
  EXPECT_EQ(nvme0.link.max, (LinkState{16000, 4}));
  ASSERT_TRUE(nvme0.drive);
  EXPECT_EQ(nvme0.drive->cmb_bytes, 67108864u);
  ASSERT_EQ(nvme0.drive->namespaces.size(), 1u);
  EXPECT_EQ(nvme0.drive->namespaces[0].size_bytes, 1073741824u);
  EXPECT_EQ(nvme0.drive->namespaces[0].block_bytes, 512u);
  EXPECT_EQ(machine->functions[1].drive->cmb_bytes, 0u);
}

TEST(Description, AcsMachineRedirectsAtItsDownstreamPorts) {
  const auto machine = parse_description(find_builtin_machine("acs")->toml, "acs");
  ASSERT_TRUE(machine) << machine.error().message();
  for (const PortDescription& port : machine->switches.at(0).downstream) {
    ASSERT_TRUE(port.acs);
    EXPECT_EQ(port.acs->control, 0x1d);  // SV, RR, CR, UF: what Linux writes when an IOMMU is on
    EXPECT_EQ(port.acs->capability, 0x5f);
  }
}

TEST(Description, AtsMachineLetsTranslatedRequestsPass) {
  const auto machine = parse_description(find_builtin_machine("ats")->toml, "ats");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->iommu, IommuMode::translate);
  for (const PortDescription& port : machine->switches.at(0).downstream) EXPECT_EQ(port.acs.value().control, 0x55);
  for (const FunctionDescription& drive : machine->functions) EXPECT_TRUE(drive.ats);
}

TEST(Description, AiServerHasFourSwitchesWithFiveDevicesEach) {
  const auto machine = parse_description(find_builtin_machine("ai-server")->toml, "ai-server");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->iommu, IommuMode::translate);
  EXPECT_EQ(machine->root_complexes.size(), 2u);
  EXPECT_EQ(machine->switches.size(), 4u);
  const auto count = [&](std::uint32_t class_code) {
    return std::count_if(machine->functions.begin(), machine->functions.end(),
                         [&](const FunctionDescription& function) { return function.class_code == class_code; });
  };
  EXPECT_EQ(count(0x120000), 8);
  EXPECT_EQ(count(0x020000), 4);
  EXPECT_EQ(count(0x010802), 8);
}

TEST(Description, ReadsEveryKey) {
  const auto machine = parse_description(R"(
name = "all"
iommu = "passthrough"
cpu = { vendor = "AuthenticAMD", family = 25 }
[[root_complex]]
name = "rc"
domain = 1
root_bus = 0x40
numa_node = 3
host_bridge = "1022:14a4"
turns_writes = true
[[root_port]]
name = "rp"
below = "rc"
id = "1022:14ab"
link = "32 GT/s x16"
link_now = "16 GT/s x8"
acs = { capability = ["SV", "RR", "EC"], control = ["EC"], blocked_ports = [1, 33] }
[[switch]]
name = "sw"
below = "rp"
id = "1000:c010"
port_link = "8 GT/s x2"
acs = ["RR"]
[[switch.port]]
[[switch.port]]
name = "bay"
link = "2.5 GT/s x1"
id = "1000:c011"
acs = []
[[drive]]
name = "d"
below = "bay"
cmb = 1048576
max_queues = 3
max_queue_entries = 64
doorbell_stride_log2 = 2
sgl = false
namespace = [{ size = "1 MiB", block = 4096 }, { file = "disk.img" }]
[[accelerator]]
name = "a"
below = "sw.0"
function = 2
memory = "16 GiB"
window = "256 MiB"
copy_channels = 1
compute_channels = 3
[[dma_engine]]
name = "e"
below = "sw.0"
function = 3
channels = 7
segments = 12
[[nic]]
name = "n"
below = "sw.0"
function = 4
pairs = 3
segments = 5
address_bits = 40
boundary = "64 KiB"
keys = 9
[[nic]]
name = "m"
below = "sw.0"
function = 5
[[wire]]
between = ["m", "n"]
[[function]]
name = "f"
below = "sw.0"
id = "10ee:9038"
class = 0x120000
ats = true
bar = { index = 2, size = "8 GiB", prefetchable = false }
[[function]]
name = "g"
below = "sw.0"
function = 1
id = "10ee:9138"
class = 0x120000
)",
                                         "/racks/one.toml");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->cpu->vendor, "AuthenticAMD");
  EXPECT_EQ(machine->cpu->family, 25u);
  EXPECT_EQ(machine->iommu, IommuMode::passthrough);
  const RootComplexDescription& root = machine->root_complexes.at(0);
  EXPECT_EQ(root.domain, 1u);
  EXPECT_EQ(root.root_bus, 0x40);
  EXPECT_EQ(root.numa_node, 3);
  EXPECT_EQ(root.host_bridge_vendor, 0x1022);
  EXPECT_EQ(root.host_bridge_device, 0x14a4);
  EXPECT_FALSE(root.turns_reads);
  EXPECT_TRUE(root.turns_writes);
  const PortDescription& port = machine->root_ports.at(0).port;
  EXPECT_EQ(port.device_id, 0x14ab);
  EXPECT_EQ(port.link.max, (LinkState{32000, 16}));
  EXPECT_EQ(port.link.now, (LinkState{16000, 8}));
  EXPECT_EQ(port.acs->capability, 0x25);
  EXPECT_EQ(port.acs->control, 0x20);
  EXPECT_THAT(port.acs->egress_control_vector, ElementsAre(2u, 2u));
  const SwitchDescription& part = machine->switches.at(0);
  EXPECT_EQ(part.downstream.at(0).name, "sw.0");
  EXPECT_EQ(part.downstream.at(0).link.max, (LinkState{8000, 2}));
  EXPECT_EQ(part.downstream.at(0).acs->control, 0x04);
  EXPECT_EQ(part.downstream.at(1).name, "bay");
  EXPECT_EQ(part.downstream.at(1).device_id, 0xc011);
  EXPECT_EQ(part.downstream.at(1).acs->control, 0);
  const DriveDescription& drive = *machine->functions.at(0).drive;
  EXPECT_EQ(drive.cmb_bytes, 1048576u);
  EXPECT_EQ(drive.max_queues, 3);
  EXPECT_EQ(drive.max_queue_entries, 64);
  EXPECT_EQ(drive.doorbell_stride_log2, 2);
  EXPECT_FALSE(drive.sgl);
  EXPECT_EQ(drive.namespaces.at(0).block_bytes, 4096u);
  EXPECT_EQ(drive.namespaces.at(1).file, "/racks/disk.img");
  const FunctionDescription& accelerator = machine->functions.at(1);
  EXPECT_EQ(accelerator.vendor_id, 0x1b36);
  EXPECT_EQ(accelerator.device_id, 0xba00);
  EXPECT_EQ(accelerator.class_code, 0x120000u);
  EXPECT_EQ(accelerator.accelerator->memory_bytes, 17179869184u);
  EXPECT_EQ(accelerator.accelerator->window_bytes, 268435456u);
  EXPECT_EQ(accelerator.accelerator->copy_channels, 1);
  EXPECT_EQ(accelerator.accelerator->compute_channels, 3);
  EXPECT_FALSE(accelerator.drive);
  const FunctionDescription& engine = machine->functions.at(2);
  EXPECT_EQ(engine.device_id, 0xba01);
  EXPECT_EQ(engine.class_code, 0x088000u);
  EXPECT_EQ(engine.dma_engine->channels, 7);
  EXPECT_EQ(engine.dma_engine->segments, 12);
  const FunctionDescription& nic = machine->functions.at(3);
  EXPECT_EQ(nic.device_id, 0xba02);
  EXPECT_EQ(nic.class_code, 0x028000u);
  EXPECT_EQ(nic.nic->pairs, 3);
  EXPECT_EQ(nic.nic->segments, 5);
  EXPECT_EQ(nic.nic->address_bits, 40);
  EXPECT_EQ(nic.nic->boundary_bytes, 65536u);
  EXPECT_EQ(nic.nic->keys, 9);
  EXPECT_EQ(machine->functions.at(4).nic->address_bits, 64);
  ASSERT_EQ(machine->wires.size(), 1u);
  EXPECT_EQ(machine->wires[0].first, "m");
  EXPECT_EQ(machine->wires[0].second, "n");
  const FunctionDescription& function = machine->functions.at(5);
  EXPECT_EQ(function.vendor_id, 0x10ee);
  ASSERT_EQ(function.bars.size(), 1u);
  EXPECT_EQ(function.bars[0].index, 2);
  EXPECT_EQ(function.bars[0].size_bytes, 8589934592u);
  EXPECT_TRUE(function.bars[0].is_64bit);
  EXPECT_FALSE(function.bars[0].is_prefetchable);
  EXPECT_EQ(machine->functions.at(6).function, 1);
  EXPECT_FALSE(machine->functions.at(0).ats);
  EXPECT_TRUE(function.ats);
}

TEST(Description, TheDocumentsExampleIsOne) {
  std::ifstream file(BARTER_SOURCE_DIR "/docs/machine-format.md");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  constexpr std::string_view kFence = "```toml\n";
  const std::size_t from = text.find(kFence);
  ASSERT_NE(from, std::string::npos);
  const std::size_t start = from + kFence.size();
  const auto machine = parse_description(text.substr(start, text.find("```", start) - start), "docs/machine-format.md");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->functions.size(), 3u);
  EXPECT_EQ(machine->functions[1].drive->namespaces.at(1).file, "docs/images/data.img");
}

TEST(Description, ErrorsNameFileLineCauseAndCure) {
  EXPECT_EQ(
      error_of("[[root_complex]]\nname = \"rc0\"\n\n[[root_port]]\nname = \"rp0\"\nbelow = \"rc0\"\nlnik = \"x\"\n"),
      "reading the machine description test.toml, line 7: [[root_port]] has no key 'lnik'; did you mean 'link'?");
  EXPECT_THAT(error_of("[[root_complex]\n"), HasSubstr("line 1: it is no TOML"));
  EXPECT_THAT(error_of(""), HasSubstr("the machine has no root complex"));
  EXPECT_THAT(error_of(small_with("[[drive]]\nname = \"d\"\nbelow = \"sw0.0\"\nsize = \"4 GB\"\n")),
              HasSubstr("line 14: size of [[drive]] is '4 GB', which is no size"));
}

struct BadCase {
  std::string_view what;
  std::string_view toml;  // after kSmall
  std::string_view says;
};

TEST(Description, RefusesWhatIsNoTree) {
  const BadCase cases[] = {
      {"duplicate", "[[root_port]]\nname = \"rp0\"\nbelow = \"rc0\"",
       "two parts are called rp0, the other one on line 4"},
      {"duplicate default name", "[[root_port]]\nname = \"sw0.1\"\nbelow = \"rc0\"", "two parts are called sw0.1"},
      {"below nothing", "[[switch]]\nname = \"sw1\"\nbelow = \"rp7\"\nports = 1",
       "sw1 is below 'rp7', which is not there"},
      {"below a switch", "[[drive]]\nname = \"d\"\nbelow = \"sw0\"\nsize = 512",
       "name one of its ports, such as sw0.0"},
      {"port below a port", "[[root_port]]\nname = \"rp1\"\nbelow = \"rp0\"", "rp1 is below rp0, which is a port"},
      {"two switches", "[[switch]]\nname = \"sw1\"\nbelow = \"rp0\"\nports = 1", "both plugged into rp0"},
      {"drive and switch", "[[drive]]\nname = \"d\"\nbelow = \"rp0\"\nsize = 512", "both plugged into rp0"},
      {"self", "[[switch]]\nname = \"sw1\"\nbelow = \"sw1.0\"\nports = 1", "sw1 is below itself"},
      {"cycle",
       "[[switch]]\nname = \"a\"\nbelow = \"b.0\"\nports = 1\n[[switch]]\nname = \"b\"\nbelow = \"a.0\"\nports = 1",
       "a is below itself"},
      {"entering a cycle",
       "[[switch]]\nname = \"c\"\nbelow = \"b.1\"\nports = 1\n[[switch]]\nname = \"a\"\nbelow = \"b.0\"\nports = 1\n"
       "[[switch]]\nname = \"b\"\nbelow = \"a.0\"\nports = 2",
       "switches are above c"},
      {"two in a slot",
       "[[drive]]\nname = \"d\"\nbelow = \"sw0.0\"\nsize = 512\n[[drive]]\nname = \"e\"\nbelow = \"sw0.0\"\nsize = 512",
       "another function below sw0.0 has number 0 too"},
      {"no function 0", "[[drive]]\nname = \"d\"\nbelow = \"sw0.0\"\nfunction = 1\nsize = 512", "has no function 0"},
      {"integrated", "[[drive]]\nname = \"d\"\nbelow = \"rc0\"\nfunction = 1\nsize = 512", "a device of its own"},
      {"root buses", "[[root_complex]]\nname = \"rc1\"\nroot_bus = 4", "rc0 needs 5 buses from 0 on"},
      {"same root bus", "[[root_complex]]\nname = \"rc1\"", "rc0 needs 5 buses from 0 on"},
      {"past the last bus",
       "[[root_complex]]\nname = \"rc1\"\nroot_bus = 255\n[[root_port]]\nname = \"rp1\"\nbelow = \"rc1\"",
       "rc1 needs 2 buses from 255 on"},
  };
  for (const BadCase& bad : cases) EXPECT_THAT(error_of(small_with(bad.toml)), HasSubstr(bad.says)) << bad.what;
}

TEST(Description, RefusesAbsurdValues) {
  const auto drive = [](std::string_view keys) {
    return "[[drive]]\nname = \"d\"\nbelow = \"sw0.0\"\nsize = \"1 GiB\"\n" + std::string(keys);
  };
  const auto function = [](std::string_view keys) {
    return "[[function]]\nname = \"f\"\nbelow = \"sw0.0\"\nid = \"1234:5678\"\nclass = 0\n" + std::string(keys);
  };
  const auto accelerator = [](std::string_view keys) {
    return "[[accelerator]]\nname = \"a\"\nbelow = \"sw0.0\"\n" + std::string(keys);
  };
  const auto nics = [](std::string_view keys, std::string_view wire) {
    std::string text = "[[nic]]\nname = \"n\"\nbelow = \"sw0.0\"\n" + std::string(keys);
    for (const char* more : {"m", "o"})
      text += std::string("\n[[nic]]\nname = \"") + more +
              "\"\nbelow = \"sw0.0\"\nfunction = " + (*more == 'm' ? "1" : "2");
    return wire.empty() ? text : text + "\n[[wire]]\n" + std::string(wire);
  };
  const std::pair<std::string, std::string_view> cases[] = {
      {accelerator(""), "[[accelerator]] has no memory; write memory = \"16 GiB\""},
      {accelerator("memory = 100000"), "memory is 100000 bytes; use a multiple of 64 KiB"},
      {accelerator("memory = \"2 TiB\""), "it must be from 65536 to 1099511627776"},
      {accelerator("memory = 0"), "it must be from 65536 to 1099511627776"},
      {accelerator("memory = \"1 GiB\"\nwindow = \"3 MiB\""), "it must be a power of two"},
      {accelerator("memory = \"1 GiB\"\nwindow = \"2 GiB\""), "no larger than the memory rounded up to one"},
      {accelerator("memory = \"1 GiB\"\nwindow = 4096"), "it must be from 65536"},
      {accelerator("memory = \"1 GiB\"\ncopy_channels = 0\ncompute_channels = 0"), "a has 0 channels"},
      {accelerator("memory = \"1 GiB\"\ncopy_channels = 31"), "a has 33 channels; give it 1 to 32 in all"},
      {accelerator("memory = \"1 GiB\"\ncopy_channels = 33"), "it must be from 0 to 32"},
      {accelerator("memory = \"1 GiB\"\ncmb = \"1 MiB\""), "[[accelerator]] has no key 'cmb'"},
      {"[[dma_engine]]\nname = \"e\"\nbelow = \"sw0.0\"\nchannels = 17", "it must be from 1 to 16"},
      {"[[dma_engine]]\nname = \"e\"\nbelow = \"sw0.0\"\nsegments = 0", "it must be from 1 to 65535"},
      {"[[dma_engine]]\nname = \"e\"\nbelow = \"sw0.0\"\nmemory = 1", "[[dma_engine]] has no key 'memory'"},
      {nics("pairs = 17", ""), "it must be from 1 to 16"},
      {nics("segments = 65536", ""), "it must be from 1 to 65535"},
      {nics("keys = 0", ""), "it must be from 1 to 65535"},
      {nics("address_bits = 31", ""), "it must be from 32 to 64"},
      {nics("boundary = 2048", ""), "a power of two of at least 4 KiB"},
      {nics("boundary = \"12 KiB\"", ""), "a power of two of at least 4 KiB"},
      {nics("boundary = \"128 GiB\"", ""), "it must be from 0 to 68719476736"},
      {nics("memory = 1", ""), "[[nic]] has no key 'memory'"},
      {nics("", "between = [\"n\", \"n\"]"), "both ends of [[wire]] are n; a wire joins two NICs"},
      {nics("", "between = [\"n\", \"x\"]"), "[[wire]] names x, which is not there"},
      {nics("", "between = [\"n\", \"sw0\"]"), "[[wire]] names sw0, which is no NIC"},
      {nics("", "between = [\"n\", \"m\"]\n[[wire]]\nbetween = [\"o\", \"n\"]"), "n has a wire already"},
      {drive("cmb = \"3 MiB\""), "a power of two of at least 4 KiB"},
      {drive("cmb = 2048"), "a power of two of at least 4 KiB"},
      {drive("cmb = \"1 TiB\""), "it must be from 0 to 68719476736"},
      {drive("cmb = \"99999999999 TiB\""), "which is no size"},
      {drive("cmb = -1"), "cmb of [[drive]] is -1"},
      {drive("cmb = 1.5"), "cmb of [[drive]] is not a whole number"},
      {drive("block = 1024"), "use 512 or 4096"},
      {drive("sgl = \"yes\""), "neither true nor false"},
      {drive("function = 8"), "it must be from 0 to 7"},
      {drive("link = \"7 GT/s x4\""), "which is no PCIe link"},
      {drive("link = \"8 GT/s x3\""), "which is no PCIe link"},
      {drive("link = \"8 GT/s x4\"\nlink_now = \"16 GT/s x4\""), "link_now of [[drive]] is more than link"},
      {drive("acs = [\"XX\"]"), "the bits are SV, TB, RR, CR, UF, EC and DT"},
      {drive("acs = { capability = [\"SV\"], control = [\"RR\"] }"), "turns on what its capability does not have"},
      {drive("acs = { capability = [\"SV\", \"EC\"], blocked_ports = [256] }"), "port numbers go from 0 to 255"},
      {drive("id = \"8086\""), "write vendor and device as lspci -n does"},
      {drive("id = \"ffff:ffff\""), "write vendor and device as lspci -n does"},
      {drive("namespace = [{ size = 512 }]"), "needs either a size or file of its own"},
      {"[[drive]]\nname = \"d\"\nbelow = \"sw0.0\"\nsize = 1000", "no whole number of blocks"},
      {"[[drive]]\nname = \"d/../..\"\nbelow = \"sw0.0\"\nsize = 512", "is no name for a part of a machine"},
      {"[[drive]]\nbelow = \"sw0.0\"\nsize = 512", "[[drive]] has no name"},
      {function("bar = [{ index = 0, size = 4095 }]"), "it must be a power of two"},
      {function("bar = [{ index = 5, size = 4096 }]"), "BAR 5 can't have 64 bits"},
      {function("bar = [{ index = 6, size = 4096 }]"), "it must be from 0 to 5"},
      {function("bar = [{ index = 0, size = 4096 }, { index = 1, size = 4096 }]"), "BAR 1 of f is used twice"},
      {function("bar = [{ index = 1, size = 4096 }, { index = 0, size = 4096 }]"), "BAR 1 of f is used twice"},
      {function("bar = [{ index = 0, size = \"1 GiB\", bits = 32 }]"), "it must be from 128 to 536870912"},
      {function("bar = 7"), "bar of [[function]] is not a table"},
      {"[[function]]\nname = \"f\"\nbelow = \"sw0.0\"\nclass = 0", "[[function]] has no id"},
      {"[cpu]\nvendor = \"Intel\"\nfamily = 6", "write it as CPUID does"},
      {"[cpu]\nvendor = \"GenuineIntel\"", "[cpu] has no family"},
      {"[[switch]]\nname = \"s\"\nbelow = \"sw0.0\"", "needs either ports or [[switch.port]]"},
      {"[[switch]]\nname = \"s\"\nbelow = \"sw0.0\"\nports = 33", "it must be from 1 to 32"},
  };
  for (const auto& [toml, says] : cases) EXPECT_THAT(error_of(small_with(toml)), HasSubstr(says)) << toml;
}

TEST(Description, RefusesTextsWithoutEnd) {
  EXPECT_THAT(error_of(std::string(limits::kDescriptionBytes + 1, '#')), HasSubstr("at most 4194304 are read"));
  // Deeper nesting than any description has must end in an error, not in the end of the stack.
  EXPECT_NE(error_of("x = " + std::string(100000, '[')), "");
}

TEST(Description, RootBusHoldsThirtyOneDevices) {
  std::string toml = "[[root_complex]]\nname = \"rc0\"\n";
  for (int i = 0; i < 31; ++i) toml += "[[root_port]]\nname = \"rp" + std::to_string(i) + "\"\nbelow = \"rc0\"\n";
  EXPECT_EQ(error_of(toml), "");
  EXPECT_THAT(error_of(toml + "[[root_port]]\nname = \"x\"\nbelow = \"rc0\"\n"), HasSubstr("at most 31 fit"));
}

TEST(Sizes, AreWrittenInPowersOfTwo) {
  EXPECT_EQ(parse_size("64 MiB"), 67108864u);
  EXPECT_EQ(parse_size("4KiB"), 4096u);
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("512 B"), 512u);
  EXPECT_EQ(parse_size("16383 TiB"), 18013298997854208u);
  for (const char* wrong :
       {"", "MiB", "64 MB", "-1", "1.5 MiB", "0x10", "18446744073709551616", "16777216 TiB", "1 MiB MiB"})
    EXPECT_FALSE(parse_size(wrong)) << wrong;
}

TEST(NearestWord, FindsTypos) {
  EXPECT_EQ(nearest_word("lnik", {"name", "link", "below"}), "link");
  EXPECT_EQ(nearest_word("size_bytes", {"name", "link"}), "");
}

// Links between accelerators.

constexpr std::string_view kTwoAccelerators = R"(
[[accelerator]]
name = "gpu0"
below = "sw0.0"
memory = "1 MiB"
[[accelerator]]
name = "gpu1"
below = "sw0.1"
memory = "1 MiB"
links = 3
)";
std::string linked_with(std::string_view link) {
  return small_with(std::string(kTwoAccelerators) + "[[link]]\n" + std::string(link) + "\n");
}

TEST(DescriptionOfLinks, PortsAreGivenOutInOrder) {
  const auto machine = parse_description(linked_with(R"(between = ["gpu0", "gpu1"]
megabytes_per_second = 50_000)"),
                                         "test.toml");
  ASSERT_TRUE(machine) << machine.error().message();
  ASSERT_EQ(machine->device_links.size(), 1u);
  const DeviceLinkDescription& link = machine->device_links[0];
  EXPECT_EQ(link.first.accelerator, "gpu0");
  EXPECT_EQ(link.second.accelerator, "gpu1");
  EXPECT_EQ(link.first.port, 0);
  EXPECT_EQ(link.megabytes_per_second, 50'000u);
  EXPECT_EQ(machine->functions[0].accelerator->links, 1) << "as many as are used";
  EXPECT_EQ(machine->functions[1].accelerator->links, 3) << "as many as it says";
  // A third accelerator takes the next ports.
  std::string ring = R"(
[[root_complex]]
name = "rc0"
)";
  for (int index = 0; index < 3; ++index)
    ring += fmt::format("[[accelerator]]\nname = \"g{}\"\nbelow = \"rc0\"\nmemory = \"1 MiB\"\n", index);
  for (int index = 0; index < 3; ++index)
    ring += fmt::format("[[link]]\nbetween = [\"g{}\", \"g{}\"]\n", index, (index + 1) % 3);
  const auto three = parse_description(ring, "test.toml");
  ASSERT_TRUE(three) << three.error().message();
  EXPECT_EQ(three->device_links[1].first.port, 1);   // g1
  EXPECT_EQ(three->device_links[1].second.port, 0);  // g2
  EXPECT_EQ(three->device_links[2].first.port, 1);   // g2
  EXPECT_EQ(three->device_links[2].second.port, 1);  // g0
  EXPECT_EQ(three->device_links[2].megabytes_per_second, 0u) << "not said";
}

TEST(DescriptionOfLinks, WhatCantBeIsRefused) {
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "gpu2"])")), HasSubstr("names gpu2, which is not there"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "sw0"])")), HasSubstr("names sw0, which is no accelerator"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "gpu0"])")), HasSubstr("both ends of [[link]] are gpu0"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0"])")), HasSubstr("is no list of 2 names"));
  EXPECT_THAT(error_of(linked_with(R"(between = "gpu0")")), HasSubstr("is no list of 2 names"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", 7])")), HasSubstr("no name of a part"));
  EXPECT_THAT(error_of(linked_with("")), HasSubstr("is no list of 2 names"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "gpu1"]
megabytes_per_second = 0)")),
              HasSubstr("megabytes_per_second"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "gpu1"]
port = 3)")),
              HasSubstr("port"));
  EXPECT_THAT(error_of(linked_with(R"(between = ["gpu0", "gpu1"]
[[link]]
between = ["gpu1", "gpu0"])")),
              HasSubstr("a link between gpu1 and gpu0 is there already"));
  std::string star = "[[root_complex]]\nname = \"rc0\"\n";
  for (int index = 0; index < 10; ++index)
    star += fmt::format("[[accelerator]]\nname = \"g{}\"\nbelow = \"rc0\"\nmemory = \"1 MiB\"\n{}", index,
                        index == 1 ? "links = 0\n" : "");
  EXPECT_THAT(error_of(star + "[[link]]\nbetween = [\"g1\", \"g2\"]\n"), HasSubstr("write links = 1 in its table"));
  for (int index = 2; index < 11; ++index)
    star += fmt::format("[[link]]\nbetween = [\"g0\", \"g{}\"]\n", index == 10 ? 1 : index);
  EXPECT_THAT(error_of(star), HasSubstr("g0 has 8 ports for links"));
}

}  // namespace
}  // namespace barter::topology
