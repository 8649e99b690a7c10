// What the tests of copies start from.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "barter/machine.hpp"
#include "base/random.h"

namespace barter {

// Two files in a folder of the test's own, the first with random bytes.
class CopyFiles {
 public:
  explicit CopyFiles(std::uint64_t source_bytes, std::uint64_t destination_bytes)
      : folder_(std::filesystem::temp_directory_path() /
                std::filesystem::path("barter-copy-" + std::to_string(::getpid()) + "-" +
                                      ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(folder_);
    base::Random random(7);
    std::vector<std::uint64_t> words(source_bytes / 8 + 1);
    std::ranges::generate(words, [&] { return random.next(); });
    std::ofstream(source(), std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(source_bytes));
    std::ofstream(destination(), std::ios::binary).close();
    std::filesystem::resize_file(destination(), destination_bytes);
  }
  ~CopyFiles() { std::filesystem::remove_all(folder_); }
  CopyFiles(const CopyFiles&) = delete;
  CopyFiles& operator=(const CopyFiles&) = delete;

  [[nodiscard]] std::filesystem::path source() const { return folder_ / "source"; }
  [[nodiscard]] std::filesystem::path destination() const { return folder_ / "destination"; }
  [[nodiscard]] static std::string read(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  [[nodiscard]] bool same() const { return read(source()) == read(destination()); }
  [[nodiscard]] MachineOptions options() const { return {.attach = {{"nvme0", source()}, {"nvme1", destination()}}}; }

 private:
  std::filesystem::path folder_;
};

}  // namespace barter
