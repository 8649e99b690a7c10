#include "barter/address.hpp"

#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace barter {
namespace {

// Takes one hexadecimal number of at most `digits` digits off the front of `text`, and the mark behind it.
std::optional<std::uint32_t> take_hex(std::string_view& text, std::size_t digits, char mark) {
  const std::size_t end = mark == 0 ? text.size() : text.find(mark);
  if (end == std::string_view::npos || end == 0 || end > digits) return std::nullopt;
  std::uint32_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + end, value, 16);
  if (error != std::errc{} || rest != text.data() + end) return std::nullopt;
  text.remove_prefix(mark == 0 ? end : end + 1);
  return value;
}

}  // namespace

Result<Bdf> Bdf::parse(std::string_view text) {
  const auto refuse = [whole = text] {
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "reading a PCI address",
                 .subject = fmt::format("'{}'", whole),
                 .why = "it is not of the form [domain:]bus:device.function in hexadecimal",
                 .cure = "write it as lspci -D prints it, such as 0000:03:00.0"});
  };
  Bdf bdf;
  if (text.find(':') != text.rfind(':')) {
    const auto domain = take_hex(text, 8, ':');
    if (!domain) return refuse();
    bdf.domain = *domain;
  }
  const auto bus = take_hex(text, 2, ':');
  const auto device = bus ? take_hex(text, 2, '.') : std::nullopt;
  const auto function = device ? take_hex(text, 1, 0) : std::nullopt;
  if (!function || *device > 0x1f || *function > 7) return refuse();
  bdf.bus = static_cast<std::uint8_t>(*bus);
  bdf.device = static_cast<std::uint8_t>(*device);
  bdf.function = static_cast<std::uint8_t>(*function);
  return bdf;
}

std::string Bdf::to_string() const { return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function); }

}  // namespace barter
