#include "pci/config_space.h"

#include <algorithm>

namespace barter::pci {

ConfigSpace::ConfigSpace(std::span<const std::uint8_t> known) {
  known = known.first(std::min(known.size(), kExtendedBytes));
  bytes_.assign(known.begin(), known.end());
}

ConfigSpace ConfigSpace::blank(std::size_t bytes) {
  ConfigSpace config;
  config.bytes_.resize(std::min(bytes, kExtendedBytes));
  return config;
}

ConfigSpace ConfigSpace::first(std::size_t bytes) const {
  return ConfigSpace(std::span(bytes_).first(std::min(bytes, bytes_.size())));
}

std::optional<std::uint32_t> ConfigSpace::read(std::size_t offset, unsigned width_bytes) const {
  if (offset > bytes_.size() || bytes_.size() - offset < width_bytes) return std::nullopt;
  std::uint32_t value = 0;
  for (unsigned byte = 0; byte < width_bytes; ++byte) value |= std::uint32_t{bytes_[offset + byte]} << (8 * byte);
  return value;
}

bool ConfigSpace::write(std::size_t offset, unsigned width_bytes, std::uint32_t value) {
  if (offset > bytes_.size() || bytes_.size() - offset < width_bytes) return false;
  for (unsigned byte = 0; byte < width_bytes; ++byte)
    bytes_[offset + byte] = static_cast<std::uint8_t>(value >> (8 * byte));
  return true;
}

}  // namespace barter::pci
