// VFIO's chains of capabilities: each has a header with its id and the offset of the next one, from the start of the answer.
// The kernel is believed no more than a device: an offset that leads outside or back ends the walk with an error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <string>

#include <fmt/format.h>

#include "linux/vfio/uapi.h"

namespace barter::linux_os::vfio {

// Reads a T at an offset, if it is within.
template <class T>
[[nodiscard]] bool read_at(std::span<const std::byte> bytes, std::size_t offset, T& into) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return false;
  std::memcpy(&into, bytes.data() + offset, sizeof(T));
  return true;
}

// Calls visit(id, offset of the capability) for each; visit returns false when what it finds makes no sense.
template <class Visit>
[[nodiscard]] std::expected<void, std::string> walk_capabilities(std::span<const std::byte> answer, std::uint32_t first,
                                                                 Visit&& visit) {
  std::uint32_t at = first;
  while (at != 0) {
    struct vfio_info_cap_header header{};
    if (!read_at(answer, at, header))
      return std::unexpected(fmt::format("a capability at offset {} is not within the {} bytes", at, answer.size()));
    if (!visit(header.id, at))
      return std::unexpected(fmt::format("capability {} at offset {} makes no sense", header.id, at));
    // The kernel appends each capability behind the one before, so a chain that goes back would go round.
    if (header.next != 0 && header.next <= at)
      return std::unexpected(fmt::format("the capability at offset {} names {} as the next one", at, header.next));
    at = header.next;
  }
  return {};
}

}  // namespace barter::linux_os::vfio
