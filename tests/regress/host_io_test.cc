// Reads and writes of a program's own memory on this computer gave the buffer back to an endpoint that had gone before it.
#include <cstddef>
#include <filesystem>
#include <fstream>
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

}  // namespace
}  // namespace barter
