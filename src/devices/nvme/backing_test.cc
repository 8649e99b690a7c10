#include "devices/nvme/backing.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace barter::devices::nvme {
namespace {

class NvmeFileBacking : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "barter-backing-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::filesystem::path make(const std::string& content) {
    const auto file = folder / "drive";
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  static std::string content(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::string read(Backing& backing, std::uint64_t offset, std::size_t size) {
    std::string text(size, '?');
    EXPECT_TRUE(backing.read(offset, std::as_writable_bytes(std::span(text))));
    return text;
  }
  static Result<void> write(Backing& backing, std::uint64_t offset, const std::string& text) {
    return backing.write(offset, std::as_bytes(std::span(text)));
  }
  std::filesystem::path folder;
};

TEST_F(NvmeFileBacking, IsTheFilesBytesInWholeBlocks) {
  const auto file = make(std::string(1000, 'x'));
  auto backing = open_file_backing(file, 512);
  ASSERT_TRUE(backing) << backing.error().message();
  EXPECT_EQ((*backing)->size_bytes(), 1024u);
  EXPECT_FALSE((*backing)->is_read_only());
  EXPECT_TRUE((*backing)->memory().empty());
  EXPECT_EQ(read(**backing, 512, 512), std::string(488, 'x') + std::string(24, '\0'));
  EXPECT_EQ(content(file).size(), 1000u);  // reading changes nothing
  ASSERT_TRUE(write(**backing, 0, std::string(512, 'y')));
  EXPECT_EQ(content(file).size(), 1000u);
  ASSERT_TRUE(write(**backing, 512, std::string(512, 'z')));
  EXPECT_EQ(content(file), std::string(512, 'y') + std::string(512, 'z'));  // nothing written is lost
  EXPECT_TRUE((*backing)->flush());
}

TEST_F(NvmeFileBacking, ZeroesAndReservesWithoutGrowing) {
  const auto file = make(std::string(10000, 'x'));
  auto backing = open_file_backing(file, 512);
  ASSERT_TRUE(backing);
  ASSERT_TRUE((*backing)->reserve(0, (*backing)->size_bytes()));
  ASSERT_TRUE((*backing)->zero(512, 5120));
  const std::string after = content(file);
  EXPECT_EQ(after, std::string(512, 'x') + std::string(5120, '\0') + std::string(10000 - 5632, 'x'));
  ASSERT_TRUE((*backing)->zero(9728, 512));
  EXPECT_EQ(content(file).size(), 10000u);
  EXPECT_EQ(read(**backing, 9728, 512), std::string(512, '\0'));
}

TEST_F(NvmeFileBacking, RefusesWhatIsNoDrive) {
  const auto absent = open_file_backing(folder / "absent", 512);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::not_found);
  EXPECT_NE(absent.error().subject.find("absent"), std::string::npos);
  EXPECT_FALSE(absent.error().cure.empty());
  EXPECT_FALSE(open_file_backing(folder, 512));
  const auto empty = open_file_backing(make(""), 512);
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::invalid_argument);
}

TEST_F(NvmeFileBacking, IsReadOnlyIfTheFileIs) {
  // A program that runs can't be written, not even by root.
  auto backing = open_file_backing(std::filesystem::read_symlink("/proc/self/exe"), 512);
  ASSERT_TRUE(backing) << backing.error().message();
  EXPECT_TRUE((*backing)->is_read_only());
  EXPECT_EQ(read(**backing, 0, 4),
            "\x7f"
            "ELF");
  EXPECT_TRUE((*backing)->flush());
}

TEST_F(NvmeFileBacking, AFullDiskSaysSoAndNamesTheFile) {
  if (mount("barter-test", folder.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "skipped: this user may not mount a small file system";
  }
  const auto file = make("");
  std::filesystem::resize_file(file, 1 << 20);
  {
    auto backing = open_file_backing(file, 512);
    ASSERT_TRUE(backing);
    for (const auto& result : {write(**backing, 0, std::string(1 << 20, 'x')), (*backing)->reserve(0, 1 << 20)}) {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::io_failed);
      EXPECT_EQ(result.error().subject, file.string());
      EXPECT_NE(result.error().why.find("no space left"), std::string::npos) << result.error().why;
      EXPECT_FALSE(result.error().cure.empty());
    }
  }
  EXPECT_EQ(umount(folder.c_str()), 0);
}

TEST(NvmeMemoryBacking, IsZeroUntilWritten) {
  auto backing = create_memory_backing(std::uint64_t{1} << 36);  // 64 GiB: takes memory only where it is written
  ASSERT_TRUE(backing) << backing.error().message();
  EXPECT_EQ((*backing)->size_bytes(), std::uint64_t{1} << 36);
  ASSERT_EQ((*backing)->memory().size(), (*backing)->size_bytes());
  std::vector<std::byte> bytes(4096, std::byte{1});
  ASSERT_TRUE((*backing)->read(std::uint64_t{1} << 35, bytes));
  EXPECT_EQ(bytes, std::vector<std::byte>(4096));
  EXPECT_FALSE(create_memory_backing(0));
  EXPECT_FALSE(create_memory_backing(~std::uint64_t{0}));
}

TEST(NvmeMemoryBacking, ZeroesExactlyWhatItIsTold) {
  auto backing = create_memory_backing(1 << 20);
  ASSERT_TRUE(backing);
  const auto memory = (*backing)->memory();
  for (const auto& [offset, size] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 1 << 20}, {512, 512}, {65000, 70000}, {65536, 65536}, {65536, 131072}, {1000, 300000}, {1048064, 512}}) {
    std::memset(memory.data(), 0xff, memory.size());
    ASSERT_TRUE((*backing)->zero(offset, size));
    for (std::size_t each = 0; each < memory.size(); ++each) {
      const bool is_zero = each >= offset && each - offset < size;
      ASSERT_EQ(memory[each], is_zero ? std::byte{0} : std::byte{0xff}) << each << " of " << offset << "+" << size;
    }
  }
}

}  // namespace
}  // namespace barter::devices::nvme
