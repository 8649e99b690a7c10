// The system's facts, read from trees that a test writes: whole ones, poor ones and broken ones.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "barter/doctor.hpp"
#include "doctor/kernel_version.h"
#include "doctor/read_kernel_options.h"
#include "doctor/test_machines.h"

namespace barter::doctor {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SystemTree : public ::testing::Test {
 protected:
  SystemTree() : root_(fs::temp_directory_path() / ("barter-system-" + std::to_string(getpid()))) {
    fs::remove_all(root_);
  }
  ~SystemTree() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  void link(const std::string& name, const std::string& target) const {
    fs::create_directories((root_ / name).parent_path());
    fs::create_directory_symlink(target, root_ / name);
  }
  // Two NVMe functions with all that a kernel shows of them.
  void write_drives() const {
    const std::string drive = "sys/bus/pci/devices/0000:01:00.0";
    write(drive + "/p2pmem/size", "67108864\n");
    write(drive + "/p2pmem/available", "33554432\n");
    write(drive + "/p2pmem/published", "1\n");
    link(drive + "/driver", "../../../bus/pci/drivers/nvme");
    write(drive + "/nvme/nvme0/nvme0c0n1/size", "100\n");
    const std::string other = "sys/bus/pci/devices/0000:02:00.0";
    link(other + "/driver", "../../../bus/pci/drivers/vfio-pci");
    link(other + "/subsystem", "../../../bus/pci");
    write(other + "/nvme/nvme1/nvme1n1/holders/dm-0/name", "x");
    write(other + "/nvme/nvme1/nvme1n1/nvme1n1p2/holders/md0/name", "x");
  }
  static std::string packed(const std::string& text) {
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    std::string input = text;
    std::string output(text.size() + 1024, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(input.data());
    stream.avail_in = static_cast<uInt>(input.size());
    stream.next_out = reinterpret_cast<Bytef*>(output.data());
    stream.avail_out = static_cast<uInt>(output.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    output.resize(stream.total_out);
    deflateEnd(&stream);
    return output;
  }
  Result<SystemFacts> read() const { return read_system(root_); }
  static OptionState state_of(const SystemFacts& facts, std::string_view name) {
    const KernelOption* option = facts.option(name);
    EXPECT_TRUE(option != nullptr && option->state) << name;
    return option != nullptr && option->state ? *option->state : OptionState::no;
  }

  fs::path root_;
};

constexpr const char* kConfig =
    "CONFIG_PCI_P2PDMA=y\n# CONFIG_IOMMUFD is not "
    "set\nCONFIG_VFIO_PCI=m\nCONFIG_ZONE_DEVICE=y\nCONFIG_IO_URING_ZCRX=y\n";

TEST_F(SystemTree, TellsKernelDriversAndMemory) {
  write("proc/sys/kernel/osrelease", "6.12.9+bpo-amd64\n");
  write("proc/cmdline", "BOOT_IMAGE=/vmlinuz intel_iommu=on iommu=pt\n");
  write("boot/config-6.12.9+bpo-amd64", kConfig);
  write("sys/module/nvme_core/parameters/multipath", "Y\n");
  write("sys/devices/system/node/node0/distance", "10 32\n");
  write("sys/devices/system/node/node1/distance", "32 10\n");
  write_drives();
  const auto facts = read();
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(*facts->kernel_release, "6.12.9+bpo-amd64");
  EXPECT_THAT(*facts->command_line, HasSubstr("iommu=pt"));
  EXPECT_EQ(state_of(*facts, "CONFIG_PCI_P2PDMA"), OptionState::yes);
  EXPECT_EQ(state_of(*facts, "CONFIG_VFIO_PCI"), OptionState::module);
  EXPECT_EQ(state_of(*facts, "CONFIG_IOMMUFD"), OptionState::no);
  EXPECT_EQ(state_of(*facts, "CONFIG_IO_URING"), OptionState::no) << "a longer name is another option";
  EXPECT_THAT(facts->option("CONFIG_PCI_P2PDMA")->source, HasSubstr("boot/config-6.12.9+bpo-amd64"));
  EXPECT_EQ(*facts->nvme_multipath, true);
  EXPECT_FALSE(facts->queues_in_cmb);
  ASSERT_EQ(facts->numa_distances->size(), 4u);
  EXPECT_EQ((*facts->numa_distances)[1].distance, 32u);
  EXPECT_FALSE(facts->memlock_bytes) << "a capture has no user";

  const FunctionUse* drive = facts->use_of({.bus = 1});
  ASSERT_NE(drive, nullptr);
  EXPECT_EQ(*drive->driver, "nvme");
  ASSERT_TRUE(drive->peer_memory && *drive->peer_memory);
  EXPECT_EQ((*drive->peer_memory)->available_bytes, std::uint64_t{32} << 20);
  EXPECT_TRUE((*drive->peer_memory)->is_published);
  EXPECT_THAT(drive->multipath_namespaces, ElementsAre("nvme0c0n1"));
  const FunctionUse* other = facts->use_of({.bus = 2});
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(*other->driver, "vfio-pci");
  EXPECT_FALSE(*other->peer_memory);
  EXPECT_THAT(other->holders, ElementsAre("dm-0 on nvme1n1", "md0 on nvme1n1p2"));
}

TEST_F(SystemTree, UnpacksTheRunningConfiguration) {
  write("proc/version", "Linux version 6.6.1-arch (builder) #1\n");
  write("proc/config.gz", packed(kConfig));
  const auto facts = read();
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(*facts->kernel_release, "6.6.1-arch");
  EXPECT_EQ(state_of(*facts, "CONFIG_ZONE_DEVICE"), OptionState::yes);
}

TEST_F(SystemTree, ProvesOptionsByWhatTheyLeaveBehind) {
  write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
  write("proc/kallsyms", "0000000000000000 T memremap_pages\n0000000000000000 T not_pci_p2pdma_distance_many_at_all\n");
  write("lib/modules/6.1.0-18-amd64/modules.builtin", "kernel/drivers/iommu/iommufd/iommufd.ko\n");
  write("lib/modules/6.1.0-18-amd64/modules.dep",
        "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n");
  const auto facts = read();
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_EQ(state_of(*facts, "CONFIG_PCI_P2PDMA"), OptionState::no);
  EXPECT_EQ(state_of(*facts, "CONFIG_ZONE_DEVICE"), OptionState::yes);
  EXPECT_EQ(state_of(*facts, "CONFIG_VFIO_PCI"), OptionState::module);
  EXPECT_EQ(state_of(*facts, "CONFIG_IOMMUFD"), OptionState::yes);
  EXPECT_FALSE(facts->option("CONFIG_VFIO_PCI_DMABUF")->state);
  EXPECT_THAT(facts->option("CONFIG_VFIO_PCI_DMABUF")->state.why_unknown(), HasSubstr("boot/config-6.1.0-18-amd64"));
}

TEST_F(SystemTree, OfNothingIsUnknownAndNoError) {
  fs::create_directories(root_);
  const auto facts = read();
  ASSERT_TRUE(facts) << facts.error().message();
  EXPECT_FALSE(facts->kernel_release);
  EXPECT_FALSE(facts->option("CONFIG_PCI_P2PDMA")->state);
  EXPECT_TRUE(facts->functions.empty());
}

TEST_F(SystemTree, RefusesWhatIsBroken) {
  const auto refusal = [this](const std::string& name, const std::string& text) {
    fs::remove_all(root_);
    write(name, text);
    const auto facts = read();
    return facts ? std::string("not refused") : facts.error().message();
  };
  EXPECT_THAT(refusal("proc/sys/kernel/osrelease", "../../etc/passwd"), HasSubstr("not the release of a kernel"));
  EXPECT_THAT(refusal("proc/sys/kernel/osrelease", ""), HasSubstr("not the release of a kernel"));
  EXPECT_THAT(refusal("proc/config.gz", "no gzip"), HasSubstr("no whole gzip file"));
  EXPECT_THAT(refusal("proc/config.gz", packed(kConfig).substr(0, 40)), HasSubstr("no whole gzip file"));
  EXPECT_THAT(refusal("proc/config.gz", packed(std::string(kMaxConfigBytes + 1, 'x'))),
              HasSubstr("unpacks to more than"));
  EXPECT_THAT(refusal("sys/bus/pci/devices/0000:01:00.0/p2pmem/size", "many"), HasSubstr("no number"));
  EXPECT_THAT(refusal("sys/devices/system/node/node0/distance", "near"), HasSubstr("doesn't hold 1 distances"));
  EXPECT_THAT(refusal("proc/cmdline", std::string(5000, 'a')), HasSubstr("holds more than 4096 bytes"));
}

TEST_F(SystemTree, BelongsToTheCaptureThatHasIt) {
  write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
  write("boot/config-6.1.0-18-amd64", kConfig);
  fs::create_directories(root_ / "sys/bus/pci/devices");
  const auto machine = Machine::open("sysfs:" + root_.string());
  ASSERT_TRUE(machine) << machine.error().message();
  const auto findings = examine(*machine);
  ASSERT_TRUE(findings) << findings.error().message();
  const auto kernel = test::find(*findings, "kernel_version", "6.1.0-18-amd64");
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->severity, Severity::blocker);
  EXPECT_THAT(kernel->source, HasSubstr(root_.string()));
  EXPECT_EQ(findings->front().code, "kernel_version") << "the most important comes first";
}

TEST(ReadSystem, WorksOnThisComputer) {
  const auto facts = read_system();
  ASSERT_TRUE(facts) << facts.error().message();
  ASSERT_TRUE(facts->kernel_release);
  EXPECT_TRUE(parse_kernel_version(*facts->kernel_release));
  EXPECT_TRUE(facts->may_administer);
  EXPECT_TRUE(facts->memlock_bytes);
}

TEST(KernelVersion, IsReadFromTheStartOfARelease) {
  EXPECT_EQ(parse_kernel_version("6.1.0-18-amd64"), (KernelVersion{6, 1}));
  EXPECT_EQ(parse_kernel_version("7.2-rc3"), (KernelVersion{7, 2}));
  EXPECT_FALSE(parse_kernel_version("six.one"));
  EXPECT_FALSE(parse_kernel_version("6"));
  EXPECT_FALSE(parse_kernel_version(""));
  EXPECT_LT((KernelVersion{6, 9}), (KernelVersion{6, 10}));
}

}  // namespace
}  // namespace barter::doctor
