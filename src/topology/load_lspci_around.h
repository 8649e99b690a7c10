// What stands around lspci's output in a file that was not written by lspci alone.
#pragma once
#include <string_view>

namespace barter::topology {

// Editors of some systems begin a file with a byte order mark, which says nothing about UTF-8.
[[nodiscard]] inline std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  return text.starts_with(kMark) ? text.substr(kMark.size()) : text;
}

// "root@host:~# lspci -vvv", "[me@host ~]$"
[[nodiscard]] inline bool is_prompt(std::string_view line) {
  if (line.starts_with('$') || line.starts_with('#')) return true;
  const std::size_t mark = line.find_first_of("#$");
  if (mark == std::string_view::npos || line.substr(0, mark).find('@') == std::string_view::npos) return false;
  return mark + 1 == line.size() || line[mark + 1] == ' ';
}

// Warnings of programs that write to the same terminal, the prompt that a session was copied with, and the fence that
// the copy was pasted into a report with.
[[nodiscard]] inline bool is_other_programs_line(std::string_view line) {
  return line.starts_with("pcilib: ") || line.starts_with("lspci: ") || line.starts_with("```") || is_prompt(line);
}

}  // namespace barter::topology
