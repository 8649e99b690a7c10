#include "topology/load_sysfs_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <utility>

#include <fmt/format.h>

namespace barter::topology::sysfs {
namespace fs = std::filesystem;

Error file_error(ErrorCode code, const fs::path& file, std::string why, std::string cure) {
  return {.code = code,
          .doing = "reading the sysfs tree, file",
          .subject = file.string(),
          .where = {},
          .why = std::move(why),
          .cure = std::move(cure)};
}

Result<Contents> read_prefix(const fs::path& file, std::size_t most) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (status.type() == fs::file_type::not_found) return Contents{{}, "there is no such file"};
  if (error == std::errc::permission_denied) return Contents{{}, "it may not be read; run as root"};
  if (!fs::is_regular_file(status)) return fail(file_error(ErrorCode::malformed, file, "it is not a file"));
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Contents{{}, "it can't be opened; run as root"};
  std::string bytes(most, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(most));
  // Some attributes answer every read with an error while the device sleeps; that tells nothing, and breaks nothing.
  if (stream.bad()) return Contents{{}, "reading it fails"};
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return Contents{std::move(bytes), {}};
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Known<std::string>> read_attribute(const fs::path& file) {
  auto contents = read_prefix(file, kMaxAttributeBytes + 1);
  if (!contents) return fail(std::move(contents.error()));
  if (!contents->bytes) return Known<std::string>(Unknown{fmt::format("{}: {}", file.string(), contents->why)});
  if (contents->bytes->size() > kMaxAttributeBytes)
    return fail(file_error(ErrorCode::malformed, file, fmt::format("it holds more than {} bytes", kMaxAttributeBytes)));
  // tar fills up what it read of an attribute with zeros, because the kernel says that each is a page long.
  std::string_view text = *contents->bytes;
  text = text.substr(0, text.find_last_not_of('\0') + 1);
  return Known<std::string>(std::string(trim(text)));
}

Result<Known<std::uint64_t>> read_number(const fs::path& file, std::uint64_t most) {
  auto text = read_attribute(file);
  if (!text) return fail(std::move(text.error()));
  if (!*text) return Known<std::uint64_t>(Unknown{text->why_unknown()});
  const auto value = parse_number(**text);
  if (!value || *value > most)
    return fail(file_error(ErrorCode::malformed, file,
                           fmt::format("'{}' is no number from 0 to 0x{:x}", (*text)->substr(0, 40), most)));
  return Known<std::uint64_t>(*value);
}

Result<std::vector<std::string>> list_folder(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (; !error && entry != fs::directory_iterator{}; entry.increment(error)) {
    if (names.size() == kMaxFolderEntries)
      return fail(file_error(ErrorCode::malformed, folder, fmt::format("more than {} entries", kMaxFolderEntries)));
    names.push_back(entry->path().filename().string());
  }
  if (error) return fail(file_error(ErrorCode::io_failed, folder, error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> link_name(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  if (error) return std::nullopt;
  return target.filename().string();
}

}  // namespace barter::topology::sysfs
