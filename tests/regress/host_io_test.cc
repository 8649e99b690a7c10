// Reads and writes of a program's own memory on this computer gave the buffer back to an endpoint that had gone before it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "barter/barter.hpp"

namespace barter {
namespace {

TEST(HostIo, ReadsAndWritesAFile) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("barter-host-io-" + std::to_string(getpid()));
  std::ofstream(file) << std::string(65536, 'a');
  const auto machine = Machine::open("host");
  ASSERT_TRUE(machine) << machine.error().message();
  const auto drive = machine->drive(file.string());
  if (!drive) {
    std::filesystem::remove(file);
    GTEST_SKIP() << "skipped: " << drive.error().message();
  }
  const std::vector<std::byte> sent(4096, std::byte{0x5a});
  std::vector<std::byte> arrived(65536);
  const auto written = write(*drive, {.offset = 8192}, std::span(sent));
  const auto read_back = read(*drive, {}, std::span(arrived));
  std::filesystem::remove(file);
  if (!written && (written.error().code == ErrorCode::unsupported || written.error().code == ErrorCode::io_failed))
    GTEST_SKIP() << "skipped: " << written.error().message();
  ASSERT_TRUE(written) << written.error().message();
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_EQ(arrived[8191], std::byte{'a'});
  EXPECT_EQ(arrived[8192], std::byte{0x5a});
  EXPECT_EQ(arrived[12287], std::byte{0x5a});
  EXPECT_EQ(arrived[12288], std::byte{'a'});
}

// A kernel's driver reaches any memory of the program, if it is aligned: then nobody copies it.
TEST(HostIo, AlignedMemoryOfTheProgramIsNotCopied) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("barter-host-io-aligned-" + std::to_string(getpid()));
  std::ofstream(file) << std::string(65536, 'a');
  const auto machine = Machine::open("host");
  ASSERT_TRUE(machine) << machine.error().message();
  const auto drive = machine->drive(file.string());
  if (!drive) {
    std::filesystem::remove(file);
    GTEST_SKIP() << "skipped: " << drive.error().message();
  }
  std::vector<std::byte> room(3 * 65536);
  void* start = room.data();
  std::size_t left = room.size();
  std::byte* const aligned = static_cast<std::byte*>(std::align(4096, 65536 + 1, start, left));
  std::ranges::fill(room, std::byte{0x77});
  const auto written = write(*drive, {.offset = 4096}, std::span(aligned, 8192));
  std::ranges::fill(room, std::byte{0});
  const auto read_back = read(*drive, {}, std::span(aligned, 65536));
  std::vector<std::byte> once_more(65536 + 1);
  const auto not_aligned =
      read(*drive, {},
           std::span(once_more).subspan(reinterpret_cast<std::uintptr_t>(once_more.data()) % 2 == 0 ? 1 : 0, 65536));
  std::filesystem::remove(file);
  if (!written && (written.error().code == ErrorCode::unsupported || written.error().code == ErrorCode::io_failed))
    GTEST_SKIP() << "skipped: " << written.error().message();
  ASSERT_TRUE(written && read_back && not_aligned);
  EXPECT_EQ(written->host_bytes, 8192u);
  EXPECT_EQ(read_back->host_bytes, 65536u);
  EXPECT_EQ(read_back->copied_bytes, 0u);
  EXPECT_EQ(aligned[4095], std::byte{'a'});
  EXPECT_EQ(aligned[4096], std::byte{0x77});
  EXPECT_EQ(aligned[12287], std::byte{0x77});
  EXPECT_EQ(aligned[12288], std::byte{'a'});
  EXPECT_EQ(aligned[65535], std::byte{'a'});
  EXPECT_EQ(aligned[65536], std::byte{0}) << "and not a byte more";
  EXPECT_EQ(not_aligned->host_bytes + not_aligned->copied_bytes, 65536u);
}

}  // namespace
}  // namespace barter
