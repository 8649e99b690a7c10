#include "topology/load_sysfs_resource.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "pci/config_header.h"
#include "topology/load_sysfs_files.h"

namespace barter::topology::sysfs {
namespace {

// include/linux/ioport.h: what the kernel prints as the third number.
constexpr std::uint64_t kIo = 0x00000100;
constexpr std::uint64_t kMemory = 0x00000200;
constexpr std::uint64_t kPrefetch = 0x00002000;
constexpr std::uint64_t kMemory64 = 0x00100000;
constexpr std::uint64_t kUnset = 0x20000000;  // sized, but not placed

struct Line {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t flags = 0;
};

std::optional<Line> parse_line(std::string_view text) {
  std::array<std::uint64_t, 3> numbers{};
  for (std::uint64_t& number : numbers) {
    text = trim(text);
    const std::size_t end = std::min(text.find(' '), text.size());
    const auto value = parse_number(text.substr(0, end));
    if (!value) return std::nullopt;
    number = *value;
    text.remove_prefix(end);
  }
  if (!trim(text).empty()) return std::nullopt;
  return Line{numbers[0], numbers[1], numbers[2]};
}

BarInfo to_bar(std::uint8_t index, const Line& line, const std::vector<BarInfo>& from_config) {
  BarInfo bar{.index = index,
              .kind = (line.flags & kIo) != 0 ? BarInfo::Kind::io : BarInfo::Kind::memory,
              .is_64bit = (line.flags & kMemory64) != 0,
              .is_prefetchable = (line.flags & kPrefetch) != 0};
  bar.size_bytes = line.last - line.first + 1;
  const auto known = std::find_if(from_config.begin(), from_config.end(),
                                  [index](const BarInfo& other) { return other.index == index; });
  if (known != from_config.end() && known->address)
    bar.address = known->address;
  else if ((line.flags & kUnset) != 0)
    bar.address = Unknown{"the kernel found no place for it"};
  else
    bar.address = BusAddress{line.first};
  return bar;
}

}  // namespace

Result<void> take_resources(FunctionInfo& function, const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "resource";
  const auto contents = read_attribute(file);
  if (!contents) return fail(contents.error());
  if (!*contents) {
    for (BarInfo& bar : function.bars) bar.size_bytes = Unknown{contents->why_unknown()};
    return {};
  }
  std::vector<BarInfo> bars;
  std::string_view text = **contents;
  for (std::uint8_t index = 0; index < pci::BaseAddress::kEndpointCount && !text.empty(); ++index) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto line = parse_line(text.substr(0, end));
    const auto refuse = [&](std::string why) {
      Error error = file_error(ErrorCode::malformed, file, std::move(why));
      error.where = fmt::format("line {}", index + 1);
      return fail(std::move(error));
    };
    if (!line) return refuse("it does not hold three numbers");
    text.remove_prefix(std::min(end + 1, text.size()));
    if ((line->flags & (kIo | kMemory)) == 0) continue;
    if (line->last < line->first || (line->first == 0 && line->last == ~std::uint64_t{0}))
      return refuse(fmt::format("0x{:x} to 0x{:x} is no range of addresses", line->first, line->last));
    // The kernel keeps the flags of a BAR whose size it could not find out, with no addresses.
    if (line->first == 0 && line->last == 0) continue;
    bars.push_back(to_bar(index, *line, function.bars));
  }
  function.bars = std::move(bars);
  return {};
}

}  // namespace barter::topology::sysfs
