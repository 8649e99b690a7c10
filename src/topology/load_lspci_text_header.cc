#include "topology/load_lspci_text_header.h"

#include "topology/load_lspci_text_scan.h"

namespace barter::topology {
namespace {

bool is_hex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "8086:2f00"
bool is_pair_of_ids(std::string_view text) {
  return text.size() == 9 && text[4] == ':' && is_hex(text.substr(0, 4)) && is_hex(text.substr(5));
}

void set_ids(FunctionInfo& function, std::string_view pair) {
  function.vendor_id = *scan::leading_number<std::uint16_t>(pair, 16);
  function.device_id = *scan::leading_number<std::uint16_t>(pair.substr(5), 16);
}

// Takes " [xxxx]" with `digits` characters in it off the end of `text`.
std::optional<std::string_view> take_number_at_end(std::string_view& text, std::size_t digits) {
  if (text.size() < digits + 2 || !text.ends_with(']')) return std::nullopt;
  const std::size_t at = text.size() - digits - 2;
  if (text[at] != '[') return std::nullopt;
  const std::string_view inside = text.substr(at + 1, digits);
  if (digits == 4 ? !is_hex(inside) : !is_pair_of_ids(inside)) return std::nullopt;
  text.remove_suffix(text.size() - at);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return inside;
}

// lspci leaves " (prog-if ..)" out when the programming interface is 0 and has no name.
std::uint8_t take_programming_interface(std::string_view& text) {
  const std::size_t at = text.rfind(" (prog-if ");
  if (at == std::string_view::npos) return 0;
  const auto value = scan::number_after<std::uint8_t>(text.substr(at), "(prog-if ", 16);
  text = text.substr(0, at);
  return value.value_or(0);
}

void set_class(FunctionInfo& function, std::string_view name, std::uint8_t interface, const PciIds& ids) {
  const auto whole = [&](std::uint16_t base_and_sub) { return std::uint32_t{base_and_sub} << 8 | interface; };
  const std::string_view written = name;
  if (const auto number = take_number_at_end(name, 4)) {
    function.class_code = whole(*scan::leading_number<std::uint16_t>(*number, 16));
    return;
  }
  if (name.starts_with("Class ")) name.remove_prefix(6);
  if (name.size() == 4 && is_hex(name)) {
    function.class_code = whole(*scan::leading_number<std::uint16_t>(name, 16));
    return;
  }
  const Known<std::uint16_t> found = ids.class_named(written);
  if (found)
    function.class_code = whole(*found);
  else
    function.class_code = Unknown{found.why_unknown()};
}

}  // namespace

std::optional<Bdf> function_begun_by(std::string_view line) {
  const auto bdf = Bdf::parse(line.substr(0, line.find(' ')));
  return bdf ? std::optional(*bdf) : std::nullopt;
}

std::optional<FunctionInfo> parse_lspci_header(std::string_view line, Bdf bdf, const PciIds& ids) {
  FunctionInfo function{.bdf = bdf};
  const std::size_t name_at = line.find(' ');
  const std::size_t colon = line.find(": ", name_at);
  if (name_at == std::string_view::npos || colon == std::string_view::npos) return std::nullopt;
  std::string_view text = line.substr(colon + 2);
  const std::uint8_t interface = take_programming_interface(text);
  if (const std::size_t revision = text.rfind(" (rev "); revision != std::string_view::npos)
    text = text.substr(0, revision);
  set_class(function, line.substr(name_at + 1, colon - name_at - 1), interface, ids);

  if (is_pair_of_ids(text)) {
    set_ids(function, text);
  } else if (const auto pair = take_number_at_end(text, 9)) {
    set_ids(function, *pair);
    function.vendor_name = ids.vendor_name_in(text);
    text.remove_prefix(function.vendor_name.size());
    while (text.starts_with(' ')) text.remove_prefix(1);
    function.device_name = text;
  } else {
    PciIds::Identity identity = ids.identify(text);
    function.vendor_id = identity.vendor;
    function.device_id = identity.device;
    function.vendor_name = std::move(identity.vendor_name);
    function.device_name = std::move(identity.device_name);
  }
  return function;
}

}  // namespace barter::topology
