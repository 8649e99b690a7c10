// Config space as a value: a snapshot of the first bytes of a function's configuration registers, and how many are known.
//
// What can be read differs: without root Linux gives 64 bytes, a conventional function has 256, an Express function 4096,
// and a dump can end anywhere. The known bytes are always those from 0 up. A load that needs a byte beyond them gives
// nothing, so that "not read" can't be taken for "read as zero".
//
//   auto control = config.load<express::DeviceControl>(capability.offset);
//   if (control && control->get(express::DeviceControl::relaxed_ordering)) ...
//
// The software fabric builds config spaces with the same type: blank() and store().
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace barter::pci {

class ConfigSpace {
 public:
  static constexpr std::size_t kHeaderBytes = 64;
  static constexpr std::size_t kConventionalBytes = 256;
  static constexpr std::size_t kExtendedBytes = 4096;

  ConfigSpace() = default;
  // Bytes past 4096 are left out: there is no such register.
  explicit ConfigSpace(std::span<const std::uint8_t> known);
  // All zeros, all known, to be filled with store().
  [[nodiscard]] static ConfigSpace blank(std::size_t bytes = kExtendedBytes);

  [[nodiscard]] std::size_t known_bytes() const { return bytes_.size(); }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return bytes_; }
  // The same snapshot, as somebody would have seen it who could read no more than this.
  [[nodiscard]] ConfigSpace first(std::size_t bytes) const;

  // Config space is little-endian (PCIe 6.0, 7.2.2). The width is 1, 2 or 4; any alignment will do.
  [[nodiscard]] std::optional<std::uint32_t> read(std::size_t offset, unsigned width_bytes) const;
  // Says whether the bytes are there to be written.
  bool write(std::size_t offset, unsigned width_bytes, std::uint32_t value);

  // R is a base::Register; `at` is where its capability starts (0 for the header), or that plus a stride for an array.
  template <class R>
  [[nodiscard]] std::optional<R> load(std::size_t at = 0) const {
    const auto raw = read(at + R::kOffset, sizeof(typename R::Word));
    if (!raw) return std::nullopt;
    return R::from(static_cast<typename R::Word>(*raw));
  }
  template <class R>
  bool store(R value, std::size_t at = 0) {
    return write(at + R::kOffset, sizeof(typename R::Word), value.raw);
  }

  friend bool operator==(const ConfigSpace&, const ConfigSpace&) = default;

 private:
  std::vector<std::uint8_t> bytes_;
};

}  // namespace barter::pci
