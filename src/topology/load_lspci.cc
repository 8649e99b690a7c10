#include <algorithm>
#include <fstream>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "topology/load.h"
#include "topology/load_lspci_text.h"

namespace barter::topology {
namespace {

Error file_error(ErrorCode code, const std::filesystem::path& file, std::string why, std::string cure = {}) {
  return {.code = code,
          .doing = "reading the lspci dump",
          .subject = file.string(),
          .where = {},
          .why = std::move(why),
          .cure = std::move(cure)};
}

Result<std::string> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return fail(file_error(ErrorCode::not_found, path, "there is no such file"));
  if (!std::filesystem::is_regular_file(status))
    return fail(file_error(ErrorCode::invalid_argument, path, "it is not a file"));
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail(file_error(ErrorCode::io_failed, path, error.message()));
  if (size > kMaxLspciBytes)
    return fail(file_error(ErrorCode::malformed, path, fmt::format("it is larger than {} MiB", kMaxLspciBytes >> 20)));
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(file_error(ErrorCode::io_failed, path, "it can't be opened", "look at its permissions"));
  std::string text(size, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return text;
}

}  // namespace

LspciKind kind_of_lspci(std::string_view text) {
  // The details of a function are indented; the bytes of config space are not: "00: 86 80 00 2f ...".
  const bool is_indented = text.find("\n\t") != std::string_view::npos || text.find("\n ") != std::string_view::npos;
  // Where both are there, the words of -v and -k tell less than the bytes of -xxx do, and those of -vv more.
  const bool has_registers_in_words =
      text.find("\tStatus: ") != std::string_view::npos || text.find(" Status: ") != std::string_view::npos;
  const bool has_capability_bytes = text.find("\n40: ") != std::string_view::npos;
  if (is_indented && (has_registers_in_words || !has_capability_bytes)) return LspciKind::text;
  for (std::size_t at = text.find("\n00: "); at != std::string_view::npos; at = text.find("\n00: ", at + 1)) {
    const std::string_view bytes = text.substr(at + 5, 5);  // "86 80"
    if (bytes.size() == 5 && bytes[2] == ' ' && bytes.find_first_not_of("0123456789abcdef ") == std::string_view::npos)
      return LspciKind::hex;
  }
  return LspciKind::text;
}

Result<TopologyParts> load_lspci(const std::filesystem::path& file) {
  const auto text = read_file(file);
  if (!text) return fail(text.error());
  if (kind_of_lspci(*text) == LspciKind::hex) return load_lspci_hex(file);
  return load_lspci_text(*text, "lspci:" + file.string());
}

}  // namespace barter::topology
