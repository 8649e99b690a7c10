// The tags of an XML text, one after the other, as far as lstopo makes use of XML: no text between tags that matters,
// no entities but those for single characters, no document type of its own.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace barter::topology {

class XmlScanner {
 public:
  struct Tag {
    std::string_view name;
    bool opens = false;                                                     // <name> and <name/>
    bool closes = false;                                                    // </name> and <name/>
    std::vector<std::pair<std::string_view, std::string_view>> attributes;  // as written, entities and all
    [[nodiscard]] std::optional<std::string_view> attribute(std::string_view key) const;
  };

  explicit XmlScanner(std::string_view text) : text_(text) {}
  // The next tag; nothing at the end of the text or where the text is no XML: then why() says so.
  [[nodiscard]] std::optional<Tag> next();
  [[nodiscard]] const std::string& why() const { return why_; }
  // Of the tag that was returned last, or of the place that is wrong.
  [[nodiscard]] std::size_t line() const { return line_; }

 private:
  bool skip_to_tag();
  bool skip_past(std::string_view mark);
  bool read_attribute(Tag& tag);
  void skip_spaces();
  std::string_view take_name();
  void advance(std::size_t characters);
  std::nullopt_t refuse(std::string why);

  std::string_view text_;
  std::size_t line_ = 1;
  std::string why_;
};

}  // namespace barter::topology
