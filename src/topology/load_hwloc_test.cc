#include "topology/load_hwloc.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/load.h"

// libhwloc 2.9 forgets some of what it has read when it gives up on a file.
// LeakSanitizer looks for a function of this name.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhwloc.so\n"; }

namespace barter::topology {
namespace {

using ::testing::HasSubstr;

// One processor, one host bridge with a root port, a switch below it with a drive and a card. Written by hand after
// what lstopo 2.9 writes.
std::string small(std::string_view version, std::string_view block_type, std::string_view net_type) {
  std::string xml = R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="VERSION">
  <object type="Machine" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" allowed_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" allowed_nodeset="0x00000001" gp_index="1">
    <info name="DMISysVendor" value="QEMU"/>
    <object type="Package" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="2">
      <info name="CPUVendor" value="AuthenticAMD"/>
      <info name="CPUFamilyNumber" value="25"/>
      <object type="NUMANode" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="3" local_memory="1073741824"/>
      <object type="PU" os_index="0" cpuset="0x00000001" complete_cpuset="0x00000001" nodeset="0x00000001" complete_nodeset="0x00000001" gp_index="4"/>
    </object>
    <object type="Bridge" gp_index="5" bridge_type="0-1" depth="0" bridge_pci="0001:[40-44]">
      <object type="Bridge" gp_index="6" bridge_type="1-1" depth="1" bridge_pci="0001:[41-44]" pci_busid="0001:40:01.0" pci_type="0604 [1022:1483] [0000:0000] 00" pci_link_speed="15.753846">
        <object type="Bridge" gp_index="7" bridge_type="1-1" depth="2" bridge_pci="0001:[42-44]" pci_busid="0001:41:00.0" pci_type="0604 [10b5:8796] [0000:0000] 00" pci_link_speed="15.753846">
          <object type="Bridge" gp_index="8" bridge_type="1-1" depth="3" bridge_pci="0001:[43-43]" pci_busid="0001:42:00.0" pci_type="0604 [10b5:8796] [0000:0000] 00" pci_link_speed="3.938462">
            <object type="PCIDev" gp_index="9" pci_busid="0001:43:00.0" pci_type="0108 [144d:a80a] [144d:a801] 00" pci_link_speed="3.938462">
              <info name="PCIVendor" value="Samsung"/>
              <object type="OSDev" gp_index="10" name="nvme3n1" osdev_type="BLOCK"/>
            </object>
          </object>
          <object type="Bridge" gp_index="11" bridge_type="1-1" depth="3" bridge_pci="0001:[44-44]" pci_busid="0001:42:01.0" pci_type="0604 [10b5:8796] [0000:0000] 00" pci_link_speed="0.000000">
            <object type="PCIDev" gp_index="12" pci_busid="0001:44:00.0" pci_type="0200 [15b3:101b] [15b3:0001] 00" pci_link_speed="0.000000">
              <object type="OSDev" gp_index="13" name="opencl0d0" osdev_type="NET"/>
              <object type="OSDev" gp_index="14" name="eth7" osdev_type="NET"/>
            </object>
          </object>
        </object>
      </object>
    </object>
  </object>
</topology>
)";
  const auto replace = [&](std::string_view from, std::string_view to) {
    for (std::size_t at = xml.find(from); at != std::string::npos; at = xml.find(from, at + to.size()))
      xml.replace(at, from.size(), to);
  };
  replace("VERSION", version);
  replace("BLOCK", block_type);
  replace("NET", net_type);
  return xml;
}

const FunctionInfo* find(const TopologyParts& parts, std::string_view bdf) {
  const auto at = std::find_if(parts.functions.begin(), parts.functions.end(),
                               [&](const FunctionInfo& function) { return function.bdf.to_string() == bdf; });
  return at == parts.functions.end() ? nullptr : &*at;
}

void expect_small_machine(const TopologyParts& parts) {
  ASSERT_EQ(parts.functions.size(), 6u);
  EXPECT_FALSE(parts.lists_every_function);
  ASSERT_TRUE(parts.cpu);
  EXPECT_EQ(parts.cpu->vendor, "AuthenticAMD");
  EXPECT_EQ(parts.cpu->family, 25u);
  EXPECT_EQ(parts.is_virtual_machine, Known<bool>(true));
  ASSERT_EQ(parts.host_bridges.size(), 1u);
  EXPECT_EQ(parts.host_bridges[0].domain, 1u);
  EXPECT_EQ(parts.host_bridges[0].root_bus, 0x40);

  const FunctionInfo* root_port = find(parts, "0001:40:01.0");
  ASSERT_NE(root_port, nullptr);
  EXPECT_EQ(root_port->port_type, Known<PortType>(PortType::root_port));
  EXPECT_FALSE(root_port->parent);
  EXPECT_EQ(root_port->bridge->secondary, 0x41);
  EXPECT_EQ(root_port->bridge->subordinate, 0x44);
  const FunctionInfo* upstream = find(parts, "0001:41:00.0");
  ASSERT_NE(upstream, nullptr);
  EXPECT_FALSE(upstream->port_type);  // it could be a bridge to conventional PCI as well
  EXPECT_EQ(upstream->parent->to_string(), "0001:40:01.0");

  const FunctionInfo* drive = find(parts, "0001:43:00.0");
  ASSERT_NE(drive, nullptr);
  EXPECT_EQ(drive->name, "nvme3");
  EXPECT_EQ(drive->vendor_id, Known<std::uint16_t>(0x144d));
  EXPECT_EQ(drive->class_code, Known<std::uint32_t>(0x010802));
  EXPECT_EQ(drive->vendor_name, "Samsung");
  EXPECT_EQ(drive->parent->to_string(), "0001:42:00.0");
  EXPECT_EQ(drive->acs.why_unknown(), "hwloc does not record ACS");
  EXPECT_THAT(drive->link_now.why_unknown(), HasSubstr("3.94 GB/s"));
  EXPECT_FALSE(drive->bars_read);
  EXPECT_EQ(find(parts, "0001:44:00.0")->name, "eth7");
}

TEST(Hwloc, ReadsTheTreeOfVersion2) {
  const auto parts = load_hwloc_text(small("2.0", "0", "2"), "small.xml");
  ASSERT_TRUE(parts) << parts.error().message();
  expect_small_machine(*parts);
}

TEST(Hwloc, ReadsTheTreeOfVersion3) {
  const auto parts = load_hwloc_text(small("3.0", "1", "16"), "small.xml");
  ASSERT_TRUE(parts) << parts.error().message();
  expect_small_machine(*parts);
}

TEST(Hwloc, RefusesWhatIsNoTopology) {
  const auto error_of = [](std::string_view xml) {
    const auto parts = load_hwloc_text(xml, "bad.xml");
    return parts ? std::string("no error") : parts.error().message();
  };
  EXPECT_THAT(error_of(""), HasSubstr("bad.xml"));
  EXPECT_THAT(error_of("hello"), HasSubstr("bad.xml"));
  EXPECT_THAT(error_of("<?xml version=\"1.0\"?><html/>"), HasSubstr("bad.xml"));
  const std::string whole = small("2.0", "0", "2");
  for (const std::size_t part : {2u, 3u, 4u, 5u})
    EXPECT_NE(error_of(std::string_view(whole).substr(0, whole.size() * (part - 1) / part)), "no error") << part;
}

// libhwloc would crash on some of these: a set that is missing, a processor that its package does not have.
TEST(Hwloc, RefusesWhatLibhwlocTrusts) {
  const std::string whole = small("2.0", "0", "2");
  const auto with = [&](std::string_view from, std::string_view to, std::size_t after = 0) {
    std::string xml = whole;
    const std::size_t at = xml.find(from, after);
    EXPECT_NE(at, std::string::npos) << from;
    xml.replace(at, from.size(), to);
    const auto parts = load_hwloc_text(xml, "bad.xml");
    return parts ? std::string("no error") : parts.error().message();
  };
  const std::size_t package = whole.find("type=\"Package\"");
  const std::size_t processor = whole.find("type=\"PU\"");
  const std::size_t drive = whole.find("type=\"PCIDev\"");
  EXPECT_THAT(with("cpuset=\"0x00000001\"", "", package), HasSubstr("bad.xml, line 6: a Package has no sets"));
  EXPECT_THAT(with("cpuset=\"0x00000001\"", "cpuset=\"0x00000002\"", package), HasSubstr("line 6: the processors"));
  EXPECT_THAT(with("os_index=\"0\"", "os_index=\"1\"", processor), HasSubstr("line 10: a processor has no number"));
  EXPECT_THAT(with("os_index=\"0\"", "os_index=\"99999999999\"", processor), HasSubstr("line 10"));
  EXPECT_THAT(with("type=\"NUMANode\"", "type=\"L3Cache\""), HasSubstr("no topology with NUMA nodes"));
  EXPECT_THAT(with("pci_busid=\"0001:43:00.0\"", "pci_busid=\"0001:43:20.0\"", drive),
              HasSubstr("line 16: a PCIDev has no"));
  EXPECT_THAT(with("bridge_pci=\"0001:[43-43]\"", "bridge_pci=\"0001\""), HasSubstr("does not say which buses"));
  EXPECT_THAT(with("</object>", ""), HasSubstr("</topology> closes nothing"));
  EXPECT_THAT(with("version=\"2.0\"", ""), HasSubstr("not written by hwloc 2 or 3"));
}

TEST(Hwloc, RefusesFunctionsBelowNoBridge) {
  std::string xml = small("2.0", "0", "2");
  // As lstopo --no-bridges leaves it: the devices alone.
  const std::size_t from = xml.find("<object type=\"Bridge\"");
  const std::size_t device = xml.find("<object type=\"PCIDev\"");
  const std::size_t end = xml.find("</object>", xml.find("nvme3n1"));
  const std::string drive = xml.substr(device, end + 9 - device);
  xml = xml.substr(0, from) + drive + "\n  </object>\n</topology>\n";
  const auto parts = load_hwloc_text(xml, "bad.xml");
  ASSERT_FALSE(parts);
  EXPECT_THAT(parts.error().message(), HasSubstr("0001:43:00.0 is below no bridge"));
}

TEST(Hwloc, SaysThatAFileIsNotThere) {
  const auto parts = load_hwloc("/nowhere/at/all.xml");
  ASSERT_FALSE(parts);
  EXPECT_EQ(parts.error().code, ErrorCode::not_found);
}

std::filesystem::path captured(const std::string& name) {
  const char* folder = std::getenv("BARTER_SHARED");
  const std::filesystem::path root =
      folder != nullptr ? std::filesystem::path(folder) : std::filesystem::path(BARTER_SOURCE_DIR) / ".." / "shared";
  return root / "data" / "machines" / "hwloc" / name;
}

TEST(HwlocOfCapturedMachines, BecomeTopologies) {
  // Counted with: grep -c pci_busid
  const std::pair<const char*, std::size_t> machines[] = {
      {"aws-p4d.24xl.xml", 27}, {"dgx2.xml", 84}, {"many-vfs.xml", 31}};
  for (const auto& [name, functions] : machines) {
    if (!std::filesystem::exists(captured(name))) GTEST_SKIP() << "skipped: there is no " << name << " here";
    const auto parts = load_hwloc(captured(name));
    ASSERT_TRUE(parts) << parts.error().message();
    EXPECT_EQ(parts->functions.size(), functions) << name;
    const auto topology = Topology::build(*parts);
    ASSERT_TRUE(topology) << topology.error().message();
    for (const FunctionInfo& function : topology->functions()) {
      EXPECT_FALSE(function.acs) << name << " " << function.bdf.to_string();
      // What hwloc's nesting says and what the bus numbers say is the same.
      const FunctionInfo* loaded = find(*parts, function.bdf.to_string());
      EXPECT_EQ(topology->parent(function.bdf), loaded->parent) << name << " " << function.bdf.to_string();
    }
  }
}

}  // namespace
}  // namespace barter::topology
