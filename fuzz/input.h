// The bytes of a fuzzer's input, taken piece by piece. Zeros, once they have ended.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  template <class T>
  T take() {
    T value{};
    const std::size_t size = std::min(sizeof value, bytes_.size());
    if (size != 0) std::memcpy(&value, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    return value;
  }
  bool chance() { return (take<std::uint8_t>() & 7) == 1; }
  [[nodiscard]] bool is_empty() const { return bytes_.empty(); }

 private:
  std::span<const std::uint8_t> bytes_;
};
