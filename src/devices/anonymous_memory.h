// Memory of the process that reads as zeros and takes real memory only where it is touched.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "barter/result.hpp"

namespace barter::devices {

class AnonymousMemory {
 public:
  [[nodiscard]] static Result<AnonymousMemory> create(std::uint64_t size_bytes);
  AnonymousMemory() = default;
  AnonymousMemory(AnonymousMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  AnonymousMemory& operator=(AnonymousMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~AnonymousMemory();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  // Makes a part read as zeros again and gives whole pages of it back.
  void zero(std::uint64_t offset, std::uint64_t size_bytes);

 private:
  explicit AnonymousMemory(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

}  // namespace barter::devices
