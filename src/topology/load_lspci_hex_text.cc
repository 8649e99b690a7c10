#include "topology/load_lspci_hex_text.h"

#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "pci/config_space.h"
#include "topology/load_lspci_around.h"

namespace barter::topology {
namespace {

constexpr std::size_t kBytesPerLine = 16;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

std::optional<unsigned> hex_value(std::string_view digits, std::size_t most) {
  if (digits.empty() || digits.size() > most) return std::nullopt;
  unsigned value = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc{} || rest != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// Digits and a colon, then a blank or nothing: the beginning of a hex line, and of nothing else that lspci prints.
std::optional<std::string_view> offset_digits(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  if (colon + 1 < line.size() && line[colon + 1] != ' ') return std::nullopt;
  for (const char c : line.substr(0, colon))
    if (!is_hex(c)) return std::nullopt;
  return line.substr(0, colon);
}

// What lspci prints of a function: the header without root (of a CardBus bridge a longer one), else all there is.
bool is_whole(std::size_t bytes) {
  constexpr std::size_t kCardBusHeaderBytes = 128;
  return bytes == pci::ConfigSpace::kHeaderBytes || bytes == kCardBusHeaderBytes ||
         bytes == pci::ConfigSpace::kConventionalBytes || bytes == pci::ConfigSpace::kExtendedBytes;
}

class Check {
 public:
  explicit Check(std::string_view source) : source_(source) {}

  Result<HexText> run(std::string_view text) {
    text = without_byte_order_mark(text);
    while (!text.empty()) {
      ++line_number_;
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (auto taken = take(line); !taken) return fail(std::move(taken.error()));
    }
    if (auto closed = close_function(); !closed) return fail(std::move(closed.error()));
    if (result_.functions.empty())
      return fail(error("there is no dump of a function in it", "make one with lspci -xxxx, as root"));
    return std::move(result_);
  }

 private:
  Error error(std::string why, std::string cure = {}) const {
    return error_at(line_number_, std::move(why), std::move(cure));
  }
  Error error_at(std::size_t line, std::string why, std::string cure = {}) const {
    return {.code = ErrorCode::malformed,
            .doing = "reading the hex dump",
            .subject = std::string(source_),
            .where = fmt::format("line {}", line),
            .why = std::move(why),
            .cure = std::move(cure)};
  }

  Result<void> take(std::string_view line) {
    if (line.find('\0') != std::string_view::npos) return fail(error("the line holds a zero byte: this is no text"));
    if (line.empty()) return close_function();
    if (line.front() == ' ' || line.front() == '\t') return {};  // what lspci -v says in words
    if (is_other_programs_line(line)) return {};
    if (const auto digits = offset_digits(line)) return take_bytes(*digits, line.substr(digits->size() + 1));
    return take_header(line);
  }

  Result<void> take_header(std::string_view line) {
    if (auto closed = close_function(); !closed) return closed;
    const std::string_view name = line.substr(0, line.find(' '));
    const auto bdf = Bdf::parse(name);
    if (!bdf)
      return fail(error(fmt::format("'{}' is neither a function's name nor a line of bytes", line.substr(0, 40)),
                        "make the dump with lspci -xxxx"));
    if (bdf->domain > 0xfffff)
      return fail(
          error(fmt::format("libpci's dumps take domains of at most five digits, and this is {:x}", bdf->domain)));
    const auto [place, is_new] = result_.functions.try_emplace(*bdf);
    if (!is_new)
      return fail(error(fmt::format("{} is already there, in line {}", bdf->to_string(), place->second.header)));
    if (result_.functions.size() > kMaxDumpFunctions)
      return fail(error(fmt::format("more than {} functions", kMaxDumpFunctions)));
    place->second.header = line_number_;
    current_ = *bdf;
    result_.for_libpci += fmt::format("{} \n", bdf->to_string());
    return {};
  }

  Result<void> take_bytes(std::string_view digits, std::string_view rest) {
    if (!current_) return fail(error("these bytes belong to no function: no line before them names one"));
    HexText::Lines& lines = result_.functions[*current_];
    const auto offset = hex_value(digits, 4);
    if (!offset || *offset != lines.known_bytes)
      return fail(error(fmt::format("the bytes at 0x{} should be those at 0x{:02x}", digits, lines.known_bytes)));
    if (*offset >= pci::ConfigSpace::kExtendedBytes) return fail(error("config space ends at 0x1000"));
    if (lines.known_bytes % kBytesPerLine != 0) return fail(error("the line before this one is cut short"));

    result_.for_libpci += fmt::format("{:02x}:", *offset);
    std::size_t count = 0;
    while (rest.find_first_not_of(' ') != std::string_view::npos) {
      rest.remove_prefix(1);  // the blank: offset_digits and the last round have seen to it
      const std::string_view pair = rest.substr(0, rest.find(' '));
      const auto byte = pair.size() == 2 ? hex_value(pair, 2) : std::nullopt;
      if (!byte) return fail(error(fmt::format("'{}' is no byte of two hexadecimal digits", pair.substr(0, 20))));
      if (++count > kBytesPerLine) return fail(error("more than 16 bytes in a line"));
      result_.for_libpci += fmt::format(" {:02x}", *byte);
      rest.remove_prefix(pair.size());
    }
    if (count == 0) return fail(error("a line without bytes"));
    result_.for_libpci += '\n';
    lines.bytes.push_back(line_number_);
    lines.known_bytes += count;
    return {};
  }

  Result<void> close_function() {
    if (!current_) return {};
    const HexText::Lines& lines = result_.functions[*current_];
    const Bdf bdf = *std::exchange(current_, std::nullopt);
    result_.for_libpci += '\n';
    if (lines.known_bytes == 0)
      return fail(error_at(lines.header, fmt::format("{} has no bytes", bdf.to_string()),
                           "make the dump with lspci -xxxx, as root"));
    if (!is_whole(lines.known_bytes))
      return fail(error_at(lines.bytes.back(),
                           fmt::format("the dump of {} ends after {} bytes; lspci prints 64, 256 or 4096",
                                       bdf.to_string(), lines.known_bytes),
                           "make the dump again: it is cut short"));
    return {};
  }

  std::string_view source_;
  std::size_t line_number_ = 0;
  std::optional<Bdf> current_;
  HexText result_;
};

}  // namespace

std::size_t HexText::line_of(Bdf function, std::size_t offset) const {
  const auto found = functions.find(function);
  if (found == functions.end()) return 0;
  const Lines& lines = found->second;
  return offset / kBytesPerLine < lines.bytes.size() ? lines.bytes[offset / kBytesPerLine] : lines.header;
}

Result<HexText> check_hex_text(std::string_view text, std::string_view source) { return Check(source).run(text); }

}  // namespace barter::topology
