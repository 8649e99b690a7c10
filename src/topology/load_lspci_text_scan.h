// Finding values in a line of lspci's text.
#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace barter::topology::scan {

// The number that begins `text`, whatever follows it.
template <class Number>
[[nodiscard]] std::optional<Number> leading_number(std::string_view text, int base) {
  Number value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

// What follows `label` in `line`.
[[nodiscard]] inline std::optional<std::string_view> text_after(std::string_view line, std::string_view label) {
  const std::size_t at = line.find(label);
  if (at == std::string_view::npos) return std::nullopt;
  return line.substr(at + label.size());
}

// The number right behind `label`.
template <class Number>
[[nodiscard]] std::optional<Number> number_after(std::string_view line, std::string_view label, int base = 10) {
  const auto text = text_after(line, label);
  return text ? leading_number<Number>(*text, base) : std::nullopt;
}

// "Mem+" or "Mem-"
[[nodiscard]] inline std::optional<bool> flag_after(std::string_view line, std::string_view label) {
  const auto text = text_after(line, label);
  if (!text || text->empty() || ((*text)[0] != '+' && (*text)[0] != '-')) return std::nullopt;
  return (*text)[0] == '+';
}

}  // namespace barter::topology::scan
