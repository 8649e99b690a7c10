#include "pci/bridge_window.h"

#include "pci/config_header.h"

namespace barter::pci {
namespace {

std::optional<AddressWindow> open(std::uint64_t first, std::uint64_t last) {
  if (last < first) return std::nullopt;
  return AddressWindow{first, last};
}

// A window that is closed has a base above its limit.
constexpr AddressWindow kClosedMemory{0xfff00000, 0x000fffff};
constexpr AddressWindow kClosedIo{0xf000, 0x0fff};

}  // namespace

std::optional<AddressWindow> memory_window(const ConfigSpace& bridge) {
  const auto base = bridge.load<bridge::MemoryBase>();
  const auto limit = bridge.load<bridge::MemoryLimit>();
  if (!base || !limit) return std::nullopt;
  return open(std::uint64_t{base->get(bridge::MemoryBase::address_31_20)} << 20,
              std::uint64_t{limit->get(bridge::MemoryLimit::address_31_20)} << 20 | 0xfffff);
}

std::optional<AddressWindow> prefetchable_window(const ConfigSpace& config) {
  using namespace bridge;
  const auto base = config.load<PrefetchableBase>();
  const auto limit = config.load<PrefetchableLimit>();
  const auto base_upper = config.load<PrefetchableBaseUpper>();
  const auto limit_upper = config.load<PrefetchableLimitUpper>();
  if (!base || !limit || !base_upper || !limit_upper) return std::nullopt;
  std::uint64_t first = std::uint64_t{base->get(PrefetchableBase::address_31_20)} << 20;
  std::uint64_t last = std::uint64_t{limit->get(PrefetchableLimit::address_31_20)} << 20 | 0xfffff;
  if (base->get(PrefetchableBase::width) == 1) {
    first |= std::uint64_t{base_upper->raw} << 32;
    last |= std::uint64_t{limit_upper->raw} << 32;
  }
  return open(first, last);
}

std::optional<AddressWindow> io_window(const ConfigSpace& config) {
  using namespace bridge;
  const auto base = config.load<IoBase>();
  const auto limit = config.load<IoLimit>();
  const auto base_upper = config.load<IoBaseUpper>();
  const auto limit_upper = config.load<IoLimitUpper>();
  if (!base || !limit || !base_upper || !limit_upper) return std::nullopt;
  std::uint64_t first = std::uint64_t{base->get(IoBase::address_15_12)} << 12;
  std::uint64_t last = std::uint64_t{limit->get(IoLimit::address_15_12)} << 12 | 0xfff;
  if (base->get(IoBase::width) == 1) {
    first |= std::uint64_t{base_upper->raw} << 16;
    last |= std::uint64_t{limit_upper->raw} << 16;
  }
  return open(first, last);
}

void store_memory_window(ConfigSpace& config, std::optional<AddressWindow> window) {
  using namespace bridge;
  const AddressWindow ends = window.value_or(kClosedMemory);
  config.store(MemoryBase{}.with(MemoryBase::address_31_20, static_cast<std::uint16_t>(ends.first >> 20)));
  config.store(MemoryLimit{}.with(MemoryLimit::address_31_20, static_cast<std::uint16_t>(ends.last >> 20)));
}

void store_prefetchable_window(ConfigSpace& config, std::optional<AddressWindow> window) {
  using namespace bridge;
  const AddressWindow ends = window.value_or(kClosedMemory);
  const auto bits = [](std::uint64_t address) { return static_cast<std::uint16_t>(address >> 20 & 0xfff); };
  config.store(
      PrefetchableBase{}.with(PrefetchableBase::address_31_20, bits(ends.first)).with(PrefetchableBase::width, 1));
  config.store(
      PrefetchableLimit{}.with(PrefetchableLimit::address_31_20, bits(ends.last)).with(PrefetchableLimit::width, 1));
  config.store(PrefetchableBaseUpper::from(static_cast<std::uint32_t>(ends.first >> 32)));
  config.store(PrefetchableLimitUpper::from(static_cast<std::uint32_t>(ends.last >> 32)));
}

void store_io_window(ConfigSpace& config, std::optional<AddressWindow> window) {
  using namespace bridge;
  const AddressWindow ends = window.value_or(kClosedIo);
  const bool is_wide = ends.first > 0xffff || ends.last > 0xffff;
  const auto bits = [](std::uint64_t address) { return static_cast<std::uint8_t>(address >> 12 & 0xf); };
  config.store(IoBase{}.with(IoBase::address_15_12, bits(ends.first)).with(IoBase::width, is_wide ? 1 : 0));
  config.store(IoLimit{}.with(IoLimit::address_15_12, bits(ends.last)).with(IoLimit::width, is_wide ? 1 : 0));
  config.store(IoBaseUpper::from(static_cast<std::uint16_t>(ends.first >> 16)));
  config.store(IoLimitUpper::from(static_cast<std::uint16_t>(ends.last >> 16)));
}

}  // namespace barter::pci
