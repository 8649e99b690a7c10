// Text for people: tables with aligned columns, notes that say why something is unknown, colour on a terminal.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "barter/known.hpp"
#include "barter/verdict.hpp"
#include "base/printable.h"

namespace barter::cli {

enum class Colour : std::uint8_t { none, dim, bold, green, yellow, red, cyan };

// How to write: plain, or with a terminal's colours.
struct Style {
  bool colours = false;
  // For standard output: colours on a terminal that has some, unless NO_COLOR is set (no-color.org).
  [[nodiscard]] static Style of_standard_output();
  [[nodiscard]] std::string paint(Colour colour, std::string_view text) const;
};
[[nodiscard]] Colour colour_of(Route route);

// Is the file descriptor a terminal that obeys ECMA-48, as all do but those that TERM calls dumb, or nothing?
[[nodiscard]] bool obeys_escapes(int descriptor);

// How many columns of a terminal the text takes up. Right for what we write: Latin letters and box drawings in UTF-8.
[[nodiscard]] std::size_t width_of(std::string_view text);

using base::printable;

// Breaks between words, so that no line is wider than `width`; lines after the first begin with `indent` spaces.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent, std::size_t width);

// Rows of cells. A column in which no row has anything is left out.
class Table {
 public:
  struct Cell {
    std::string text;
    Colour colour = Colour::none;
  };
  explicit Table(std::vector<std::string> headings);
  void add(std::vector<Cell> row);
  // A line of its own between rows, as wide as it likes.
  void add_line(std::string text, Colour colour = Colour::none);
  [[nodiscard]] std::string text(const Style& style) const;

 private:
  struct Row {
    std::vector<Cell> cells;
    Cell line;
    bool is_line = false;
  };
  std::vector<std::string> headings_;
  std::vector<Row> rows_;
};

// "?1" in the text and "?1 why" below it, once for each reason.
class Notes {
 public:
  // The mark for this reason.
  [[nodiscard]] std::string mark(const std::string& why);
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::string> reasons_;
};

}  // namespace barter::cli
