#include "topology/pci_ids.h"

#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>

#include <fmt/format.h>

namespace barter::topology {
namespace {

// Takes `digits` hexadecimal digits and the two spaces behind them off the front of a line of pci.ids.
std::optional<std::uint16_t> take_number(std::string_view& line, std::size_t digits) {
  std::uint16_t value = 0;
  if (line.size() < digits + 2 || line.substr(digits, 2) != "  ") return std::nullopt;
  const auto [rest, error] = std::from_chars(line.data(), line.data() + digits, value, 16);
  if (error != std::errc{} || rest != line.data() + digits) return std::nullopt;
  line.remove_prefix(digits + 2);
  return value;
}

std::optional<std::uint16_t> hex16(std::string_view digits) {
  std::uint16_t value = 0;
  if (digits.size() != 4) return std::nullopt;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc{} || rest != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Known<std::uint16_t> only_one(const std::vector<std::uint16_t>* numbers, std::string_view what, std::string_view name) {
  if (numbers == nullptr) return Unknown{fmt::format("pci.ids has no {} called '{}'", what, name)};
  if (numbers->size() == 1) return numbers->front();
  return Unknown{fmt::format("pci.ids has {} {}s called '{}'", numbers->size(), what, name)};
}

template <class Map, class Key>
const typename Map::mapped_type* find_in(const Map& map, const Key& key) {
  const auto at = map.find(key);
  return at == map.end() ? nullptr : &at->second;
}

std::string read_list() {
  // Debian and Ubuntu; Fedora and its kin; what hand-built pciutils install.
  constexpr std::array kPlaces{"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/local/share/pci.ids"};
  for (const char* place : kPlaces) {
    std::ifstream file(place, std::ios::binary);
    if (file) return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  return {};
}

}  // namespace

PciIds::PciIds(std::string text) : text_(std::move(text)) {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    add_line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
}

const PciIds& PciIds::installed() {
  static const PciIds list(read_list());
  return list;
}

void PciIds::add_line(std::string_view line) {
  if (line.empty() || line.starts_with('#') || line.starts_with("\t\t")) return;
  if (line.starts_with('\t')) {
    line.remove_prefix(1);
    const auto number = take_number(line, in_classes_ ? 2 : 4);
    if (!number || !in_section_) return;
    if (in_classes_)
      classes_[line].push_back(static_cast<std::uint16_t>(section_ << 8 | *number));
    else
      devices_[section_][line].push_back(*number);
    return;
  }
  in_classes_ = line.starts_with("C ");
  if (in_classes_) line.remove_prefix(2);
  const auto number = take_number(line, in_classes_ ? 2 : 4);
  in_section_ = number.has_value();
  if (!number) return;
  section_ = *number;
  if (!in_classes_) vendors_[line].push_back(*number);
}

std::string_view PciIds::vendor_name_in(std::string_view vendor_and_device) const {
  constexpr std::size_t kMaxNameCharacters = 200;  // the longest one in the list has 80
  vendor_and_device = vendor_and_device.substr(0, kMaxNameCharacters);
  // The longest name wins: "Intel Corporation" and not some vendor "Intel".
  for (std::size_t end = vendor_and_device.size(); end != 0 && end != std::string_view::npos;
       end = vendor_and_device.rfind(' ', end - 1))
    if (vendors_.contains(vendor_and_device.substr(0, end))) return vendor_and_device.substr(0, end);
  return {};
}

PciIds::Identity PciIds::identify(std::string_view vendor_and_device) const {
  constexpr std::string_view kNumberMark = "Device ";
  // "Device 1234:5678": lspci's list has not even the vendor.
  if (vendor_and_device.starts_with(kNumberMark) && vendor_and_device.size() == kNumberMark.size() + 9) {
    const auto vendor = hex16(vendor_and_device.substr(kNumberMark.size(), 4));
    const auto device = hex16(vendor_and_device.substr(kNumberMark.size() + 5));
    if (vendor && device && vendor_and_device[kNumberMark.size() + 4] == ':') return {*vendor, *device, {}, {}};
  }
  if (empty()) {
    const Unknown no_list{
        "lspci printed names without numbers (run it with -nn), and there is no pci.ids to look them up in"};
    return {no_list, no_list, {}, std::string(vendor_and_device)};
  }
  const std::string_view vendor_name = vendor_name_in(vendor_and_device);
  if (vendor_name.empty()) {
    const Unknown not_listed{
        fmt::format("lspci printed names without numbers (run it with -nn), and pci.ids has no vendor that begins '{}'",
                    vendor_and_device)};
    return {not_listed, not_listed, {}, std::string(vendor_and_device)};
  }
  std::string_view device_name = vendor_and_device.substr(vendor_name.size());
  while (device_name.starts_with(' ')) device_name.remove_prefix(1);
  Identity identity{.vendor = only_one(find_in(vendors_, vendor_name), "vendor", vendor_name),
                    .device = Unknown{},
                    .vendor_name = std::string(vendor_name),
                    .device_name = std::string(device_name)};
  if (device_name.starts_with(kNumberMark)) {
    if (const auto number = hex16(device_name.substr(kNumberMark.size()))) {
      identity.device = *number;
      identity.device_name.clear();
      return identity;
    }
  }
  // A vendor with two numbers: the device may still tell which one is meant, but then both are a guess.
  if (!identity.vendor) {
    identity.device = Unknown{identity.vendor.why_unknown()};
    return identity;
  }
  const auto* devices = find_in(devices_, *identity.vendor);
  identity.device = only_one(devices == nullptr ? nullptr : find_in(*devices, device_name), "device", device_name);
  return identity;
}

Known<std::uint16_t> PciIds::class_named(std::string_view name) const {
  if (empty()) return Unknown{"lspci printed names without numbers (run it with -nn), and there is no pci.ids"};
  return only_one(find_in(classes_, name), "class", name);
}

}  // namespace barter::topology
