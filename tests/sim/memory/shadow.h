// What the bytes of a machine must be: a second copy of every place that bytes lie in, kept by what was asked for and not by
// what was done. A byte is what the last finished transfer put there; only where a transfer is under way may it be otherwise.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace barter::sim {

inline constexpr std::uint64_t kCellBytes = 512;

// A part of a place, in cells.
struct Cells {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  [[nodiscard]] std::uint64_t offset() const { return first * kCellBytes; }
  [[nodiscard]] std::uint64_t bytes() const { return count * kCellBytes; }
  // `less` cells from the start on, `cells` of them.
  [[nodiscard]] Cells part(std::uint32_t less, std::uint32_t cells) const { return {first + less, cells}; }
};

// The blocks of a drive, the memory of a device, or a buffer of the host.
class Place {
 public:
  explicit Place(std::string name) : name_(std::move(name)) {}

  // Its bytes are here from now on, and are to be what they are. Empty: it does not exist at present.
  void lies_at(std::span<std::byte> bytes);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool exists() const { return !bytes_.empty(); }
  [[nodiscard]] std::uint32_t cells() const { return static_cast<std::uint32_t>(writers_.size()); }
  [[nodiscard]] std::span<std::byte> all() const { return bytes_; }
  [[nodiscard]] std::span<std::byte> now(Cells cells) const { return bytes_.subspan(cells.offset(), cells.bytes()); }
  [[nodiscard]] std::span<const std::byte> expected(Cells cells) const {
    return std::span(expected_).subspan(cells.offset(), cells.bytes());
  }
  [[nodiscard]] std::span<const std::byte> expected() const { return expected_; }

  // Two transfers at once may read the same cells, and nobody else may touch what one writes.
  [[nodiscard]] bool may_read(Cells cells) const;
  [[nodiscard]] bool may_write(Cells cells) const;
  void begin_read(Cells cells);
  void end_read(Cells cells);
  void begin_write(Cells cells);
  // Nothing writes there any more: what is there now is what must be there from now on.
  void end_write(Cells cells);
  // The same without a transfer: whoever may do so has changed the bytes.
  void settle(Cells cells);

  // The first byte that is not what it must be, in cells that nothing writes.
  [[nodiscard]] std::optional<std::uint64_t> first_wrong() const;

 private:
  std::string name_;
  std::span<std::byte> bytes_;
  std::vector<std::byte> expected_;
  std::vector<std::uint8_t> readers_;
  std::vector<std::uint8_t> writers_;
  std::uint32_t writing_ = 0;  // cells that have a writer
};

// True if every byte is one of the two that it may be: as it was, or as it was to become.
[[nodiscard]] bool is_mixture(std::span<const std::byte> bytes, std::span<const std::byte> before,
                              std::span<const std::byte> after);

}  // namespace barter::sim
