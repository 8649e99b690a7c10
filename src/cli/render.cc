#include "cli/render.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace barter::cli {

Style Style::of_standard_output() {
  return {.colours = obeys_escapes(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr};
}

std::string Style::paint(Colour colour, std::string_view text) const {
  if (!colours || colour == Colour::none || text.empty()) return std::string(text);
  // ECMA-48, "select graphic rendition".
  const auto code = [colour] {
    switch (colour) {
      case Colour::dim:
        return "2";
      case Colour::bold:
        return "1";
      case Colour::green:
        return "32";
      case Colour::yellow:
        return "33";
      case Colour::red:
        return "31";
      case Colour::cyan:
        return "36";
      case Colour::none:
        break;
    }
    return "0";
  };
  return fmt::format("\x1b[{}m{}\x1b[0m", code(), text);
}

Colour colour_of(Route route) {
  switch (route) {
    case Route::link:
    case Route::bus_address:
      return Colour::green;
    case Route::through_host_bridge:
      return Colour::cyan;
    case Route::not_supported:
      return Colour::red;
    case Route::unknown:
      return Colour::yellow;
  }
  return Colour::none;
}

bool obeys_escapes(int descriptor) {
  const char* const term = std::getenv("TERM");
  return isatty(descriptor) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

std::size_t width_of(std::string_view text) {
  // Each character of UTF-8 begins with a byte that is no continuation.
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  std::string lines;
  std::size_t column = indent;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (column > indent && column + 1 + width_of(word) > width) {
      lines += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += width_of(word);
  }
  return lines;
}

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}

void Table::add(std::vector<Cell> row) {
  row.resize(headings_.size());
  rows_.push_back({.cells = std::move(row), .line = {}});
}

void Table::add_line(std::string text, Colour colour) {
  rows_.push_back({.cells = {}, .line = {std::move(text), colour}, .is_line = true});
}

std::string Table::text(const Style& style) const {
  std::vector<std::size_t> widths(headings_.size());
  for (const Row& row : rows_)
    for (std::size_t i = 0; i < row.cells.size(); ++i) widths[i] = std::max(widths[i], width_of(row.cells[i].text));
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] == 0) continue;
    widths[i] = std::max(widths[i], width_of(headings_[i]));
    shown.push_back(i);
  }
  std::string text;
  const auto write_row = [&](const auto& cell_at) {
    std::string line;
    std::size_t pending = 0;  // spaces that are only written if something follows
    for (const std::size_t i : shown) {
      const auto [content, colour] = cell_at(i);
      const std::size_t width = width_of(content);
      if (width != 0) {
        line.append(pending, ' ');
        line += style.paint(colour, content);
        pending = 0;
      }
      pending += widths[i] - width + 2;
    }
    text += line + '\n';
  };
  write_row([&](std::size_t i) { return std::pair(std::string_view(headings_[i]), Colour::dim); });
  for (const Row& row : rows_) {
    if (row.is_line)
      text += style.paint(row.line.colour, row.line.text) + '\n';
    else
      write_row([&](std::size_t i) { return std::pair(std::string_view(row.cells[i].text), row.cells[i].colour); });
  }
  return text;
}

std::string Notes::mark(const std::string& why) {
  auto at = std::find(reasons_.begin(), reasons_.end(), why);
  if (at == reasons_.end()) at = reasons_.insert(reasons_.end(), why);
  return fmt::format("?{}", at - reasons_.begin() + 1);
}

std::string Notes::text() const {
  std::string text;
  for (std::size_t i = 0; i < reasons_.size(); ++i) text += fmt::format("?{} {}\n", i + 1, printable(reasons_[i]));
  return text;
}

}  // namespace barter::cli
