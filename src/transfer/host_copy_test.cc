// Copies between files of this computer, whatever it is: by way of host memory, so that they run anywhere that has io_uring.
// What a copy does to its destination is promised in docs/host.md.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/copy.hpp"
#include "barter/machine.hpp"

namespace barter {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string bytes_of(std::size_t count, char first) {
  std::string bytes(count, '\0');
  for (std::size_t at = 0; at < count; ++at)
    bytes[at] = static_cast<char>(static_cast<std::size_t>(first) + at % 251 + at / 4096);
  return bytes;
}

class HostCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / fmt::format("barter-host-copy-{}", ::getpid());
    fs::create_directories(folder_);
    auto machine = Machine::open("host");
    ASSERT_TRUE(machine) << machine.error().message();
    machine_.emplace(*std::move(machine));
    write("probe", "x");
    const auto probe = copy_from_to("probe", "probe-to");
    if (!probe && probe.error().message().find("io_uring") != std::string::npos)
      GTEST_SKIP() << "skipped: " << probe.error().message();
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Result<CopyReport> copy_from_to(const std::string& from, const std::string& to, CopyOptions options = {}) {
    return barter::copy(machine_->drive(path(from)), machine_->drive(path(to)), options);
  }
  Result<CopyReport> copy_part(const std::string& from, std::uint64_t from_offset, std::optional<std::uint64_t> length,
                               const std::string& to, std::uint64_t to_offset) {
    auto source = machine_->drive(path(from));
    auto destination = machine_->drive(path(to));
    if (!source) return std::unexpected(source.error());
    if (!destination) return std::unexpected(destination.error());
    return barter::copy(Extent(*source, from_offset, length), Extent(*destination, to_offset, length), {});
  }

  fs::path folder_;
  std::optional<Machine> machine_;
};

TEST_F(HostCopy, FilesAreMadeAndEndWhereTheirSourceEnds) {
  for (const std::size_t count :
       {std::size_t{1}, std::size_t{511}, std::size_t{4096}, std::size_t{4097}, std::size_t{3000001}}) {
    const std::string bytes = bytes_of(count, 'a');
    write("x", bytes);
    const std::string to = fmt::format("y{}", count);
    const auto report = copy_from_to("x", to, {.verify = true});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->bytes, count);
    EXPECT_EQ(report->verified, true);
    EXPECT_EQ(report->route, CopyRoute::host);
    EXPECT_EQ(report->host_memory_bytes, 2 * count);
    EXPECT_EQ(report->control_bytes, std::nullopt);
    EXPECT_TRUE(read(to) == bytes);
  }
}

TEST_F(HostCopy, ALongerFileBecomesAsLongAsItsSource) {
  const std::string bytes = bytes_of(100001, 'a');
  write("x", bytes);
  write("y", bytes_of(300000, 'q'));
  const auto report = copy_from_to("x", "y");
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(read("y") == bytes);
}

TEST_F(HostCopy, APartChangesNothingElse) {
  const std::string bytes = bytes_of(65536, 'a');
  std::string other = bytes_of(131072, 'q');
  write("x", bytes);
  write("y", other);
  const auto report = copy_part("x", 8192, 16384, "y", 4096);
  ASSERT_TRUE(report) << report.error().message();
  other.replace(4096, 16384, bytes, 8192, 16384);
  EXPECT_TRUE(read("y") == other);
  // Behind its end, a file is made longer.
  ASSERT_TRUE(copy_part("x", 0, 65536, "y", 131072));
  EXPECT_TRUE(read("y") == other + bytes);
}

TEST_F(HostCopy, NothingIsMadeOrChangedWhenTheRequestIsWrong) {
  write("x", bytes_of(65536, 'a'));
  fs::create_hard_link(path("x"), path("same"));
  EXPECT_THAT(copy_from_to("x", "same").error().message(), HasSubstr("same file"));
  EXPECT_THAT(copy_from_to("x", "nowhere/y").error().message(), HasSubstr("nor a folder"));
  EXPECT_THAT(copy_from_to("missing", "y").error().message(), HasSubstr("missing: No such file or directory"));
  EXPECT_THAT(copy_from_to("missing", "nowhere/y").error().message(), HasSubstr("missing: No such file or directory"))
      << "without a source, the destination is no matter";
  const auto new_name = barter::copy(machine_->drive(path("x")), machine_->drive("barter-new-file.img"), {});
  EXPECT_THAT(new_name.error().message(), HasSubstr("no such drive"));
  EXPECT_THAT(new_name.error().message(), HasSubstr("named with its folder: ./barter-new-file.img"));
  EXPECT_THAT(copy_from_to("x", ".").error().message(), HasSubstr("it is a folder"));
  EXPECT_THAT(
      barter::copy(machine_->drive(path("x")), machine_->drive("/dev/barter-no-such-device"), {}).error().message(),
      HasSubstr("no such device"));
  EXPECT_THAT(barter::copy(machine_->drive(path("x")), machine_->drive("/dev/null"), {}).error().message(),
              HasSubstr("neither a file nor a block device"));
  EXPECT_FALSE(copy_part("x", 0, 131072, "z", 0)) << "the source is shorter";
  EXPECT_FALSE(copy_from_to("x", "z", {.policy = P2p::required})) << "no memory of peers here";
  EXPECT_FALSE(fs::exists(path("y")));
  EXPECT_FALSE(fs::exists(path("z")));
  EXPECT_TRUE(read("x") == bytes_of(65536, 'a'));
}

}  // namespace
}  // namespace barter
