// What a transfer to or from any pointer (pointer_io.cc) needs of the one by way of a buffer (io.cc).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "barter/io.hpp"

namespace barter::transfer {

// The bytes are the program's, and are in host memory or must go by way of it.
enum class HostWay : std::uint8_t {
  lent,    // the drive reached the memory itself
  copied,  // by way of a buffer
};
// The part is as long as the memory, or has no length of its own. `may_lend`: all of it is ordinary memory of the program, so
// that the drive is lent it where it can be.
[[nodiscard]] Result<HostWay> read_host(const Drive& drive, DrivePart from, std::span<std::byte> into, bool may_lend);
[[nodiscard]] Result<HostWay> write_host(const Drive& drive, DrivePart to, std::span<const std::byte> from,
                                         bool may_lend);

}  // namespace barter::transfer
