// What a transfer to or from any pointer (pointer_io.cc) needs of the one by way of a buffer (io.cc).
#pragma once
#include <cstddef>
#include <span>

#include "barter/io.hpp"

namespace barter::transfer {

// By way of a buffer as large as the memory. The part is as long as the memory, or has no length of its own.
[[nodiscard]] Result<void> read_by_buffer(const Drive& drive, DrivePart from, std::span<std::byte> into);
[[nodiscard]] Result<void> write_by_buffer(const Drive& drive, DrivePart to, std::span<const std::byte> from);

}  // namespace barter::transfer
