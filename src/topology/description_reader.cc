#include "topology/description_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "topology/acs_names.h"

namespace barter::topology {
namespace {

// What a port with ACS can do when a description only says what is turned on: all that QEMU's root ports can.
constexpr std::uint16_t kUsualAcsCapability = 0x5f;
constexpr std::size_t kMaxNameCharacters = 32;
constexpr std::uint64_t kMaxEgressPort = 255;  // the vector has at most 256 bits (PCIe 6.0, 7.7.11.4)

std::string_view without_spaces_around(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <class Number>
std::optional<Number> whole_number(std::string_view text, int base) {
  Number value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// Levenshtein distance; both words are short.
std::size_t edits_between(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t column = 0; column <= right.size(); ++column) row[column] = column;
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameCharacters && std::all_of(text.begin(), text.end(), is_name_character);
}

}  // namespace

std::string_view nearest_word(std::string_view typed, std::initializer_list<std::string_view> words) {
  constexpr std::size_t kFarthest = 3;
  if (typed.size() > kMaxNameCharacters) return {};
  std::string_view best;
  std::size_t best_edits = kFarthest + 1;
  for (const std::string_view word : words) {
    const std::size_t edits = edits_between(typed, word);
    if (edits < best_edits && edits < word.size()) {
      best = word;
      best_edits = edits;
    }
  }
  return best;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    unsigned shift;
  };
  static constexpr std::array<Unit, 5> kUnits{{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}}};
  text = without_spaces_around(text);
  unsigned shift = 0;
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.name)) continue;
    text.remove_suffix(unit.name.size());
    shift = unit.shift;
    break;
  }
  const auto count = whole_number<std::uint64_t>(without_spaces_around(text), 10);
  if (!count || *count > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *count << shift;
}

std::optional<LinkState> parse_link(std::string_view text) {
  struct Speed {
    std::string_view name;
    std::uint32_t mtps;
  };
  static constexpr std::array<Speed, 6> kSpeeds{
      {{"2.5", 2500}, {"5", 5000}, {"8", 8000}, {"16", 16000}, {"32", 32000}, {"64", 64000}}};
  static constexpr std::array<std::uint32_t, 7> kWidths{1, 2, 4, 8, 12, 16, 32};
  constexpr std::string_view kUnit = "GT/s";
  const std::size_t unit = text.find(kUnit);
  if (unit == std::string_view::npos) return std::nullopt;
  const std::string_view speed_text = without_spaces_around(text.substr(0, unit));
  std::string_view width_text = without_spaces_around(text.substr(unit + kUnit.size()));
  if (!width_text.starts_with('x')) return std::nullopt;
  width_text.remove_prefix(1);
  const auto width = whole_number<std::uint32_t>(width_text, 10);
  if (!width || std::find(kWidths.begin(), kWidths.end(), *width) == kWidths.end()) return std::nullopt;
  for (const Speed& speed : kSpeeds)
    if (speed.name == speed_text) return LinkState{speed.mtps, *width};
  return std::nullopt;
}

void DescriptionErrors::report(std::uint64_t line, std::string why, std::string cure) {
  if (first_) return;
  first_ = Error{.code = ErrorCode::malformed,
                 .doing = "reading the machine description",
                 .subject = source_,
                 .where = line == 0 ? std::string() : fmt::format("line {}", line),
                 .why = std::move(why),
                 .cure = std::move(cure)};
}

TableReader::TableReader(DescriptionErrors& errors, const toml::table& table, std::string_view what,
                         std::initializer_list<std::string_view> keys)
    : errors_(errors), table_(table), what_(what) {
  for (const auto& [key, node] : table) {
    const std::string_view typed = key.str();
    if (std::find(keys.begin(), keys.end(), typed) != keys.end()) continue;
    const std::string_view meant = nearest_word(typed, keys);
    errors_.report(key.source().begin.line, fmt::format("{} has no key '{}'", what_, typed.substr(0, 64)),
                   meant.empty() ? fmt::format("its keys are {}", fmt::join(keys, ", "))
                                 : fmt::format("did you mean '{}'?", meant));
    return;
  }
}

std::uint64_t TableReader::line() const { return table_.source().begin.line; }

std::uint64_t TableReader::line_of(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node == nullptr ? line() : node->source().begin.line;
}

void TableReader::report(std::string_view key, std::string why, std::string cure) {
  errors_.report(line_of(key), std::move(why), std::move(cure));
}

std::string TableReader::text(std::string_view key, std::string_view otherwise) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return std::string(otherwise);
  if (const auto* string = node->as_string()) return string->get();
  report(key, fmt::format("{} of {} is not a text", key, what_), "put it between quotes");
  return std::string(otherwise);
}

std::string TableReader::name(std::string_view key) {
  if (!has(key)) {
    report(key, fmt::format("{} has no {}", what_, key), fmt::format("add {} = \"...\"", key));
    return {};
  }
  std::string name = text(key);
  if (!is_name(name))
    report(key, fmt::format("'{}' is no name for a part of a machine", name.substr(0, 64)),
           fmt::format("a name has 1 to {} letters, digits, dots, dashes and underscores", kMaxNameCharacters));
  return name;
}

std::vector<std::string> TableReader::names(std::string_view key, std::size_t count) {
  const toml::node* const node = table_.get(key);
  const toml::array* const list = node == nullptr ? nullptr : node->as_array();
  if (list == nullptr || list->size() != count) {
    report(key, fmt::format("{} of {} is no list of {} names", key, what_, count),
           fmt::format("write {} = [\"a\", \"b\"]", key));
    return {};
  }
  std::vector<std::string> names;
  for (const toml::node& entry : *list) {
    const auto* const text = entry.as_string();
    if (text == nullptr || !is_name(text->get())) {
      report(key, fmt::format("{} of {} holds something that is no name of a part", key, what_));
      return {};
    }
    names.push_back(text->get());
  }
  return names;
}

bool TableReader::flag(std::string_view key, bool otherwise) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return otherwise;
  if (const auto* boolean = node->as_boolean()) return boolean->get();
  report(key, fmt::format("{} of {} is neither true nor false", key, what_));
  return otherwise;
}

std::uint64_t TableReader::integer(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                   std::uint64_t most) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return otherwise;
  const auto* number = node->as_integer();
  if (number == nullptr) {
    report(key, fmt::format("{} of {} is not a whole number", key, what_));
    return otherwise;
  }
  const std::int64_t value = number->get();
  if (value >= 0 && static_cast<std::uint64_t>(value) >= least && static_cast<std::uint64_t>(value) <= most)
    return static_cast<std::uint64_t>(value);
  report(key, fmt::format("{} of {} is {}", key, what_, value), fmt::format("it must be from {} to {}", least, most));
  return otherwise;
}

std::uint64_t TableReader::size(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                std::uint64_t most) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return otherwise;
  if (!node->is_string()) return integer(key, otherwise, least, most);
  const std::string written = text(key);
  const auto bytes = parse_size(written);
  if (!bytes)
    report(key, fmt::format("{} of {} is '{}', which is no size", key, what_, written.substr(0, 64)),
           "write a number of bytes, or a text such as \"64 MiB\"");
  else if (*bytes >= least && *bytes <= most)
    return *bytes;
  else
    report(key, fmt::format("{} of {} is {} bytes", key, what_, *bytes),
           fmt::format("it must be from {} to {}", least, most));
  return otherwise;
}

TableReader::Ids TableReader::ids(std::string_view key, Ids otherwise) {
  if (!has(key)) return otherwise;
  const std::string written = text(key);
  if (written.size() == 9 && written[4] == ':') {
    const std::string_view view = written;
    const auto vendor = whole_number<std::uint16_t>(view.substr(0, 4), 16);
    const auto device = whole_number<std::uint16_t>(view.substr(5), 16);
    // A vendor of ffff is what an empty slot reads as (PCI 3.0, 6.2.1).
    if (vendor && device && *vendor != 0xffff) return {*vendor, *device};
  }
  report(key, fmt::format("{} of {} is '{}'", key, what_, written.substr(0, 64)),
         "write vendor and device as lspci -n does, such as \"8086:2020\"");
  return otherwise;
}

std::optional<LinkState> TableReader::link(std::string_view key) {
  if (!has(key)) return std::nullopt;
  const std::string written = text(key);
  const auto link = parse_link(written);
  if (!link)
    report(key, fmt::format("{} of {} is '{}', which is no PCIe link", key, what_, written.substr(0, 64)),
           "write speed and width, such as \"16 GT/s x4\"");
  return link;
}

LinkDescription TableReader::links(std::string_view max_key, std::string_view now_key, LinkDescription otherwise) {
  LinkDescription links = otherwise;
  if (const auto max = link(max_key)) links = {.max = *max};
  if (!has(now_key)) return links;
  links.now = link(now_key);
  if (links.now && (links.now->speed_mtps > links.max.speed_mtps || links.now->width > links.max.width))
    report(now_key, fmt::format("{} of {} is more than {}", now_key, what_, max_key));
  return links;
}

std::uint16_t TableReader::acs_bits(const toml::node* list, std::string_view key) {
  std::uint16_t bits = 0;
  if (list == nullptr) return bits;
  const toml::array* names = list->as_array();
  if (names == nullptr) {
    report(key, fmt::format("{} of {} is not a list of ACS bits", key, what_),
           "write a list, such as [\"RR\", \"CR\"]");
    return bits;
  }
  for (const toml::node& node : *names) {
    const auto* written = node.as_string();
    const auto* bit = std::find_if(kAcsBitNames.begin(), kAcsBitNames.end(), [&](const AcsBitName& known) {
      return written != nullptr && written->get() == known.brief;
    });
    if (bit == kAcsBitNames.end()) {
      errors_.report(node.source().begin.line, fmt::format("{} of {} has an entry that is no ACS bit", key, what_),
                     "the bits are SV, TB, RR, CR, UF, EC and DT");
      return bits;
    }
    bits = static_cast<std::uint16_t>(bits | bit->bit);
  }
  return bits;
}

std::vector<std::uint32_t> TableReader::port_set(const toml::node* list, std::string_view key) {
  std::vector<std::uint32_t> words;
  if (list == nullptr) return words;
  const toml::array* ports = list->as_array();
  if (ports == nullptr) {
    report(key, fmt::format("blocked_ports of {} is not a list of port numbers", what_));
    return words;
  }
  words.resize(1);
  for (const toml::node& node : *ports) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 0 || static_cast<std::uint64_t>(number->get()) > kMaxEgressPort) {
      errors_.report(node.source().begin.line,
                     fmt::format("blocked_ports of {} has an entry that is no port number", what_),
                     fmt::format("port numbers go from 0 to {}", kMaxEgressPort));
      return words;
    }
    const auto port = static_cast<std::size_t>(number->get());
    if (words.size() <= port / 32) words.resize(port / 32 + 1);
    words[port / 32] |= std::uint32_t{1} << port % 32;
  }
  return words;
}

std::optional<AcsDescription> TableReader::acs_table(const toml::table& table, std::string_view key) {
  TableReader reader(errors_, table, fmt::format("{} of {}", key, what_), {"capability", "control", "blocked_ports"});
  AcsDescription acs{.control = reader.acs_bits(table.get("control"), "control"),
                     .egress_control_vector = reader.port_set(table.get("blocked_ports"), "blocked_ports")};
  const auto needed = static_cast<std::uint16_t>(acs.control | (reader.has("blocked_ports") ? kAcsEgressControl : 0));
  acs.capability = reader.has("capability") ? reader.acs_bits(table.get("capability"), "capability")
                                            : static_cast<std::uint16_t>(kUsualAcsCapability | needed);
  if ((needed & ~acs.capability) != 0)
    reader.report("control", fmt::format("{} of {} turns on what its capability does not have", key, what_),
                  "add the bits to capability (blocked_ports needs EC)");
  return acs;
}

std::optional<AcsDescription> TableReader::acs(std::string_view key) {
  const toml::node* node = table_.get(key);
  if (node == nullptr) return std::nullopt;
  std::optional<AcsDescription> acs;
  if (const toml::table* table = node->as_table()) {
    acs = acs_table(*table, key);
  } else {
    const std::uint16_t control = acs_bits(node, key);
    acs = AcsDescription{.capability = static_cast<std::uint16_t>(kUsualAcsCapability | control), .control = control};
  }
  // Egress control without a vector can't be: the capability then has one bit at least.
  if ((acs->capability & kAcsEgressControl) != 0 && acs->egress_control_vector.empty())
    acs->egress_control_vector.resize(1);
  return acs;
}

std::vector<const toml::table*> TableReader::tables(std::string_view key, std::size_t most) {
  std::vector<const toml::table*> found;
  const toml::node* node = table_.get(key);
  if (node == nullptr) return found;
  if (const toml::table* single = node->as_table()) return {single};
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    report(key, fmt::format("{} of {} is not a table", key, what_), fmt::format("write [[{}]] above its keys", key));
    return found;
  }
  if (array->size() > most) {
    report(key, fmt::format("{} has {} of {}", what_, array->size(), key), fmt::format("at most {} are allowed", most));
    return found;
  }
  for (const toml::node& entry : *array) {
    if (const toml::table* table = entry.as_table()) {
      found.push_back(table);
      continue;
    }
    errors_.report(entry.source().begin.line, fmt::format("an entry of {} is not a table", key));
    return {};
  }
  return found;
}

}  // namespace barter::topology
