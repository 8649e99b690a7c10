// Binding on a small tree of sysfs, with a test that plays the kernel: it moves the links as the kernel does when somebody
// writes to unbind, bind and drivers_probe.
#include "linux/binding/driver_binding.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "linux/binding/system_users.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kDrive = "0000:03:00.0";
constexpr const char* kSecond = "0000:03:00.1";
constexpr const char* kAlone = "0000:04:00.0";
constexpr const char* kPort = "0000:00:02.0";

class BindingTree : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / fmt_name();
    fs::remove_all(root_);
    for (const char* driver : {"nvme", "vfio-pci", "pcieport"}) fs::create_directories(drivers() / driver);
    add(kDrive, "0x010802", "nvme", 7);
    add(kSecond, "0x010802", "nvme", 7);
    add(kPort, "0x060400", "pcieport", 7);
    add(kAlone, "0x010802", "nvme", 8);
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string fmt_name() {
    return std::string("binding_") + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  [[nodiscard]] fs::path drivers() const { return root_ / "bus/pci/drivers"; }
  [[nodiscard]] fs::path folder(const std::string& function) const { return root_ / "bus/pci/devices" / function; }
  static void put(const fs::path& file, std::string_view text) { std::ofstream(file) << text; }
  static std::string get(const fs::path& file) {
    std::string text;
    std::getline(std::ifstream(file), text);
    return text;
  }

  void add(const std::string& function, const char* class_code, const char* driver, int group) {
    fs::create_directories(folder(function));
    put(folder(function) / "class", std::string(class_code) + "\n");
    put(folder(function) / "driver_override", "(null)\n");
    hold(function, driver);
    const fs::path devices = root_ / "kernel/iommu_groups" / std::to_string(group) / "devices";
    fs::create_directories(devices);
    fs::create_directory_symlink(folder(function), devices / function);
    fs::create_directory_symlink(root_ / "kernel/iommu_groups" / std::to_string(group),
                                 folder(function) / "iommu_group");
  }
  void hold(const std::string& function, const std::string& driver) {
    fs::remove(folder(function) / "driver");
    if (!driver.empty()) fs::create_directory_symlink(drivers() / driver, folder(function) / "driver");
  }
  [[nodiscard]] std::string holder(const char* function) const {
    return PciSysfs(root_).driver(*Bdf::parse(function)).value_or("");
  }

  // What the kernel does with one write. Drivers in `refusing_` probe nothing.
  Result<void> kernel(const fs::path& file, std::string_view text) {
    written_.push_back(file.lexically_relative(root_).string() + " < " + std::string(text == "\n" ? "" : text));
    if (failing_.contains(file.filename().string()))
      return fail(
          {.code = ErrorCode::io_failed, .doing = "writing", .subject = file.string(), .why = "the test says so"});
    const std::string function(text);
    if (file.filename() == "driver_override") {
      put(file, text == "\n" ? "(null)\n" : std::string(text) + "\n");
    } else if (file.filename() == "unbind") {
      hold(function, "");
    } else if (file.filename() == "bind") {
      hold(function, file.parent_path().filename().string());
    } else if (file.filename() == "drivers_probe") {
      const std::string wanted = get(folder(function) / "driver_override");
      const std::string driver = wanted == "(null)" ? "nvme" : wanted;
      if (!refusing_.contains(driver)) hold(function, driver);
    }
    return {};
  }
  DriverBinding binding() {
    return {PciSysfs(root_), [this](Bdf) -> Result<std::vector<std::string>> { return users_; },
            [this](const fs::path& file, std::string_view text) { return kernel(file, text); }};
  }
  Result<BindPlan> plan(const char* function, std::string_view driver, BindOptions options = {}) {
    return binding().plan(*Bdf::parse(function), driver, options);
  }

  fs::path root_;
  std::vector<std::string> users_;
  std::vector<std::string> written_;
  std::set<std::string> refusing_;
  std::set<std::string> failing_;
};

TEST_F(BindingTree, ThereAndBack) {
  auto there = plan(kAlone, "vfio-pci");
  ASSERT_TRUE(there) << there.error().message();
  EXPECT_THAT(written_, IsEmpty());
  EXPECT_EQ(there->steps.size(), 3u);
  auto done = binding().carry_out(*there);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(holder(kAlone), "vfio-pci");
  EXPECT_THAT(written_,
              ElementsAre("bus/pci/devices/0000:04:00.0/driver_override < vfio-pci",
                          "bus/pci/drivers/nvme/unbind < 0000:04:00.0", "bus/pci/drivers_probe < 0000:04:00.0"));
  written_.clear();
  auto back = plan(kAlone, "nvme");
  ASSERT_TRUE(back) << back.error().message();
  ASSERT_TRUE(binding().carry_out(*back));
  EXPECT_EQ(holder(kAlone), "nvme");
  EXPECT_EQ(get(folder(kAlone) / "driver_override"), "(null)");
  EXPECT_THAT(written_,
              ElementsAre("bus/pci/devices/0000:04:00.0/driver_override < ",
                          "bus/pci/drivers/vfio-pci/unbind < 0000:04:00.0", "bus/pci/drivers_probe < 0000:04:00.0"));
}

TEST_F(BindingTree, WhatIsDoneAlreadyNeedsNoSteps) {
  auto nothing = plan(kAlone, "nvme");
  ASSERT_TRUE(nothing);
  EXPECT_THAT(nothing->steps, IsEmpty());
  EXPECT_TRUE(binding().carry_out(*nothing));
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(BindingTree, AFunctionWithoutADriverIsTakenToo) {
  hold(kAlone, "");
  auto there = plan(kAlone, "vfio-pci");
  ASSERT_TRUE(there);
  EXPECT_EQ(there->steps.size(), 2u);
  ASSERT_TRUE(binding().carry_out(*there));
  EXPECT_EQ(holder(kAlone), "vfio-pci");
}

TEST_F(BindingTree, AGroupIsGivenAsAWhole) {
  auto alone = plan(kDrive, "vfio-pci");
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, ErrorCode::refused);
  EXPECT_THAT(alone.error().message(), HasSubstr("0000:03:00.1 (nvme)"));
  EXPECT_THAT(alone.error().message(), Not(HasSubstr("pcieport")));
  auto together = plan(kDrive, "vfio-pci", {.with_group = true});
  ASSERT_TRUE(together) << together.error().message();
  EXPECT_EQ(together->functions.size(), 2u);
  ASSERT_TRUE(binding().carry_out(*together));
  EXPECT_EQ(holder(kDrive), "vfio-pci");
  EXPECT_EQ(holder(kSecond), "vfio-pci");
  EXPECT_EQ(holder(kPort), "pcieport");
  // Going back is each one's own affair.
  ASSERT_TRUE(binding().carry_out(*plan(kDrive, "nvme")));
  EXPECT_EQ(holder(kSecond), "vfio-pci");
}

TEST_F(BindingTree, WhatIsInUseStays) {
  users_ = {"nvme0n1p1 is mounted at /home", "nvme0n1p2 is swap"};
  auto there = plan(kAlone, "vfio-pci");
  ASSERT_FALSE(there);
  EXPECT_EQ(there.error().code, ErrorCode::refused);
  EXPECT_THAT(there.error().message(), HasSubstr("mounted at /home; nvme0n1p2 is swap"));
}

TEST_F(BindingTree, WhatCameIntoUseSinceStays) {
  auto there = plan(kAlone, "vfio-pci");
  ASSERT_TRUE(there);
  users_ = {"nvme0n1 is mounted at /mnt"};
  EXPECT_FALSE(binding().carry_out(*there));
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(BindingTree, NonsenseIsRefused) {
  for (const char* driver : {"", "..", "../nvme", "nvme/x", "nvme\n"}) EXPECT_FALSE(plan(kAlone, driver)) << driver;
  EXPECT_EQ(plan(kAlone, "xhci_hcd").error().code, ErrorCode::not_found);
  EXPECT_EQ(plan("0000:7f:00.0", "vfio-pci").error().code, ErrorCode::not_found);
  EXPECT_FALSE(plan(kPort, "vfio-pci", {.with_group = true}));
  fs::remove(folder(kAlone) / "iommu_group");
  EXPECT_THAT(plan(kAlone, "vfio-pci").error().message(), HasSubstr("IOMMU"));
}

TEST_F(BindingTree, ADriverThatDoesNotTakeItIsAnErrorAndNothingHasChanged) {
  refusing_ = {"vfio-pci"};
  auto done = binding().carry_out(*plan(kAlone, "vfio-pci"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("no driver instead"));
  EXPECT_THAT(done.error().message(), HasSubstr("everything is as it was before"));
  EXPECT_EQ(holder(kAlone), "nvme");
  EXPECT_EQ(get(folder(kAlone) / "driver_override"), "(null)");
}

TEST_F(BindingTree, AFailureInTheSecondFunctionPutsTheFirstOneBack) {
  auto together = plan(kDrive, "vfio-pci", {.with_group = true});
  ASSERT_TRUE(together);
  int probes = 0;
  const DriverBinding failing(
      PciSysfs(root_), [](Bdf) -> Result<std::vector<std::string>> { return std::vector<std::string>{}; },
      [&](const fs::path& file, std::string_view text) {
        if (file.filename() == "drivers_probe" && ++probes == 2) failing_ = {"drivers_probe"};
        return kernel(file, text);
      });
  auto done = failing.carry_out(*together);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("everything is as it was before"));
  EXPECT_EQ(holder(kDrive), "nvme");
  EXPECT_EQ(holder(kSecond), "nvme");
}

TEST_F(BindingTree, WhatCanNotBePutBackIsNamed) {
  refusing_ = {"vfio-pci"};
  failing_ = {"bind"};
  auto done = binding().carry_out(*plan(kAlone, "vfio-pci"));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("could not be put back for 0000:04:00.0"));
}

TEST_F(BindingTree, BlockDevicesBelowTheFunction) {
  fs::create_directories(root_ / "class/block");
  for (const char* name : {"nvme/nvme0/nvme0n1", "nvme/nvme0/nvme0n1/nvme0n1p2", "nvme/nvme0/nvme3c0n1"}) {
    fs::create_directories(folder(kAlone) / name);
    fs::create_directory_symlink(folder(kAlone) / name, root_ / "class/block" / fs::path(name).filename());
  }
  fs::create_directories(folder(kDrive) / "nvme/nvme1/nvme1n1");
  fs::create_directory_symlink(folder(kDrive) / "nvme/nvme1/nvme1n1", root_ / "class/block/nvme1n1");
  EXPECT_THAT(block_devices_of(PciSysfs(root_), *Bdf::parse(kAlone)), ElementsAre("nvme0n1", "nvme0n1p2", "nvme3n1"));
}

TEST(PciSysfs, MemoryOnTheBus) {
  const fs::path root = fs::path(::testing::TempDir()) / "memory_on_the_bus";
  fs::remove_all(root);
  fs::create_directories(root / "bus/pci/devices/0000:01:00.0");
  std::ofstream(root / "bus/pci/devices/0000:01:00.0/resource")
      << "0x00000000fe800000 0x00000000fe803fff 0x0000000000140204\n"
         "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
         "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n"
         "nonsense\n";
  const auto ranges = PciSysfs(root).memory_on_the_bus();
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].first, 0xfe800000u);
  EXPECT_EQ(ranges[0].last, 0xfe803fffu);
  fs::remove_all(root);
}

}  // namespace
}  // namespace barter::linux_os
