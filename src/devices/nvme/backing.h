// What a namespace keeps its blocks in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "barter/result.hpp"

namespace barter::devices::nvme {

class Backing {
 public:
  virtual ~Backing() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual bool is_read_only() const = 0;
  // A name for what the bytes are, the same for two backings of one file, whatever path each was opened by. Empty: nobody
  // else has them.
  [[nodiscard]] virtual std::string identity() const { return {}; }
  // Within size_bytes(). An error is a medium error: the controller turns it into a status.
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> into) = 0;
  [[nodiscard]] virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> from) = 0;
  [[nodiscard]] virtual Result<void> flush() = 0;
  // Makes sure that later writes to this range don't fail for want of space. Safe while others read and write.
  [[nodiscard]] virtual Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) = 0;
  // Makes the range read as zeros, and gives its space back where that is possible.
  [[nodiscard]] virtual Result<void> zero(std::uint64_t offset, std::uint64_t bytes);

  // The blocks themselves, where they are memory: one copy then moves them, with no call in between. Empty otherwise.
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }

 protected:
  std::span<std::byte> memory_;
};

// Zeros at first, and takes memory only where it is written.
[[nodiscard]] Result<std::unique_ptr<Backing>> create_memory_backing(std::uint64_t bytes);
// The file's bytes, in whole blocks; a last block that the file ends in the middle of reads as zeros behind the end, and a
// write there makes the file longer, so that nothing written is lost. Read-only if the file is. Errors name the file.
[[nodiscard]] Result<std::unique_ptr<Backing>> open_file_backing(const std::filesystem::path& file,
                                                                 std::uint32_t block_bytes);

}  // namespace barter::devices::nvme
