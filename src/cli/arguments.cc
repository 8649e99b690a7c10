#include "cli/arguments.h"

#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace barter::cli {
namespace {

std::unexpected<Error> refuse(std::string_view doing, std::string_view text, std::string why, std::string cure) {
  return fail({.code = ErrorCode::invalid_argument,
               .doing = std::string(doing),
               .subject = fmt::format("'{}'", text),
               .why = std::move(why),
               .cure = std::move(cure)});
}

constexpr std::string_view kReadingSize = "reading the size";
constexpr std::string_view kSizeCure = "write bytes, or a number with K, M, G or T, such as 64MiB";

// What one of the unit stands for, or 0 if there is no such unit.
std::uint64_t unit_bytes(std::string_view unit) {
  if (unit.empty() || unit == "B") return 1;
  constexpr std::string_view kPrefixes = "KMGT";
  const char prefix = unit.front() == 'k' ? 'K' : unit.front();
  const std::size_t power = kPrefixes.find(prefix);
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  if (rest.empty() || rest == "iB" || rest == "i") return std::uint64_t{1} << 10 * (power + 1);
  if (rest != "B") return 0;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i <= power; ++i) bytes *= 1000;
  return bytes;
}

Result<std::uint64_t> parse_whole(std::string_view digits, std::string_view whole) {
  const bool is_hex = digits.starts_with("0x") || digits.starts_with("0X");
  const std::string_view body = is_hex ? digits.substr(2) : digits;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value, is_hex ? 16 : 10);
  if (error == std::errc::result_out_of_range) return refuse(kReadingSize, whole, "the number is too large", "");
  if (error != std::errc{} || end != body.data() + body.size())
    return refuse(kReadingSize, whole, "it is not a number with a unit", std::string(kSizeCure));
  return value;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  if (is_hex) return parse_whole(text, text);
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string_view unit = text.substr(digits);
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const std::uint64_t scale = unit_bytes(unit);
  if (digits == 0 || scale == 0)
    return refuse(kReadingSize, text, "it is not a number with a unit", std::string(kSizeCure));
  const std::string_view number = text.substr(0, digits);
  const std::size_t point = number.find('.');
  const auto whole = parse_whole(number.substr(0, point), text);
  if (!whole) return whole;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(*whole, scale, &bytes)) return refuse(kReadingSize, text, "the number is too large", "");
  if (point == std::string_view::npos) return bytes;
  double fraction = 0;
  const std::string_view tail = number.substr(point);
  const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), fraction);
  const double extra = fraction * static_cast<double>(scale);
  if (error != std::errc{} || end != tail.data() + tail.size() || extra != std::floor(extra))
    return refuse(kReadingSize, text, "it is not a whole number of bytes", std::string(kSizeCure));
  return bytes + static_cast<std::uint64_t>(extra);
}

namespace {

// Paths may have both characters in them: only what can be a size, at the end of the last name, is one; and the name of a
// file that is there is that file.
Result<DrivePart> parse_file_part(std::string_view text) {
  DrivePart part;
  std::error_code error;
  const auto cut = [&](char mark) -> std::optional<std::uint64_t> {
    const std::size_t at = text.rfind(mark);
    if (at == std::string_view::npos || text.find('/', at) != std::string_view::npos) return std::nullopt;
    if (std::filesystem::exists(text, error)) return std::nullopt;
    const auto size = parse_size(text.substr(at + 1));
    if (!size) return std::nullopt;
    text = text.substr(0, at);
    return *size;
  };
  part.length = cut('+');
  if (part.length == 0) return refuse("reading the part of a file", text, "its length is 0", "");
  part.offset = cut('@').value_or(0);
  part.drive = std::string(text);
  return part;
}

}  // namespace

Result<DrivePart> parse_drive_part(std::string_view text) {
  constexpr std::string_view kForm = "write DRIVE[@OFFSET][+LENGTH], such as nvme0@1MiB+256MiB";
  if (text.find('/') != std::string_view::npos) return parse_file_part(text);
  DrivePart part;
  std::string_view rest = text;
  if (const std::size_t plus = rest.find('+'); plus != std::string_view::npos) {
    auto length = parse_size(rest.substr(plus + 1));
    if (!length) return std::unexpected(std::move(length.error()));
    if (*length == 0) return refuse("reading the part of a drive", text, "its length is 0", "");
    part.length = *length;
    rest = rest.substr(0, plus);
  }
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    auto offset = parse_size(rest.substr(at + 1));
    if (!offset) return std::unexpected(std::move(offset.error()));
    part.offset = *offset;
    rest = rest.substr(0, at);
  }
  if (rest.empty()) return refuse("reading the part of a drive", text, "it names no drive", std::string(kForm));
  part.drive = std::string(rest);
  return part;
}

Result<Attachment> parse_attachment(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
    return refuse("reading the attachment", text, "it is not of the form DRIVE=FILE", "write it as nvme0=disk.img");
  return Attachment{.drive = std::string(text.substr(0, equals)), .file = std::string(text.substr(equals + 1))};
}

Result<CpuInfo> parse_cpu(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kShort{
      {{"amd", "AuthenticAMD"}, {"intel", "GenuineIntel"}, {"hygon", "HygonGenuine"}}};
  const std::size_t colon = text.find(':');
  const auto bad = [text] {
    return refuse("reading the CPU", text, "it is not of the form VENDOR:FAMILY",
                  "write it as /proc/cpuinfo has it, such as AuthenticAMD:25 or GenuineIntel:6");
  };
  if (colon == std::string_view::npos || colon == 0) return bad();
  const auto family = parse_whole(text.substr(colon + 1), text);
  if (!family || *family > 0xffff) return bad();
  std::string vendor(text.substr(0, colon));
  for (const auto& [name, full] : kShort)
    if (vendor == name) vendor = std::string(full);
  return CpuInfo{.vendor = std::move(vendor), .family = static_cast<std::uint32_t>(*family)};
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  double scaled = static_cast<double>(bytes);
  while (scaled >= 1024 && unit + 1 < kUnits.size()) {
    scaled /= 1024;
    ++unit;
  }
  return scaled == std::floor(scaled) ? fmt::format("{:.0f} {}", scaled, kUnits[unit])
                                      : fmt::format("{:.1f} {}", scaled, kUnits[unit]);
}

}  // namespace barter::cli
