// The judge of our config spaces is the real lspci, reading an enumerated machine.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "fabric/test_machines.h"
#include "pci/dump.h"

namespace barter::fabric {
namespace {

std::string output_of(const std::string& command) {
  std::string output;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, count);
  pclose(pipe);
  return output;
}

topology::Description rich_machine() {
  auto machine = one_switch();
  machine.root_complexes.push_back({.name = "rc1", .domain = 1, .root_bus = 0x40, .host_bridge_device = 0x2020});
  machine.root_ports.push_back({test_port("rp2"), "rc1"});
  machine.root_ports[0].port.acs = {.capability = 0x5f, .control = 0x1d};
  machine.root_ports[1].port.link.now = LinkState{.speed_mtps = 8000, .width = 2};
  for (auto& port : machine.switches[0].downstream)
    port.acs = {.capability = 0x087f, .control = 0x15, .egress_control_vector = {0x6}};
  auto big = test_function("gpu", "rp2");
  big.bars = {{.index = 0, .size_bytes = std::uint64_t{64} << 30},
              {.index = 2, .size_bytes = 1 << 20, .is_64bit = false, .is_prefetchable = false}};
  auto second = big;
  second.name = "gpu-audio";
  second.function = 1;
  second.bars = {{.index = 0, .size_bytes = 4096, .is_64bit = false, .is_prefetchable = false}};
  machine.functions.push_back(big);
  machine.functions.push_back(second);
  machine.functions.push_back(test_function("integrated", "rc1"));
  machine.functions.back().acs = {.capability = 0x203f, .control = 0, .egress_control_vector = {0}};
  for (auto& function : machine.functions) function.ats = function.name == "a" || function.name == "integrated";
  machine.iommu = IommuMode::translate;
  return machine;
}

std::string lspci(const TestMachine& machine) {
  std::vector<pci::DumpedFunction> functions;
  for (const FunctionInfo& info : machine.fabric->topology().functions) {
    const auto bytes = machine.fabric->config_space(info.bdf);
    functions.push_back(
        {info.bdf, pci::ConfigSpace({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()})});
  }
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("barter-fabric-" + std::to_string(getpid()));
  std::ofstream(file) << pci::dump(functions);
  const std::string text = output_of("LC_ALL=C lspci -F '" + file.string() + "' -vvv -n -D 2>&1");
  std::filesystem::remove(file);
  return text;
}

std::string function_text(const std::string& all, const std::string& bdf) {
  const std::size_t start = all.find(bdf + " ");
  if (start == std::string::npos) return "no " + bdf;
  return all.substr(start, all.find("\n\n", start) - start);
}

class ConfigLayout : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v lspci > /dev/null") != 0) GTEST_SKIP() << "skipped: there is no lspci here";
  }
};

TEST_F(ConfigLayout, LspciHasNothingToComplainOf) {
  TestMachine machine(rich_machine());
  const std::string all = lspci(machine);
  // "<unassigned>" is not among these: reading a dump, lspci 3.9 takes the upper half of a 64-bit BAR above 4 GiB for one
  // more BAR, of 32 bits and with no address. Enumeration.BarsAre... below looks at the addresses.
  for (const char* complaint : {"!!!", "<?>", "<chain looped>", "<chain broken>", "Unknown", "<access denied>",
                                "<ignored>", "Region 0: Memory at <", "[virtual]", "Bad", "(downgraded)!"})
    EXPECT_EQ(all.find(complaint), std::string::npos) << complaint << "\n" << all;
  const auto count = [&](const std::string& words) {
    std::size_t found = 0;
    for (std::size_t at = all.find(words); at != std::string::npos; at = all.find(words, at + 1)) ++found;
    return found;
  };
  // Every bridge has its I/O window closed, and no endpoint has anything that is disabled.
  EXPECT_EQ(count("I/O behind bridge:"), 6u) << all;
  EXPECT_EQ(count("[disabled]"), 6u) << all;
}

TEST_F(ConfigLayout, LspciReadsWhatTheMachineIs) {
  TestMachine machine(rich_machine());
  const std::string all = lspci(machine);
  const auto has = [&](std::string_view name, const std::string& words) {
    const std::string text = function_text(all, machine.bdf(name).to_string());
    EXPECT_NE(text.find(words), std::string::npos) << name << ": " << words << "\n" << text;
  };
  has("a", "0880: 1b36:0005");
  has("a", "Control: I/O- Mem+ BusMaster+");
  has("a", "Express (v2) Endpoint, ");
  has("a", "MSI-X: Enable- Count=4 Masked-");
  has("a", "Vector table: BAR=0 offset=00002000");
  has("a", "PBA: BAR=0 offset=00003000");
  has("a", "FLReset+");
  has("a", "MaxPayload 256 bytes, MaxReadReq 512 bytes");
  has("a", "Subsystem: 1af4:1100");
  has("rp0", "Express (v2) Root Port (Slot+), ");
  has("rp0", "Bus: primary=00, secondary=01, subordinate=04, sec-latency=0");
  has("rp0", "ACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+");
  has("rp0", "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-");
  has("rp1", "LnkCap:\tPort #2, Speed 16GT/s, Width x4");
  has("rp1", "LnkSta:\tSpeed 8GT/s, Width x2");
  has("sw0", "Express (v2) Upstream Port, ");
  has("sw0.1", "Express (v2) Downstream Port (Slot+), ");
  has("sw0.1", "LnkCap:\tPort #2,");
  has("sw0.1", "EgressCtrl+ DirectTrans+");
  has("gpu", "Memory at 5000000000 (64-bit, prefetchable)");
  has("integrated", "Express (v2) Root Complex Integrated Endpoint, ");
  has("a", "Capabilities: [100 v1] Address Translation Service (ATS)");
  has("a", "ATSCap:\tInvalidate Queue Depth: 00");
  has("a", "ATSCtl:\tEnable+, Smallest Translation Unit: 00");
  has("integrated", "Capabilities: [100 v1] Access Control Services");
  has("integrated", "Capabilities: [140 v1] Address Translation Service (ATS)");
  has("integrated", "ATSCtl:\tEnable+");
  EXPECT_EQ(machine.bdf("gpu-audio").function, 1);
  EXPECT_EQ(machine.bdf("gpu").domain, 1u);
  EXPECT_EQ(machine.bdf("integrated").to_string(), "0001:40:02.0");
}

// What enumeration must have done, whatever the machine: every BAR inside the windows of every bridge above it, aligned to
// its size, and none in another one's.
TEST(Enumeration, BarsAreAlignedInsideTheirWindowsAndApart) {
  TestMachine machine(rich_machine());
  const auto parts = machine.fabric->topology();
  struct Placed {
    std::uint64_t start, end;
    Bdf owner;
  };
  std::vector<Placed> placed;
  for (const FunctionInfo& info : parts.functions) {
    for (const BarInfo& bar : info.bars) {
      ASSERT_TRUE(bar.address && bar.size_bytes) << info.bdf.to_string();
      const std::uint64_t start = bar.address->value;
      EXPECT_EQ(start % *bar.size_bytes, 0u);
      EXPECT_TRUE(bar.is_64bit || start + *bar.size_bytes <= 0xfec00000u);
      for (const Placed& other : placed) EXPECT_TRUE(start >= other.end || start + *bar.size_bytes <= other.start);
      placed.push_back({start, start + *bar.size_bytes, info.bdf});
    }
  }
  EXPECT_EQ(placed.size(), 11u);
}

TEST(Enumeration, SaysWhichBarDoesNotFit) {
  auto description = one_switch();
  auto greedy = test_function("greedy", "rp1");
  greedy.bars = {{.index = 0, .size_bytes = std::uint64_t{1} << 31, .is_64bit = false, .is_prefetchable = false}};
  description.functions[2] = greedy;
  auto fabric = Fabric::create(description, {.host_memory_bytes = 1 << 20});
  ASSERT_TRUE(fabric);
  const auto enumerated = (*fabric)->enumerate();
  ASSERT_FALSE(enumerated);
  EXPECT_EQ(enumerated.error().code, ErrorCode::exhausted);
  EXPECT_NE(enumerated.error().message().find("32-bit window"), std::string::npos) << enumerated.error().message();
}

TEST(Enumeration, SaysWhenTheBusesRunOut) {
  topology::Description description;
  description.name = "deep";
  description.root_complexes = {{.name = "rc0", .root_bus = 0}, {.name = "rc1", .root_bus = 3}};
  description.root_ports = {{test_port("rp0"), "rc0"}};
  description.switches = {{.name = "s", .below = "rp0", .upstream = test_port("s"), .downstream = {test_port("s.0")}}};
  auto fabric = Fabric::create(description, {.host_memory_bytes = 1 << 20});
  ASSERT_TRUE(fabric);
  const auto enumerated = (*fabric)->enumerate();
  ASSERT_FALSE(enumerated);
  EXPECT_NE(enumerated.error().message().find("buses"), std::string::npos);
}

TEST(Build, RefusesWhatIsNoMachine) {
  const auto error_of = [](const topology::Description& description) {
    auto fabric = Fabric::create(description, {.host_memory_bytes = 1 << 20});
    return fabric ? std::string("built") : fabric.error().message();
  };
  auto description = one_switch();
  description.functions[1].below = "sw0.0";
  EXPECT_NE(error_of(description).find("already plugged into sw0.0"), std::string::npos) << error_of(description);
  description = one_switch();
  description.functions[1].below = "nowhere";
  EXPECT_NE(error_of(description).find("no port nowhere"), std::string::npos);
  description = one_switch();
  description.switches[0].below = "sw0.0";  // a switch below itself
  EXPECT_NE(error_of(description).find("sw0"), std::string::npos);
  description = one_switch();
  description.functions[1].name = "a";
  EXPECT_NE(error_of(description).find("have this name"), std::string::npos);
  description = one_switch();
  description.root_ports[0].root_complex = "rc9";
  EXPECT_NE(error_of(description).find("rp0"), std::string::npos);
}

}  // namespace
}  // namespace barter::fabric
