#include "topology/load_hwloc_scan.h"

#include <algorithm>

#include <fmt/format.h>

namespace barter::topology {
namespace {

constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::size_t kMaxAttributes = 64;  // lstopo writes fewer than 20

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == ':' || c == '.';
}

}  // namespace

std::optional<std::string_view> XmlScanner::Tag::attribute(std::string_view key) const {
  for (const auto& [name_of_attribute, value] : attributes)
    if (name_of_attribute == key) return value;
  return std::nullopt;
}

std::nullopt_t XmlScanner::refuse(std::string why) {
  why_ = std::move(why);
  return std::nullopt;
}

void XmlScanner::advance(std::size_t characters) {
  const std::string_view passed = text_.substr(0, characters);
  line_ += static_cast<std::size_t>(std::count(passed.begin(), passed.end(), '\n'));
  text_.remove_prefix(passed.size());
}

void XmlScanner::skip_spaces() { advance(std::min(text_.find_first_not_of(kSpaces), text_.size())); }

bool XmlScanner::skip_past(std::string_view mark) {
  const std::size_t at = text_.find(mark);
  if (at == std::string_view::npos) return false;
  advance(at + mark.size());
  return true;
}

std::string_view XmlScanner::take_name() {
  std::size_t end = 0;
  while (end < text_.size() && is_name_character(text_[end])) ++end;
  const std::string_view name = text_.substr(0, end);
  text_.remove_prefix(end);
  return name;
}

// True at the '<' of a tag. Declarations and comments are passed over.
bool XmlScanner::skip_to_tag() {
  while (true) {
    advance(std::min(text_.find('<'), text_.size()));
    if (text_.empty()) return false;
    bool ended = true;
    if (text_.starts_with("<?"))
      ended = skip_past("?>");
    else if (text_.starts_with("<!--"))
      ended = skip_past("-->");
    else if (text_.starts_with("<!DOCTYPE") && text_.substr(0, text_.find('>')).find('[') == std::string_view::npos)
      ended = skip_past(">");
    else if (text_.starts_with("<!"))
      ended = false;
    else
      return true;
    if (ended) continue;
    refuse("a declaration or comment does not end, or is of a kind that lstopo does not write");
    return false;
  }
}

bool XmlScanner::read_attribute(Tag& tag) {
  const std::string_view name = take_name();
  if (name.empty() || !text_.starts_with("=\"") || tag.attribute(name) || tag.attributes.size() == kMaxAttributes)
    return false;
  text_.remove_prefix(2);
  const std::size_t end = text_.find_first_of("\"<");
  if (end == std::string_view::npos || text_[end] != '"') return false;
  tag.attributes.emplace_back(name, text_.substr(0, end));
  advance(end + 1);
  return true;
}

std::optional<XmlScanner::Tag> XmlScanner::next() {
  if (!skip_to_tag()) return std::nullopt;
  Tag tag;
  text_.remove_prefix(1);
  tag.closes = text_.starts_with('/');
  tag.opens = !tag.closes;
  if (tag.closes) text_.remove_prefix(1);
  tag.name = take_name();
  if (tag.name.empty()) return refuse("a tag has no name");
  skip_spaces();
  while (!text_.starts_with('>') && !text_.starts_with("/>")) {
    if (!tag.opens || !read_attribute(tag))
      return refuse(fmt::format("the tag <{}> is damaged or cut", tag.name.substr(0, 32)));
    skip_spaces();
  }
  if (text_.starts_with('/')) {
    if (!tag.opens) return refuse("a tag closes twice");
    tag.closes = true;
    text_.remove_prefix(1);
  }
  text_.remove_prefix(1);
  return tag;
}

}  // namespace barter::topology
