#include "pci/bar.h"

#include <bit>

#include <fmt/format.h>

#include "pci/config_header.h"

namespace barter::pci {
namespace {

constexpr std::uint64_t kMemoryAddressMask = ~std::uint64_t{0xf};
constexpr std::uint32_t kIoAddressMask = ~std::uint32_t{0x3};

std::uint16_t offset_of(unsigned index) {
  return static_cast<std::uint16_t>(BaseAddress::kOffset + index * BaseAddress::kStrideBytes);
}

struct Pair {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  [[nodiscard]] std::uint64_t both() const { return high << 32 | low; }
};

// The size that the sizing bits tell: the lowest bit that could be written. Above it every bit must be writable, up to the
// register's width; an I/O BAR may leave its upper 16 bits zero.
std::optional<std::uint64_t> size_of(std::uint64_t writable, const Bar& bar) {
  if (writable == 0) return std::nullopt;  // attributes, and no bit of an address
  const std::uint64_t size = writable & (~writable + 1);
  const std::uint64_t contiguous = ~(size - 1);
  const std::uint64_t width_mask = bar.is_64bit ? ~std::uint64_t{0} : 0xffffffff;
  if (writable == (contiguous & width_mask)) return size;
  if (bar.is_io && writable == (contiguous & 0xffff)) return size;
  return std::nullopt;
}

std::expected<Bar, Defect> decode_one(unsigned index, Pair value, std::optional<Pair> sizing) {
  const auto low = BaseAddress::from(static_cast<std::uint32_t>(sizing ? sizing->low : value.low));
  Bar bar{.index = static_cast<std::uint8_t>(index)};
  bar.is_io = low.get(BaseAddress::is_io);
  std::uint64_t address_mask = kIoAddressMask;
  if (!bar.is_io) {
    bar.is_64bit = low.get(BaseAddress::memory_type) == BaseAddress::kType64;
    bar.is_prefetchable = low.get(BaseAddress::prefetchable);
    address_mask = bar.is_64bit ? kMemoryAddressMask : kMemoryAddressMask & 0xffffffff;
  }
  bar.address = (bar.is_64bit ? value.both() : value.low) & address_mask;
  if (!sizing) return bar;

  bar.size_bytes = size_of((bar.is_64bit ? sizing->both() : sizing->low) & address_mask, bar);
  if (!bar.size_bytes)
    return std::unexpected(Defect{offset_of(index), fmt::format("the size of BAR {} is no power of two", index)});
  if (bar.address % *bar.size_bytes != 0)
    return std::unexpected(
        Defect{offset_of(index), fmt::format("BAR {} of 0x{:x} bytes is at 0x{:x}, which is no multiple of its size",
                                             index, *bar.size_bytes, bar.address)});
  return bar;
}

}  // namespace

std::uint8_t bar_count(std::uint8_t header_layout) {
  if (header_layout == HeaderType::kEndpoint) return BaseAddress::kEndpointCount;
  if (header_layout == HeaderType::kBridge) return BaseAddress::kBridgeCount;
  return 0;  // a CardBus bridge's one is something else
}

std::expected<std::vector<Bar>, Defect> decode_bars(const ConfigSpace& config, std::span<const std::uint32_t> sizing) {
  std::vector<Bar> bars;
  const auto header = config.load<HeaderType>();
  const unsigned count = header ? bar_count(header->get(HeaderType::layout)) : 0;
  for (unsigned index = 0; index < count; ++index) {
    const auto low = config.load<BaseAddress>(std::size_t{index} * BaseAddress::kStrideBytes);
    if (!low) return bars;
    const bool has_sizing = index < sizing.size();
    const auto type_from = has_sizing ? BaseAddress::from(sizing[index]) : *low;
    if (type_from.raw == 0) continue;

    Pair value{.low = low->raw};
    std::optional<Pair> mask;
    if (has_sizing) mask = Pair{.low = sizing[index]};
    const bool is_memory = !type_from.get(BaseAddress::is_io);
    if (is_memory && type_from.get(BaseAddress::memory_type) == 3)
      return std::unexpected(Defect{offset_of(index), fmt::format("BAR {} has the reserved memory type 3", index)});
    const bool is_64bit = is_memory && type_from.get(BaseAddress::memory_type) == BaseAddress::kType64;
    if (is_64bit) {
      const auto high = config.load<BaseAddress>((std::size_t{index} + 1) * BaseAddress::kStrideBytes);
      if (index + 1 >= count || !high)
        return std::unexpected(
            Defect{offset_of(index),
                   fmt::format("BAR {} is a 64-bit one, but no register is left for its upper half", index)});
      value.high = high->raw;
      if (mask && index + 1 < sizing.size()) mask->high = sizing[index + 1];
    }
    auto bar = decode_one(index, value, mask);
    if (!bar) return std::unexpected(std::move(bar.error()));
    bars.push_back(*bar);
    if (is_64bit) ++index;
  }
  return bars;
}

BarRegisters encode_bar(const Bar& bar) {
  if (bar.is_io) return {.low = (static_cast<std::uint32_t>(bar.address) & kIoAddressMask) | 1};
  const auto type = BaseAddress{}
                        .with(BaseAddress::prefetchable, bar.is_prefetchable)
                        .with(BaseAddress::memory_type, bar.is_64bit ? BaseAddress::kType64 : BaseAddress::kType32);
  const std::uint64_t address = bar.address & kMemoryAddressMask;
  return {.low = static_cast<std::uint32_t>(address) | type.raw,
          .high = bar.is_64bit ? static_cast<std::uint32_t>(address >> 32) : 0};
}

BarRegisters encode_bar_sizing(const Bar& bar) {
  Bar all_ones = bar;
  all_ones.address = ~(bar.size_bytes.value_or(1) - 1);
  return encode_bar(all_ones);
}

}  // namespace barter::pci
