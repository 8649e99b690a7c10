// What a namespace keeps its blocks in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "barter/result.hpp"

namespace barter::devices::nvme {

class Backing {
 public:
  virtual ~Backing() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual bool is_read_only() const = 0;
  // Within size_bytes(). An error is a medium error: the controller turns it into a status.
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> into) = 0;
  [[nodiscard]] virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> from) = 0;
  [[nodiscard]] virtual Result<void> flush() = 0;
  // Makes sure that later writes to this range don't fail for want of space.
  [[nodiscard]] virtual Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) = 0;
};

// Zeros at first, and takes memory only where it is written.
[[nodiscard]] Result<std::unique_ptr<Backing>> create_memory_backing(std::uint64_t bytes);
// The file's bytes; a last block that the file ends in the middle of reads as zeros behind the end. Read-only if the file is.
[[nodiscard]] Result<std::unique_ptr<Backing>> open_file_backing(const std::filesystem::path& file, std::uint32_t block_bytes);

}  // namespace barter::devices::nvme
