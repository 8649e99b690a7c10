#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pci/config_space.h"
#include "topology/load.h"
#include "topology/load_sysfs_nvme.h"

namespace barter::topology {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A sysfs tree in a temporary folder: a root port 00:01.0, below it a drive 01:00.0.
class SysfsTree : public ::testing::Test {
 protected:
  SysfsTree() : root_(fs::temp_directory_path() / ("barter-sysfs-" + std::to_string(getpid())) / "sys") {
    fs::remove_all(root_.parent_path());
    write("devices/pci0000:00/0000:00:01.0/config", text_of(port()));
    write("devices/pci0000:00/0000:00:01.0/0000:01:00.0/config", text_of(drive()));
    link("0000:00:01.0", "pci0000:00/0000:00:01.0");
    link("0000:01:00.0", "pci0000:00/0000:00:01.0/0000:01:00.0");
  }
  ~SysfsTree() override { fs::remove_all(root_.parent_path()); }

  static pci::ConfigSpace port() {
    auto config = pci::ConfigSpace::blank();
    config.write(0x00, 4, 0x000c1b36);
    config.write(0x04, 4, 0x00100006);
    config.write(0x08, 4, 0x06040000);
    config.write(0x0e, 1, 1);
    config.write(0x18, 4, 0x00010100);
    config.write(0x34, 1, 0x40);
    config.write(0x40, 4, 0x00420010);  // Express 2, root port
    config.write(0x4c, 4, 0x05000044);  // port 5, x4 at 16 GT/s
    config.write(0x52, 2, 0x0043);
    config.write(0x100, 4, 0x0001000d);  // ACS
    config.write(0x104, 4, 0x001d005f);
    return config;
  }
  static pci::ConfigSpace drive() {
    auto config = pci::ConfigSpace::blank();
    config.write(0x00, 4, 0x00101b36);
    config.write(0x04, 4, 0x00100006);
    config.write(0x08, 4, 0x01080202);
    config.write(0x10, 4, 0xfe000004);
    config.write(0x34, 1, 0x40);
    config.write(0x40, 4, 0x00020010);
    config.write(0x48, 4, 0x00002810);
    config.write(0x4c, 4, 0x00000044);
    config.write(0x52, 2, 0x0044);
    return config;
  }
  static std::string text_of(const pci::ConfigSpace& config) { return {config.bytes().begin(), config.bytes().end()}; }

  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  void link(const std::string& name, const std::string& to) {
    fs::create_directories(root_ / "bus/pci/devices");
    fs::create_symlink("../../../devices/" + to, root_ / "bus/pci/devices" / name);
  }
  const std::string drive_ = "devices/pci0000:00/0000:00:01.0/0000:01:00.0/";
  const std::string port_ = "devices/pci0000:00/0000:00:01.0/";

  TopologyParts load() {
    auto parts = load_sysfs(root_);
    EXPECT_TRUE(parts) << parts.error().message();
    return parts ? *parts : TopologyParts{};
  }
  std::string refusal() {
    const auto parts = load_sysfs(root_);
    return parts ? "loaded" : parts.error().message();
  }

  fs::path root_;
};

TEST_F(SysfsTree, ACopyOfTheFolderAboveSysIsTakenToo) {
  const auto parts = load_sysfs(root_.parent_path());
  ASSERT_TRUE(parts) << parts.error().message();
  EXPECT_EQ(parts->functions.size(), 2u);
}

TEST_F(SysfsTree, TellsWhatConfigSpaceTells) {
  const auto parts = load();
  ASSERT_EQ(parts.functions.size(), 2u);
  const FunctionInfo& port = parts.functions[0];
  EXPECT_EQ(port.bdf.to_string(), "0000:00:01.0");
  EXPECT_EQ(*port.port_type, PortType::root_port);
  EXPECT_EQ(port.bridge->secondary, 1);
  EXPECT_EQ(port.port_number, 5);
  EXPECT_EQ(*port.link_max, (LinkState{16000, 4}));
  EXPECT_EQ(*port.link_now, (LinkState{8000, 4}));
  ASSERT_TRUE(port.acs && port.acs->has_value());
  EXPECT_EQ((*port.acs)->capability, 0x5f);
  EXPECT_EQ((*port.acs)->control, 0x1d);
  EXPECT_EQ((*port.acs)->offset, 0x100);
  EXPECT_FALSE(port.parent);
  const FunctionInfo& drive = parts.functions[1];
  EXPECT_EQ(drive.parent, port.bdf);
  EXPECT_EQ(*drive.max_read_request_bytes, 512u);
  EXPECT_TRUE(*drive.relaxed_ordering);
  EXPECT_TRUE(drive.acs && !drive.acs->has_value());
  ASSERT_EQ(parts.host_bridges.size(), 1u);
  EXPECT_EQ(parts.host_bridges[0].root_bus, 0);
  EXPECT_FALSE(parts.host_bridges[0].turns_reads);
}

TEST_F(SysfsTree, WhatACopyLacksIsUnknown) {
  const auto parts = load();
  EXPECT_FALSE(parts.cpu);
  EXPECT_FALSE(parts.iommu);
  EXPECT_EQ(parts.iommu.why_unknown(), "the copy has no kernel/iommu_groups");
  EXPECT_FALSE(parts.is_virtual_machine);
  EXPECT_FALSE(parts.functions[1].numa_node);
  EXPECT_FALSE(parts.functions[1].iommu_group);
  EXPECT_FALSE(parts.functions[1].controller_memory);
  ASSERT_EQ(parts.functions[1].bars.size(), 1u);
  EXPECT_FALSE(parts.functions[1].bars[0].size_bytes);
}

TEST_F(SysfsTree, TakesAttributes) {
  write(drive_ + "numa_node", "1\n");
  write(port_ + "numa_node", "-1\n");
  write(drive_ + "resource",
        "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
        "0x0000004000000000 0x0000004003ffffff 0x000000000014220c\n");
  write(drive_ + "nvme/nvme3/cmb", "cmbloc : x00000002\ncmbsz  : x0004021d\n");
  write("kernel/iommu_groups/7/devices/0000:01:00.0", "");
  write("kernel/iommu_groups/7/type", "DMA-FQ\n");
  write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: fpu hypervisor sse\n");
  const auto parts = load();
  EXPECT_EQ(parts.cpu->vendor, "AuthenticAMD");
  EXPECT_EQ(parts.cpu->family, 25u);
  EXPECT_TRUE(*parts.is_virtual_machine);
  EXPECT_EQ(*parts.iommu, IommuMode::translate);
  EXPECT_FALSE(parts.functions[0].numa_node);
  EXPECT_EQ(*parts.functions[0].iommu_group, std::nullopt);
  const FunctionInfo& drive = parts.functions[1];
  EXPECT_EQ(drive.name, "nvme3");
  EXPECT_EQ(*drive.numa_node, 1);
  EXPECT_EQ(*drive.iommu_group, 7u);
  ASSERT_EQ(drive.bars.size(), 2u);
  EXPECT_EQ(drive.bars[0].address->value, 0xfe000000u);
  EXPECT_EQ(*drive.bars[0].size_bytes, 0x4000u);
  EXPECT_EQ(drive.bars[1].index, 2);
  EXPECT_TRUE(drive.bars[1].is_64bit && drive.bars[1].is_prefetchable);
  EXPECT_EQ(*drive.bars[1].size_bytes, 64u << 20);
  ASSERT_TRUE(drive.controller_memory && drive.controller_memory->has_value());
  const ControllerMemoryInfo& memory = **drive.controller_memory;
  EXPECT_EQ(memory.bar, 2);
  EXPECT_EQ(memory.size_bytes, 64u << 20);
  EXPECT_TRUE(memory.submission_queues && !memory.completion_queues && memory.lists);
  EXPECT_TRUE(memory.read_data && memory.write_data);
}

TEST_F(SysfsTree, TellsTheModesOfTheIommu) {
  fs::create_directories(root_ / "kernel/iommu_groups");
  EXPECT_EQ(*load().iommu, IommuMode::off);
  write("kernel/iommu_groups/0/type", "identity\n");
  EXPECT_EQ(*load().iommu, IommuMode::passthrough);
  write("kernel/iommu_groups/1/type", "DMA\n");
  EXPECT_FALSE(load().iommu);
  write("kernel/iommu_groups/0/type", "DMA\n");
  EXPECT_EQ(*load().iommu, IommuMode::translate);
}

TEST_F(SysfsTree, WithoutRootLinksComeFromTheirAttributes) {
  write(drive_ + "config", text_of(drive().first(64)));
  write(drive_ + "current_link_speed", "8.0 GT/s PCIe\n");
  write(drive_ + "current_link_width", "2\n");
  write(drive_ + "max_link_speed", "Unknown\n");
  write(drive_ + "max_link_width", "255\n");
  const auto parts = load();
  EXPECT_EQ(*parts.functions[1].link_now, (LinkState{8000, 2}));
  EXPECT_FALSE(parts.functions[1].link_max);
  EXPECT_EQ(parts.functions[1].acs.why_unknown(), "only the first 64 bytes of config space could be read; run as root");
}

// What `tar -C / -cf - sys/... | tar -x` makes of an attribute: the kernel calls each 4096 bytes long.
TEST_F(SysfsTree, TheZerosThatTarAddsAreNoPartOfAnAttribute) {
  const auto padded = [](std::string text) {
    text.resize(4096, '\0');
    return text;
  };
  write(drive_ + "numa_node", padded("1\n"));
  write(drive_ + "vendor", padded("0x1b36\n"));
  write(drive_ + "resource", padded("0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n"));
  write(drive_ + "nvme/nvme3/cmb", padded("cmbloc : x00000002\ncmbsz  : x0004021d\n"));
  write("kernel/iommu_groups/7/devices/0000:01:00.0", "");
  write("kernel/iommu_groups/7/type", padded("DMA-FQ\n"));
  const auto parts = load();
  ASSERT_EQ(parts.functions.size(), 2u);
  EXPECT_EQ(*parts.functions[1].numa_node, 1);
  EXPECT_EQ(*parts.functions[1].vendor_id, 0x1b36);
  EXPECT_EQ(*parts.functions[1].bars.at(0).size_bytes, 0x4000u);
  EXPECT_EQ(*parts.iommu, IommuMode::translate);
  write(drive_ + "numa_node", std::string("1\0002\n", 4));
  EXPECT_THAT(refusal(), HasSubstr("is no NUMA node")) << "zeros in the middle are none of tar's";
}

TEST_F(SysfsTree, AConfigSpaceThatTarFilledUpWithZerosIsNotBelieved) {
  std::string header = text_of(drive().first(64));
  header.resize(4096, '\0');
  write(drive_ + "config", header);
  const auto parts = load();
  ASSERT_EQ(parts.functions.size(), 2u);
  EXPECT_FALSE(parts.functions[1].acs);
  EXPECT_EQ(parts.functions[1].acs.why_unknown(), "only the first 64 bytes of config space could be read; run as root");
}

TEST_F(SysfsTree, WithoutConfigTheRestStays) {
  fs::remove(root_ / port_ / "config");
  write(port_ + "vendor", "0x1b36\n");
  write(port_ + "class", "0x060400\n");
  write(port_ + "secondary_bus_number", "1\n");
  write(port_ + "subordinate_bus_number", "2\n");
  const auto parts = load();
  EXPECT_EQ(*parts.functions[0].vendor_id, 0x1b36);
  EXPECT_FALSE(parts.functions[0].device_id);
  EXPECT_EQ(parts.functions[0].bridge->subordinate, 2);
  EXPECT_FALSE(parts.functions[0].acs);
}

TEST_F(SysfsTree, ACopyWithoutLinksHasNoParents) {
  const fs::path copy = root_.parent_path() / "copy";
  fs::create_directories(copy / "bus/pci/devices");
  for (const char* name : {"0000:00:01.0", "0000:01:00.0"}) {
    fs::create_directories(copy / "bus/pci/devices" / name);
    fs::copy_file(root_ / "bus/pci/devices" / name / "config", copy / "bus/pci/devices" / name / "config");
  }
  const auto parts = load_sysfs(copy);
  ASSERT_TRUE(parts) << parts.error().message();
  EXPECT_EQ(parts->functions.size(), 2u);
  EXPECT_FALSE(parts->functions[1].parent);
  EXPECT_EQ(parts->functions[0].bridge->secondary, 1);
}

TEST_F(SysfsTree, AVirtualFunctionTakesWhatIsItsPhysicalFunctions) {
  auto config = drive();
  config.write(0, 4, 0xffffffff);
  config.write(0x10, 4, 0);
  config.write(0x48, 2, 0);
  write(port_ + "0000:01:00.1/config", text_of(config));
  write(port_ + "0000:01:00.1/vendor", "0x1b36\n");
  write(port_ + "0000:01:00.1/device", "0x0011\n");
  link("0000:01:00.1", "pci0000:00/0000:00:01.0/0000:01:00.1");
  fs::create_symlink("../0000:01:00.0", root_ / port_ / "0000:01:00.1/physfn");
  const auto parts = load();
  ASSERT_EQ(parts.functions.size(), 3u);
  const FunctionInfo& virtual_function = parts.functions[2];
  EXPECT_EQ(virtual_function.physical_function, parts.functions[1].bdf);
  EXPECT_EQ(*virtual_function.device_id, 0x0011);
  EXPECT_EQ(*virtual_function.max_read_request_bytes, 512u);
}

TEST_F(SysfsTree, NamesTheFileOfEachFault) {
  write(drive_ + "numa_node", "seven\n");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/numa_node: 'seven' is no NUMA node"));
  write(drive_ + "numa_node", "0\n");
  write(drive_ + "vendor", "0x12345\n");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/vendor: '0x12345' is no number from 0 to 0xffff"));
  write(drive_ + "vendor", "0x1b36\n");
  write(drive_ + "resource", "0x10 0x0f 0x200\n");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/resource, line 1: 0x10 to 0xf is no range"));
  write(drive_ + "resource", "0x0 0xffffffffffffffff 0x200\n");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/resource, line 1"));
  write(drive_ + "resource", "hello\n");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/resource, line 1: it does not hold three numbers"));
  write(drive_ + "resource", "");
  write(drive_ + "nvme/nvme0/cmb", "nothing\n");
  EXPECT_THAT(refusal(), HasSubstr("nvme/nvme0/cmb"));
  write(drive_ + "nvme/nvme0/cmb", std::string(5000, 'x'));
  EXPECT_THAT(refusal(), HasSubstr("nvme/nvme0/cmb: it holds more than 4096 bytes"));
  fs::remove_all(root_ / drive_ / "nvme");
  write(drive_ + "config", "short");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/config, offset 0x05: config space ends after 5 bytes"));
  auto looping = drive();
  looping.write(0x41, 1, 0x40);
  write(drive_ + "config", text_of(looping));
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/config, offset 0x41: the capability list loops back to 0x40"));
  fs::remove(root_ / drive_ / "config");
  fs::create_directories(root_ / drive_ / "config");
  EXPECT_THAT(refusal(), HasSubstr("0000:01:00.0/config: it is not a file"));
}

TEST_F(SysfsTree, RefusesWhatIsNoTree) {
  EXPECT_EQ(load_sysfs("/nonexistent").error().code, ErrorCode::not_found);
  EXPECT_EQ(load_sysfs(root_ / "devices").error().code, ErrorCode::malformed);
  fs::create_symlink("../../../devices/gone", root_ / "bus/pci/devices/0000:02:00.0");
  EXPECT_THAT(refusal(), HasSubstr("bus/pci/devices/0000:02:00.0: it is not a folder"));
  fs::remove(root_ / "bus/pci/devices/0000:02:00.0");
  fs::create_directories(root_ / "bus/pci/devices/nonsense");
  EXPECT_THAT(refusal(), HasSubstr("bus/pci/devices/nonsense: this is not the name of a PCI function"));
}

TEST_F(SysfsTree, RefusesBarsThatOverlap) {
  write(drive_ + "resource", "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n");
  write(port_ + "resource", "0x00000000fe002000 0x00000000fe002fff 0x0000000000140204\n");
  EXPECT_THAT(refusal(), HasSubstr("BAR 0 of 0000:00:01.0 at 0xfe002000 overlaps BAR 0 of 0000:01:00.0 at 0xfe000000"));
}

TEST(ControllerMemory, IsDecodedAsTheSpecificationSays) {
  EXPECT_FALSE(sysfs::decode_controller_memory(0, 0)->has_value());
  const auto memory = sysfs::decode_controller_memory(0x00003004, 0x00010118);
  ASSERT_TRUE(memory && memory->has_value());
  EXPECT_EQ((*memory)->bar, 4);
  EXPECT_EQ((*memory)->offset_bytes, 3 * 65536u);
  EXPECT_EQ((*memory)->size_bytes, 16 * 65536u);
  EXPECT_FALSE((*memory)->submission_queues);
  EXPECT_TRUE((*memory)->read_data && (*memory)->write_data);
  EXPECT_FALSE(sysfs::decode_controller_memory(0, 0x00001700));
}

TEST(Sysfs, OfThisComputerIsLoaded) {
  if (!fs::is_directory("/sys/bus/pci/devices")) GTEST_SKIP() << "skipped: this computer shows no PCI in /sys";
  const auto parts = load_sysfs("/sys");
  ASSERT_TRUE(parts) << parts.error().message();
  const auto entries = std::distance(fs::directory_iterator("/sys/bus/pci/devices"), fs::directory_iterator{});
  EXPECT_EQ(static_cast<std::ptrdiff_t>(parts->functions.size()), entries);
  EXPECT_TRUE(parts->functions.empty() || !parts->host_bridges.empty());
  for (const FunctionInfo& function : parts->functions) EXPECT_TRUE(function.vendor_id) << function.bdf.to_string();
}

}  // namespace
}  // namespace barter::topology
