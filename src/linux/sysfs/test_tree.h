// A small sysfs and procfs for tests, made file by file in a folder that goes away again.
#pragma once
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace barter::linux_os::test {

class Tree {
 public:
  Tree() {
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ =
        std::filesystem::path(::testing::TempDir()) /
        fmt::format("barter-{}-{}-{}", test->test_suite_name(), test->name(), reinterpret_cast<std::uintptr_t>(this));
    std::filesystem::create_directories(sys() / "class" / "block");
    std::filesystem::create_directories(sys() / "dev" / "block");
    std::filesystem::create_directories(proc() / "self");
    write(proc() / "self" / "mountinfo", "");
    write(proc() / "swaps", "Filename Type Size Used Priority\n");
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  [[nodiscard]] std::filesystem::path root() const { return root_; }
  [[nodiscard]] std::filesystem::path sys() const { return root_ / "sys"; }
  [[nodiscard]] std::filesystem::path proc() const { return root_ / "proc"; }

  static void write(const std::filesystem::path& file, std::string_view text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  // A disk in `folder` below sys/devices, with its links.
  std::filesystem::path disk(const std::string& folder, const std::string& number, std::uint64_t sectors) {
    const std::filesystem::path device = sys() / "devices" / folder;
    common(device, number, sectors);
    write(device / "queue" / "logical_block_size", "512\n");
    write(device / "queue" / "max_sectors_kb", "512\n");
    std::filesystem::create_directories(device / "slaves");
    return device;
  }
  void partition(const std::filesystem::path& disk, const std::string& name, const std::string& number,
                 std::uint64_t start, std::uint64_t sectors) {
    common(disk / name, number, sectors);
    write(disk / name / "partition", "1\n");
    write(disk / name / "start", fmt::format("{}\n", start));
  }

 private:
  void common(const std::filesystem::path& device, const std::string& number, std::uint64_t sectors) {
    write(device / "dev", number + "\n");
    write(device / "size", fmt::format("{}\n", sectors));
    write(device / "ro", "0\n");
    std::filesystem::create_directories(device / "holders");
    std::filesystem::create_symlink(device, sys() / "class" / "block" / device.filename());
    std::filesystem::create_symlink(device, sys() / "dev" / "block" / number);
  }

  std::filesystem::path root_;
};

inline constexpr const char* kNvme0 =
    "pci0000:00/0000:00:02.0/0000:01:00.0/0000:02:00.0/0000:03:00.0/nvme/nvme0/nvme0n1";

}  // namespace barter::linux_os::test
