#include "qemu_machine.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace barter::guest {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

topology::Description described(std::string_view toml) {
  auto machine = topology::parse_description(toml, "test.toml");
  if (!machine) ADD_FAILURE() << machine.error().message();
  return machine ? *machine : topology::Description{};
}

QemuMachine made(std::string_view toml) {
  auto machine = qemu_machine(described(toml), "/images");
  if (!machine) ADD_FAILURE() << machine.error().message();
  return machine ? *machine : QemuMachine{};
}

std::string refusal(std::string_view toml) {
  const auto machine = qemu_machine(described(toml), "/images");
  return machine ? "" : machine.error().message();
}

constexpr std::string_view kRoot = "[[root_complex]]\nname = \"rc0\"\n";
constexpr std::string_view kPort = "[[root_port]]\nname = \"rp0\"\nbelow = \"rc0\"\n";
constexpr std::string_view kDrive = "[[drive]]\nname = \"nvme0\"\nbelow = \"rp0\"\nsize = \"1 MiB\"\n";

TEST(QemuMachine, PlugsADriveIntoARootPort) {
  const QemuMachine machine = made(fmt::format("{}{}{}cmb = \"16 MiB\"\n", kRoot, kPort, kDrive));
  EXPECT_THAT(machine.arguments, Contains("pcie-root-port,id=rp0,bus=pcie.0,addr=1,chassis=1,slot=1,disable-acs=on"));
  EXPECT_THAT(machine.arguments,
              Contains("nvme,id=nvme0,serial=nvme0,bus=rp0,addr=0.0,cmb_size_mb=16,max_ioqpairs=16"));
  ASSERT_EQ(machine.images.size(), 1u);
  EXPECT_EQ(machine.images[0].path, "/images/nvme0-n1.img");
  EXPECT_EQ(machine.images[0].size_bytes, 1u << 20);
  EXPECT_THAT(machine.kernel, IsEmpty());
}

TEST(QemuMachine, TellsTheKernelAllSevenBitsOfEachRootPort) {
  const QemuMachine machine = made(
      "[[root_complex]]\nname = \"rc0\"\n[[root_complex]]\nname = \"rc1\"\nroot_bus = 64\n"
      "[[root_port]]\nname = \"rp0\"\nbelow = \"rc0\"\nacs = [\"RR\", \"CR\"]\n"
      "[[root_port]]\nname = \"rp1\"\nbelow = \"rc1\"\nacs = []\n"
      "[[root_port]]\nname = \"rp2\"\nbelow = \"rc1\"\n");
  EXPECT_THAT(machine.kernel, ElementsAre("pci=config_acs=0001100@00:02.0;0000000@40:00.0"));
  EXPECT_THAT(machine.arguments, Contains("pxb-pcie,id=rc1,bus=pcie.0,addr=1,bus_nr=64"));
}

TEST(QemuMachine, WritesASwitchAfterThePortItIsPluggedInto) {
  const QemuMachine machine = made(fmt::format("{}{}{}", kRoot, kPort,
                                               "[[switch]]\nname = \"inner\"\nbelow = \"outer.0\"\nports = 1\n"
                                               "[[switch]]\nname = \"outer\"\nbelow = \"rp0\"\nports = 1\n"));
  const auto at = [&](std::string_view text) { return std::ranges::find(machine.arguments, text); };
  EXPECT_LT(at("x3130-upstream,id=outer,bus=rp0"), at("x3130-upstream,id=inner,bus=outer.0"));
}

TEST(QemuMachine, GivesADeviceSeveralFunctions) {
  const QemuMachine machine =
      made(fmt::format("{}{}{}{}", kRoot, kPort, kDrive,
                       "[[drive]]\nname = \"nvme1\"\nbelow = \"rp0\"\nfunction = 1\nsize = \"1 MiB\"\n"));
  EXPECT_THAT(machine.arguments, Contains(HasSubstr("id=nvme0,serial=nvme0,bus=rp0,addr=0.0,multifunction=on")));
  EXPECT_THAT(machine.arguments, Contains(HasSubstr("id=nvme1,serial=nvme1,bus=rp0,addr=0.1,multifunction=on")));
}

TEST(QemuMachine, NamesTheProcessorAndTheIommu) {
  const QemuMachine machine =
      made(fmt::format("iommu = \"translate\"\n[cpu]\nvendor = \"AuthenticAMD\"\nfamily = 23\n{}", kRoot));
  EXPECT_THAT(machine.arguments, Contains("max,vendor=AuthenticAMD,family=23,model=1,stepping=2"));
  EXPECT_THAT(machine.arguments, Contains(HasSubstr("intel-iommu")));
  EXPECT_THAT(machine.kernel, ElementsAre("intel_iommu=on", "iommu.passthrough=0"));
  EXPECT_THAT(made(kRoot).arguments, Not(Contains(HasSubstr("intel-iommu"))));
}

TEST(QemuMachine, RefusesWhatQemuHasNot) {
  const std::string base = fmt::format("{}{}", kRoot, kPort);
  const auto expect = [](const std::string& toml, std::string_view part, std::string_view why) {
    EXPECT_THAT(refusal(toml), ::testing::AllOf(HasSubstr(part), HasSubstr(why))) << toml;
  };
  expect(base + "[[switch]]\nname = \"sw0\"\nbelow = \"rp0\"\nports = 1\nacs = [\"RR\"]\n", "sw0.0",
         "QEMU's switches have no ACS");
  expect(fmt::format("{}acs = [\"EC\"]\n", base), "rp0", "QEMU's root ports have ACS with SV, TB, RR, CR, UF and DT");
  expect(fmt::format("{}link = \"5 GT/s x1\"\n", base), "rp0", "links of its own");
  expect(fmt::format("{}id = \"8086:3420\"\n", base), "rp0", "1b36:000c");
  expect(fmt::format("{}domain = 1\n", kRoot), "rc0", "domain 0 only");
  expect(fmt::format("{}numa_node = 1\n", kRoot), "rc0", "one NUMA node");
  expect(fmt::format("{}host_bridge = \"8086:2020\"\n", kRoot), "rc0", "8086:29c0");
  expect(fmt::format("{}root_bus = 1\n", kRoot), "rc0", "first root bus");
  expect(fmt::format("{}root_bus = 8\n[[root_complex]]\nname = \"rc2\"\nroot_bus = 4\n",
                     "[[root_complex]]\nname = \"rc0\"\n[[root_complex]]\nname = \"rc1\"\n"),
         "rc2", "ascending order");
  expect(fmt::format("{}{}cmb = \"4 KiB\"\n", base, kDrive), "nvme0", "1 MiB to 1 GiB");
  expect(fmt::format("{}{}sgl = false\n", base, kDrive), "nvme0", "scatter-gather");
  expect(fmt::format("{}{}acs = [\"RR\"]\n", base, kDrive), "nvme0", "QEMU's drives have no ACS");
  expect(fmt::format("{}{}doorbell_stride_log2 = 1\n", base, kDrive), "nvme0", "side by side");
  expect(base + "[[drive]]\nname = \"a-name-of-21-letters.\"\nbelow = \"rp0\"\nsize = 512\n", "a-name",
         "serial number");
  expect(base + "[[drive]]\nname = \"0\"\nbelow = \"rp0\"\nsize = 512\n", "0", "begins with a letter");
  expect(base + "[[function]]\nname = \"gpu\"\nbelow = \"rp0\"\nid = \"10de:20b0\"\nclass = 0x030200\n", "gpu",
         "drives only");
  expect(fmt::format("{}root_bus = 8\n[[drive]]\nname = \"nvme0\"\nbelow = \"rc1\"\nsize = 512\n",
                     "[[root_complex]]\nname = \"rc0\"\n[[root_complex]]\nname = \"rc1\"\n"),
         "nvme0", "first root bus only");
}

}  // namespace
}  // namespace barter::guest
