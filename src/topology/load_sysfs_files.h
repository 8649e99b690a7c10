// Reading one small file or link of a sysfs tree that may be a copy, and may be hostile: bounded, regular files only, and
// every error names the file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barter/known.hpp"
#include "barter/result.hpp"

namespace barter::topology::sysfs {

inline constexpr std::size_t kMaxAttributeBytes = 4096;  // a page, as in the kernel
inline constexpr std::size_t kMaxCpuinfoBytes = std::size_t{64}
                                                << 10;  // what is read of it: the first processor is enough
inline constexpr std::size_t kMaxFolderEntries = 65536;

[[nodiscard]] Error file_error(ErrorCode code, const std::filesystem::path& file, std::string why,
                               std::string cure = {});

// The first `most` bytes of a file. Nothing if there is no such file or it may not be read (`why` then says which); an
// error if it is no regular file or reading it fails.
struct Contents {
  std::optional<std::string> bytes;
  std::string why;
};
[[nodiscard]] Result<Contents> read_prefix(const std::filesystem::path& file, std::size_t most);

// A one-value attribute without the newline at its end, and tar's zeros behind that. More than a page is an error.
[[nodiscard]] Result<Known<std::string>> read_attribute(const std::filesystem::path& file);
// An attribute that holds a number: decimal, or hexadecimal with 0x. Anything else, and a number above `most`, is an error.
[[nodiscard]] Result<Known<std::uint64_t>> read_number(const std::filesystem::path& file, std::uint64_t most);

// The names in a folder, sorted; none if there is no such folder.
[[nodiscard]] Result<std::vector<std::string>> list_folder(const std::filesystem::path& folder);

// The last part of what a link points to, whether or not that exists; nothing if this is no link.
[[nodiscard]] std::optional<std::string> link_name(const std::filesystem::path& link);

[[nodiscard]] std::string_view trim(std::string_view text);
// Decimal, or hexadecimal with 0x; the whole text.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace barter::topology::sysfs
